"""What a driver counts, and the `Health` that follows."""

from __future__ import annotations

from headway.clock import NS, Clock
from headway.types import Health

_SMOOTH = 0.02  # of the mean period, per sample


class Counts:
    """Counts of one device since it was opened for the first time; a driver adds to the public
    numbers. `period_ns` [ns] is the device's own, from which follows when it is stale: without a
    sample for `stale_periods` of them."""

    def __init__(self, clock: Clock, period_ns: int, stale_periods: float = 3.0) -> None:
        self.clock, self.period_ns = clock, period_ns
        self.stale_ns = round(stale_periods * period_ns)
        self.received = self.invalid = self.lost = self.reordered = 0
        self.crc_errors = self.timeouts = self.reconnects = 0
        self.state = "closed"  # closed | ok | fault; stale follows from the age
        self._newest_ns = 0  # when the newest sample was measured
        self._mean_ns = 0.0  # between samples, 0 before the second one

    def sample(self, t_ns: int, valid: bool = True) -> int:
        """Count a sample that was measured at `t_ns` [ns]. Returns its sequence number."""
        if self.received:
            gap = t_ns - self._newest_ns
            self._mean_ns += (gap - self._mean_ns) * (_SMOOTH if self._mean_ns else 1.0)
        self._newest_ns = t_ns
        self.received += 1
        self.invalid += not valid
        return self.received + self.lost

    def opened(self) -> None:
        """The device was opened, or opened again."""
        self.reconnects += self.state == "fault"
        self.state = "ok"

    def health(self) -> Health:
        """What is known now."""
        age = self.clock.now() - self._newest_ns if self.received else 0
        stale = self.state == "ok" and self.received > 0 and age > self.stale_ns
        return Health(
            state="stale" if stale else self.state,
            rate_hz=NS / self._mean_ns if self._mean_ns > 0 else 0.0,
            age_ns=age,
            received=self.received,
            invalid=self.invalid,
            lost=self.lost,
            reordered=self.reordered,
            crc_errors=self.crc_errors,
            timeouts=self.timeouts,
            reconnects=self.reconnects,
        )
