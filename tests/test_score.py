"""`headway score`: other robots' telemetry becomes PRO's features; what does not fit is said."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kernels_rows import wild
from mcap.writer import Writer
from mcap_ros2.writer import Writer as Ros2Writer
from pro_head import NAMES, make_head
from rich.console import Console
from score_files import Q, load, mapping, npz, rows_of

from headway import kernels
from headway.edge.recording.recorder import Recorder
from headway.edge.recording.schema import Channel as Topic
from headway.errors import ConfigError, RecordingError
from headway.kernels import spec
from headway.kernels.telemetry import Scale, dtype
from headway.tools.score.command import score_command
from headway.tools.score.mapping import Channel, Time, load_mapping
from headway.tools.score.scoring import score_file
from headway.tools.score.steps import open_head

ROOT = Path(__file__).resolve().parents[1]
HIRO = ROOT.parent / "shared" / "data" / "hiro_snap_assembly"


def test_regular_samples_are_taken_as_they_are(tmp_path: Path) -> None:
    path = npz(tmp_path / "a.npz")
    got = rows_of(path, mapping(time=Time(key="t", rate_hz=200.0)))
    data = load(path)
    np.testing.assert_array_equal(got.rows["q"], data["q"])
    np.testing.assert_array_equal(got.rows["wrench"], data["wrench"])
    np.testing.assert_allclose(got.rows["elapsed"], data["t"], atol=1e-9)
    assert got.hz == 200.0
    assert np.isnan(got.rows["width"]).all()
    assert not any("resampled" in n for n in got.notes)
    assert any("dq_max = 3.142 rad/s" in n for n in got.notes)


def test_scored_features_are_those_of_the_loop(tmp_path: Path) -> None:
    """A file of our own fields, through the whole way, against a stream on the same rows."""
    rows = wild(900, 4)
    rows["t_ns"] = np.arange(900) * 2_000_000
    rows["elapsed"] = rows["t_ns"] / 1e9
    path = tmp_path / "a.npz"
    np.savez(path, **{n: rows[n] for n in rows.dtype.names or ()})
    scored = score_file(path, None, None)
    assert np.abs(np.linalg.norm(scored.telemetry.rows["tcp"][:, 3:], axis=1) - 1).max() < 1e-12
    stream = kernels.feature_stream("auto", scored.telemetry.scale, 6, 500.0)
    for tick, row in enumerate(scored.telemetry.rows):
        stream.push(row)
        if tick % 10 == 0:
            features, mask = stream.features()
            np.testing.assert_array_equal(scored.features[tick // 10], features)
            np.testing.assert_array_equal(scored.mask[tick // 10], mask)
    assert len(scored.t) == 90
    assert not scored.masked


def test_units_scales_columns_and_sign(tmp_path: Path) -> None:
    path = npz(tmp_path / "a.npz", grip=np.linspace(0, 255, 400))
    m = mapping(
        {
            "q": Channel(key="q", unit="deg", columns=[2, 0]),
            "wrench": Channel(
                key="wrench", frame="tcp", force="by tool", unit=["kN", "Nmm"], tare_s=0.5
            ),
            "width": Channel(key="grip", scale=-85.0 / 255, offset=85.0, unit="mm"),
        },
        time=Time(key="t", rate_hz=200.0),
    )
    got, data = rows_of(path, m), load(path)
    np.testing.assert_allclose(got.rows["q"], np.deg2rad(data["q"][:, [2, 0]]))
    wrench = data["wrench"] * np.array([1e3] * 3 + [1e-3] * 3)
    np.testing.assert_allclose(got.rows["wrench"], wrench[:101].mean(axis=0) - wrench)
    np.testing.assert_allclose(got.rows["width"][[0, -1]], [0.085, 0.0], atol=1e-12)
    assert any("tared" in n for n in got.notes)


@pytest.mark.parametrize(
    ("layout", "columns"),
    [
        ("xyz quat wxyz", "quat"),
        ("xyz quat xyzw", "xyzw"),
        ("xyz rpy", "rpy"),
        ("xyz rotvec", "rotvec"),
    ],
)
def test_every_pose_layout_means_the_same(tmp_path: Path, layout: Any, columns: str) -> None:
    scipy = pytest.importorskip("scipy.spatial.transform")
    turn = scipy.Rotation.random(300, random_state=1)
    xyzw = turn.as_quat()
    pos = np.random.default_rng(2).normal(size=(300, 3))
    raw = {
        "quat": 2.0 * xyzw[:, [3, 0, 1, 2]],
        "xyzw": xyzw,
        "rpy": turn.as_euler("xyz"),
        "rotvec": turn.as_rotvec(),
    }[columns]
    wrench = np.random.default_rng(3).normal(size=(300, 6))
    path = npz(tmp_path / "a.npz", 300, q=None, wrench=wrench, tcp=np.hstack([pos, raw]))
    m = mapping(
        {
            "tcp": Channel(key="tcp", layout=layout),
            "wrench": Channel(key="wrench", frame="base", force="on tool"),
        },
        time=Time(key="t", rate_hz=200.0),
    )
    rows = rows_of(path, m).rows
    back = scipy.Rotation.from_quat(rows["tcp"][:, [4, 5, 6, 3]])
    assert (back * turn.inv()).magnitude().max() < 1e-7
    np.testing.assert_array_equal(rows["tcp"][:, :3], pos)
    want = np.hstack([turn.inv().apply(wrench[:, :3]), turn.inv().apply(wrench[:, 3:])])
    np.testing.assert_allclose(rows["wrench"], want, atol=1e-9)


def test_irregular_stamps_are_interpolated_and_a_stopped_stream_is_masked(tmp_path: Path) -> None:
    r = np.random.default_rng(5)
    t = np.cumsum(r.uniform(0.002, 0.008, 400))
    t[200:] += 1.0  # a hole of one second
    q = np.repeat(3.0 * t[:, None], 6, axis=1)  # a steady motion at 3 rad/s
    path = npz(tmp_path / "a.npz", t=t, q=q, wrench=None)
    got = rows_of(path, mapping({"q": Q}, time=Time(key="t", rate_hz=250.0)))
    grid = t[0] + got.rows["t_ns"] / 1e9
    known = np.isfinite(got.rows["q"][:, 0])
    hole = (grid > t[199]) & (grid < t[200])
    np.testing.assert_allclose(got.rows["q"][known & ~hole, 0], 3.0 * grid[known & ~hole])
    assert not (known & hole)[np.abs(grid - t[199]) > 0.004].any()
    assert np.count_nonzero(~known) == pytest.approx(1.0 * 250, abs=4)
    assert any("interpolated by cubics" in n for n in got.notes)
    assert any("samples are missing" in n and "1.00" in n for n in got.notes)


def test_rate_from_the_stamps_and_from_the_mapping(tmp_path: Path) -> None:
    got = rows_of(npz(tmp_path / "a.npz", hz=199.8), mapping())
    assert (got.rates, got.hz) == ({"q": 200.0, "wrench": 200.0}, 200.0)
    path = npz(tmp_path / "b.npz", t=None)
    got = rows_of(path, mapping(time=Time(rate_hz=125.0)))
    assert (got.hz, len(got.rows)) == (125.0, 400)


def test_phase_outcome_and_events(tmp_path: Path) -> None:
    from headway.tools.score.mapping import Events, Outcome, Phase

    path = npz(
        tmp_path / "a.npz",
        starts=np.array([0.5, 1.0]),
        label=np.array("good"),
        at=np.array([0.25, 1.5]),
        what=np.array(["grasp", "slip"]),
    )
    m = mapping(
        phase=Phase(starts="starts", names=("reach",)),
        outcome=Outcome(key="label", success=["good"]),
        events=Events(times="at", labels="what"),
        constants={"limit": 5.0},
        time=Time(key="t", rate_hz=200.0),
    )
    got = rows_of(path, m)
    phase = got.rows["phase"]
    assert np.isnan(phase[:100]).all()
    assert (phase[100:200] == 0).all()
    assert (phase[200:] == 1).all()
    assert got.success is True
    assert got.events == [(0.25, "grasp"), (0.5, "reach"), (1.0, "phase 1"), (1.5, "slip")]
    assert (got.rows["limit"] == 5.0).all()


def test_csv_with_gaps_and_words(tmp_path: Path) -> None:
    from headway.tools.score.mapping import Events, Outcome

    path = tmp_path / "a.csv"
    lines = ["time_ms;j1;j2;state;ok"]
    lines += [
        f"{5 * i};{i};{'' if 20 <= i < 40 else -i};{'pick' if i < 50 else 'place'};1"
        for i in range(100)
    ]
    path.write_text("\n".join(lines) + "\n")
    m = mapping(
        {"q": Channel(key=["j1", "j2"], unit="deg")},
        time=Time(key="time_ms", unit="ms", rate_hz=200.0),
        outcome=Outcome(key="ok", success=[True]),
        events=Events(text="state"),
    )
    got = rows_of(path, m)
    assert got.hz == 200.0
    assert got.rows["q"].shape == (100, 2)
    assert np.isnan(got.rows["q"][20:40, 1]).all()
    assert got.success is True
    assert got.events == [(0.0, "pick"), (0.25, "place")]
    assert any(
        "20 of 100 samples are not finite" in n and "0.100 s at 0.100" in n for n in got.notes
    )


def json_mcap(path: Path) -> Path:
    with path.open("wb") as f:
        w = Writer(f)
        w.start()
        schema = w.register_schema("J", "jsonschema", b"{}")
        arm = w.register_channel("/arm", "json", schema)
        tool = w.register_channel("/tool", "json", schema)
        for i in range(200):
            t = 1_700_000_000_000_000_000 + i * 4_000_000
            data = {"state": {"position": [i * 1e-3] * 7}, "ok": i > 100}
            w.add_message(arm, t, json.dumps(data).encode(), t)
            if i % 5 == 0:
                data = {"force": {"x": 1.0, "y": 2.0, "z": i}, "torque": {"x": 0, "y": 0, "z": 3}}
                w.add_message(tool, t + 1_000_000, json.dumps({"w": data}).encode(), t)
        w.finish()
    return path


def test_mcap_json_with_topics_of_different_rates(tmp_path: Path) -> None:
    path = json_mcap(tmp_path / "a.mcap")
    m = mapping(
        {
            "q": Channel(key="state.position", topic="/arm", columns=[0, 1, 2, 3, 4, 5]),
            "wrench": Channel(key="w", topic="/tool", frame="tcp", force="on tool"),
            "dq": Channel(key="state.position.3", topic="/arm", optional=True),
        },
        time=Time(),
    )
    with pytest.raises(RecordingError, match="the same number of joints everywhere"):
        rows_of(path, m)
    m = mapping({k: m.channels[k] for k in ("q", "wrench")}, time=Time(rate_hz=250.0))
    got = rows_of(path, m)
    assert got.rates == {"q": 250.0, "wrench": 50.0}
    np.testing.assert_allclose(got.rows["q"][:, 2], np.arange(200) * 1e-3)
    assert np.isnan(got.rows["wrench"][0]).all()  # the first sample comes 1 ms later
    assert got.ready == 1
    # samples of z at 21 ms and 41 ms are 5 and 10; the tick is at 24 ms
    np.testing.assert_allclose(got.rows["wrench"][6], [1, 2, 5.75, 0, 0, 3])
    norm = {"force_norm": Channel(key="w.force", topic="/tool", combine="norm")}
    found = rows_of(path, mapping(norm, time=Time(rate_hz=50.0))).rows["force_norm"]
    np.testing.assert_allclose(found[:3], np.linalg.norm([[1, 2, z] for z in (0, 5, 10)], axis=1))
    with pytest.raises(RecordingError, match=r"field of /arm `state.positions`, found position"):
        rows_of(path, mapping({"q": Channel(key="state.positions", topic="/arm")}, time=Time()))
    with pytest.raises(RecordingError, match="topic `/arms`, found /arm, /tool; did you mean"):
        rows_of(path, mapping({"q": Channel(key="x", topic="/arms")}, time=Time()))
    with pytest.raises(ConfigError, match="wants a key `topic`, one of /arm, /tool"):
        rows_of(path, mapping({"q": Channel(key="x")}, time=Time()))


def test_mcap_ros2_with_header_stamps(tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    text = "uint32 sec\nuint32 nanosec\nfloat64[6] position"
    with path.open("wb") as f:
        w = Ros2Writer(f)
        schema = w.register_msgdef("x/msg/Joints", text)
        for i in range(120):
            ns = i * 8_000_000
            data = {"sec": 5 + ns // 10**9, "nanosec": ns % 10**9, "position": [float(i)] * 6}
            w.write_message("/joints", schema, data, log_time=ns + (i % 3) * 900_000)
        w.finish()
    by_log = rows_of(path, mapping({"q": Channel(key="position", topic="/joints")}, time=Time()))
    assert any("resampled" in n for n in by_log.notes)
    m = mapping({"q": Channel(key="position")}, topic="/joints", time=Time(rate_hz=125.0))
    assert len(rows_of(path, m).rows) == 120
    with pytest.raises(RecordingError, match="wanted a time stamp or a number"):
        rows_of(
            path,
            mapping({"q": Channel(key="position", topic="/joints")}, time=Time(key="position")),
        )


def test_our_own_recording_needs_no_mapping(tmp_path: Path) -> None:
    rows = wild(300, 1)
    rows["t_ns"] = np.arange(300) * 2_000_000
    rows["vacuum"] = np.nan
    path = tmp_path / "a.mcap"
    one = np.ones(6)
    facts = {"scale": Scale(-3 * one, 3 * one, 2 * one, 9 * one, stroke=0.1).to_json()}
    facts |= {"robot": "ur5e", "task": "press"}
    topics = [Topic("/telemetry", dtype=dtype(6))]
    with Recorder(path, topics, lossless=True, metadata=facts) as log:
        for row in rows:
            log.write("/telemetry", int(row["t_ns"]), row)
    scored = score_file(path, None, None)
    np.testing.assert_array_equal(scored.telemetry.rows["q"], rows["q"])
    np.testing.assert_array_equal(scored.telemetry.rows["phase"], rows["phase"])
    assert list(scored.masked) == ["vacuum"]
    assert (scored.given.robot, scored.given.task) == ("ur5e", "press")
    scale = scored.telemetry.scale  # the recording says whose limits these are
    assert (scale.dq_max == 2.0).all()
    assert scale.stroke == 0.1


def test_the_head_runs_on_the_nearest_grid_and_says_so(tmp_path: Path) -> None:
    head = open_head(make_head(tmp_path / "head").path)
    m = mapping(time=Time(key="t", rate_hz=125.0))
    scored = score_file(npz(tmp_path / "a.npz", hz=125.0), m, head)
    assert np.diff(scored.step).tolist() == [2] * (len(scored.step) - 1)
    assert set(scored.signals) == {*NAMES, "reward"}
    assert all(np.isfinite(v).all() and len(v) == 200 for v in scored.signals.values())
    assert any("62.5 Hz, the nearest to 50 Hz" in n for n in scored.notes)
    assert any("not calibrated" in n and "tiny" in n for n in scored.notes)
    bare = score_file(npz(tmp_path / "a.npz", hz=125.0), m, None)
    np.testing.assert_array_equal(bare.features, scored.features)
    fast = open_head(make_head(tmp_path / "fast", rate_hz=200.0).path)
    slow = mapping(time=Time(key="t", rate_hz=50.0))
    scored = score_file(npz(tmp_path / "a.npz", hz=50.0), slow, fast)
    assert (scored.telemetry.hz, scored.every) == (50.0, 1)
    assert any("at every tick = 50 Hz" in n and "4 times as fast" in n for n in scored.notes)


def test_limits_of_another_length_are_an_error(tmp_path: Path) -> None:
    from headway.tools.score.mapping import Limits

    path = npz(tmp_path / "a.npz")
    with pytest.raises(ConfigError, match=r"`limits.q_min` wants 6 values"):
        score_file(path, mapping(limits=Limits(q_min=[1.0, 2.0])), None)
    in_degrees = Limits(unit="deg", dq_max=180.0, q_tol=1.8, tau_max=[7.0] * 6)
    scale = rows_of(path, mapping(limits=in_degrees)).scale
    assert scale.q_tol == pytest.approx(np.pi / 100)
    np.testing.assert_allclose(scale.dq_max, [np.pi] * 6)
    np.testing.assert_allclose(scale.tau_max, [7.0] * 6)


def test_one_bad_file_does_not_stop_the_others(tmp_path: Path) -> None:
    good = npz(tmp_path / "good.npz")
    (tmp_path / "x").mkdir()
    same = npz(tmp_path / "x" / "good.npz")
    bad = tmp_path / "bad.npz"
    bad.write_bytes(b"no")
    toml = tmp_path / "map.toml"
    toml.write_text(
        '[time]\nkey = "t"\n[channels.q]\nkey = "q"\n'
        '[channels.wrench]\nkey = "wrench"\nframe = "tcp"\nforce = "on tool"'
    )
    head = make_head(tmp_path / "head").path
    console = Console(record=True, width=120)
    out = tmp_path / "out"
    code = score_command([good, bad, same], toml, head, out, console=console)
    assert code == 1
    text = console.export_text()
    assert "not scored" in text
    assert "bad.npz" in text
    names = {p.name for p in out.iterdir()}
    stems = (f"{tmp_path.name}-good", "x-good")
    made = {f"{s}{e}" for s in stems for e in (".features.npz", ".signals.csv", ".html")}
    assert names == made | {"index.html", "summary.csv"}
    with np.load(out / "x-good.features.npz") as d:
        assert d["features"].shape == (100, spec.N_FEATURES)
        assert d["mask"].shape == (100, spec.N_MASKS)
        assert d["names"].tolist() == list(spec.NAMES)
        assert str(d["spec_hash"]) == spec.spec_hash()
    with (out / "x-good.signals.csv").open() as f:
        rows = list(csv.DictReader(f))
    assert len(rows) == 100
    assert float(rows[50]["t"]) == pytest.approx(1.0)
    assert "not calibrated" in (out / "x-good.html").read_text()
    assert score_command([good], toml, None, out, console=console) == 0
    assert "features only" in console.export_text()


def test_an_output_folder_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    path = npz(tmp_path / "good.npz", wrench=None)
    console = Console(record=True, width=120)
    assert score_command([path], None, None, tmp_path / "out", console=console) != 0
    assert "cannot write results" in console.export_text()
    with pytest.raises(ConfigError, match="wanted telemetry files"):
        score_command([], None, None, tmp_path / "out", console=console)


@pytest.mark.skipif(not HIRO.is_dir(), reason="optional data: ../shared/data/hiro_snap_assembly")
def test_real_recordings_of_another_robot(tmp_path: Path) -> None:
    m = load_mapping(ROOT / "examples" / "score" / "hiro_snap_assembly.toml")
    scored = score_file(HIRO / "success_05.npz", m, None)
    t = scored.t
    assert scored.telemetry.success is True
    assert scored.telemetry.hz == 200.0
    assert [e[1] for e in scored.telemetry.events] == [
        "approach",
        "rotation",
        "insertion",
        "mating",
    ]
    starts = [e[0] for e in scored.telemetry.events]
    contact = scored.feature("contact") > 0
    onset = t[contact.argmax()]
    assert abs(onset - starts[1]) < 0.5  # the approach ends at contact
    peak = t[scored.feature("F.last").argmax()]
    assert starts[3] < peak < starts[3] + 1.0  # the snap
    assert scored.feature("peak")[-1] == pytest.approx(43.5, abs=1.0)
    assert {w.split()[0] for w in scored.masked} >= {"width", "width_ref", "tau", "station"}
    failed = score_file(HIRO / "failure_05.npz", m, None)
    assert failed.telemetry.success is False
    assert {w.split()[0] for w in failed.masked} >= {"tcp", "phase"}
    assert any("no key `state_times`" in n for n in failed.notes)
