"""`[risk]` as it ships, in the simulated cell: a policy that presses meets less force, and arrives.

Slow. Peaks of single scenes hang on the last bit of a simulation, so their mean is judged.
"""

from __future__ import annotations

import numpy as np
import pytest
from msgspec import structs

pytest.importorskip("mujoco", reason="the cell needs mujoco: make test installs it")

from headway.benchmarks import risk_guard
from headway.drivers.sim import gl
from headway.edge.control.settings import load
from headway.edge.pro.risk import RiskConfig

SCENES = range(3_600_000, 3_600_024)


@pytest.mark.slow
@pytest.mark.skipif(gl.backend() is None, reason="no EGL and no OSMesa on this machine")
def test_a_press_is_softer_and_no_success_is_lost() -> None:
    plain = structs.replace(load(risk_guard.CONFIG), risk=None)
    slowed = structs.replace(plain, risk=RiskConfig(calibration=str(risk_guard.FILE.resolve())))
    _, _, off = risk_guard.episodes(("one press", "as planned", plain, SCENES))
    _, _, on = risk_guard.episodes(("one press", "slowed", slowed, SCENES))
    peaks = [np.array([r.peak_force for r in rows]) for rows in (off, on)]
    assert peaks[1].mean() < 0.9 * peaks[0].mean()
    assert sum(bool(r.success) for r in on) >= sum(bool(r.success) for r in off)
    assert all(r.end in ("done", "time limit") for r in on)  # slowed, never stopped
