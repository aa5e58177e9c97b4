"""Processes that a run starts beside itself: recorder, policy, view, watchdog."""

from __future__ import annotations

import os
import signal
import sys

# What may ask a run to end (`headway.edge.control.ending`): all that ends a process and can be
# caught, but for what tells of a crash.
ENDS = (
    signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2,
    signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF, signal.SIGXCPU, signal.SIGPWR,
    signal.SIGIO,
)  # fmt: skip


def environment() -> dict[str, str]:
    """Of a Python that finds the same Headway, wherever it is started, and leaves the cores to
    others."""
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        "PYTHONSAFEPATH": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }


def outlive() -> None:
    """The run says when the processes beside it end: what asks it to end, or to be suspended, does
    nothing to them, whether it was sent to the run's process, to its group or to all."""
    for number in (*ENDS, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU):
        signal.signal(number, signal.SIG_IGN)
