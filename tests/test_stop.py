"""The stop trajectory against its limits, and against the closed form of a rest-to-rest stop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from headway.edge.motion.stop import StopTrajectory
from headway.errors import CommandRejected
from headway.types import Limits

N, T = 2, 0.002
LIMITS = Limits(
    q_min=np.array([-2.0, -2.0]),
    q_max=np.array([2.0, 2.0]),
    dq_max=np.array([2.0, 3.0]),
    ddq_max=np.array([10.0, 20.0]),
    dddq_max=np.array([100.0, 500.0]),
    tau_max=np.ones(N),
)
ZERO = np.zeros(N)
share = hnp.arrays(np.float64, N, elements=st.floats(-1.0, 1.0, width=32))


def table(stop: StopTrajectory) -> np.ndarray:
    out = np.empty(N)
    rows = []
    for k in range(stop.ticks + 1):
        assert stop.sample(k, out) == (k >= stop.ticks)
        rows.append(out.copy())
    return np.array(rows)


@given(share, share, st.sampled_from([1, 2]))
def test_samples_keep_the_limits_and_end_at_rest(
    v: np.ndarray, a: np.ndarray, category: int
) -> None:
    stop = StopTrajectory(LIMITS, T, category=category)
    dq, ddq = v * LIMITS.dq_max, a * LIMITS.ddq_max
    stop.plan(ZERO, dq, ddq)
    q = table(stop)
    np.testing.assert_allclose(q[0], ZERO, atol=1e-12)
    q = np.vstack([q, np.repeat(q[-1:], 4, axis=0)])  # the hold after it, seam included
    peak = np.abs(dq) + ddq**2 / (2 * LIMITS.dddq_max)
    for limit in (peak, LIMITS.ddq_max, LIMITS.dddq_max):
        q = np.diff(q, axis=0) / T
        assert (np.abs(q) <= limit * (1 + 1e-6) + 1e-5).all()


def test_distance_of_a_stop_from_cruising() -> None:
    """Trapezoid of acceleration: v / 2 (v / a + a / j)."""
    stop = StopTrajectory(LIMITS, T, category=1)
    v, a, j = LIMITS.dq_max, LIMITS.ddq_max, LIMITS.dddq_max
    stop.plan(ZERO, v, ZERO)
    np.testing.assert_allclose(table(stop)[-1], v / 2 * (v / a + a / j), rtol=1e-9)
    assert stop.inside
    stop.plan(LIMITS.q_max - 0.05, v, ZERO)
    assert not stop.inside


def test_categories_differ_in_synchronisation_and_power() -> None:
    dq = np.array([2.0, 0.5])
    one, two = (StopTrajectory(LIMITS, T, category=c) for c in (1, 2))
    assert one.plan(ZERO, dq, ZERO) == two.plan(ZERO, dq, ZERO)
    assert one.power_off
    assert not two.power_off

    def still_at(stop: StopTrajectory) -> int:
        q = table(stop)[:, 1]
        return int(np.argmax(np.abs(q - q[-1]) < 1e-9))

    assert still_at(one) < 0.5 * still_at(two)


def test_standing_still_is_a_stop_of_no_ticks() -> None:
    stop = StopTrajectory(LIMITS, T)
    out = np.empty(N)
    assert stop.plan(np.ones(N), ZERO, ZERO) == 0
    assert stop.sample(0, out)
    assert stop.sample(10**6, out)
    np.testing.assert_array_equal(out, np.ones(N))


def test_faster_than_the_limits_still_stops() -> None:
    stop = StopTrajectory(LIMITS, T)
    ticks = stop.plan(ZERO, 20 * LIMITS.dq_max, 2 * LIMITS.ddq_max)
    q = table(stop)
    assert ticks > 2.0 / T
    np.testing.assert_allclose(q[-1], q[-2], atol=1e-4)


@pytest.mark.parametrize("bad", [np.full(N, np.nan), np.full(N, np.inf), np.zeros(N + 1)])
def test_a_state_that_is_none_is_refused(bad: np.ndarray) -> None:
    stop = StopTrajectory(LIMITS, T)
    with pytest.raises(CommandRejected, match="finite q, dq, ddq of 2 joints"):
        stop.plan(ZERO, bad, ZERO)


def test_senseless_construction() -> None:
    with pytest.raises(ValueError, match="category 1 or 2, found 0"):
        StopTrajectory(LIMITS, T, category=0)
    with pytest.raises(ValueError, match="period"):
        StopTrajectory(LIMITS, 0.0)
