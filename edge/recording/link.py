"""The loop's end of the rings and of the doorbell, and the writer process behind them.

Descriptors: the loop holds the writing end of the doorbell and the reading end of the status pipe;
there the writer sends a byte after everything somebody may wait for, and its end is its death.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from headway.child import environment
from headway.compiled import Computed
from headway.edge.recording import ring
from headway.edge.recording.pen import PythonPen, pen
from headway.edge.recording.ring import PAYLOAD, Ring
from headway.edge.recording.tap import Feed
from headway.errors import RecordingError

_START_S = 60.0
SILENT_S = 3.0  # a writer that takes nothing for so long while there is something to take hangs


class Link:
    """Starts the writer on the open file `file` and waits until it is ready.

    lossless: `send` waits for the writer; else it refuses. view: the writer forwards
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
        self.acknowledged = 0  # set by `close`; until then it is in the ring's header
        self._taken, self._taken_s = -1, 0.0  # of the notes, and when that was first seen [s]
        memory = os.memfd_create("headway-recorder")
        os.ftruncate(memory, PAYLOAD + max(capacity, len(setup)))
        self.ring = Ring(memory)
        if not lossless:
            self.ring.populate()
        self.ring.memory[PAYLOAD : PAYLOAD + len(setup)] = setup
        self.pen = pen(self.ring)
        self.computed_by: Computed = "python" if isinstance(self.pen, PythonPen) else "cpp"
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
        except OSError as e:
            self._release()
            if e.errno in (errno.EMFILE, errno.ENFILE):  # said of the run as a whole
                raise
            raise RecordingError(
                f"wanted a process that writes {path}, found that none can be started "
                f"({e.strerror}): see `ulimit -u` and the free memory"
            ) from None
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

    def send(self, channel: int, seq: int, t_ns: int, head: Any, body: Any = b"") -> bool:
        """Hand a message over; False where there is no room. Raises RecordingError when lossless,
        and ValueError for one that is larger than all the room."""
        if not self.lossless:
            return self.pen.put(channel, seq, t_ns, head, body)
        taken = self.ring.words[ring.TAKEN]
        while not self.pen.put(channel, seq, t_ns, head, body):
            taken = self._until_taken(taken, "make room")
        self.knock(ring.SOON)  # a writer that is gone must not go unnoticed
        return True

    def ask(self, op: int, value: int = 0, timeout: float | None = None) -> None:
        """Something else than a message; waits for room, for `timeout` [s] at most. Raises
        RecordingError."""
        taken = self.ring.words[ring.TAKEN]
        while not self.pen.ask(op, value):
            taken = self._until_taken(taken, "read messages", timeout)
        self.knock()

    def _until_taken(self, taken: int, what: str, timeout: float | None = None) -> int:
        """More than `taken` notes; how many now."""
        words = self.ring.words
        self.wait(lambda: words[ring.TAKEN] > taken, timeout, what)
        return words[ring.TAKEN]

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
                    "the disk may be too slow; what it acknowledged is in the file: choose a "
                    "faster place, or free this one of other work"
                )
            poll.poll(None if rest is None else rest * 1000)

    def check(self, written: int | None) -> None:
        """Raise RecordingError when the writer is in trouble; in real time also when it hangs."""
        state = self.ring.words[ring.STATE]
        if state == ring.DONE:
            return
        if state != ring.FAILED and self._writer.poll() is None:
            if not self.lossless:
                self._moves(written)
            return
        kept = self._kept(written)
        if state == ring.FAILED:
            raise RecordingError(
                f"cannot record to {self.path}: {self.ring.error}; {kept}: free space or choose "
                "another place"
            )
        code = self._writer.returncode
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        raise RecordingError(
            f"wanted the recorder of {self.path} to outlive the run, found that it ended with "
            f"{how}; {kept}: look for what ended it (too little memory?), then run again"
        )

    def _kept(self, written: int | None) -> str:
        of = f" of {written}" if written is not None else ""
        return f"the first {self.ring.words[ring.ACKNOWLEDGED]}{of} messages are in the file"

    def _moves(self, written: int | None) -> None:
        """Raise RecordingError where the writer has taken nothing for SILENT_S."""
        words, now = self.ring.words, time.monotonic()
        taken = words[ring.TAKEN]
        if taken != self._taken or taken == words[ring.NOTED]:
            self._taken, self._taken_s = taken, now
        elif now - self._taken_s > SILENT_S:
            raise RecordingError(
                f"wanted the recorder to write to {self.path}, found that it has taken nothing for "
                f"{SILENT_S:g} s; {self._kept(written)}: the disk hangs (a network drive?): "
                "choose another place"
            )

    def close(self, dropped: int, written: int) -> None:
        """Let the writer finish and wait for it. Raises RecordingError, also where the writer does
        not get on for SILENT_S: it is left alone then, and closes the file once the disk lets it.
        """
        try:
            with contextlib.suppress(RecordingError):  # what follows tells
                self.ask(ring.CLOSE, dropped, None if self.lossless else SILENT_S)
            os.close(self._bell)
            self._bell = -1
            self._until_done(written)
            self._writer.wait()
            self.check(written)
        finally:
            self.acknowledged = self.ring.words[ring.ACKNOWLEDGED]
            self._release()

    def _until_done(self, written: int) -> None:
        """Wait until the writer has ended. Raises RecordingError where it stands still."""
        words, so_far = self.ring.words, (-1, -1)
        while True:
            try:
                self._writer.wait(SILENT_S)
                return
            except subprocess.TimeoutExpired:
                before, so_far = so_far, (words[ring.TAKEN], words[ring.ACKNOWLEDGED])
            if so_far == before:
                threading.Thread(target=self._writer.wait, daemon=True).start()  # leaves no zombie
                raise RecordingError(
                    f"wanted the recorder to close {self.path}, found that it has not got on for "
                    f"{SILENT_S:g} s; {self._kept(written)}: the disk hangs; process "
                    f"{self._writer.pid} closes the file once it no longer does"
                )

    def _release(self) -> None:
        for fd in (self._bell, self._status):
            if fd >= 0:
                os.close(fd)
        self._bell = self._status = -1
        del self.pen
        self.ring.close()
