"""The base of cameras that a vendor's library reads.

Such a library may hang: while it starts a camera, while it waits for an image, and most of all
while it stops. So each time that a camera is opened there is a session, a thread of its own that
makes every call to the library, and nobody waits for it longer than a bounded time. A session that
does not come back is abandoned: what it brings is ignored, and it stops its camera itself if it
ever returns. The next `open` begins a new one.

An old image is never given out as a new one: an image is only taken when it differs from the one
before it in its number and in its pixels. When none was taken for `dead_s`, `read` raises
DeviceError, and whoever reads opens the camera again.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from headway.clock import NS, Clock
from headway.drivers.counts import Counts
from headway.errors import DeviceError, HeadwayError, Stale
from headway.types import Frame, Health, Info, Sample, Stamp

_EVERY = 8  # rows and columns of an image that are compared with those of the one before
_BACK = 8  # a frame number that is smaller by up to this is an older image, not a camera anew
_AHEAD = 10_000  # a frame number that is larger by this is no gap, but a counter set anew
_AGAIN_S = 5e-3  # how often a thread looks whether it may go on, where nothing wakes it


class Shot(msgspec.Struct, frozen=True):
    """An image as the library gave it. `number`: the camera's own count of its images, None where
    it has none. `t_ns`, `arrival_ns`, `device_ns`, `error_ns`: as in `headway.types.Stamp`."""

    frame: Frame
    number: int | None
    t_ns: int
    arrival_ns: int
    device_ns: int | None = None
    error_ns: int = 0
    flags: tuple[str, ...] = ()


class Ended(Exception):  # noqa: N818  - no error: a recording has an end
    """Raised by `Grabber.grab` after the last image of a file."""


class Grabber(Protocol):
    """One use of a camera's library, from `start` to `stop`. All calls come from one thread."""

    @property
    def refused(self) -> str:
        """Why `grab` has given no image of late, "" where it has, or where nothing came."""

    def start(self) -> Info:
        """Begin to stream. Returns what the camera says about itself. Raises DeviceError."""

    def grab(self) -> Shot | None:
        """The next image, None when there was none for a fraction of a second, or none that is
        whole. Raises DeviceError when the camera is gone, Ended after the last image of a file."""

    def stop(self) -> None:
        """End the stream and release the camera. May raise anything."""


class Gate:
    """Lets each image pass once. `counts` are the camera's. `repeats`: images may look the same as
    the one before, as those of a test pattern; where they may not, one that does is a frozen one,
    since each pixel of a sensor is noisy."""

    def __init__(self, counts: Counts, repeats: bool) -> None:
        self._counts, self._repeats = counts, repeats
        self._number: int | None = None
        self._pixels: NDArray[np.uint8] | None = None
        self._depths: NDArray[np.uint16] | None = None
        self.refused = ""  # why the newest image was not taken, "" if it was

    def sample(self, shot: Shot) -> Sample[Frame] | None:
        """The sample of `shot`; None where it is not a new image."""
        counts, last, frame = self._counts, self._number, shot.frame
        if shot.number is not None and last is not None:
            step = shot.number - last
            if step == 0:
                counts.invalid += 1
                self.refused = f"frame {last} again and again"
                return None
            if -_BACK <= step < 0:
                counts.reordered += 1
                self.refused = f"frame {shot.number} after frame {last}"
                return None
            counts.lost += step - 1 if 0 < step < _AHEAD else 0
        self._number = shot.number
        if not self._repeats and self._same(frame):
            counts.invalid += 1
            self.refused = "the same image again and again"
            return None
        self.refused = ""
        seq = counts.sample(shot.t_ns)
        stamp = Stamp(shot.t_ns, shot.arrival_ns, seq, shot.device_ns, shot.error_ns)
        return Sample(stamp, frame, flags=shot.flags)

    def _same(self, frame: Frame) -> bool:
        pixels = frame.rgb[::_EVERY, ::_EVERY].copy()
        depths = None if frame.depth is None else frame.depth[::_EVERY, ::_EVERY].copy()
        before, deep = self._pixels, self._depths
        self._pixels, self._depths = pixels, depths
        if before is None or not np.array_equal(before, pixels):
            return False
        return depths is None or deep is None or np.array_equal(deep, depths)


