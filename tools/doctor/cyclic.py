"""Measure how punctual an empty loop is. It uses the control loop's own `Rate`, so that it includes
the delays of Python, whereas cyclictest (rt-tests) measures the kernel alone."""

from __future__ import annotations

import gc
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headway.clock import NS, Clock, Rate
from headway.types import Vec

LATE = 0.1  # largest p99.9 lateness of a rate that the machine holds, as a share of the period


@dataclass(frozen=True)
class Punctuality:
    """The lateness of a loop at `hz` [Hz]: `late_us` (n,) [us] is how long after it was due each
    tick began. A tick after skipped deadlines counts from the first one skipped; `missed` is the
    number of skipped deadlines."""

    hz: float
    late_us: Vec
    missed: int

    def percentile(self, p: float) -> float:
        """The `p`-th percentile (0..100) of the lateness [us]."""
        return float(np.percentile(self.late_us, p))

    @property
    def held(self) -> bool:
        """Whether p99.9 is within LATE of the period and no deadline was missed."""
        return self.missed == 0 and self.percentile(99.9) <= LATE * 1e6 / self.hz

    @property
    def verdict(self) -> str:
        """Whether the rate was held, and the numbers behind that, as one line for people."""
        p, period = self.percentile(99.9), 1e6 / self.hz
        word = "holds" if self.held else "does not hold"
        missed = f"{self.missed} of {len(self.late_us) + self.missed} deadlines missed"
        return (
            f"{word} {self.hz:g} Hz: p99.9 lateness {p:.0f} us is {100 * p / period:.1f} % of the "
            f"period, {missed if self.missed else 'none missed'}"
        )


def punctuality(hz: float, seconds: float, clock: Clock) -> Punctuality:
    """Measure a loop at `hz` [Hz] on `clock` for `seconds` [s], after ten ticks to warm up, with
    Python's garbage collector off."""
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
            # Stop by time as well: a machine that misses half of the ticks takes no longer.
            if i == len(late) or tick.t_ns - rate.start_ns >= (seconds + 10 / hz) * NS:
                break
    finally:
        if was_on:
            gc.enable()
    return Punctuality(hz, late[min(10, i - 1) : i] / 1e3, missed)
