"""A head, and a calibration, that were made from another robot's recordings are refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from loop_rig import Policy, Rig
from null_robot import make_pro, null_table, run, toml
from pro_head import make_head

from headway import bundle, config
from headway.bundle import Pro
from headway.clock import VirtualClock
from headway.edge.control import fits
from headway.edge.control.build import Built
from headway.edge.control.events import EventKind
from headway.edge.control.loop import Loop
from headway.edge.control.settings import Settings
from headway.edge.control.station import Station
from headway.edge.engines.engine import open_bundle
from headway.edge.pro.made_from import Gaps, Given, Watch, check, groups_of
from headway.edge.pro.operator import ProOperator
from headway.errors import BundleError, SpecMismatch, Stale
from headway.kernels import spec, telemetry
from headway.kernels.telemetry import Scale
from headway.mcaplog import open_recording
from headway.tools.recorded import events_of

BAXTER: dict[str, Any] = {
    "robot": "Baxter", "tick_hz": [20.0, 20.0], "groups": ["force_norm", "torque_norm", "touch"],
}  # fmt: skip
SAYS = (
    "the recordings of robot Baxter with force_norm, torque_norm, touch at 20 Hz; this run has "
    "robot ur5e at 500 Hz, without touch: "
)


def info(**changes: Any) -> Pro:
    return Pro(spec_hash="", rate_hz=20.0, hidden=1, **changes)


def altered(path: Path, **changes: Any) -> Path:
    """The bundle at `path`, whose section `pro` says other things."""
    file = path / bundle.MANIFEST
    data = json.loads(file.read_text())
    data["pro"] |= changes
    file.write_text(json.dumps(data))
    return path


def calibration(pro: Path, **changes: Any) -> bytes:
    manifest = bundle.load(pro).manifest
    facts = {
        "kind": "risk", "pro": manifest.name, "pro_sha256": manifest.files["p.onnx"].sha256,
        "policy_sha256": "", "peaks": [i / 40 for i in range(40)], "episodes": 50,
        "data": "none", "date": "2026-01-01",
    }  # fmt: skip
    return msgspec.json.encode({**facts, **changes})


def configured(tmp_path: Path, **changes: Any) -> Path:
    """A run of the null robot, which is a ur5e, for 0.3 s."""
    task = {"kind": "open_ended", "limit_s": 0.3}
    path = tmp_path / "run.toml"
    table = null_table(task=task, **changes)
    path.write_text("".join(f"{k} = {toml(v)}\n" for k, v in table.items()))
    return path


@pytest.mark.parametrize(
    ("made", "given", "says"),
    [
        ({"robot": "Baxter"}, Given("ur5e", 500.0), "robot Baxter; this run has robot ur5e at 500"),
        (
            {"tick_hz": (20.0, 100.0)},
            Given("", 500.0),
            "at 20 to 100 Hz; this run has a robot with",
        ),
        (
            {"tick_hz": (20.0, 20.0)},
            Given("x", 19.0),
            "at 20 Hz; this run has robot x at 19 Hz: do",
        ),
        (
            {"groups": ("touch", "q")},
            Given("x", 20.0, ("q",)),
            "with touch, q; .* Hz, without touch",
        ),
        ({"groups": ("rate_50",)}, Given("x", 20.0, groups_of(["q"], 20.0)), "without rate_50"),
        ({"groups": ("tuch",)}, Given("", 20.0), "the group `tuch`, .*did you mean `touch`"),
    ],
)
def test_what_differs_is_said(made: dict[str, Any], given: Given, says: str) -> None:
    with pytest.raises(SpecMismatch, match=says) as e:
        check("head h was trained on", info(**made), given, "do this")
    assert str(e.value).startswith("head h was trained on ")


@pytest.mark.parametrize(
    ("made", "given"),
    [
        ({}, Given("ur5e", 500.0, ())),
        ({"robot": "UR5e"}, Given("ur5e", 500.0)),
        ({"robot": "Baxter"}, Given("", 20.0)),  # nobody says that it is another one
        ({"tick_hz": (20.0, 20.0)}, Given("", 20.1)),
        ({"groups": ("touch",)}, Given("", 20.0)),
    ],
)
def test_what_fits_or_states_nothing_is_taken(made: dict[str, Any], given: Given) -> None:
    check("h was trained on", info(**made), given, "", task="pick" if not given.task else "")


def test_a_task_that_differs_is_refused() -> None:
    with pytest.raises(SpecMismatch, match=r"doing pick; this run .* doing place: do"):
        check("c was made from", info(), Given("", 20.0, task="place"), "do this", task="pick")


@pytest.mark.parametrize("rates", [[0.0, 20.0], [20.0, 10.0], [20.0], [1.0, -1.0], "20"])
def test_rates_that_cannot_be_are_refused(tmp_path: Path, rates: Any) -> None:
    path = altered(make_pro(tmp_path / "pro"), tick_hz=rates)
    with pytest.raises(BundleError, match="tick_hz"):
        bundle.load(path)


def test_groups_follow_from_fields_and_what_is_derived_from_them() -> None:
    assert set(groups_of(["tcp", "wrench"], 20.0)) >= {"tcp", "twist", "force", "force_norm"}
    assert groups_of(["q"], 100.0) == ("q", "dq", "rate_50", "rate_100")
    assert set(groups_of(telemetry.FIELDS, 4000.0)) == set(spec.MASKS)


def test_a_group_that_never_comes_is_refused_after_a_second() -> None:
    made = info(groups=("vacuum", "q"))
    watch = Watch("h was trained on", made, Given("x", 100.0), "do")
    none = np.array([m == "q" for m in spec.MASKS], np.float32)
    for tick in range(0, 100, 2):
        watch.step(none, tick)
    with pytest.raises(SpecMismatch, match=r"without vacuum: do .none of it came within 1 s"):
        watch.step(none, 100)
    watch = Watch("h was trained on", made, Given("x", 100.0), "do")
    watch.step(none, 0)
    assert not watch.done
    watch.step(np.ones(spec.N_MASKS, np.float32), 2)  # once is enough: later it may fail
    assert watch.done
    watch.step(none, 200)
    watch.begin()  # each episode wants it anew
    assert not watch.done
    with pytest.raises(SpecMismatch, match="without vacuum"):
        watch.step(none, 100)


def test_a_group_that_is_lost_for_a_second_is_found_once_a_loss() -> None:
    gaps = Gaps(100.0)
    gaps.want(("q", "vacuum"))
    gaps.want(("tau",))
    have = np.ones(spec.N_MASKS, np.float32)
    none = np.array([m == "q" for m in spec.MASKS], np.float32)

    def found(first: int, last: int, mask: np.ndarray) -> list[tuple[int, tuple[str, ...]]]:
        said = [(tick, gaps.step(mask, tick)) for tick in range(first, last, 2)]
        return [(tick, groups) for tick, groups in said if groups]

    assert found(0, 100, have) == []
    assert found(100, 190, none) == []  # back before its second is over
    assert found(190, 200, have) == []
    assert found(200, 900, none) == [(300, ("tau", "vacuum"))]
    assert found(900, 902, have) == []
    assert found(902, 1100, none) == [(1002, ("tau", "vacuum"))]  # another loss
    gaps.begin()
    assert found(0, 100, none) == []


def test_an_operator_watches_its_own_rows(tmp_path: Path) -> None:
    made = make_head(tmp_path / "head")
    path = altered(made.path, groups=["q", "tau"])
    one, loaded = np.ones(2), bundle.load(path)
    pro = ProOperator(
        loaded, open_bundle(loaded), Scale(-one, one, one, one), 2, hz=100.0, head_hz=50.0
    )
    rows = telemetry.empty(2, 1)
    rows["q"] = 0.1
    for tick in range(100):
        pro.step(rows[0], tick)
    with pytest.raises(SpecMismatch, match="without tau: train a head on this robot's recordings"):
        pro.step(rows[0], 100)


def test_an_operator_watches_every_episode_anew(tmp_path: Path) -> None:
    path = altered(make_head(tmp_path / "head").path, groups=["q", "tau"])
    one, loaded = np.ones(2), bundle.load(path)
    pro = ProOperator(
        loaded, open_bundle(loaded), Scale(-one, one, one, one), 2, hz=100.0, head_hz=50.0
    )
    rows = telemetry.empty(2, 1)
    rows["q"] = 0.1
    rows["tau_ext"] = 1.0
    lost = []
    for tick in range(400):
        if tick == 150:
            rows["tau_ext"] = np.nan
        pro.step(rows[0], tick)
        lost += [(tick, group) for group in pro.lost]
    assert lost == [(250, "tau")]
    pro.reset()
    assert pro.lost == ()
    for tick in range(100):
        pro.step(rows[0], tick)
    with pytest.raises(SpecMismatch, match="without tau"):
        pro.step(rows[0], 100)


def test_a_strangers_head_ends_the_run_at_its_start(tmp_path: Path, capsys: Any) -> None:
    pro = altered(make_pro(tmp_path / "pro"), **BAXTER)
    path = configured(tmp_path, pro={"bundle": str(pro), "features": "numpy"})
    assert run(path, tmp_path / "out") == SpecMismatch.exit_code
    error = capsys.readouterr().err
    assert f"bundle {pro} was trained on {SAYS}train a head" in error
    assert not list((tmp_path / "out").glob("*.mcap"))


@pytest.mark.parametrize("sha", ["that of the head", "another"])
def test_a_strangers_calibration_ends_the_run_at_its_start(
    tmp_path: Path, capsys: Any, sha: str
) -> None:
    pro = make_pro(tmp_path / "pro")
    other = {} if sha == "that of the head" else {"pro_sha256": "f" * 64}
    file = tmp_path / "risk.json"
    file.write_bytes(calibration(pro, of="fault-free parts", **BAXTER, **other))
    path = configured(
        tmp_path, pro={"bundle": str(pro), "features": "numpy"}, risk={"calibration": "risk.json"}
    )
    assert run(path, tmp_path / "out") == SpecMismatch.exit_code
    error = capsys.readouterr().err
    assert f"{file} was made from {SAYS}calibrate on this robot's recordings" in error


def test_a_robot_without_a_gripper_is_told_at_the_start(tmp_path: Path) -> None:
    pro = altered(make_pro(tmp_path / "pro"), groups=["q", "width", "force"])
    table = null_table(pro={"bundle": str(pro), "features": "numpy"})
    del table["gripper"]
    with pytest.raises(SpecMismatch, match="500 Hz, without width: train"):
        build(table)
    del table["ft"]
    table["guard"] |= {"require_wrench": False}
    with pytest.raises(SpecMismatch, match="500 Hz, without width, force: train"):
        build(table)


def build(table: dict[str, Any]) -> None:
    clock = VirtualClock(1)
    with Station(config.decode(table, Settings, "test"), clock) as station:
        Built(station.settings, station, clock).close()


def test_the_arm_is_stopped_when_a_group_does_not_come(tmp_path: Path) -> None:
    made = bundle.load(altered(make_pro(tmp_path / "pro"), robot="ur5e", groups=["q", "vacuum"]))
    rig = Rig(null_table(), Policy())
    station, hz = rig.station, rig.loop.cfg.hz
    pro = ProOperator(
        made, open_bundle(made), station.scale, station.joints, hz=hz, head_hz=50.0,
        given=fits.given(station, "x", ()),
    )  # fmt: skip
    rig.loop = Loop(station, rig.worker, pro)
    with pytest.raises(SpecMismatch, match="without vacuum"):
        rig.run(tmp_path / "a.mcap")
    assert len(rig.sent) == hz
    assert rig.calls[-1] == "stop"


def lost_in(tmp_path: Path, device: str, method: str, replacement: Any) -> list[Any]:
    """The events of a warning, after `replacement` of the `method` of `device` from 0.3 s on, of a
    run without a policy whose head wants the jaws' width."""
    groups = ["q", "width"]
    made = bundle.load(altered(make_pro(tmp_path / "pro"), robot="ur5e", groups=groups))
    rig = Rig(null_table(task={"kind": "open_ended", "limit_s": 2.0}), None)
    station = rig.station
    pro = ProOperator(
        made, open_bundle(made), station.scale, station.joints, hz=rig.loop.cfg.hz, head_hz=50.0,
        given=fits.given(station, "x", ()),
    )  # fmt: skip
    rig.loop = Loop(station, None, pro)
    rig.after(0.3, getattr(station, device).source, method, replacement)
    path = tmp_path / "a.mcap"
    assert rig.run(path).end == "time limit"
    return [e for e in events_of(open_recording(path)) if e.level == "warning"]


