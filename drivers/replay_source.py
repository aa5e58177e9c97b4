"""The common part of the devices of kind `replay`, which play a recording back.

All devices that play the same file share one `Tape`. The first `open` starts it at the clock's
present time; a sample recorded s seconds after the first one of the file is due s seconds after
that. `read` gives the newest sample that is due: in lock-step at once, in real time after waiting
for a new one. After the end of the recording it raises Stale. Once all devices have been closed,
opening one starts from the beginning.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from headway.clock import NS, Clock
from headway.drivers import Context
from headway.errors import ConfigError, DeviceError, RecordingError, Stale
from headway.mcaplog import Recording, open_recording
from headway.types import Health, Info, Sample, Stamp
from headway.wire import Rows

T = TypeVar("T")


class Tape:
    """The opened recording at `path`, and `start_ns`, the time of `clock` at which playing began.
    A device calls `enter` when it opens and `leave` when it closes; the first `enter` starts the
    tape. Raises RecordingError for a file that cannot be read or has nothing to play."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self.log: Recording = open_recording(path, strict=True)
        self.clock = clock
        self.start_ns = 0
        self.origin_ns = self._origin()
        self._rows: dict[str, tuple[NDArray[np.int64], Rows]] = {}
        self._players = 0
        self._lock = threading.Lock()

    def _origin(self) -> int:
        """Time of the first row or image [ns], in the recording's clock. Log messages do not count:
        those from before the first tick are stamped 0."""
        firsts = []
        for topic in self.log.topics:
            schema = self.log.schema(topic)
            if schema == "foxglove.RawImage" or schema.startswith("headway."):
                firsts += [m.t_ns for m in [next(self.log.messages(topic), None)] if m is not None]
        if not firsts:
            raise RecordingError(
                f"wanted rows or images to play back from {self.log.path}, found none on "
                f"{', '.join(self.log.topics) or 'any topic'}: record a run with `headway run`"
            )
        return min(firsts)

    def rows(self, topic: str, columns: Sequence[str]) -> tuple[NDArray[np.int64], Rows]:
        """Times (m,) [ns], in the recording's clock, and rows (m,) of `topic`. Raises ConfigError
        when the topic has no rows or lacks one of `columns`."""
        if topic not in self._rows:
            self._rows[topic] = self.log.timed_rows(topic)
        times, rows = self._rows[topic]
        missing = [c for c in columns if c not in (rows.dtype.names or ())]
        if missing or not len(rows):
            found = ", ".join(rows.dtype.names or ()) if len(rows) else "no rows"
            raise ConfigError(
                f"wanted {', '.join(missing or columns)} on {topic} of {self.log.path}, found "
                f"{found}: choose another topic"
            )
        return times, rows

    def enter(self) -> None:
        with self._lock:
            if self._players == 0:
                self.start_ns = self.clock.now()
            self._players += 1

    def leave(self) -> None:
        with self._lock:
            self._players -= 1


def tape_of(path: str, ctx: Context) -> Tape:
    """The tape of the recording at `path`, which the devices of `ctx` share. Raises
    RecordingError."""
    where = Path(path).resolve()
    key = f"{__name__}:{where}"
    if key not in ctx.worlds:
        ctx.worlds[key] = Tape(where, ctx.clock)
    tape: Tape = ctx.worlds[key]
    return tape


class ReplaySource(Generic[T]):
    """Subclasses implement `sample(i)`: the value recorded at `times[i]`, and its flags, which say
    why it is not valid (none if it is). `times` (m,) [ns] are in the recording's clock."""

    waits = True  # `read` waits until the next sample is due

    def __init__(self, tape: Tape, info: Info, times: NDArray[np.int64]) -> None:
        self.tape, self.info = tape, info
        self._times = np.maximum.accumulate(times) - tape.origin_ns
        gaps = np.diff(self._times)
        self._period_ns = int(np.median(gaps)) if len(gaps) else 0
        self._last = -1  # index of the sample read last
        self._age = self._received = self._invalid = 0
        self._state = "closed"

    def sample(self, i: int) -> tuple[T, tuple[str, ...]]:
        raise NotImplementedError

    def open(self, timeout_s: float) -> None:
        if self._state == "closed":
            self.tape.enter()
            self._last, self._state = -1, "ok"

    def close(self) -> None:
        if self._state != "closed":
            self.tape.leave()
            self._state = "closed"

    def read(self, timeout_s: float) -> Sample[T]:
        if self._state == "closed":
            raise DeviceError(f"{self._name} is closed: open it before reading")
        clock = self.tape.clock
        i = self._due(clock.now())
        if clock.realtime and timeout_s > 0 and i <= self._last:
            i = self._wait(timeout_s)
        now = clock.now()
        played = now - self.tape.start_ns
        if i < 0 or played > self._times[-1] + 2 * self._period_ns:
            self._state = "stale"
            what = "begins later" if i < 0 else "has ended"
            raise Stale(
                f"wanted {self._name} at {played / NS:.3f} s, found that it lasts from "
                f"{self._times[0] / NS:.3f} to {self._times[-1] / NS:.3f} s: it {what}"
            )
        try:
            value, flags = self.sample(i)
        except RecordingError as e:  # damage at a later place in the file
            self._state = "fault"
            raise DeviceError(str(e)) from None
        if i != self._last:
            self._received += 1
            self._invalid += bool(flags)
        self._last, self._state = i, "ok"
        t_ns = int(self._times[i]) + self.tape.start_ns
        self._age = now - t_ns
        stamp = Stamp(t_ns, now, i + 1, int(self._times[i]) + self.tape.origin_ns)
        return Sample(stamp, value, not flags, flags)

    def _due(self, now: int) -> int:
        """Index of the newest sample due at `now` [ns]; -1 for none yet."""
        return int(np.searchsorted(self._times, now - self.tape.start_ns, side="right")) - 1

    def _wait(self, timeout_s: float) -> int:
        """Sleep until the sample after the last one is due, and return the index of the newest one
        due then. Raises Stale when none is due within `timeout_s` [s]."""
        clock = self.tape.clock
        limit = clock.now() + round(timeout_s * NS)
        if self._last + 1 < len(self._times):
            due = int(self._times[self._last + 1]) + self.tape.start_ns
            clock.sleep_until(min(due, limit))
        else:
            due = limit + 1
            clock.sleep_until(limit)
        if due > limit:
            self._state = "stale"
            raise Stale(f"wanted a sample of {self._name} within {timeout_s} s, found none due")
        return self._due(clock.now())

    def health(self) -> Health:
        rate = NS / self._period_ns if self._period_ns else 0.0
        return Health(self._state, rate, self._age, self._received, self._invalid)

    @property
    def _name(self) -> str:
        return f"the {self.info.model} of {self.info.uri}"


def info(tape: Tape, model: str) -> Info:
    """The `Info` of the recorded device `model`, such as "gripper"; its address is the path of the
    recording."""
    return Info("replay", f"recorded {model}", uri=str(tape.log.path))


def bad(**columns: Any) -> tuple[str, ...]:
    """A flag "NAME not finite" for every one of `columns` that holds a NaN or an infinity."""
    return tuple(f"{name} not finite" for name, v in columns.items() if not np.isfinite(v).all())
