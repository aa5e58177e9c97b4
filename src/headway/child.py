"""Environment and signals of the processes that a run starts: recorder, policy worker, live view
and watchdog."""

from __future__ import annotations

import os
import signal
import sys

# The signals that ask a run to end (`headway.edge.control.ending`): all that end a process and can
# be caught, except those that report a crash.
ENDS = (
    signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2,
    signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF, signal.SIGXCPU, signal.SIGPWR,
    signal.SIGIO,
)  # fmt: skip


def environment() -> dict[str, str]:
    """Environment variables for a Python process that finds the same Headway from any working
    folder, and whose linear algebra uses one thread, to leave the other cores free."""
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        "PYTHONSAFEPATH": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }


def foreign_environment(folder: str) -> dict[str, str]:
    """As `environment`, for another Python than this one: `folder` holds a link to Headway alone,
    so that it finds no packages that were installed for this Python."""
    return environment() | {"PYTHONPATH": folder}


def outlive() -> None:
    """Ignore the signals that ask a run to end or to be suspended; called in the processes that it
    starts. They end when the run tells them to, also when a signal went to the whole process
    group, as Ctrl-C does."""
    for number in (*ENDS, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU):
        signal.signal(number, signal.SIG_IGN)
