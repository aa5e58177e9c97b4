"""The compiled smoother and waypoints give the reference's bits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.edge.motion.smoother import PythonSmoother, module, smoother

needs_cpp = pytest.mark.skipif(module("auto") is None, reason="_chunks not built")
NUMBERS = st.one_of(st.floats(-7, 7), st.sampled_from([0.0, -0.0, 1e-300, np.nan, np.inf]))


@needs_cpp
@given(
    st.lists(st.tuples(st.booleans(), st.lists(NUMBERS, min_size=2, max_size=2)), max_size=80),
    st.lists(st.integers(1, 9), min_size=1, max_size=4),
)
def test_the_same_averages_after_the_same_values(steps, taps):
    a, b = PythonSmoother(2, taps), smoother(2, taps, "cpp")
    x, y = np.zeros(2), np.zeros(2)
    with np.errstate(all="ignore"):
        for rest, value in steps:
            v = np.array(value)
            if rest:
                a.rest(v)
                b.rest(v)
            else:
                a.step(v, x)
                b.step(v, y)
                np.testing.assert_array_equal(x, y)


@needs_cpp
@given(
    st.integers(1, 6),
    st.integers(0, 8) | st.just(2**64 - 1),
    st.floats(0, 0.999),
    st.floats(-1, 1),
    st.integers(0, 99),
)
def test_the_same_waypoints(h, k, u, left, seed):
    q, offset = np.random.default_rng(seed).normal(size=(h + 1, 3)), np.array([0.1, -0.2, 3.0])
    x, y = np.zeros(3), np.zeros(3)
    PythonSmoother.waypoint(q[:h], k, u, offset, left, x)
    smoother(3, [1], "cpp").waypoint(q[:h], k, u, offset, left, y)
    np.testing.assert_array_equal(x, y)


@needs_cpp
def test_wrong_shapes_are_refused():
    made = smoother(3, [4], "cpp")
    with pytest.raises(ValueError, match="wanted 3 joints, found 2"):
        made.rest(np.zeros(2))
    with pytest.raises(ValueError, match="wanted 3 joints, found 2"):
        made.step(np.zeros(3), np.zeros(2))
    with pytest.raises(ValueError, match="at least one tap"):
        smoother(3, [0], "cpp")
    with pytest.raises(ValueError, match="found none"):
        made.waypoint(np.zeros((0, 3)), 0, 0.0, np.zeros(3), 0.0, np.zeros(3))


def test_an_average_of_what_never_changes_is_that():
    made = smoother(1, [5, 3])
    made.rest(np.array([2.0]))
    out = np.zeros(1)
    for _ in range(20):
        made.step(np.array([2.0]), out)
        assert out[0] == 2.0
    values = []
    for _ in range(7):
        made.step(np.array([3.0]), out)
        values.append(out[0])
    assert values[-1] == 3.0
    assert values == sorted(values)
