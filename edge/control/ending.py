"""Ending a run on request: what counts as a request, and what happens then.

| cause | what reaches the process |
|---|---|
| Ctrl-C, Ctrl-\\, SIGTERM | SIGINT, SIGQUIT, SIGTERM |
| a dropped ssh session, a closed terminal | SIGHUP, or output that can no longer be written |
| Ctrl-Z, in real time only | SIGTSTP: a suspended loop would leave the arm without commands |
| timers and resource limits | the rest of `headway.child.ENDS` |

First request: during an episode, the loop stops the arm and closes the recording (`"end":
"interrupted"`, no outcome). Before there is a loop, the start-up is abandoned. Then the run ends
with the exit code EXIT_INTERRUPTED.

Second request, by a signal: the arm is told to stop once more, which may take at most STOP_S, and
the process ends by that signal. Its recorder is a separate process and still closes the recording.

A signal that was already ignored when the run began (`nohup`) stays ignored.

One cause often sends several signals: when a terminal closes, the kernel and the shell both send
SIGHUP, and `timeout` signals a process and then its group. Therefore signals within AGAIN_S of the
first belong to the same request, and SIGHUP never counts as a second request.
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

EXIT_INTERRUPTED = 130  # exit code of an interrupted run, whatever the cause
AGAIN_S = 0.5  # [s]
STOP_S = 1.0  # [s] for the stop of the arm when the process has to end at once
# These suspend a background process that reads from or writes to its terminal.
_SUSPENDS = (signal.SIGTTIN, signal.SIGTTOU)


class Ending:
    """Handles requests to end a run: `with Ending(realtime=True) as ending:` around the run, in the
    main thread, then `watch` as soon as there is a loop. `realtime`: whether the process must not
    be suspended, because the arm would be left without commands."""

    def __init__(self, *, realtime: bool) -> None:
        self.why = ""  # the first request in words; "": there was none
        self.by_signal = False  # whether a signal has asked
        self._first_s = 0.0  # when the first signal came, on the monotonic clock
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
        """Let requests end the episode of `loop`; a request that has already come counts too."""
        self._loop = loop
        if self.why:
            loop.stop_requested = True

    def ask(self, why: str) -> None:
        """Ask the run to end. `why` says in words what asked; only the first reason is kept."""
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
            raise KeyboardInterrupt  # there is no loop yet that could end: abandon the start-up

    def _at_once(self, number: int) -> None:
        for other in self._before:
            signal.signal(other, signal.SIG_DFL)  # a third signal has its default effect
        if self._loop is not None:
            # In a thread that may be abandoned: the loop may be stuck in a call of the driver that
            # holds the driver's lock, and `stop` would wait for that lock.
            stop = threading.Thread(target=_stop, args=(self._loop,), daemon=True)
            stop.start()
            stop.join(STOP_S)
        os.kill(os.getpid(), signal.SIGTERM if number == signal.SIGTSTP else number)


def _stop(loop: Loop) -> None:
    with contextlib.suppress(Exception):  # the process ends even if the driver raises
        loop.station.arm_device.stop()


class Outlet:
    """The output of a run, written to `file`. Once a write fails (a closed terminal, a full disk),
    the run is asked to end through `ending`, and further output is dropped, so that no failing
    print comes between the loop and the stop of the arm. `error`: why the write failed, None while
    writing works."""

    def __init__(self, file: IO[str], ending: Ending) -> None:
        self.error: OSError | None = None
        self._ending, self._file = ending, file

    def write(self, text: str) -> int:
        """Write `text`, or drop it as described above. Returns its length in both cases."""
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
        """This object, typed as a file for `rich.console.Console`. What this class does not define
        is taken from `file`."""
        return cast("IO[str]", self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
