"""How irregularly the samples of a device arrive."""

from __future__ import annotations

from headway.clock import NS
from headway.types import Stamp


class Jitter:
    """Interarrival jitter `seconds` [s] as in RTP (RFC 3550, 6.4.1): J += (|D| - J) / 16, with D
    the difference of the transit times of two successive samples. A constant delay gives 0."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._last: Stamp | None = None

    def step(self, stamp: Stamp) -> None:
        """Take in a sample by its stamp; the same stamp again changes nothing."""
        last = self._last
        if stamp is last:
            return
        if last is not None:
            transit = stamp.arrival_ns - stamp.t_ns
            gap = abs(transit - (last.arrival_ns - last.t_ns)) / NS
            self.seconds += (gap - self.seconds) / 16.0
        self._last = stamp
