"""How joints go to positions that a person points at."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from headway.drivers.model import load
from headway.edge.guard.config import GuardConfig
from headway.edge.motion.follow import INSIDE_RAD, SHARE, Follow, follow
from headway.errors import ConfigError

DT = 0.04
GUARD = GuardConfig(
    workspace_min=(-2.0,) * 3, workspace_max=(2.0,) * 3, force_max=50.0, torque_max=5.0,
    position_margin=0.01, dq_scale=0.5,
)  # fmt: skip
LOW, HIGH, SPEED, ACCELERATION = (np.array([x]) for x in (-1.0, 1.0, 2.0, 20.0))


def path(wanted, q=0.0):
    """Positions of one joint that is told `wanted`, one after the other."""
    law, out = Follow(LOW, HIGH, SPEED, ACCELERATION, DT), [q]
    for w in wanted:
        out.append(float(law.step(np.array([out[-1]]), None if w is None else np.array([w]))[0]))
    return np.array(out)


@given(st.lists(st.one_of(st.none(), st.floats(-5, 5)), min_size=1, max_size=60))
def test_speed_acceleration_and_limits_are_kept_whatever_a_person_does(wanted):
    q = path(wanted)
    v = np.diff(q) / DT
    assert (np.abs(v) <= SPEED + 1e-9).all()
    assert ((q >= LOW - 1e-9) & (q <= HIGH + 1e-9)).all()
    inside = (np.abs(q[1:]) < 1.0 - 1e-9).all()  # a limit may stop it at once
    if inside:
        assert (np.abs(np.diff(v, prepend=0.0)) <= ACCELERATION * DT + 1e-9).all()


@given(st.floats(-1, 1), st.floats(-1, 1))
def test_it_comes_to_the_goal_and_does_not_overshoot(start, goal):
    q = path([goal] * 200, start)
    assert q[-1] == pytest.approx(goal, abs=1e-6)
    beyond = (q - goal) * np.sign(start - goal)
    assert beyond.min() >= -1e-9


def test_it_comes_to_rest_where_nobody_points():
    q = path([0.9] * 8 + [None] * 20)
    assert q[-1] == q[-2]
    assert q[8] - q[7] > 0.01


def test_what_a_guard_allows():
    limits = load("so101", None).limits
    law = follow(GUARD.allowed(limits), DT)
    q = np.zeros(len(limits.q_min))
    for _ in range(400):
        before, q = q, law.step(q, limits.q_max + 1.0)
        assert (np.abs(q - before) <= SHARE * 0.5 * limits.dq_max * DT + 1e-9).all()
    np.testing.assert_allclose(q, limits.q_max - 0.01 - INSIDE_RAD, atol=1e-6)
    with pytest.raises(ConfigError, match="room between their limits"):
        follow(structs.replace(GUARD, position_margin=9.0).allowed(limits), DT)
