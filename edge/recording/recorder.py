"""The loop's side of a recording: copies into the ring, rings the doorbell, never touches a file.

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
import select
import struct
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

import headway
from headway.edge.recording import ring, schema
from headway.edge.recording.ring import BELL, Ring
from headway.edge.recording.schema import Channel
from headway.errors import Busy, RecordingError

_F_SETPIPE_SZ = 1031
LEVELS = {"debug": 1, "info": 2, "warning": 3, "error": 4, "fatal": 5}  # foxglove.Log.Level


class Recorder:
    """Records `channels` to a new MCAP file at `path`.

    lossless: wait while the ring is full (lock-step); else never wait, and count in `dropped` what
    found no room (wall clock). metadata: run configuration, seeds, versions. The file's bytes
    depend on nothing but the arguments and what is written.

    Raises RecordingError (path not writable, exists without `overwrite`), Busy (another process
    records there), ValueError (channels that cannot be recorded).
    """

    def __init__(
        self,
        path: Path | str,
        channels: Sequence[Channel],
        *,
        metadata: Mapping[str, str] | None = None,
        lossless: bool,
        overwrite: bool = False,
        capacity_bytes: int = 32 << 20,
        chunk_bytes: int = 1 << 20,
    ) -> None:
        schema.check(list(channels))
        self.path = Path(path)
        self.lossless = lossless
        self.written = self.dropped = self._final = 0
        self._closed = False
        self._channels = list(channels)
        self._ids = {c.topic: i for i, c in enumerate(channels)}
        self._sizes = [c.dtype.itemsize if c.dtype is not None else -1 for c in channels]
        self._seq = [0] * len(channels)
        self._head = self._tail = self._mark = 0
        setup = json.dumps(
            {
                "channels": [c.to_json() for c in channels],
                "metadata": dict(metadata or {}),
                "library": f"headway {headway.__version__}",
                "chunk_bytes": chunk_bytes,
                "lossless": lossless,
            }
        ).encode()
        file = _create(self.path, overwrite)
        try:
            self._start(file, setup, max(capacity_bytes, len(setup)))
        finally:
            os.close(file)  # the writer holds it, and with it the lock
        try:
            self._wait(lambda: self._ring.state != ring.STARTING, 60.0, "start")
        except BaseException:
            with contextlib.suppress(RecordingError):
                self.close()
            raise

    def _start(self, file: int, setup: bytes, capacity: int) -> None:
        memory = os.memfd_create("headway-recorder")
        os.ftruncate(memory, ring.HEADER + capacity)
        self._ring = Ring(memory)
        self._memory, self._capacity = self._ring.memory, capacity
        self._memory[ring.HEADER : ring.HEADER + len(setup)] = setup
        self._ring.words[4] = len(setup)
        bell, self._bell = os.pipe()
        self._status, status = os.pipe()
        with contextlib.suppress(OSError):  # the administrator may allow less than 32768 messages
            fcntl.fcntl(self._bell, _F_SETPIPE_SZ, 1 << 20)
        for fd in (bell, self._bell, self._status, status):
            os.set_blocking(fd, False)
        theirs = (memory, bell, status, file)
        env = os.environ | {
            "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
            "PYTHONSAFEPATH": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }
        command = [sys.executable, "-m", "headway.edge.recording.writer", *map(str, theirs)]
        try:
            self._writer = subprocess.Popen(
                [*command, str(os.getpid())],
                pass_fds=theirs,
                env=env,
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C reaches the loop, not the writer
            )
        finally:
            for fd in (memory, bell, status):
                os.close(fd)

    @property
    def acknowledged(self) -> int:
        """How many of `written` are in the file."""
        return self._ring.acknowledged if not self._closed else self._final

    def write(self, channel: str | int, t_ns: int, row: Any) -> None:
        """Record one row (np.void or 0-d array of the channel's dtype) at `t_ns` >= 0.

        Copies a kilobyte in about a microsecond and makes one system call. Raises RecordingError in
        lossless mode when the writer is gone; else `check` tells.
        """
        i = channel if isinstance(channel, int) else self._ids[channel]
        size = self._sizes[i]
        if row.nbytes != size or row.dtype != self._channels[i].dtype:
            raise ValueError(
                f"{self._channels[i].topic}: wanted one row of {self._channels[i].dtype}, "
                f"found {row.dtype} of {row.nbytes} bytes"
            )
        at = self._reserve(size)
        if at >= 0:
            self._memory[at : at + size] = row
        self._ring_bell(i, t_ns, size, at >= 0)

    def image(self, topic: str, t_ns: int, pixels: NDArray[Any], frame_id: str = "") -> None:
        """Record (h, w, 3) or (h, w) uint8, (h, w) uint16 depth [mm] or float32 [m]."""
        i = self._kind(topic, "image")
        code = _encoding(pixels)
        name = (frame_id or self._channels[i].frame_id).encode()
        head = ring.IMAGE.pack(code, len(name), *pixels.shape[:2]) + name
        self._send(i, t_ns, head, np.ascontiguousarray(pixels).data)

    def calibration(
        self, topic: str, t_ns: int, intrinsics: NDArray[Any], height: int, width: int
    ) -> None:
        """Record the pinhole matrix (3, 3) [px] of a camera; once is enough."""
        i = self._kind(topic, "calibration")
        name = self._channels[i].frame_id.encode()
        k = np.asarray(intrinsics, np.float64).reshape(9).tolist()
        self._send(i, t_ns, ring.CALIBRATION.pack(len(name), height, width, *k) + name)

    def log(self, t_ns: int, level: str, text: str, topic: str = "/log") -> None:
        """Record a line; `level` is one of debug, info, warning, error, fatal."""
        self._send(self._kind(topic, "log"), t_ns, bytes([LEVELS[level]]) + text.encode())

    def _kind(self, topic: str, kind: str) -> int:
        i = self._ids.get(topic, -1)
        if i < 0 or self._channels[i].kind != kind:
            have = [c.topic for c in self._channels if c.kind == kind]
            raise ValueError(f"wanted a channel of kind {kind}, found {topic!r}: there are {have}")
        return i

    def _send(self, i: int, t_ns: int, head: bytes, body: bytes | memoryview = b"") -> None:
        size = len(head) + (body.nbytes if isinstance(body, memoryview) else len(body))
        at = self._reserve(size)
        if at >= 0:
            self._memory[at : at + len(head)] = head
            self._memory[at + len(head) : at + size] = body
        self._ring_bell(i, t_ns, size, at >= 0)

    def _reserve(self, size: int) -> int:
        """Offset in the mapping of `size` free bytes, which end at the new head; -1 = none."""
        pos, capacity = self._head, self._capacity
        self._mark = pos
        at = pos % capacity
        if at + size > capacity:  # a payload lies in one piece
            pos += capacity - at
            at = 0
        if pos + size - self._tail > capacity and not self._room(pos, size):
            return -1
        self._head = pos + size  # before the bell: an interrupt in between loses bytes, not order
        return ring.HEADER + at

    def _room(self, pos: int, size: int) -> bool:
        if self._closed:
            raise ValueError(f"the recording {self.path} is closed")
        if size > self._capacity:
            raise ValueError(
                f"wanted a message of at most {self._capacity} bytes, found {size}: "
                "give Recorder a larger capacity_bytes"
            )

        def room() -> bool:
            consumed = self._ring.consumed
            self._tail = pos if consumed == self._head else consumed  # empty: also the skipped end
            return pos + size - self._tail <= self._capacity

        if room():
            return True
        if self.lossless:
            self._wait(room, None, "make room")
        return self.lossless

    def _ring_bell(self, i: int, t_ns: int, size: int, room: bool) -> None:
        seq = self._seq[i]
        self._seq[i] = seq + 1 & 0xFFFFFFFF  # counts what was dropped, too: a gap is a loss
        try:
            record = BELL.pack(i, ring.MESSAGE, seq, size, t_ns, self._head - size)
        except struct.error:
            self._head = self._mark
            raise ValueError(f"wanted a time 0 <= t_ns < 2**64, found {t_ns}") from None
        if room and self._push(record, self.lossless):
            self.written += 1
        else:
            self._head = self._mark
            self.dropped += 1

    def _push(self, record: bytes, wait: bool) -> bool:
        """Through the pipe; False where that would mean waiting, or nobody listens."""
        while True:
            try:
                os.write(self._bell, record)
                return True
            except BlockingIOError:  # noqa: PERF203 - turns only while the pipe is full
                if not wait:
                    return False
                self._wait(self._bell_free, None, "read messages")
            except OSError:
                if wait:  # it is gone, or about to be
                    self._writer.wait()
                    self.check()
                return False

    def _bell_free(self) -> bool:
        poll = select.poll()
        poll.register(self._bell, select.POLLOUT)
        return bool(poll.poll(0))

    def _wait(self, ready: Any, timeout: float | None, what: str) -> None:
        """Until `ready()`; the writer sends a byte after everything that could make it so."""
        poll = select.poll()
        poll.register(self._status, select.POLLIN)
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            ended = False
            with contextlib.suppress(BlockingIOError):
                ended = os.read(self._status, 1 << 16) == b""
            if self._ring.state == ring.FAILED or ended:
                if ended:
                    self._writer.wait()
                self.check()
            if ready():
                return
            rest = None if end is None else end - time.monotonic()
            if ended or (rest is not None and rest <= 0):
                raise RecordingError(
                    f"wanted the recorder of {self.path} to {what} within {timeout} s, it did not: "
                    "the disk may be too slow; what it acknowledged is in the file"
                )
            poll.poll(None if rest is None else rest * 1000)

    def flush(self, timeout: float = 10.0) -> None:
        """Return when everything written is acknowledged. Raises RecordingError."""
        self.check()
        want = self.written
        self._push(BELL.pack(0, ring.FLUSH, 0, 0, 0, 0), True)
        self._wait(lambda: self._ring.acknowledged >= want, timeout, "flush")

    def check(self) -> None:
        """Raise RecordingError if the recorder is in trouble. Cheap enough for every tick."""
        if self._closed:
            return
        state = self._ring.state
        if state == ring.FAILED:
            raise RecordingError(
                f"cannot record to {self.path}: {self._ring.error}. {self._kept()}; free space or "
                "choose another place"
            )
        if state != ring.DONE and self._writer.poll() is not None:
            code = self._writer.returncode
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            raise RecordingError(
                f"the recorder process of {self.path} ended with {how}. {self._kept()}; run again"
            )

    def _kept(self) -> str:
        return f"The first {self._ring.acknowledged} of {self.written} messages are in the file"

    def close(self) -> None:
        """Write what is left and the footer, and wait for it. Idempotent. Raises RecordingError."""
        if self._closed:
            return
        error: RecordingError | None = None
        try:
            self.check()
            self._push(BELL.pack(0, ring.CLOSE, 0, self.dropped, 0, 0), True)
        except RecordingError as e:
            error = e
        os.close(self._bell)
        self._writer.wait()
        try:
            self.check()
        except RecordingError as e:
            error = e
        self._final, self._closed = self._ring.acknowledged, True
        self._bell, self._tail = -1, -(1 << 62)  # a later write finds no room, and says why
        os.close(self._status)
        self._ring.close()
        if error is not None:
            raise error

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None:
        with contextlib.suppress(*([RecordingError] if e is not None else [])):  # hide no first one
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
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as e:
        raise RecordingError(
            f"wanted to write a recording at {path}: {e.strerror}; choose another place"
        ) from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(fd).st_size and not overwrite:
            raise RecordingError(
                f"wanted a new recording at {path}, found one: choose another name or overwrite it"
            )
        os.ftruncate(fd, 0)
    except BaseException as e:
        os.close(fd)
        if isinstance(e, BlockingIOError):
            raise Busy(
                f"wanted to record to {path}, found another run recording there: wait for its end "
                "or choose another name"
            ) from None
        raise
    return fd
