"""What "auto" means on this machine: where one tick of features is soonest done.

At a few KB of telemetry a launch and two copies may cost more than the C++ twin's arithmetic, and
which of them wins differs from device to device. So it is measured, once per process.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from typing import Any, Literal

import numpy as np

from headway.kernels import cuda, native
from headway.kernels.telemetry import FIELDS, Scale, empty

BUDGET_S = 0.01  # of each implementation
_HZ, _JOINTS = 500.0, 6  # the usual arm; what differs between robots is far less than a launch


@cache
def _chosen() -> tuple[Literal["cuda", "cpp", "numpy"], str]:
    without = "cpp" if native.built() else "numpy"
    found: Literal["cpp", "numpy"] = "cpp" if without == "cpp" else "numpy"
    if cuda.missing():
        return found, ""
    one = np.ones(_JOINTS)
    scale = Scale(-3 * one, 3 * one, 2 * one, 50 * one)
    try:
        cuda.device(compile_kernels=False)  # a start is no time to compile
        theirs = tick_s(cuda.feature_stream(scale, _JOINTS, _HZ))
    except Exception as e:  # whatever a binding raises: a start on the CPU is better than none
        return found, f"not cuda: {e}"
    if found == "numpy":
        return "cuda", f"a tick {1e6 * theirs:.1f} us; C++ is not built"
    ours = tick_s(native.FeatureStream(scale, _JOINTS, _HZ))
    said = f"a tick {1e6 * theirs:.1f} us on cuda, {1e6 * ours:.1f} us on cpp"
    return ("cuda" if theirs < ours else "cpp"), said


def tick_s(
    stream: Any, budget_s: float = BUDGET_S, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Median seconds of a push and its features, over `budget_s` after a warm-up, on a full
    window."""
    rows = empty(_JOINTS, 16)
    for field in FIELDS:
        rows[field] = 0.1
    for _ in range(16):
        for row in rows:
            stream.push(row)
        stream.features()
    took: list[float] = []
    start = now = clock()
    while now - start < budget_s or len(took) < 3:
        stream.push(rows[len(took) % 16])
        stream.features()
        before, now = now, clock()
        took.append(now - before)
    return float(np.median(took))


def fastest() -> Literal["cuda", "cpp", "numpy"]:
    """The implementation that "auto" stands for."""
    return _chosen()[0]


def note() -> str:
    """What was measured for that, "" where there was nothing to choose."""
    return _chosen()[1]
