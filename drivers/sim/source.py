"""What the simulated devices have in common: pacing, sequence numbers, health."""

from __future__ import annotations

from typing import Generic, TypeVar

from headway.clock import NS
from headway.drivers.sim.cell import Cell
from headway.types import Health, Info, Sample, Stamp

T = TypeVar("T")


class SimDevice(Generic[T]):
    """Pacing, sequence numbers and health. Subclasses give `read`."""

    waits = False  # the physics is stepped by whoever reads

    def __init__(self, cell: Cell, info: Info, rate_hz: float) -> None:
        self.cell, self.info, self.rate_hz = cell, info, rate_hz
        self._period_ns = round(NS / rate_hz)
        self._due = 0
        self._seq = 0
        self._invalid = 0
        self._state = "closed"

    def open(self, timeout_s: float) -> None:
        self._state = "ok"

    def close(self) -> None:
        self._state = "closed"

    def health(self) -> Health:
        return Health(self._state, self.rate_hz, 0, self._seq, self._invalid)

    def _pace(self, timeout_s: float) -> None:
        """In real time wait for the next sample of `rate_hz`; not with `timeout_s` 0, and never in
        lock-step."""
        clock = self.cell.clock
        if timeout_s > 0 and clock.realtime:
            self._due = max(self._due + self._period_ns, clock.now())
            clock.sleep_until(self._due)

    def _stamped(self, t_ns: int, value: T) -> Sample[T]:
        self._seq += 1
        return Sample(Stamp(t_ns, self.cell.clock.now(), self._seq), value)


class SimSource(SimDevice[T]):
    """Subclasses give `sample()`, which is called with the cell's lock held."""

    def sample(self) -> T:
        raise NotImplementedError

    def read(self, timeout_s: float) -> Sample[T]:
        if timeout_s > 0:
            self._pace(timeout_s)
        cell = self.cell
        with cell.lock:
            cell.sync()
            value = self.sample()
            t = cell.t_ns
        return self._stamped(t, value)
