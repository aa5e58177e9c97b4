"""Calls in processes of this computer, one process each.

A process is started anew for every call: one that is killed takes only its own call with it, and
what a call leaves behind in memory ends with it. Each is a process group of its own, so that Ctrl-C
in a terminal reaches the parent alone, and so that whatever a call has started ends with it. When
the parent is gone, however it ended, its processes end at once.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import connection
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

from headway.learn.executors.executor import (
    Call,
    Done,
    Executor,
    Lost,
    News,
    Told,
    failure,
    require_slots,
)

# Of linear algebra, and of the software renderer (0: none beside its caller's).
THREADS = {
    "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1",
    "LP_NUM_THREADS": "0",
}  # fmt: skip
GRACE_S = 5.0  # for a process to end after SIGTERM, before SIGKILL [s]


def connect(slots: int) -> Executor:
    """An executor with `slots` processes at a time. Raises ConfigError for fewer than one."""
    require_slots(slots)
    return _Processes(slots)


class _Processes:
    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._running: dict[str, tuple[SpawnProcess, Connection]] = {}

    def __enter__(self) -> _Processes:
        return self

    def __exit__(self, *exc: object) -> None:
        for process, _ in self._running.values():
            _signal(process, signal.SIGTERM)
        end = time.monotonic() + GRACE_S
        for process, pipe in self._running.values():
            process.join(max(0.0, end - time.monotonic()))
            _signal(process, signal.SIGKILL)  # the rest of its group too
            process.join()
            pipe.close()
        self._running.clear()

    def start(self, key: str, call: Call, log: str = "") -> None:
        ours, theirs = multiprocessing.Pipe(duplex=False)
        process = multiprocessing.get_context("spawn").Process(
            target=_run, args=(theirs, key, call, log), name=key
        )
        with _one_thread():
            process.start()
        theirs.close()  # now the pipe ends when the process does
        self._running[key] = process, ours

    def wait(self, timeout_s: float) -> list[News]:
        pipes = {pipe: key for key, (_, pipe) in self._running.items()}
        if not pipes:
            return []
        news: list[News] = []
        for ready in connection.wait(list(pipes), timeout_s):
            assert isinstance(ready, Connection)
            key = pipes[ready]
            try:
                while ready.poll():
                    what: News = ready.recv()
                    news.append(what)
                    if not isinstance(what, Told):
                        self._end(key)
                        break
            except (EOFError, OSError):
                code = self._end(key)
                news.append(Lost(key, _ended(code)))
        return news

    def _end(self, key: str) -> int | None:
        """Forget the process of `key`, which has ended or is about to; returns its exit code."""
        process, pipe = self._running.pop(key)
        process.join(GRACE_S)
        _signal(process, signal.SIGKILL)
        process.join()
        pipe.close()
        return process.exitcode


def _signal(process: SpawnProcess, number: int) -> None:
    """Send a signal to the process and all that it has started."""
    if process.pid is None:
        return
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
        return
    if process.is_alive():  # so early that it has no group of its own yet
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)


def _ended(code: int | None) -> str:
    if code is not None and code < 0:
        return f"its process was ended by {signal.Signals(-code).name}"
    return f"its process ended with code {code}"


@contextmanager
def _one_thread() -> Iterator[None]:
    """Processes that are started inside compute and render with one thread: there are as many
    processes as cores."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(THREADS)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _run(pipe: Connection, key: str, call: Call, log: str) -> None:
    """The process of one call."""
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if log:
        _print_to(log)
    try:
        pipe.send(Done(key, call(lambda note: pipe.send(Told(key, note)))))
    except BaseException as e:  # everything that happens in a call is told, none is swallowed
        traceback.print_exc()
        pipe.send(failure(key, e, traceback.format_exc()))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _print_to(log: str) -> None:
    with suppress(OSError):  # what is printed is a convenience: a full disk is found by the call
        fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(fd, 1)
        os.dup2(fd, 2)
        os.close(fd)
