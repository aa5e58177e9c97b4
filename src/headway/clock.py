"""Time is injected: a wall clock on robots, a virtual clock in lock-step simulation and in tests.

All times are `int` nanoseconds. `Rate` keeps absolute deadlines: a late tick does not move the ones
after it, so the mean rate is exact, and lateness never accumulates.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

NS = 1_000_000_000


class Clock(Protocol):
    """`realtime` is False where time only moves when somebody sleeps (lock-step)."""

    realtime: bool

    def now(self) -> int:
        """The present time [ns]."""

    def sleep_until(self, t_ns: int) -> None:
        """Return at the time `t_ns` [ns], at once if that has passed."""


class WallClock:
    """CLOCK_MONOTONIC. The last `spin_ns` before a deadline are spun, not slept: on a stock kernel
    this takes the p99 lateness from about 200 us to a few microseconds, at the price of CPU."""

    realtime = True

    def __init__(self, spin_ns: int = 150_000) -> None:
        self.spin_ns = spin_ns

    now = staticmethod(time.monotonic_ns)  # no call of our own around it: a tick asks ten times

    def sleep_until(self, t_ns: int) -> None:
        rest = t_ns - self.spin_ns - time.monotonic_ns()
        if rest > 0:
            time.sleep(rest / NS)
        while time.monotonic_ns() < t_ns:
            pass


class VirtualClock:
    """Time moves only in `sleep_until`: nothing ever waits."""

    realtime = False

    def __init__(self, start_ns: int = 0) -> None:
        self._now = self._start = start_ns

    def now(self) -> int:
        return self._now

    def sleep_until(self, t_ns: int) -> None:
        self._now = max(self._now, t_ns)

    def restart(self) -> None:
        """Begin anew at `start_ns`."""
        self._now = self._start


@dataclass(slots=True)
class Tick:
    """Tick `index` was due at `t_ns`, began `late_ns` after that, and ends at `deadline_ns`."""

    index: int = 0
    t_ns: int = 0
    late_ns: int = 0
    deadline_ns: int = 0
    missed: int = 0  # deadlines skipped because the ticks before took too long


class Rate:
    """Absolute deadlines at `hz`, starting at `start_ns` (default: now).

    Yields one `Tick`, always the same object, refilled: nothing is allocated per tick. A tick that
    overruns whole periods skips them and counts them in `missed`, it never runs a burst.
    """

    def __init__(self, hz: float, clock: Clock, *, start_ns: int | None = None) -> None:
        if not hz > 0:
            raise ValueError(f"Rate wants hz > 0, found {hz}")
        self.period_ns = round(NS / hz)
        self.clock = clock
        self.start_ns = clock.now() if start_ns is None else start_ns
        self.tick = Tick()

    def __iter__(self) -> Iterator[Tick]:
        clock, period, tick = self.clock, self.period_ns, self.tick
        index = 0
        while True:
            due = self.start_ns + index * period
            clock.sleep_until(due)
            late = clock.now() - due
            skipped = late // period if late > 0 else 0
            index += skipped
            tick.index, tick.missed = index, skipped
            tick.t_ns = due + skipped * period
            tick.late_ns = late - skipped * period
            tick.deadline_ns = tick.t_ns + period
            yield tick
            index += 1
