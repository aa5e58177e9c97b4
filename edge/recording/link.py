"""The loop's end of the ring and of the doorbell, and the writer process behind them.

Descriptors: the loop holds the writing end of the doorbell and the reading end of the status pipe;
there the writer sends a byte after everything somebody may wait for, and its end is its death.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from headway.child import environment
from headway.edge.recording import ring
from headway.edge.recording.ring import BELL, Ring
from headway.edge.recording.tap import Feed
from headway.errors import RecordingError

_F_SETPIPE_SZ = 1031
_START_S = 60.0


class Link:
    """Starts the writer on the open file `file` and waits until it is ready.

    lossless: `reserve` and `push` wait for the writer; else they refuse. view: the writer forwards
    what it writes there. Raises RecordingError.
    """

    def __init__(
        self,
        path: Path,
        file: int,
        setup: bytes,
        capacity: int,
        *,
        lossless: bool,
        view: Feed | None = None,
    ) -> None:
        self.path, self.lossless = path, lossless
        self.capacity = max(capacity, len(setup))
        self.head = 0  # end of the newest payload
        self._tail = 0  # everything before it is free; lags behind the writer
        self._before = 0  # the head before the last `reserve`
        self.acknowledged = 0  # set by `close`; until then it is in the ring's header
        memory = os.memfd_create("headway-recorder")
        os.ftruncate(memory, ring.HEADER + self.capacity)
        self.ring = Ring(memory)
        self.memory = self.ring.memory
        self.memory[ring.HEADER : ring.HEADER + len(setup)] = setup
        self.ring.words[4] = len(setup)
        bell, self._bell = os.pipe()
        self._status, status = os.pipe()
        with contextlib.suppress(OSError):  # the administrator may allow less than 32768 messages
            fcntl.fcntl(self._bell, _F_SETPIPE_SZ, 1 << 20)
        for fd in (bell, self._bell, self._status, status):
            os.set_blocking(fd, False)
        theirs = (memory, bell, status, file)
        try:
            self._writer = subprocess.Popen(
                [sys.executable, "-m", "headway.edge.recording.writer"]
                + [str(n) for n in (*theirs, os.getpid(), *(view or ()))],
                pass_fds=(*theirs, view.fd) if view else theirs,
                env=environment(),
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C reaches the loop, not the writer
            )
        except BaseException:
            self._release()
            raise
        finally:
            for fd in (memory, bell, status):
                os.close(fd)
        try:
            self.wait(lambda: self.ring.state != ring.STARTING, _START_S, "start")
        except BaseException:
            self._writer.kill()
            self._writer.wait()
            self._release()
            raise

    @property
    def pid(self) -> int:
        return self._writer.pid

    def reserve(self, size: int) -> int:
        """Offset in `memory` of `size` free bytes, which end at the new head; -1 = none."""
        pos, capacity = self.head, self.capacity
        self._before = pos
        at = pos % capacity
        if at + size > capacity:  # a payload lies in one piece
            pos += capacity - at
            at = 0
        if pos + size - self._tail > capacity and not self._room(pos, size):
            return -1
        self.head = pos + size
        return ring.HEADER + at

    def _room(self, pos: int, size: int) -> bool:
        if size > self.capacity:
            raise ValueError(
                f"wanted a message of at most {self.capacity} bytes, found {size}: "
                "give Recorder a larger capacity_bytes"
            )

        def room() -> bool:
            consumed = self.ring.consumed
            self._tail = pos if consumed == self.head else consumed  # empty: also the skipped end
            return pos + size - self._tail <= self.capacity

        if not room() and self.lossless:
            self.wait(room, None, "make room")
        return pos + size - self._tail <= self.capacity

    def unreserve(self) -> None:
        self.head = self._before

    def push(self, record: bytes, *, wait: bool) -> bool:
        """Through the doorbell; False where that would mean waiting, or nobody listens."""
        while True:
            try:
                os.write(self._bell, record)
                return True
            except BlockingIOError:  # noqa: PERF203 - turns only while the pipe is full
                if not wait:
                    return False
                self.wait(self._bell_free, None, "read messages")
            except OSError:
                if wait:  # it is gone, or about to be
                    self._writer.wait()
                    self.check(0)
                return False

    def _bell_free(self) -> bool:
        poll = select.poll()
        poll.register(self._bell, select.POLLOUT)
        return bool(poll.poll(0))

    def wait(self, ready: Callable[[], bool], timeout: float | None, what: str) -> None:
        """Until `ready()`. Raises RecordingError when the writer dies, or after `timeout` [s]."""
        poll = select.poll()
        poll.register(self._status, select.POLLIN)
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            ended = False
            with contextlib.suppress(BlockingIOError):
                ended = os.read(self._status, 1 << 16) == b""
            if ended:
                self._writer.wait()
            if ended or self.ring.state == ring.FAILED:
                self.check(None)
            if ready():
                return
            rest = None if end is None else end - time.monotonic()
            if ended or (rest is not None and rest <= 0):
                raise RecordingError(
                    f"wanted the recorder of {self.path} to {what} within {timeout} s, it did not: "
                    "the disk may be too slow; what it acknowledged is in the file"
                )
            poll.poll(None if rest is None else rest * 1000)

    def check(self, written: int | None) -> None:
        """Raise RecordingError when the writer is in trouble."""
        state = self.ring.state
        if state == ring.DONE or (state != ring.FAILED and self._writer.poll() is None):
            return
        of = f" of {written}" if written is not None else ""
        kept = f"the first {self.ring.acknowledged}{of} messages are in the file"
        if state == ring.FAILED:
            raise RecordingError(
                f"cannot record to {self.path}: {self.ring.error}; {kept}: free space or choose "
                "another place"
            )
        code = self._writer.returncode
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        raise RecordingError(f"the recorder of {self.path} ended with {how}; {kept}: run again")

    def close(self, dropped: int, written: int) -> None:
        """Let the writer finish and wait for it. Raises RecordingError."""
        try:
            with contextlib.suppress(RecordingError):  # the second check tells
                self.push(BELL.pack(0, ring.CLOSE, 0, dropped, 0, 0), wait=True)
            os.close(self._bell)
            self._bell = -1
            self._writer.wait()
            self.check(written)
        finally:
            self.acknowledged = self.ring.acknowledged
            self._release()

    def _release(self) -> None:
        for fd in (self._bell, self._status):
            if fd >= 0:
                os.close(fd)
        self._bell = self._status = -1
        self.ring.close()
