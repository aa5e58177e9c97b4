"""`[risk]` in a run: the motion slows, or the robot stops, when PRO says so."""

from __future__ import annotations

import json

import numpy as np
import pytest
from loop_rig import WHEN, Policy, Rig, check_log
from null_robot import make_pro, null_table, run

from headway import bundle
from headway.edge.control.loop import Loop
from headway.edge.guard.config import RiskLimit
from headway.edge.pro import risk
from headway.edge.pro.operator import pro_dtype
from headway.edge.pro.risk import Calibration, RiskConfig, RiskControl
from headway.types import Signals

CALM, ALARM = 0.1, 0.95


def made(n=99, **changes):
    facts = {
        "kind": "risk", "pro": "tiny", "pro_sha256": "a" * 64, "policy_sha256": "", "data": "",
        "peaks": tuple(np.linspace(0.01, 0.9, n)), "episodes": n, "date": "2026-01-01",
    }  # fmt: skip
    return Calibration(**{**facts, **changes})


class Pro:
    """Calm, and alarmed from WHEN to `until` [s]."""

    updated, reward_now, lost = False, 0.0, ()
    info = bundle.Pro(spec_hash="", rate_hz=50.0, hidden=1)
    record = np.zeros(1, pro_dtype())[0]

    def __init__(self, until):
        self.until = until

    def reset(self): ...

    def step(self, row, tick, missed=0):
        alarmed = WHEN <= tick / 500.0 < self.until
        return Signals(0.0, 1.0, 0.5, ALARM if alarmed else CALM, 1.0, 0.0)


def episode(path, section, until=9.0):
    rig = Rig(null_table(), Policy())
    control = RiskControl(section, made(), 1 / 500.0) if section else None
    rig.loop = Loop(rig.station, rig.worker, Pro(until), control)
    result = rig.run(path)
    rig.check_arm()
    z = [rig.station.chain.position(q)[2] for q in rig.sent]
    return rig, result, np.array(z)


def test_the_motion_slows_while_the_risk_is_high_and_recovers(tmp_path):
    _, result, plain = episode(tmp_path / "a.mcap", None)
    assert result.rejected == 0
    slow = RiskConfig(
        calibration="", slow_alpha=0.2, full_alpha=0.05, slowest=0.4, fall_per_s=5.0, rise_per_s=5.0
    )
    _, result, z = episode(tmp_path / "b.mcap", slow, until=0.9)
    assert (result.end, result.rejected) == ("time limit", 0)
    speed, full = np.diff(z) * 500.0, np.diff(plain) * 500.0
    before, during, after = slice(100, 150), slice(300, 440), slice(600, 640)
    np.testing.assert_allclose(speed[before], full[before], atol=1e-6)
    low, high = made().threshold(0.2), made().threshold(0.05)
    slowed = 1.0 - 0.6 * min(1.0, (ALARM - low) / (high - low))
    assert np.median(speed[during]) == pytest.approx(slowed * np.median(full[during]), rel=0.05)
    assert np.median(speed[after]) == pytest.approx(np.median(full[after]), rel=0.05)
    check_log(tmp_path / "b.mcap", "risk: slower", "risk: full speed again")


def test_the_robot_stops_above_the_other_threshold(tmp_path):
    section = RiskConfig(calibration="", abort_alpha=0.05, abort_after_s=0.08)
    rig, result, _ = episode(tmp_path / "a.mcap", section, until=0.4)  # latched
    assert result.end == "fault"
    assert "RISK" in result.why
    rig.check_came_to_rest()
    check_log(tmp_path / "a.mcap", "guard: RISK: PRO risk came to 0.950")
    assert rig.loop.guard.risk == RiskLimit(made().threshold(0.05), 0.08)


def test_a_bump_that_passes_stops_nothing(tmp_path):
    section = RiskConfig(calibration="", abort_alpha=0.05, abort_after_s=0.12)
    _, result, _ = episode(tmp_path / "a.mcap", section, until=0.4)
    assert (result.end, result.rejected) == ("time limit", 0)


def test_a_calm_run_is_the_same_to_the_bit(tmp_path):
    plain, *_ = episode(tmp_path / "a.mcap", None, until=0.0)
    slow, *_ = episode(tmp_path / "b.mcap", RiskConfig(calibration=""), until=0.0)
    np.testing.assert_array_equal(slow.sent, plain.sent)


def test_two_limits_of_the_risk_that_stops_are_refused(tmp_path, capsys, write):
    risk_ = {"calibration": "risk.json", "abort_alpha": 0.05}
    path = write(risk=risk_, guard={**null_table()["guard"], "risk_max": 0.9})
    assert run(path, tmp_path / "out") == 2
    assert "found guard.risk_max = 0.9 and risk.abort_alpha = 0.05" in capsys.readouterr().err


def test_a_section_without_pro_or_for_another_model_is_refused(tmp_path, capsys, write):
    path = write(risk={"calibration": "risk.json"})
    assert run(path, tmp_path / "out") == 2
    assert "[risk] wants PRO" in capsys.readouterr().err
    pro = make_pro(tmp_path / "pro")
    (tmp_path / "risk.json").write_text(json.dumps(_plain(made())))
    path = write(risk={"calibration": str(tmp_path / "risk.json")}, pro={"bundle": str(pro)})
    assert run(path, tmp_path / "out") == 3
    assert "was made for PRO model aaaaaaaaaaaa" in capsys.readouterr().err


def _plain(calibration):
    return {f: getattr(calibration, f) for f in calibration.__struct_fields__}


def test_the_shipped_calibration_is_for_the_shipped_pro():
    from headway import bundle
    from headway.benchmarks._robot import PRO_BUNDLE

    manifest = bundle.load(PRO_BUNDLE).manifest
    found = risk.load(PRO_BUNDLE.with_suffix(".risk.json"), manifest.files[manifest.onnx].sha256)
    assert found.threshold(0.2) < found.threshold(0.05) < 1.0
