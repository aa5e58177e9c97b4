"""When a process of a rig has to end."""

from __future__ import annotations

import contextlib
import os
import signal
import threading


def told_to_end() -> threading.Event:
    """An event that is set on SIGTERM, and when the standard input ends: so the process never
    outlives who started it. Called once, by the main thread."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    threading.Thread(target=_listen, args=(stop,), daemon=True).start()
    return stop


def _listen(stop: threading.Event) -> None:
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    stop.set()
