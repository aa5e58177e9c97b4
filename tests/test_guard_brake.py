"""The discrete stop against a tick-by-tick simulation of itself."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from headway.edge.guard.brake import Stop, release_velocity

periods = st.sampled_from([0.001, 0.002, 0.008])
share = st.floats(-1.0, 1.0)


@given(periods, st.floats(0.1, 100.0), st.floats(1.0, 2000.0), share, st.floats(-5.0, 5.0))
def test_stop_keeps_its_limits_ends_at_rest_and_knows_its_distance(
    T: float, A: float, J: float, a_share: float, v: float
) -> None:
    stop = Stop(A, J, T)
    a = a_share * A
    distance = stop.plan(v, a)
    back = stop.backswing(v)
    q = low = high = 0.0
    vk, ak = v, a
    for i in range(1, stop.n + 1):
        new = stop.at(i)
        assert abs(new - ak) <= J * T * (1 + 1e-9)
        assert abs(new) <= A * (1 + 1e-9)
        ak = new
        vk += T * ak
        q += T * vk
        low, high = min(low, q), max(high, q)
    assert abs(vk) <= 1e-9 * (abs(v) + A * T)
    assert abs(ak) <= 1e-12 * A
    assert stop.at(stop.n + 1) == 0.0
    tol = 1e-9 * (1.0 + abs(distance))
    assert abs(q - distance) <= tol
    assert abs(low - min(distance, back, 0.0)) <= tol
    assert abs(high - max(distance, back, 0.0)) <= tol


@given(st.floats(1.0, 50.0), st.floats(10.0, 2000.0), share, st.floats(-3.0, 3.0))
def test_no_stop_is_shorter_in_ticks(A: float, J: float, a_share: float, v: float) -> None:
    """With one tick less, even the hardest braking leaves velocity (or acceleration)."""
    T = 0.002
    stop = Stop(A, J, T)
    a = a_share * A
    stop.plan(v, a)
    if stop.n < 2:
        return
    n, h, s = stop.n - 1, stop.h, stop.sign
    left = release_velocity(v, a, h, T) * s
    if left <= 1e-9 or n * h < abs(a):
        return  # the acceleration alone needs these ticks
    most = -T * sum(max(s * a - i * h, (i - n) * h, -A) for i in range(1, n + 1))
    assert most <= abs(v) * math.copysign(1.0, s * v) + 1e-9


def test_release_velocity_is_the_sum_of_the_ticks() -> None:
    h, T = 1.0, 0.002
    v = 0.3
    for a in (5.0, 4.0, 3.0, 2.0, 1.0):
        v += T * a
    assert math.isclose(release_velocity(0.3, 6.0, h, T), v)
    assert math.isclose(release_velocity(-0.3, -6.0, h, T), -v)
    assert release_velocity(0.3, 0.5, h, T) == 0.3
