"""Where the tool touches something next, from telemetry and commands."""

from __future__ import annotations

import numpy as np
import pytest

from headway.kernels import telemetry
from headway.learn.policy.touches import next_places, touches

HZ, STROKE = 125, 0.085


class Chain:
    """The first three joints are the TCP's position."""

    def fk(self, q):
        return np.eye(3), np.asarray(q[:3])


def recorded(seconds=10.0):
    """Rows of an arm at rest, with a tool that points down and open jaws."""
    rows = telemetry.empty(6, round(seconds * HZ))
    rows["t_ns"] = np.arange(len(rows)) * (10**9 // HZ)
    rows["tcp"] = (0.4, 0.1, 0.3, 0.0, 1.0, 0.0, 0.0)
    rows["width"] = rows["width_ref"] = STROKE
    rows["wrench"] = 0.0
    return rows


def shut(rows, begin, end, width):
    """The jaws are told to shut from `begin` to `end` [s], and get as far as `width` [m]."""
    ticks = slice(round(begin * HZ), round(end * HZ))
    rows["width_ref"][ticks] = 0.0
    t = np.arange(ticks.stop - ticks.start) / HZ
    rows["width"][ticks] = np.maximum(width, STROKE - 0.12 * t)


def test_closings_in_the_air_are_no_grasps_and_forces_on_what_is_held_no_presses():
    rows = recorded()
    shut(rows, 1.0, 4.0, 0.0)
    rows["wrench"][round(3.0 * HZ) : round(3.4 * HZ), 2] = -12.0
    shut(rows, 5.0, 8.0, 0.03)
    rows["wrench"][round(7.0 * HZ) : round(7.2 * HZ), 2] = -12.0
    found = touches(rows, STROKE)
    assert (found.grasps / HZ).tolist() == [5.0]
    assert (found.presses / HZ).tolist() == [3.0]
    assert found.holds[round(7.5 * HZ)]
    assert not found.holds[round(3.5 * HZ)]


def test_one_press_may_waver():
    rows = recorded()
    shut(rows, 1.0, 9.0, 0.0)
    for begin in (3.0, 3.2, 6.0):
        rows["wrench"][round(begin * HZ) : round((begin + 0.1) * HZ), 2] = 9.0
    assert (touches(rows, STROKE).presses / HZ).tolist() == [3.0, 6.0]
    assert touches(recorded(), STROKE).presses.tolist() == []


def test_places_are_told_in_the_frame_of_the_measured_tcp_and_for_the_same_instruction():
    rows = recorded()
    shut(rows, 5.0, 8.0, 0.03)
    found = touches(rows, STROKE)
    sent = np.zeros((len(rows), 6))
    sent[:, :3] = 0.45, 0.08, 0.05
    at = np.array([0, 1 * HZ, 2 * HZ, 6 * HZ, 9 * HZ])
    ends = np.array([20, 4, 20, 20, 20]) * 10**9
    places = next_places(rows, sent, at, ends, found.grasps, found.holds, Chain())
    # The tool points down, so its z is the way down and its y is turned.
    np.testing.assert_allclose(places[0], (0.05, 0.02, 0.25), atol=1e-6)
    assert np.isnan(places[1]).all()  # another instruction comes before
    np.testing.assert_allclose(places[2], places[0])
    assert np.isnan(places[3]).all()  # it is held
    assert np.isnan(places[4]).all()  # nothing comes any more


def test_touches_count_only_where_the_teacher_would_have_done_the_same():
    pytest.importorskip("torch", reason="reading samples wants PyTorch: `make torch`")
    from headway.learn.policy.samples import approved

    chunks = np.zeros(3, [("t0_ns", "<i8"), ("actions", "<f4", (6, 7)), ("label", "<f4", (6, 7))])
    chunks["t0_ns"] = 0, 100, 200
    chunks["label"][1, 0, 1] = 0.03  # the teacher would have gone 3 cm elsewhere
    chunks["label"][2] = np.nan  # nobody said what he would have done
    times = np.array([50, 150, 199, 250], np.int64)
    assert approved(chunks, times).tolist() == [True, False, False, True]
    chunks["label"][:] = np.nan
    assert approved(chunks, times).all()
