"""Processes that a run starts beside itself: recorder, policy, view, watchdog."""

from __future__ import annotations

import os
import sys


def environment() -> dict[str, str]:
    """Of a Python that finds the same Headway, wherever it is started, and leaves the cores to
    others."""
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        "PYTHONSAFEPATH": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
