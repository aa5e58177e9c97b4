"""What the loop asks of the operating system in real time: to run first (SCHED_FIFO), where that is
allowed; where not, the reason is said and the run goes on without."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

PRIORITY = 50  # above ordinary threads, below the kernel's own interrupt threads at 99


@contextmanager
def fifo(priority: int = PRIORITY) -> Iterator[str]:
    """The calling thread runs under SCHED_FIFO inside the block; threads and processes that it
    starts do not inherit it. Yields what was granted, or why not, in words."""
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(priority))
    except OSError as e:
        yield (
            f"ordinary scheduling: SCHED_FIFO {priority} was refused ({e.strerror}); "
            "`headway doctor` says how to allow it"
        )
        return
    try:
        yield f"SCHED_FIFO {priority}"
    finally:
        os.sched_setscheduler(0, *before)
