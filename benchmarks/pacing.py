"""Does a loop run at the rate it was asked for? Ours beside LeRobot's and openpi's pacing.

Loops without a body at 100, 500 and 1000 Hz take turns in one process, each as it is and each with
our real-time setup, so that all see the same machine. Rate error is |ticks / time / rate - 1| of a
turn; a deadline that was skipped is a tick less. Of each loop the median of its turns counts, since
a machine that stands still for some milliseconds spoils the one turn it falls into, whoever has it;
the worst turn and all turns as one are in the table. Lateness is against a grid that begins with
the turn's first tick, skipped ticks included: a loop that sleeps for the rest of a period drifts
away from the grid, one with absolute deadlines does not. Our clock spins before each deadline,
which takes processor time. The others only sleep, and so does a further loop of ours.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from headway.benchmarks import _pacers
from headway.benchmarks._findings import Findings, Number, Table, lateness
from headway.benchmarks._pacers import Begun, Pacer
from headway.clock import NS, WallClock
from headway.edge.host.realtime import realtime
from headway.errors import Missing

RATES = (100.0, 500.0, 1000.0)
TURNS = 5
OURS, SLEEPING = "Headway", "Headway, no spinning"
SETUP = ", real-time setup"


def contenders() -> tuple[dict[str, Pacer], list[str]]:
    """By name, and why others are not there."""
    found: dict[str, Pacer] = {OURS: _pacers.headway, SLEEPING: _pacers.sleeping}
    skipped = []
    for name, make in (("LeRobot", _pacers.lerobot), ("openpi", _pacers.openpi)):
        pace, why = _optional(make)
        if pace is None:
            skipped.append(f"{name} skipped: {why}")
        else:
            found[name] = pace
    return found, skipped


def _optional(make: Callable[[], Pacer]) -> tuple[Pacer | None, str]:
    try:
        return make(), ""
    except Missing as e:
        return None, str(e)


def error(turns: list[Begun], hz: float) -> float:
    """|achieved / wanted - 1| over all of `turns` [%]."""
    ticks = sum(len(x.at) - 1 for x in turns)
    seconds = sum(int(x.at[-1] - x.at[0]) for x in turns) / NS
    return 100 * abs(ticks / seconds / hz - 1)


def row(turns: list[Begun], hz: float) -> tuple[float, ...]:
    """Lateness p50, p99, max and |interval - period| p99 [us]."""
    period = NS / hz
    late = np.concatenate([_late(x, period) for x in turns]) / 1e3
    jitter = np.abs(np.concatenate([np.diff(x.at) for x in turns]) - period) / 1e3
    p50, p99 = np.percentile(late, (50, 99))
    return float(p50), float(p99), float(late.max()), float(np.percentile(jitter, 99))


def _late(turn: Begun, period: float) -> NDArray[np.float64]:
    """How late each tick of `turn` was that was due, skipped ones included, in the unit of
    `period`."""
    own = turn.at - turn.at[0] - (turn.index - turn.index[0]) * period
    return lateness(own, np.diff(turn.index, prepend=turn.index[0] - 1) - 1, period)


def measure(effort: float = 1.0) -> Findings:
    seconds, n = min(1.0, max(effort, 0.05)), max(1, round(TURNS * effort))
    pacers, notes = contenders()
    numbers, rows, errors, said = [], [], [], [""]
    for hz in RATES:
        ticks = max(3, round(hz * seconds))
        done: dict[str, list[Begun]] = {}
        for _ in range(n):
            for name, pace in pacers.items():
                done.setdefault(name, []).append(pace(hz, ticks))
                with realtime() as setup, setup.pinned():
                    done.setdefault(name + SETUP, []).append(pace(hz, ticks))
                    said = setup.lines
        for name, turns in done.items():
            label = f"{hz:.0f} Hz {name}"
            target = 0.1 if name in (OURS, OURS + SETUP) else None
            each = [error([turn], hz) for turn in turns]
            found = float(np.median(each))
            numbers.append(Number(f"{label}: rate error", found, "%", target))
            errors.append((label, (found, max(each), error(turns, hz))))
            rows.append((label, row(turns, hz)))
    notes += [
        "the real-time setup: " + "; ".join(said),
        f"{n} turns of {seconds:g} s each, in rotation; the loops have no body",
        "LeRobot's loop is written anew around its own precise_sleep; openpi's Runtime is its own",
        f"Headway spins for the last {WallClock().spin_ns / 1e3:g} us of a period, others sleep",
    ]
    columns = ("lateness p50", "p99", "max", "jitter p99")
    tables = [
        Table("rate error", ("median of turns", "worst turn", "all turns"), tuple(errors), "%"),
        Table("lateness and jitter", columns, tuple(rows), "us"),
    ]
    return Findings("Pacing of control loops", numbers, tables, notes)
