"""What does each compiled module gain per tick of the real loop over the Python beside it?

The loop of `loop_overhead`, recorder included. Turns with all that is compiled alternate with turns
for which one module is hidden, so that Python computes in its place. A neighbouring pair of turns
meets nearly the same machine: its difference of medians counts, and of those the median, with a
bootstrap interval. What gains less than 5 us is not worth a second implementation. Features are not
among them: they are computed at every tenth tick, which no median over ticks shows (see `parts`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from headway.benchmarks._findings import Findings, Number, Table
from headway.benchmarks._robot import null_settings, policy_process
from headway.benchmarks.loop_overhead import HZ, IDLE, turn
from headway.clock import WallClock
from headway.drivers import native as kinematics
from headway.edge.guard import native as guard
from headway.edge.host.realtime import realtime
from headway.edge.motion import smoother
from headway.edge.recording import tick

PAIRS = 8
WORTH = 5.0  # [us]
PARTS = {
    "guard": guard,
    "kinematics": kinematics,
    "chunk player": smoother,
    "recorder's ring, telemetry row": tick,
}


@contextmanager
def hidden(name: str) -> Iterator[None]:
    """As if the module `name` had not been built."""
    there = sys.modules.pop(name)
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        sys.modules[name] = there


def interval(differences: Sequence[float]) -> tuple[float, float, float]:
    """Their median, and its 95 % interval by resampling."""
    d = np.asarray(differences)
    drawn = np.random.default_rng(0).choice(d, (2000, len(d)))
    low, high = np.percentile(np.median(drawn, axis=1), (2.5, 97.5))
    return float(np.median(d)), float(low), float(high)


def measure(effort: float = 1.0) -> Findings:
    title = "What compiled modules gain per tick, null robot, 500 Hz"
    seconds, n = max(0.2, min(1.0, effort)), max(2, round(PAIRS * effort))
    built = {name: m.module("auto") for name, m in PARTS.items()}
    names = {name: m.__name__ for name, m in built.items() if m is not None}
    if not names:
        return Findings(title, skipped="nothing is compiled here: `make`")
    rows, numbers = [], []
    with realtime() as setup:
        if setup.core is None:
            return Findings(title, skipped="; ".join(setup.lines) or "no core of its own")
        settings, clock = null_settings(HZ, seconds), WallClock()
        with policy_process(settings, clock, setup.others) as worker:

            def median() -> float:
                return float(np.median(turn(seconds, setup, worker, True, IDLE).overhead))

            def without(module: str) -> float:
                with hidden(module):
                    return median()

            for name, module in names.items():
                pairs = []
                for k in range(n):
                    if k % 2:
                        slow, fast = without(module), median()
                    else:
                        fast, slow = median(), without(module)
                    pairs.append((fast, slow))
                fast, slow = np.median(pairs, axis=0).tolist()
                gain = interval([b - a for a, b in pairs])
                rows.append((name, (fast, slow, *gain)))
                numbers.append(Number(f"{name}: gained", gain[0], "us", WORTH, at_most=False))
        notes = ("; ".join(setup.lines), f"{n} pairs of turns of {seconds:g} s each")
    columns = ("compiled p50", "Python p50", "gained", "from", "to")
    return Findings(title, numbers, [Table("overhead per tick", columns, tuple(rows), "us")], notes)
