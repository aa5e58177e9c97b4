"""When a process of a rig has to end."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import threading


def told_to_end() -> threading.Event:
    """An event that is set on SIGTERM and SIGINT, and when the standard input ends where that is a
    pipe: so the process never outlives who started it. Beside a terminal, in the background, or
    without input it runs until it is told. Called once, by the main thread."""
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    with contextlib.suppress(OSError):  # there may be no standard input at all
        kind = os.fstat(0).st_mode
        if stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind):
            threading.Thread(target=_listen, args=(stop,), daemon=True).start()
    return stop


def _listen(stop: threading.Event) -> None:
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    stop.set()
