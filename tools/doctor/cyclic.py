"""How punctual is a loop that does nothing? The loop's own `Rate` on a clock, as cyclictest
(rt-tests) measures a kernel, but through Python and all that the loop goes through."""

from __future__ import annotations

import gc
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headway.clock import NS, Clock, Rate
from headway.types import Vec

LATE = 0.1  # of the period: p99.9 of a rate that a machine holds


@dataclass(frozen=True)
class Punctuality:
    """`late_us` (ticks,): how late after its deadline each tick began; a tick that skipped
    deadlines is as late as the first one that it skipped."""

    hz: float
    late_us: Vec
    missed: int

    def percentile(self, p: float) -> float:
        return float(np.percentile(self.late_us, p))

    @property
    def held(self) -> bool:
        """p99.9 within LATE of the period, and no deadline missed."""
        return self.missed == 0 and self.percentile(99.9) <= LATE * 1e6 / self.hz

    @property
    def verdict(self) -> str:
        p, period = self.percentile(99.9), 1e6 / self.hz
        word = "holds" if self.held else "does not hold"
        missed = f"{self.missed} of {len(self.late_us) + self.missed} deadlines missed"
        return (
            f"{word} {self.hz:g} Hz: p99.9 lateness {p:.0f} us is {100 * p / period:.1f} % of the "
            f"period, {missed if self.missed else 'none missed'}"
        )


def punctuality(hz: float, seconds: float, clock: Clock) -> Punctuality:
    """Of `seconds` [s] at `hz`, after ten ticks to warm up, with the collector off."""
    n = max(1, round(hz * seconds))
    late: NDArray[np.int64] = np.zeros(n + 10, np.int64)
    rate, i, missed = Rate(hz, clock), 0, 0
    was_on = gc.isenabled()
    gc.disable()
    try:
        for tick in rate:
            late[i] = tick.late_ns + tick.missed * rate.period_ns
            if i >= 10:
                missed += tick.missed
            i += 1
            # by the time, not by the count: a machine that misses half takes no longer
            if i == len(late) or tick.t_ns - rate.start_ns >= (seconds + 10 / hz) * NS:
                break
    finally:
        if was_on:
            gc.enable()
    return Punctuality(hz, late[min(10, i - 1) : i] / 1e3, missed)
