"""`headway replay`: PRO again from a recording, equal to the bit or named where it is not."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damage import chunks, damage
from kernels_rows import Rows, scale, wild
from pro_head import make_head
from rich.console import Console

from headway.edge.engines.engine import open_engine
from headway.edge.pro.operator import ProOperator, pro_dtype
from headway.edge.recording.recorder import Recorder
from headway.edge.recording.schema import Channel
from headway.errors import BundleError, Missing, RecordingError, SpecMismatch
from headway.kernels import native, spec
from headway.kernels.telemetry import dtype
from headway.mcaplog import open_recording
from headway.tools.dataset.restore import INFO_SHA256
from headway.tools.replay import replay as replay_module
from headway.tools.replay.replay import Difference, replay, replay_command
from headway.tools.report import write_report

HZ, HEAD_HZ, START = 500.0, 50.0, 7_000_000
SCALE = scale().to_json()


def ticks(n: int, seed: int = 0, skip: tuple[int, ...] = ()) -> Rows:
    """Telemetry as the loop stamps it; `skip` are deadlines that it missed."""
    rows = wild(n, seed)
    index = np.delete(np.arange(n), skip)
    rows = rows[index]
    rows["t_ns"] = START + index * 2_000_000
    rows["elapsed"] = index * 2_000_000 / 1e9
    return rows


def record(
    path: Path,
    rows: Rows,
    head: Path,
    *,
    metadata: dict[str, str | None] | None = None,
    change: Any = None,
    lose: tuple[int, ...] = (),
    features: str = "numpy",
    chunk_bytes: int = 1 << 20,
) -> Path:
    """As `record_episode` does. `change(i, record)` alters the i-th row of /pro; `lose`: rows of
    /pro that are left out."""
    from headway import bundle

    made = bundle.load(head)
    m = made.manifest
    engine = open_engine("ort", made.onnx, inputs=m.inputs, outputs=m.outputs)
    pro = ProOperator(made, engine, scale(), 6, hz=HZ, head_hz=HEAD_HZ, features=features)
    facts: dict[str, str | None] = {
        "hz": repr(HZ),
        "pro_hz": repr(HEAD_HZ),
        "pro": m.name,
        "pro_sha256": m.files[m.onnx].sha256,
        "features": features,
        "scale": SCALE,
        **(metadata or {}),
    }
    channels = [Channel("/telemetry", dtype=dtype(6)), Channel("/pro", dtype=pro_dtype())]
    with Recorder(
        path,
        channels,
        lossless=True,
        metadata={k: v for k, v in facts.items() if v is not None},
        chunk_bytes=chunk_bytes,
    ) as log:
        n = 0
        for row in rows:
            t_ns = int(row["t_ns"])
            pro.step(row, (t_ns - START) // 2_000_000)
            log.write("/telemetry", t_ns, row)
            if pro.updated:
                out = pro.record.copy()
                if change is not None:
                    change(n, out)
                if n not in lose:
                    log.write("/pro", t_ns, out)
                n += 1
    engine.close()
    return path


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_head(tmp_path_factory.mktemp("head") / "tiny").path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, head: Path) -> Path:
    return record(tmp_path_factory.mktemp("run") / "a.mcap", ticks(1500), head, chunk_bytes=1 << 18)


def test_a_recording_equals_itself_bit_for_bit(whole: Path, head: Path) -> None:
    report = replay(whole, head)
    assert report.equal
    assert (report.ticks, report.steps, report.tolerance) == (1500, 150, "bit for bit")
    assert {"features", "mask", "risk", "progress", "reward"} <= set(report.checked)
    assert not report.notes
    assert report.exit_code == 0


@pytest.mark.skipif(native.module("auto") is None, reason="C++ feature stream not built")
def test_a_recording_of_the_twin_equals_itself_too(tmp_path: Path, head: Path) -> None:
    rows = ticks(700, seed=3)
    path = record(tmp_path / "a.mcap", rows, head, features="cpp")
    report = replay(path, head)
    assert report.equal
    assert (report.recorded_with, report.computed_with) == ("cpp", "cpp")
    other = record(tmp_path / "b.mcap", rows, head, features="cpp", metadata={"features": "numpy"})
    assert "features" in {d.name for d in replay(other, head).differences}


def test_the_head_keeps_its_grid_over_missed_deadlines(tmp_path: Path, head: Path) -> None:
    skip = (0, 101, 102, 110, 250, 251, 252)  # 110 and 250 are head ticks
    report = replay(record(tmp_path / "a.mcap", ticks(600, skip=skip), head), head)
    assert report.equal
    assert report.steps == 60 - 3


@pytest.mark.parametrize(
    ("name", "value"), [("risk", 1e-12), ("reward", -0.5), ("features", 1.0), ("mask", 1.0)]
)
def test_a_changed_value_is_found_where_it_is(
    tmp_path: Path, head: Path, name: str, value: float
) -> None:
    def change(i: int, row: np.void) -> None:
        if i == 40:
            if row[name].ndim:
                row[name][5] += np.float32(value)
            else:
                row[name] += value

    report = replay(record(tmp_path / "a.mcap", ticks(600), head, change=change), head)
    assert report.exit_code == 1
    found = next(d for d in report.differences if d.name == name)
    assert (found.tick, found.t_s) == (400, 0.8)
    assert found.largest == pytest.approx(abs(value), rel=1e-3)
    if name == "features":
        assert spec.NAMES[5] in found.detail
        assert {d.name for d in report.differences} > {"features"}  # the head saw the change


def test_a_nan_in_the_recording_is_a_difference(tmp_path: Path, head: Path) -> None:
    def change(i: int, row: np.void) -> None:
        if i == 3:
            row["stability"] = np.nan

    report = replay(record(tmp_path / "a.mcap", ticks(200), head, change=change), head)
    assert [(d.name, d.largest) for d in report.differences] == [("stability", np.inf)]


def test_another_head_is_an_error_that_names_both(whole: Path, tmp_path: Path) -> None:
    other = make_head(tmp_path / "other", seed=1, name="other").path
    with pytest.raises(SpecMismatch, match=r"head tiny \([0-9a-f]{12}\), found other \([0-9a-f]"):
        replay(whole, other)
    with pytest.raises(BundleError, match="wanted a bundle folder"):
        replay(whole, tmp_path / "none")


def test_without_a_head_features_only(whole: Path) -> None:
    report = replay(whole, None)
    assert report.equal
    assert report.checked == ("features", "mask")
    assert any("signals were not computed" in n for n in report.notes)


def test_a_cut_recording_is_replayed_up_to_the_cut(whole: Path, head: Path, tmp_path: Path) -> None:
    data = whole.read_bytes()
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(data[: len(data) * 2 // 3])
    report = replay(cut, head)
    assert report.equal
    assert report.exit_code == 1  # what was lost was not compared
    assert 200 < report.ticks < 1500
    assert "ends in the middle" in report.notes[0]


def test_an_end_of_zeros_is_a_damaged_recording(whole: Path, head: Path, tmp_path: Path) -> None:
    path = tmp_path / "zeros.mcap"
    path.write_bytes(whole.read_bytes()[:-200] + bytes(200))
    console = Console(record=True, width=300)
    assert replay_command(path, head, console=console) == 1
    assert "equal as far as it is whole" in console.export_text()


def test_what_a_recording_lacks_is_said(tmp_path: Path, head: Path) -> None:
    rows = ticks(60)
    for key in ("scale", "hz", "pro_hz"):
        path = record(tmp_path / f"{key}.mcap", rows, head, metadata={key: None})
        with pytest.raises(RecordingError, match=f"want(s|ed) `{key}`.*found none"):
            replay(path, head)
    path = record(tmp_path / "c.mcap", rows, head, metadata={"pro_sha256": None, "features": None})
    report = replay(path, head)
    assert report.equal
    assert report.tolerance.startswith("features within")
    assert len(report.notes) == 2
    with Recorder(
        tmp_path / "d.mcap", [Channel("/telemetry", dtype=dtype(6))], lossless=True
    ) as log:
        log.write("/telemetry", 0, rows[0])
    says = r"a recording without PRO, .*nothing to compute again: .*--against"
    with pytest.raises(RecordingError, match=says):
        replay(tmp_path / "d.mcap", head)


def test_what_a_data_set_came_back_as_has_nothing_to_compute_again(
    tmp_path: Path, head: Path
) -> None:
    imported = record(tmp_path / "a.mcap", ticks(60), head, metadata={INFO_SHA256: "0" * 64})
    says = r"a recording that `headway dataset import` made: .* nothing to compute again"
    with pytest.raises(RecordingError, match=says):
        replay(imported, head)


def test_one_that_is_cut_before_its_first_row_says_what_the_report_says(
    tmp_path: Path, head: Path
) -> None:
    path = record(tmp_path / "a.mcap", ticks(60), head)
    path.write_bytes(path.read_bytes()[:40])
    said = []
    for look in (lambda: replay(path, head), lambda: write_report(path)):
        with pytest.raises(RecordingError, match="found no topics; it ends before") as e:
            look()
        said.append(str(e.value))
    assert said[0] == said[1]


def test_features_of_another_implementation_are_held_to_the_tolerance(
    tmp_path: Path, head: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def resolve(impl: str) -> str:
        if impl == "cpp":
            raise Missing("wanted the C++ feature stream, found none")
        return "numpy"

    monkeypatch.setattr(replay_module, "resolve", resolve)

    def near(i: int, row: np.void) -> None:
        row["features"] *= np.float32(1 + 2e-5)

    def far(i: int, row: np.void) -> None:
        row["features"] *= np.float32(1 + 1e-3)

    rows, facts = ticks(300), {"features": "cpp"}
    path = record(tmp_path / "near.mcap", rows, head, metadata=facts, change=near)
    report = replay(path, None)
    assert report.equal
    assert any("recorded with cpp" in n for n in report.notes)
    path = record(tmp_path / "far.mcap", rows, head, metadata=facts, change=far)
    assert [d.name for d in replay(path, None).differences] == ["features"]


def test_a_lost_step_is_a_difference_and_ends_the_comparison_of_signals(
    tmp_path: Path, head: Path
) -> None:
    report = replay(record(tmp_path / "a.mcap", ticks(400), head, lose=(20,)), head)
    steps = Difference("steps", 1, np.inf, 200, 0.4, "in one of them only")
    assert report.differences == [steps]
    assert any("the 20 steps before it" in n for n in report.notes)


def test_the_command_says_equal_or_what_differs(whole: Path, head: Path, tmp_path: Path) -> None:
    def change(i: int, row: np.void) -> None:
        row["risk"] += 0.25 * (i == 12)

    console = Console(record=True, width=160)
    assert replay_command(whole, head, console=console) == 0
    assert "equal" in console.export_text()
    path = record(tmp_path / "a.mcap", ticks(300), head, change=change)
    assert replay_command(path, head, console=console) == 1
    text = console.export_text()
    assert "risk" in text
    assert "0.25" in text
    assert "120" in text  # the tick


@pytest.mark.parametrize("which", [(2,), (2, 4), (4,)])
def test_a_damaged_recording_is_compared_up_to_the_damage(
    whole: Path, head: Path, tmp_path: Path, which: tuple[int, ...]
) -> None:
    path = tmp_path / "bad.mcap"
    path.write_bytes(whole.read_bytes())
    damage(path, *which)
    report = replay(path, head)
    assert report.equal
    assert (report.damaged, report.exit_code) == (len(which), 1)
    assert report.steps == {2: 50, 4: 100}[which[0]]
    assert [("skipped a damaged chunk" in n) for n in report.notes] == [True] * len(which) + [False]
    assert f"compared {report.ticks} ticks and {report.steps} head steps" in report.notes[-1]
    console = Console(record=True, width=300)
    assert replay_command(path, head, console=console) == 1
    assert "equal as far as it is whole" in console.export_text()


def test_damage_at_the_beginning_leaves_nothing_to_compare(
    whole: Path, head: Path, tmp_path: Path
) -> None:
    path = tmp_path / "bad.mcap"
    path.write_bytes(whole.read_bytes())
    report = replay(damage(path, 0), head)
    assert (report.steps, report.exit_code) == (0, 1)


def test_two_recordings_are_compared_record_for_record(
    whole: Path, head: Path, tmp_path: Path
) -> None:
    def change(i: int, row: np.void) -> None:
        row["risk"] += 0.25 * (i == 60)

    console = Console(record=True, width=300)
    kwargs: dict[str, Any] = {"chunk_bytes": 1 << 18}
    same = record(tmp_path / "same.mcap", ticks(1500), head, **kwargs)
    assert replay_command(whole, None, same, console=console) == 0
    assert "the same" in console.export_text()
    for name, other, says in (
        ("one value", {"change": change}, f"message 60 on /pro at {START + 600 * 2_000_000} ns"),
        ("metadata", {"metadata": {"seed": "8"}}, "metadata 'headway' differ"),
    ):
        path = record(tmp_path / f"{name}.mcap", ticks(1500), head, **kwargs, **other)
        assert replay_command(whole, None, path, console=console) == 1
        assert says in console.export_text()
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(whole.read_bytes()[:-30000])
    assert replay_command(whole, None, cut, console=console) == 1
    assert "ends in the middle" in console.export_text()
    data = bytearray(whole.read_bytes())  # two copies of one damaged file are not the same run
    struct.pack_into("<Q", data, chunks(bytes(data))[1] + 1, len(data) * 2)
    for name in ("a", "b"):
        (tmp_path / f"{name}.mcap").write_bytes(data)
    assert replay_command(tmp_path / "a.mcap", None, tmp_path / "b.mcap", console=console) == 1
    assert "is damaged after" in console.export_text()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("hz", v) for v in ("inf", "nan", "-500")),
        *(("pro_hz", v) for v in ("1000", "37", "0")),
        *(("scale", v) for v in ("", "{}", "[1]", "null", json.dumps(list(json.loads(SCALE))))),
        ("scale", json.loads(SCALE) | {"q_min": 1.0}),
        ("scale", json.loads(SCALE) | {"q_min": [1.0, 2.0]}),
        ("scale", json.loads(SCALE) | {"q_max": "much"}),
        ("scale", json.loads(SCALE) | {"q_max": [[1.0]] * 6}),
    ],
)
def test_facts_that_cannot_be_are_named_with_what_was_found(
    tmp_path: Path, head: Path, key: str, value: Any
) -> None:
    text = value if isinstance(value, str) else json.dumps(value)
    path = record(tmp_path / "a.mcap", ticks(60), head, metadata={key: text})
    with pytest.raises(RecordingError) as e:
        replay(path, head)
    assert re.match(rf"{path}: (replay wants|wanted) `{key}` ", str(e.value))
    assert f"found {text!r}"[:60] in str(e.value)
    assert "record with `headway run`" in str(e.value)


def test_telemetry_of_another_version_is_named_by_its_columns(tmp_path: Path, head: Path) -> None:
    row = np.zeros((), [("t_ns", "<i8"), ("q", "<f8", (7,))])
    channels = [Channel("/telemetry", dtype=row.dtype), Channel("/pro", dtype=pro_dtype())]
    facts = {"hz": "500.0", "pro_hz": "50.0", "scale": SCALE, "headway": "9.9"}
    with Recorder(tmp_path / "a.mcap", channels, lossless=True, metadata=facts) as log:
        log.write("/telemetry", 0, row)
    with pytest.raises(SpecMismatch, match=r"found `q` as .*\(7,\).* for .*\(6,\).*headway 9\.9"):
        replay(tmp_path / "a.mcap", head)


def test_a_first_tick_without_its_time(tmp_path: Path, head: Path) -> None:
    rows = ticks(60)
    path = record(tmp_path / "a.mcap", rows, head)
    rows["elapsed"][0] = np.nan
    facts = open_recording(path).metadata
    channels = [Channel("/telemetry", dtype=dtype(6)), Channel("/pro", dtype=pro_dtype())]
    with Recorder(tmp_path / "b.mcap", channels, lossless=True, metadata=facts) as log:
        log.write("/telemetry", START, rows[0])
    with pytest.raises(
        RecordingError, match=r"`elapsed` in the first row of /telemetry, found nan"
    ):
        replay(tmp_path / "b.mcap", head)
