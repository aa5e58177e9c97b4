"""`Latest` gives the newest sample of a device without waiting. This is the only code of the
drivers that starts threads.

In real time, one reader thread per device waits in `read` and keeps the newest sample. In
lock-step, and for a source that never waits, there is no thread: `latest` itself reads. A device
that fails is closed, and opened again after a pause that grows with each failure up to 1 s; each
further attempt to open it has the same timeout as the first, since cameras and sensors take seconds
to boot. Meanwhile `latest` raises Stale once the newest sample is too old.
"""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

from headway.clock import NS, Clock
from headway.drivers import Source
from headway.errors import HeadwayError, Stale
from headway.types import Health, Sample

T = TypeVar("T")

_BACKOFF_S = (0.05, 0.1, 0.2, 0.5, 1.0)
_JOIN_S = 2.0


class Latest(Generic[T]):
    """Opens, reads and closes `source`, from `start` to `close`. `clock` is the run's. `name` is
    for messages, by default the model or kind of the device."""

    def __init__(self, source: Source[T], clock: Clock, name: str = "") -> None:
        self.source, self.clock = source, clock
        self.name = name or source.info.model or source.info.kind
        self._sample: Sample[T] | None = None  # replaced, never written into: no lock needed
        self._fault: str = ""
        self._failures = 0
        self._open_s = 1.0  # how long the device may take to open
        self._again_ns = 0  # without a thread: when to retry a failed device
        self._stop = threading.Event()
        self._first = threading.Event()
        self._seen = False
        self._thread: threading.Thread | None = None

    def start(self, timeout_s: float = 5.0) -> None:
        """Open the device within `timeout_s` [s]; with a reader thread, also wait that long for a
        first sample. Raises DeviceError, or Stale when no sample came."""
        self._sample, self._fault, self._failures, self._again_ns = None, "", 0, 0
        self._open_s = timeout_s
        try:
            self.source.open(timeout_s)
        except BaseException:
            self.source.close()  # it may have been opened in part
            raise
        # New events: a thread of an earlier start may still hang in its device, with the old ones.
        self._stop, self._first, self._seen = threading.Event(), threading.Event(), False
        if not (self.clock.realtime and self.source.waits):
            return
        self._thread = threading.Thread(
            target=self._pump, args=(self._stop,), name=f"latest-{self.name}", daemon=True
        )
        self._thread.start()
        try:
            if not self._first.wait(timeout_s):
                raise Stale(
                    f"wanted a first sample of {self.name} within {timeout_s} s, found none"
                    f"{self._why()}: is it connected and streaming?"
                )
        except BaseException:  # Ctrl-C too
            self.close()
            raise

    def restart(self) -> None:
        """Forget the last sample. For lock-step, where each episode restarts the clock."""
        self._sample, self._again_ns = None, 0

    @property
    def last(self) -> Sample[T] | None:
        """The newest sample of any age, without reading the device; None before the first."""
        return self._sample

    def latest(self, max_age_ns: int) -> Sample[T]:
        """The newest sample, valid or not. Raises Stale when it is older than `max_age_ns` [ns], or
        when there is none yet. After `close` no new one comes."""
        now = self.clock.now()
        reads = self._thread is None and not self._stop.is_set()
        if reads and now >= self._again_ns and (rest := self._step(0.0, self._stop)):
            self._again_ns = now + round(rest * NS)
        sample = self._sample
        if sample is None:
            raise Stale(f"{self.name} has not sent a sample yet{self._why()}")
        age = now - sample.stamp.t_ns
        if age > max_age_ns:
            raise Stale(
                f"wanted a sample of {self.name} of at most {max_age_ns / 1e6:.1f} ms, "
                f"found {age / 1e6:.1f} ms{self._why()}"
            )
        return sample

    def health(self) -> Health:
        return self.source.health()

    def close(self) -> None:
        """Stop reading and close the device. Waits at most 2 s for the reader thread; one that
        still hangs in `read` then is left behind."""
        self._stop.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(_JOIN_S)
        if thread is None or thread.is_alive():
            self.source.close()

    def _why(self) -> str:
        return f": {self._fault}" if self._fault else ""

    def _pump(self, stop: threading.Event) -> None:
        while not stop.is_set():
            if rest := self._step(1.0, stop):
                stop.wait(rest)
        if stop is self._stop:
            self.source.close()  # on this thread, because a GL context and the like belong to it

    def _step(self, timeout_s: float, stop: threading.Event) -> float:
        """Read once; after a failure, open the device first. Returns how long to pause before the
        next step [s]. Where `start` was called again meanwhile, `stop` is an old event: the device
        belongs to another thread, and what came of this reading does not count."""
        try:
            if self._failures:
                self.source.open(self._open_s)
            sample = self.source.read(timeout_s)
            if stop is not self._stop:
                return 0.0
            self._sample = sample
        except Stale as e:
            if stop is self._stop:
                self._fault = str(e)
        except Exception as e:  # DeviceError, or an error of the device's library
            if stop is not self._stop:
                return 0.0
            self._fault = str(e) if isinstance(e, HeadwayError) else f"{type(e).__name__}: {e}"
            self.source.close()
            self._failures += 1
            return _BACKOFF_S[min(self._failures, len(_BACKOFF_S)) - 1]
        else:
            if not self._seen:  # Event.set takes a lock, so it is called once
                self._seen = True
                self._first.set()
            if self._failures or self._fault:
                self._failures, self._fault = 0, ""
        return 0.0