class Session:
    """The thread that starts, reads and stops `grabber`. `end` asks it to finish; what it finds out
    is under the lock of `changed`."""

    def __init__(self, grabber: Grabber, gate: Gate, clock: Clock, name: str) -> None:
        self._grabber, self._gate, self._clock = grabber, gate, clock
        self.changed = threading.Condition()
        self.info: Info | None = None  # once the camera streams
        self.newest: Sample[Frame] | None = None
        self.heard_ns = 0  # when the last image was taken, at first when the camera started
        self.error: DeviceError | None = None
        self.ended = False  # a file has been played
        self._end = threading.Event()
        self.thread = threading.Thread(target=self._run, name=f"camera-{name}", daemon=True)
        self.thread.start()

    @property
    def why(self) -> str:
        """What came instead of a new image."""
        return self._gate.refused or self._grabber.refused or "no image"

    def end(self, wait_s: float) -> bool:
        """Ask the thread to stop the camera, and wait at most `wait_s` [s] for it. Whether it
        did."""
        self._end.set()
        with self.changed:
            self.changed.notify_all()
        self.thread.join(wait_s)
        return not self.thread.is_alive()

    def _run(self) -> None:
        try:
            info = self._grabber.start()
            with self.changed:
                self.info, self.heard_ns = info, self._clock.now()
                self.changed.notify_all()
            while not self._end.is_set():
                shot = self._grabber.grab()
                if shot is not None and not self._end.is_set():
                    self._take(shot)
        except Ended:
            with self.changed:
                self.ended = True
                self.changed.notify_all()
        except Exception as e:  # DeviceError, or an error of the library
            said = str(e) if isinstance(e, HeadwayError) else f"{type(e).__name__}: {e}"
            with self.changed:
                self.error = e if isinstance(e, DeviceError) else DeviceError(said)
                self.changed.notify_all()
        finally:
            with contextlib.suppress(Exception):  # there is nobody to tell
                self._grabber.stop()

    def _take(self, shot: Shot) -> None:
        with self.changed:
            sample = self._gate.sample(shot)
            if sample is None:
                return
            # In lock-step nothing is lost to a reader that is slow: the file waits for it.
            while not self._clock.realtime and self.newest and not self._end.is_set():
                self.changed.wait(_AGAIN_S)
            self.newest, self.heard_ns = sample, self._clock.now()
            self.changed.notify_all()


class CameraSource:
    """A camera whose images the Grabbers bring that `make` makes, one for each time it is opened.
    `info` says what is known before, `rate_hz` [Hz] how often there is an image. `dead_s` [s]: so
    long without a new image, and the camera has failed. `stop_s` [s]: so long `close` waits.
    `repeats`: see `Gate`. `size`: of its images as (height, width) [px], None where that shows once
    it is open. `abandoned` counts the sessions that did not end in time."""

    waits = True

    def __init__(
        self,
        clock: Clock,
        info: Info,
        make: Callable[[], Grabber],
        *,
        has_depth: bool,
        rate_hz: float,
        dead_s: float = 1.0,
        stop_s: float = 1.0,
        repeats: bool = False,
        size: tuple[int, int] | None = None,
    ) -> None:
        self.clock, self.info, self.has_depth, self.size = clock, info, has_depth, size
        self.counts = Counts(clock, round(NS / rate_hz))
        self.abandoned = 0
        self._make, self._dead_ns, self._stop_s = make, round(dead_s * NS), stop_s
        self._dead_s, self._repeats = dead_s, repeats
        self._session: Session | None = None

    @property
    def name(self) -> str:
        """What messages call this camera."""
        return self.info.model or f"{self.info.kind} camera"

    def open(self, timeout_s: float) -> None:
        if self.counts.state == "ok":
            return
        self.close()  # a session that failed
        gate = Gate(self.counts, self._repeats)
        session = self._session = Session(self._make(), gate, self.clock, self.name)
        with session.changed:
            session.changed.wait_for(
                lambda: session.info is not None or session.error is not None, timeout_s
            )
            info, error = session.info, session.error
        if info is None:
            self._give_up(session, 0.0)
            self.counts.state = "fault"
            raise error or DeviceError(
                f"wanted the {self.name} at {self.info.uri} to start within {timeout_s:g} s, found "
                "that its library still waits: unplug the camera and plug it in again"
            )
        self.info = info
        self.counts.opened()

    def read(self, timeout_s: float) -> Sample[Frame]:
        session = self._session
        if session is None:
            raise DeviceError(f"the {self.name} is closed: open it before reading")
        # What passes while this waits is real time, whatever the run's clock does.
        until = time.monotonic() + timeout_s
        with session.changed:
            while session.newest is None and session.error is None:
                left = until - time.monotonic()
                dead = (session.heard_ns + self._dead_ns - self.clock.now()) / NS
                if left <= 0.0 or (dead <= 0.0 and not session.ended):
                    break
                session.changed.wait(left if session.ended else min(left, dead + 1e-3))
            if session.newest is not None:
                sample, session.newest = session.newest, None
                session.changed.notify_all()
                return sample
            error, why = session.error, session.why
            silent = self.clock.now() - session.heard_ns > self._dead_ns
        if session.ended:
            raise Stale(f"wanted an image of {self.info.uri}, found that it has been played")
        if error is None and silent:
            error = DeviceError(
                f"wanted a new image of the {self.name} at {self.info.uri} within "
                f"{self._dead_s:g} s, found {why}: it is opened again; if that lasts, check its "
                "cable and power"
            )
        if error is not None:
            self.counts.state = "fault"
            raise error
        self.counts.timeouts += 1
        raise Stale(f"wanted an image of the {self.name} within {timeout_s:g} s, found {why}")

    def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            self._give_up(session, self._stop_s)
        if self.counts.state == "ok":
            self.counts.state = "closed"

    def _give_up(self, session: Session, wait_s: float) -> None:
        if self._session is session:
            self._session = None
        if not session.end(wait_s):
            self.abandoned += 1

    def health(self) -> Health:
        return self.counts.health()
