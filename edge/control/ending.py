"""When a run is asked to end, and what happens then: the one place that decides.

| asked by | |
|---|---|
| Ctrl-C, Ctrl-\\, SIGTERM | SIGINT, SIGQUIT, SIGTERM |
| a dropped ssh session, a closed terminal | SIGHUP, and output that nobody takes any more |
| Ctrl-Z, in real time only | SIGTSTP: a suspended loop would leave the arm to itself |
| timers and limits of others | the rest of `headway.child.ENDS` |

Asked once: before the first episode, what was begun is given up; during an episode, its loop stops
the arm and closes the recording (`"end": "interrupted"`, no outcome); then the run ends, with exit
code EXIT_INTERRUPTED. Asked again by a signal: the arm is told to stop once more, for at most
STOP_S, and the process ends by that signal; its recorder, a process of its own, still closes the
recording.
A signal that was ignored when the run began (`nohup`) stays ignored.

What asks once often sends twice: of a terminal that closes, SIGHUP comes from the kernel and from
the shell, and `timeout` signals a process and its group. So what comes within AGAIN_S of the first
signal is the same request, and SIGHUP is never a second one.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from types import FrameType
from typing import IO, Any, cast

from headway.child import ENDS
from headway.edge.control.loop import Loop

EXIT_INTERRUPTED = 130  # exit code, whatever asked
AGAIN_S = 0.5
STOP_S = 1.0  # what a stop of the arm may take when the process is to end at once
# A background process that reads or writes its terminal would be suspended.
_SUSPENDS = (signal.SIGTTIN, signal.SIGTTOU)


class Ending:
    """`with Ending(realtime=True) as ending:` around a run, in its main thread; `watch` when there
    is a loop."""

    def __init__(self, *, realtime: bool) -> None:
        self.why = ""  # what asked first, in words; "": nothing did
        self.by_signal = False  # whether a signal did
        self._first_s = 0.0  # when, on the monotonic clock
        self._loop: Loop | None = None
        self._realtime = realtime
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Ending:
        for number in (*ENDS, *((signal.SIGTSTP,) if self._realtime else ())):
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._signalled)
        for number in _SUSPENDS if self._realtime else ():
            self._before[number] = signal.signal(number, signal.SIG_IGN)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def watch(self, loop: Loop) -> None:
        """From now on it is this loop that ends when the run is asked to."""
        self._loop = loop
        if self.why:
            loop.stop_requested = True

    def ask(self, why: str) -> None:
        """Ask the run to end. Does nothing more when it was asked before."""
        self.why = self.why or why
        if self._loop is not None:
            self._loop.stop_requested = True

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.by_signal:
            if number != signal.SIGHUP and now - self._first_s > AGAIN_S:
                self._at_once(number)
            return
        self.by_signal, self._first_s = True, now
        self.ask(signal.Signals(number).name)
        if self._loop is None:
            raise KeyboardInterrupt  # there is no loop yet that could end: give up what is begun

    def _at_once(self, number: int) -> None:
        for other in self._before:
            signal.signal(other, signal.SIG_DFL)  # a third one is not for us
        if self._loop is not None:
            # In a thread: the driver's call that the loop may be stuck in can hold its lock.
            stop = threading.Thread(target=_stop, args=(self._loop,), daemon=True)
            stop.start()
            stop.join(STOP_S)
        os.kill(os.getpid(), signal.SIGTERM if number == signal.SIGTSTP else number)


def _stop(loop: Loop) -> None:
    with contextlib.suppress(Exception):  # the process ends whatever the driver says
        loop.station.arm_device.stop()


class Outlet:
    """The output `file` of a run: where nobody takes it any more, the run is asked to end and what
    it prints is dropped, so that no print gets between the loop and the stop of the arm.
    `error`: why it was not taken."""

    def __init__(self, file: IO[str], ending: Ending) -> None:
        self.error: OSError | None = None
        self._ending, self._file = ending, file

    def write(self, text: str) -> int:
        if self.error is None:
            try:
                return self._file.write(text)
            except OSError as e:
                self._failed(e)
        return len(text)

    def flush(self) -> None:
        if self.error is None:
            try:
                self._file.flush()
            except OSError as e:
                self._failed(e)

    def _failed(self, e: OSError) -> None:
        self.error = e
        self._ending.ask(f"output that cannot be written ({e.strerror})")

    def as_file(self) -> IO[str]:
        """For `rich.console.Console`: all that is not above is the file's own."""
        return cast("IO[str]", self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
