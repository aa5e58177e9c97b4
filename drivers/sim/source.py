"""What the simulated devices have in common: pacing, sequence numbers, health."""

from __future__ import annotations

from typing import Generic, TypeVar

from headway.clock import NS
from headway.drivers.sim.cell import Cell
from headway.types import Health, Info, Sample, Stamp

T = TypeVar("T")


class SimSource(Generic[T]):
    """Subclasses give `sample()`. In real time `read` waits for the next sample of `rate_hz`; with
    `timeout_s` 0, and always in lock-step, it takes one now."""

    def __init__(self, cell: Cell, info: Info, rate_hz: float) -> None:
        self.cell, self.info, self.rate_hz = cell, info, rate_hz
        self._period_ns = round(NS / rate_hz)
        self._due = 0
        self._seq = 0
        self._invalid = 0
        self._state = "closed"

    def sample(self) -> T:
        raise NotImplementedError

    def open(self, timeout_s: float) -> None:
        self._state = "ok"

    def read(self, timeout_s: float) -> Sample[T]:
        clock = self.cell.clock
        if timeout_s > 0 and clock.realtime:
            now = clock.now()
            self._due = max(self._due + self._period_ns, now)
            clock.sleep_until(self._due)
        self.cell.sync()
        with self.cell.lock:
            value = self.sample()
            t = self.cell.t_ns
        self._seq += 1
        return Sample(Stamp(t, clock.now(), self._seq), value)

    def close(self) -> None:
        self._state = "closed"

    def health(self) -> Health:
        return Health(self._state, self.rate_hz, 0, self._seq, self._invalid)
