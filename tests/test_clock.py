"""Absolute deadlines on clocks that the test moves."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.clock import NS, Rate, VirtualClock, WallClock

MS = 1_000_000


class WorkClock(VirtualClock):
    """A clock on which work takes time: every sleep also comes back `oversleep` late."""

    realtime = True

    def __init__(self, start_ns=0, oversleep=0):
        super().__init__(start_ns)
        self.oversleep = oversleep

    def sleep_until(self, t_ns):
        if t_ns > self.now():
            super().sleep_until(t_ns + self.oversleep)

    def work(self, ns):
        super().sleep_until(self.now() + ns)


def ticks(rate, n):
    """Copies of the first `n` ticks: (index, t_ns, late_ns, deadline_ns, missed)."""
    return [
        (t.index, t.t_ns, t.late_ns, t.deadline_ns, t.missed) for t in itertools.islice(rate, n)
    ]


def test_deadlines_are_absolute_and_exact():
    clock = VirtualClock(17)
    assert ticks(Rate(500, clock), 4) == [
        (k, 17 + k * 2 * MS, 0, 17 + (k + 1) * 2 * MS, 0) for k in range(4)
    ]
    assert clock.now() == 17 + 6 * MS


@given(st.lists(st.integers(0, 1_900_000), min_size=1, max_size=50), st.integers(0, 90_000))
def test_work_and_oversleep_within_the_period_never_move_a_deadline(work, oversleep):
    clock = WorkClock(5, oversleep)
    for k, (tick, ns) in enumerate(zip(Rate(500, clock), work, strict=False)):
        assert (tick.index, tick.t_ns, tick.missed) == (k, 5 + k * 2 * MS, 0)
        assert tick.late_ns == (oversleep if k else 0)
        clock.work(ns)


def test_an_overrun_skips_whole_periods_counts_them_and_never_bursts():
    clock = WorkClock()
    seen = []
    for tick in Rate(1000, clock):
        seen.append((tick.index, tick.missed, tick.late_ns))
        if tick.index == 2:
            clock.work(5 * MS + 300_000)  # from 2.0 to 7.3 ms
        if tick.index >= 9:
            break
    assert seen == [(0, 0, 0), (1, 0, 0), (2, 0, 0), (7, 4, 300_000), (8, 0, 0), (9, 0, 0)]


@given(st.lists(st.integers(0, 12 * MS), min_size=1, max_size=40))
def test_missed_and_run_ticks_add_up_whatever_the_work(work):
    clock = WorkClock(3)
    rate = Rate(500, clock)
    missed = 0
    for run, (tick, ns) in enumerate(zip(rate, work, strict=False)):
        missed += tick.missed
        assert tick.index == run + missed
        assert tick.t_ns == 3 + tick.index * rate.period_ns <= clock.now()
        assert 0 <= tick.late_ns < rate.period_ns
        clock.work(ns)


def test_a_start_in_the_past_is_late_and_one_to_come_is_waited_for():
    clock = WorkClock(10 * MS)
    assert ticks(Rate(500, clock, start_ns=3 * MS), 1) == [(3, 9 * MS, MS, 11 * MS, 3)]
    assert ticks(Rate(500, clock, start_ns=20 * MS), 1) == [(0, 20 * MS, 0, 22 * MS, 0)]


@pytest.mark.parametrize("hz", [0, -1, float("nan")])
def test_a_rate_wants_a_positive_frequency(hz):
    with pytest.raises(ValueError, match="hz > 0"):
        Rate(hz, VirtualClock())


def test_the_virtual_clock_moves_only_forward_until_it_begins_anew():
    clock = VirtualClock(3)
    clock.sleep_until(5)
    clock.sleep_until(4)
    assert clock.now() == 5
    clock.restart()
    assert clock.now() == 3


def test_the_wall_clock_never_returns_early():
    clock = WallClock()
    assert clock.realtime
    t = clock.now() + NS // 1000
    clock.sleep_until(t)
    assert clock.now() >= t
    clock.sleep_until(0)  # long past: returns
