"""The loop's side of a recording: copies into shared memory, never touches a file.

    with Recorder(path, [Channel("/telemetry", dtype=telemetry.dtype(6))], lossless=True) as log:
        log.write("/telemetry", t_ns, row)

What `acknowledged` counts is in the file and with the operating system: killing any process loses
none of it. What was written before the loop's process was killed is recorded as well, since the
writer process drains the ring and closes the file. Only a killed writer or a full disk loses what
was not acknowledged yet, at most the last half second; `check` then raises.

One thread writes. Linux only (memfd).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

import headway
from headway.compiled import Computed
from headway.edge.recording import ring, schema
from headway.edge.recording.link import Link
from headway.edge.recording.ring import ACKNOWLEDGED
from headway.edge.recording.schema import Channel
from headway.edge.recording.tap import Feed
from headway.errors import Busy, RecordingError

LEVELS = {"debug": 1, "info": 2, "warning": 3, "error": 4, "fatal": 5}  # foxglove.Log.Level


class Recorder:
    """Records `channels` to a new MCAP file at `path`.

    lossless: wait while the ring is full (lock-step); else never wait, and count in `dropped` what
    found no room (wall clock). metadata: run configuration, seeds, versions. run: when and where, a
    metadata record of its own (`headway.edge.host.origin`). The file's bytes depend on nothing but
    the arguments and what is written. view: opens the feed of a live view, which the writer process
    serves as far as the view keeps up; None where there is none.

    Raises RecordingError (path not writable, exists without `overwrite`), Busy (another process
    records there), ValueError (channels that cannot be recorded).
    """

    def __init__(
        self,
        path: Path | str,
        channels: Sequence[Channel],
        *,
        metadata: Mapping[str, str] | None = None,
        run: Mapping[str, str] | None = None,
        lossless: bool,
        overwrite: bool = False,
        capacity_bytes: int = 32 << 20,
        chunk_bytes: int = 1 << 20,
        view: Callable[[], Feed | None] | None = None,
    ) -> None:
        schema.check(list(channels))
        self.path = Path(path)
        self.written = self.dropped = 0
        self._closed = False
        self._channels = list(channels)
        self._ids = {c.topic: i for i, c in enumerate(channels)}
        self._sizes = [c.dtype.itemsize if c.dtype is not None else -1 for c in channels]
        self._seq = [0] * len(channels)
        setup = {
            "channels": [c.to_json() for c in channels],
            "metadata": {str(k): str(v) for k, v in (metadata or {}).items()},
            "run": {str(k): str(v) for k, v in (run or {}).items()},
            "library": f"headway {headway.__version__}",
            "chunk_bytes": chunk_bytes,
        }
        file = _create(self.path, overwrite)
        feed: Feed | None = None
        try:
            text = json.dumps(setup).encode()
            feed = view and view()
            self._link = Link(self.path, file, text, capacity_bytes, lossless=lossless, view=feed)
        finally:
            os.close(file)  # the writer holds it, and with it the lock
            if feed is not None:
                os.close(feed.fd)

    @property
    def acknowledged(self) -> int:
        """How many of `written` are in the file."""
        return self._link.acknowledged if self._closed else self._link.ring.words[ACKNOWLEDGED]

    @property
    def computed_by(self) -> Computed:
        """What hands messages over: see `headway.edge.recording.pen`."""
        return self._link.computed_by

    @property
    def writer_pid(self) -> int:
        return self._link.pid

    def write(self, channel: str | int, t_ns: int, row: Any) -> None:
        """Record one row (np.void or 0-d array of the channel's dtype) at `t_ns` >= 0.

        `channel` is the topic, or its index in `channels`. One copy, and in lossless mode one
        system call. Raises ValueError for another dtype; in lossless mode RecordingError when the
        writer is gone.
        """
        i = channel if isinstance(channel, int) else self._ids.get(channel, -1)
        if i < 0:
            i = self._find(str(channel), "struct")
        size = self._sizes[i]
        if row.nbytes != size or row.dtype != self._channels[i].dtype:
            raise ValueError(
                f"{self._channels[i].topic}: wanted one row of {self._channels[i].dtype}, "
                f"found {row.dtype} of {row.nbytes} bytes"
            )
        self._send(i, t_ns, row)

    def image(self, topic: str, t_ns: int, pixels: NDArray[Any], frame_id: str = "") -> None:
        """Record (h, w, 3) or (h, w) uint8, (h, w) uint16 depth [mm] or float32 [m]."""
        i = self._find(topic, "image")
        code = _encoding(pixels)
        name = (frame_id or self._channels[i].frame_id).encode()
        head = ring.IMAGE.pack(code, len(name), *pixels.shape[:2]) + name
        self._send(i, t_ns, head, np.ascontiguousarray(pixels).data)

    def calibration(
        self, topic: str, t_ns: int, intrinsics: NDArray[Any], height: int, width: int
    ) -> None:
        """Record the pinhole matrix (3, 3) [px] of a camera; once is enough."""
        i = self._find(topic, "calibration")
        name = self._channels[i].frame_id.encode()
        k = np.asarray(intrinsics, np.float64).reshape(9).tolist()
        self._send(i, t_ns, ring.CALIBRATION.pack(len(name), height, width, *k) + name)

    def log(self, t_ns: int, level: str, text: str, topic: str = "/log") -> None:
        """Record a line; `level` is one of debug, info, warning, error, fatal."""
        self._send(self._find(topic, "log"), t_ns, bytes([LEVELS[level]]) + text.encode())

    def json(self, topic: str, t_ns: int, text: bytes) -> None:
        """Record a JSON message, an object in UTF-8 that follows the channel's schema."""
        self._send(self._find(topic, "json"), t_ns, text)

    def _find(self, topic: str, kind: str) -> int:
        i = self._ids.get(topic, -1)
        if i < 0 or self._channels[i].kind != kind:
            have = [c.topic for c in self._channels if c.kind == kind]
            raise ValueError(f"wanted a channel of kind {kind}, found {topic!r}: there are {have}")
        return i

    def _send(self, i: int, t_ns: int, head: Any, body: Any = b"") -> None:
        if self._closed:
            raise ValueError(f"the recording {self.path} is closed")
        if not 0 <= t_ns < 1 << 64:
            raise ValueError(f"wanted a time 0 <= t_ns < 2**64, found {t_ns}")
        seq = self._seq[i]
        sent = self._link.send(i, seq, t_ns, head, body)
        self._seq[i] = seq + 1 & 0xFFFFFFFF  # counts what is dropped, too: a gap is a loss
        if sent:
            self.written += 1
        else:
            self.dropped += 1

    def flush(self, timeout: float = 10.0) -> None:
        """Return when everything written is acknowledged. Raises RecordingError."""
        self.check()
        link, want = self._link, self.written
        link.ask(ring.FLUSH)
        link.wait(lambda: link.ring.words[ACKNOWLEDGED] >= want, timeout, "flush")

    def check(self) -> None:
        """Raise RecordingError if the recorder is in trouble. Cheap enough for every tick."""
        if not self._closed:
            self._link.check(self.written)

    def close(self) -> None:
        """Write what is left and the footer, and wait for it. Idempotent. Raises RecordingError."""
        if not self._closed:
            self._closed = True
            self._link.close(self.dropped, self.written)

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None:
        hide = [RecordingError] if e is not None else []  # the first error is the one to show
        with contextlib.suppress(*hide):
            self.close()


def _encoding(pixels: NDArray[Any]) -> int:
    colour = pixels.ndim == 3 and pixels.shape[2] == 3
    name = {"u1": "rgb8" if colour else "mono8", "u2": "16UC1", "f4": "32FC1"}.get(
        pixels.dtype.str[1:]
    )
    if name is None or not (pixels.ndim == 2 or (colour and name == "rgb8")):
        raise ValueError(
            "wanted an image (h, w, 3) uint8 or (h, w) uint8, uint16 or float32, "
            f"found {pixels.shape} {pixels.dtype}"
        )
    return ring.ENCODINGS.index(name)


def _create(path: Path, overwrite: bool) -> int:
    """A locked, empty file. Raises Busy or RecordingError."""
    fd = -1
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(fd).st_size and not overwrite:
            raise RecordingError(
                f"wanted a new recording at {path}, found one: choose another name or overwrite it"
            )
        os.ftruncate(fd, 0)
    except (OSError, RecordingError) as e:
        if fd >= 0:
            os.close(fd)
        if isinstance(e, BlockingIOError):
            raise Busy(
                f"wanted to record to {path}, found another run recording there: wait for its end "
                "or choose another name"
            ) from None
        if isinstance(e, OSError):
            raise RecordingError(
                f"wanted to write a recording at {path}: {e.strerror}; choose another place"
            ) from None
        raise
    return fd
