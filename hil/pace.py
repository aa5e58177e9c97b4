"""When a device sends by itself: so many times a second, whatever else it does."""

from __future__ import annotations

import time
from collections.abc import Callable

_LONGEST_S = 1.0  # what is due after a longer absence is not made up for


class Pace:
    """`rate_hz` [Hz] on a grid that does not drift. `seconds` is the clock."""

    def __init__(self, rate_hz: float, seconds: Callable[[], float] = time.monotonic) -> None:
        self._period, self._seconds = 1.0 / rate_hz, seconds
        self._next = seconds() + self._period

    def wait_s(self) -> float:
        """How long until something is due [s]."""
        return max(self._next - self._seconds(), 0.0)

    def due(self) -> list[float]:
        """The times at which something was due since the last call [s]. What the machine has kept
        back comes late, but comes."""
        now = self._seconds()
        if now - self._next > _LONGEST_S:
            self._next = now
        times = []
        while self._next <= now:
            times.append(self._next)
            self._next += self._period
        return times

    def restart(self) -> None:
        """The next one is due a period from now."""
        self._next = self._seconds() + self._period
