"""What the null devices have in common: a robot that is there, does as told and feels nothing.

For trying a configuration without hardware, for tests, and for measuring a loop without its robot.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from headway.clock import NS, Clock
from headway.errors import DeviceError
from headway.types import Health, Info, Sample, Stamp

T = TypeVar("T")


class NullSource(Generic[T]):
    """Subclasses give `sample()`. In real time `read` waits for the next sample of `rate_hz`; with
    `timeout_s` 0, and always in lock-step, it takes one now. `threaded`: behave like a device that
    is waited for, with a reader thread of its own."""

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
