"""What the guard says against a command: which joint or axis, which limit, wanted and found."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from guard_rig import JOINT_LIMITS, LIMITS, N, T, arm, make, send
from guard_rig import impl as impl
from msgspec import structs

from headway.edge.guard.reasons import FINE, Finding, Motion, Reason
from headway.types import Wrench


@pytest.mark.parametrize(
    ("q", "index", "found", "limit", "words"),
    [
        ([0.0, 0.03, 0.0], 1, 0.03, 0.02, ("joint 1", "position 0.03 rad", "-0.02..0.02")),
        ([0.01, 0.0, 0.0], 0, 5.0, 2.0, ("joint 0", "velocity 5 rad/s", "-2..2")),
        ([-1e-3, 0.0, 0.0], 0, -250.0, -15.0, ("joint 0", "acceleration -250 rad/s^2", "-15..15")),
        ([0.0, 0.0, 2e-4], 2, 25_000.0, 4000.0, ("joint 2", "jerk 25000 rad/s^3", "-4000..4000")),
    ],
)
def test_a_finding_names_joint_limit_wanted_and_found(
    q: list[float], index: int, found: float, limit: float, words: tuple[str, ...]
) -> None:
    limits = dataclasses.replace(LIMITS, ddq_max=np.array([15.0, 5.0, 60.0]))
    d = send(make(limits=limits), q)
    f = d.finding
    assert (f.index, f.stopping) == (index, False)
    assert (f.found, f.limit) == (pytest.approx(found), limit)
    assert f.motion is not None
    assert f.motion.q == q[index]
    assert f.motion.dq == pytest.approx(q[index] / T)
    assert f.motion.ddq == pytest.approx(q[index] / T**2)
    assert f.motion.ddq_before == 0.0
    for word in (*words, f"commanded q {q[index]:.4f}"):
        assert word in d.detail


@pytest.mark.parametrize(
    ("inputs", "index", "found", "limit", "words"),
    [
        ({"now_ns": 200_000_000}, -1, 0.2, 0.1, "0.2000 s old, allowed 0.1 s"),
        ({"command_t_ns": 200_000_000}, -1, 0.2, 0.1, "0.2000 s in the future, allowed 0.1 s"),
        ({"wrench": Wrench(np.array([0, 0, 41.0]), np.zeros(3))}, 0, 41.0, 40.0, "force of 41.000"),
        ({"wrench": Wrench(np.zeros(3), np.array([4.1, 0, 0]))}, 1, 4.1, 4.0, "torque of 4.100 Nm"),
    ],
)
def test_a_finding_of_other_inputs_names_what_broke_which_limit(
    inputs: Any, index: int, found: float, limit: float, words: str
) -> None:
    d = send(make(), np.zeros(N), **inputs)
    assert (d.finding.index, d.finding.found) == (index, pytest.approx(found))
    assert d.finding.limit == limit
    assert words in d.detail


def test_a_power_that_trips_is_named_as_long_as_it_is_latched() -> None:
    guard = make(power_max=5.0)
    push = Wrench(np.array([30.0, 0.0, 0.0]), np.zeros(3))
    moving = structs.replace(arm(), twist=np.array([0.2, 0.0, 0.0, 0.0, 0.0, 0.0]))
    for state in (moving, arm()):
        d = send(guard, np.zeros(N), wrench=push, state=state)
        f = d.finding
        assert (f.reason, f.index) == (Reason.POWER, 2)
        assert (f.found, f.limit) == (pytest.approx(6.0), 5.0)
        assert "power of 6.000 W, trips above 5; latched until" in d.detail


def test_every_reason_has_words() -> None:
    for reason in set(Reason) - {Reason.OK}:
        motion = Motion(0.1, 0.2, 0.3, 0.4) if reason in JOINT_LIMITS else None
        said = Finding(reason, 0, False, 0.5, -0.25, 0.25, motion, ("cause", "more")).detail
        assert len(said) > 5
        assert "{" not in said
    assert FINE.detail == ""


def test_a_velocity_that_the_stop_would_reach_is_told_from_a_commanded_one() -> None:
    """The acceleration must be let go by the jerk limit, and the velocity rises meanwhile."""
    guard = make()
    limit, rows = LIMITS.dddq_max[0] * T**3, [np.zeros(N)] * 3
    for _ in range(200):
        q, q1, q2 = rows[-1], rows[-2], rows[-3]
        step = min(limit, LIMITS.ddq_max[0] * T**2 - (q - 2 * q1 + q2)[0])
        d = send(guard, q + (q - q1) + (q - 2 * q1 + q2) + [step * (1 - 1e-9), 0.0, 0.0])
        rows.append(d.q.copy())
        if d.changed:
            break
    f = d.finding
    assert (f.reason, f.index, f.stopping) == (Reason.VELOCITY, 0, True)
    assert f.motion is not None
    assert f.motion.dq < f.limit == LIMITS.dq_max[0] < f.found
    assert "in the stop that would follow" in d.detail