def test_a_group_that_is_lost_within_an_episode_is_told_once(tmp_path: Path) -> None:
    def without_width(usual: Any) -> Any:
        return lambda: msgspec.structs.replace(usual(), width=math.nan)

    (event,) = lost_in(tmp_path, "gripper", "sample", without_width)
    assert (event.kind, event.subject) == (EventKind.SENSOR, "PRO width")
    assert event.text.startswith("PRO has had no width for 1 s")


def test_a_sensor_that_falls_silent_is_told_once_and_not_by_pro_again(tmp_path: Path) -> None:
    def silent(_: Any) -> Any:
        def read() -> Any:
            raise Stale("no reply")

        return read

    (event,) = lost_in(tmp_path, "gripper", "read", silent)
    assert (event.kind, event.subject) == (EventKind.SENSOR, "gripper")


@pytest.mark.parametrize("inside", [True, False])
def test_a_bundle_may_hold_its_calibration(tmp_path: Path, capsys: Any, inside: bool) -> None:
    plain = make_pro(tmp_path / "plain")
    made = bundle.load(plain)
    files: dict[str, bytes | Path] = {"p.onnx": made.onnx}
    if inside:
        files["risk.json"] = calibration(plain)
    pro = bundle.save(tmp_path / "pro", made.manifest, files).path
    path = configured(tmp_path, pro={"bundle": str(pro), "features": "numpy"}, risk={})
    code = run(path, tmp_path / "out", "--episodes", 1)
    said = capsys.readouterr()
    if inside:
        assert code == 0
        assert "(40 successes of 50 episodes)" in said.out
    else:
        assert code == 2
        assert "[risk] wants a `calibration`, found none, and no risk.json in" in said.err
