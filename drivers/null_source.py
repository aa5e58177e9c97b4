"""The base class of the null devices, which need no hardware: they are always there, obey every
command and sense nothing. They serve to try a configuration, to test, and to time the control loop.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from headway.clock import NS, Clock
from headway.errors import DeviceError
from headway.types import Health, Info, Sample, Stamp

T = TypeVar("T")


class NullSource(Generic[T]):
    """Subclasses implement `sample()`, which gives the current value. In real time `read` waits for
    the next period of `rate_hz` [Hz]; with `timeout_s` 0, and always in lock-step, it returns at
    once. `clock` is the run's, `model` the device's name. `threaded` gives the device a reader
    thread, as if its `read` had to wait."""

    def __init__(self, clock: Clock, model: str, rate_hz: float, threaded: bool = False) -> None:
        self.info = Info("null", model)
        self.waits = threaded
        self.clock, self.rate_hz = clock, rate_hz
        self._period_ns = round(NS / rate_hz)
        self._due = self._seq = 0
        self._state = "closed"

    def sample(self) -> T:
        raise NotImplementedError

    def open(self, timeout_s: float) -> None:
        self._state = "ok"

    def read(self, timeout_s: float) -> Sample[T]:
        if self._state == "closed":
            raise DeviceError(f"{self.info.model} is closed: open it before reading")
        if timeout_s > 0 and self.clock.realtime:
            self._due = max(self._due + self._period_ns, self.clock.now())
            self.clock.sleep_until(self._due)
        t = self.clock.now()
        self._seq += 1
        return Sample(Stamp(t, t, self._seq), self.sample())

    def close(self) -> None:
        self._state = "closed"

    def health(self) -> Health:
        return Health(self._state, self.rate_hz, 0, self._seq)
