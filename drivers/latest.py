"""The newest sample of a device with its age: the only thread code of all drivers.

On a real-time clock one reader thread per device blocks in `read` and keeps what it got last. In
lock-step there is no thread: `latest` reads. A device that fails is reopened with capped back-off;
meanwhile `latest` raises Stale as soon as the last sample is too old, and never waits.
"""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

from headway.clock import Clock
from headway.drivers import Source
from headway.errors import DeviceError, Stale
from headway.types import Health, Sample

T = TypeVar("T")

_BACKOFF_S = (0.05, 0.1, 0.2, 0.5, 1.0)


class Latest(Generic[T]):
    """Owns `source` from `start` to `close`. `max_age_ns` is asked for per call."""

    def __init__(self, source: Source[T], clock: Clock, name: str = "") -> None:
        self.source, self.clock = source, clock
        self.name = name or source.info.model or source.info.kind
        self._sample: Sample[T] | None = None  # replaced whole: one reference, no lock
        self._fault: str = ""
        self._stop = threading.Event()
        self._first = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, timeout_s: float = 5.0) -> None:
        """Open the device; in real time, return with a first sample. Raises DeviceError."""
        self.source.open(timeout_s)
        if not self.clock.realtime:
            return
        self._thread = threading.Thread(target=self._pump, name=f"latest-{self.name}", daemon=True)
        self._thread.start()
        if not self._first.wait(timeout_s):
            self.close()
            raise Stale(
                f"wanted a first sample of {self.name} within {timeout_s} s, found none"
                f"{': ' + self._fault if self._fault else ''}: is it connected and streaming?"
            )

    def latest(self, max_age_ns: int) -> Sample[T]:
        """The newest sample, valid or not. Raises Stale when it is older than `max_age_ns`."""
        if self._thread is None:
            try:
                self._sample = self.source.read(0.0)
            except Stale as e:
                self._fault = str(e)
        sample = self._sample
        if sample is None:
            raise Stale(f"{self.name} has not sent a sample yet {self._fault}")
        age = self.clock.now() - sample.stamp.t_ns
        if age > max_age_ns:
            raise Stale(
                f"wanted a sample of {self.name} of at most {max_age_ns / 1e6:.1f} ms, "
                f"found {age / 1e6:.1f} ms {self._fault}"
            )
        return sample

    def health(self) -> Health:
        return self.source.health()

    def close(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=2.0)
            self._thread = None
        self.source.close()

    def _pump(self) -> None:
        failures = 0
        while not self._stop.is_set():
            try:
                if failures:
                    self.source.open(1.0)
                self._sample = self.source.read(1.0)
                self._first.set()
                failures = 0
            except Stale as e:  # noqa: PERF203 - each read may fail on its own
                self._fault = str(e)
            except DeviceError as e:
                self._fault = str(e)
                self.source.close()
                self._stop.wait(_BACKOFF_S[min(failures, len(_BACKOFF_S) - 1)])
                failures += 1
