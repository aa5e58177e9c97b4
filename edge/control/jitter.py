"""How unsteadily samples arrive."""

from __future__ import annotations

from headway.clock import NS
from headway.types import Stamp


class Jitter:
    """Interarrival jitter as in RTP (RFC 3550, 6.4.1): the smoothed difference of the transit times
    of samples that follow each other, J += (|D| - J) / 16. A constant delay counts as none."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._last: Stamp | None = None

    def step(self, stamp: Stamp) -> None:
        """A sample was used; the same one again changes nothing."""
        last = self._last
        if stamp is last:
            return
        if last is not None:
            transit = stamp.arrival_ns - stamp.t_ns
            gap = abs(transit - (last.arrival_ns - last.t_ns)) / NS
            self.seconds += (gap - self.seconds) / 16.0
        self._last = stamp
