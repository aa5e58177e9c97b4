"""Base classes of the simulated devices: `SimSource` for those that read a value of the cell, and
`SimDevice` for the camera, which renders without holding the cell's lock."""

from __future__ import annotations

from typing import Generic, TypeVar

from headway.clock import NS
from headway.drivers.sim.cell import Cell
from headway.errors import DeviceError
from headway.types import Health, Info, Sample, Stamp

T = TypeVar("T")


class SimDevice(Generic[T]):
    """Pacing, sequence numbers and health of a device of `cell` that gives samples at `rate_hz`
    [Hz]. Subclasses implement `read`."""

    waits = False  # reading steps the physics, so there is nothing to wait for

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
        """In real time, wait for the next period of `rate_hz`. With `timeout_s` 0, and always in
        lock-step, return at once."""
        if self._state == "closed":
            raise DeviceError(f"the {self.info.model} is closed: open it before reading")
        clock = self.cell.clock
        if timeout_s > 0 and clock.realtime:
            self._due = max(self._due + self._period_ns, clock.now())
            clock.sleep_until(self._due)

    def _stamped(self, t_ns: int, value: T) -> Sample[T]:
        self._seq += 1
        return Sample(Stamp(t_ns, self.cell.clock.now(), self._seq), value)


class SimSource(SimDevice[T]):
    """Subclasses implement `sample()`: the present value, computed while the cell's lock is
    held."""

    def sample(self) -> T:
        raise NotImplementedError

    def read(self, timeout_s: float) -> Sample[T]:
        self._pace(timeout_s)
        cell = self.cell
        with cell.lock:
            cell.sync()
            value = self.sample()
            t = cell.t_ns
        return self._stamped(t, value)
