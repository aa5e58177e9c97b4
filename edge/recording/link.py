"""The loop's end of the rings and of the doorbell, and the writer process behind them.

Descriptors: the loop holds the writing end of the doorbell and the reading end of the status pipe;
there the writer sends a byte after everything somebody may wait for, and its end is its death.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from headway.child import environment
from headway.edge.recording import ring
from headway.edge.recording.ring import NOTE, NOTES, PAYLOAD, Ring
from headway.edge.recording.tap import Feed
from headway.errors import RecordingError

_START_S = 60.0
_PRACTICE_BYTES = 1 << 16


class Link:
    """Starts the writer on the open file `file` and waits until it is ready.

    lossless: `reserve` and `note` wait for the writer; else they refuse. view: the writer forwards
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
        self._noted = self._taken = 0  # as `_tail`, of notes
        self.acknowledged = 0  # set by `close`; until then it is in the ring's header
        memory = os.memfd_create("headway-recorder")
        os.ftruncate(memory, PAYLOAD + self.capacity)
        self.ring = Ring(memory)
        self.memory = self.ring.memory
        self.memory[PAYLOAD : PAYLOAD + len(setup)] = setup
        self.ring.words[ring.SETUP] = len(setup)
        bell, self._bell = os.pipe()
        self._status, status = os.pipe()
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
            self.wait(lambda: self.ring.words[ring.STATE] != ring.STARTING, _START_S, "start")
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
        return PAYLOAD + at

    def _room(self, pos: int, size: int) -> bool:
        if size > self.capacity:
            raise ValueError(
                f"wanted a message of at most {self.capacity} bytes, found {size}: "
                "give Recorder a larger capacity_bytes"
            )

        def room() -> bool:
            consumed = self.ring.words[ring.CONSUMED]
            self._tail = pos if consumed == self.head else consumed  # empty: also the skipped end
            return pos + size - self._tail <= self.capacity

        if not room() and self.lossless:
            self.wait(room, None, "make room")
        return pos + size - self._tail <= self.capacity

    def unreserve(self) -> None:
        self.head = self._before

    def note(self, channel: int, op: int, seq: int, length: int, t_ns: int, pos: int) -> bool:
        """False where there is no room. Raises struct.error, and when lossless RecordingError."""
        n = self._noted
        if n - self._taken >= NOTES and not self._note_free():
            return False
        at = ring.HEADER + n % NOTES * NOTE.size
        NOTE.pack_into(self.memory, at, channel, op, seq, length, t_ns, pos)
        self._noted = self.ring.words[ring.NOTED] = n + 1
        if self.lossless:  # there is time for it, and a writer that is gone must not go unnoticed
            self.knock(ring.SOON)
        return True

    def ask(self, op: int, value: int = 0) -> None:
        """Something else than a message; waits for room. Raises RecordingError."""
        while not self.note(0, op, 0, value, 0, 0):
            self.wait(lambda: self.ring.words[ring.TAKEN] > self._taken, None, "read messages")
        self.knock()

    def _note_free(self) -> bool:
        def free() -> bool:
            self._taken = self.ring.words[ring.TAKEN]
            return self._noted - self._taken < NOTES

        if not free() and self.lossless:
            self.wait(free, None, "read messages")
        return self._noted - self._taken < NOTES

    def knock(self, when: bytes = ring.NOW) -> None:
        """Make the writer look. Raises RecordingError where there is none any more."""
        try:
            os.write(self._bell, when)
        except BlockingIOError:  # it has knocks to hear
            pass
        except OSError:  # it is gone, or about to be
            self._writer.wait()
            self.check(0)

    def wait(self, ready: Callable[[], bool], timeout: float | None, what: str) -> None:
        """Until `ready()`. Raises RecordingError when the writer dies, or after `timeout` [s]."""
        with contextlib.suppress(RecordingError):  # the reason is below
            self.knock()
        poll = select.poll()
        poll.register(self._status, select.POLLIN)
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            ended = False
            with contextlib.suppress(BlockingIOError):
                ended = os.read(self._status, 1 << 16) == b""
            if ended:
                self._writer.wait()
            if ended or self.ring.words[ring.STATE] == ring.FAILED:
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
        state = self.ring.words[ring.STATE]
        if state == ring.DONE or (state != ring.FAILED and self._writer.poll() is None):
            return
        of = f" of {written}" if written is not None else ""
        kept = f"the first {self.ring.words[ring.ACKNOWLEDGED]}{of} messages are in the file"
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
                self.ask(ring.CLOSE, dropped)
            os.close(self._bell)
            self._bell = -1
            self._writer.wait()
            self.check(written)
        finally:
            self.acknowledged = self.ring.words[ring.ACKNOWLEDGED]
            self._release()

    def _release(self) -> None:
        for fd in (self._bell, self._status):
            if fd >= 0:
                os.close(fd)
        self._bell = self._status = -1
        self.ring.close()


class Practice(Link):
    """For `headway.edge.rehearsal`: memory of its own, which is never full and nobody reads."""

    def __init__(self, real: Link) -> None:
        self.__dict__.update(real.__dict__)
        self.capacity, self.lossless = _PRACTICE_BYTES, False
        fd = os.memfd_create("headway-practice")
        os.ftruncate(fd, PAYLOAD + self.capacity)
        self.ring = Ring(fd)
        os.close(fd)
        self.memory = self.ring.memory
        self.head = self._tail = self._before = self._noted = self._taken = 0

    def _room(self, pos: int, size: int) -> bool:
        self._tail = pos
        return size <= self.capacity

    def _note_free(self) -> bool:
        self._taken = self._noted
        return True
