"""What does the loop itself cost per tick, and does it stay punctual beside a busy core?

The whole loop at 500 Hz with null devices that answer at once, compiled features, the PRO head at
50 Hz and a policy in its own process, with the real-time setup; once without a recording and once
with the real recorder. The overhead is from the beginning of a tick to its very end, the recorder's
part and the audit's included. Turns alternate between an idle machine and one where a process
saturates the other cores; the ratio is that of the medians over the turns of each turn's p99
lateness, in which skipped ticks count as late. Ticks back to back on a virtual clock say how much
of the overhead is that caches and predictors are cold after 2 ms of sleep.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter_ns
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.benchmarks._findings import (
    PERCENTILES,
    Findings,
    Number,
    Table,
    lateness,
    percentiles,
)
from headway.benchmarks._robot import CHUNK_SHAPE, null_settings, policy_process, robot
from headway.clock import Tick, VirtualClock, WallClock
from headway.edge.control.audit import STAGES
from headway.edge.control.log import EpisodeLog, NullLog
from headway.edge.host.realtime import Setup, realtime

HZ, TURNS = 500.0, 6
NULL, RECORDED = "no recording", "recorder"
IDLE, BUSY = "idle", "other core saturated"
_LIMITS = (60.0, 400.0)  # p50, p99 [us]
# It keeps a core busy until its parent is gone, which may have been killed.
BURN = """
import os, sys
os.sched_setaffinity(0, {int(sys.argv[1])})
while os.getppid() == int(sys.argv[2]):
    for _ in range(100_000):
        pass
"""


class Cost:
    """Overhead, lateness and stages of every tick; preallocated."""

    def __init__(self, size: int) -> None:
        self._data: NDArray[np.int64] = np.zeros((size, 3 + len(STAGES)), np.int64)
        self._n = 0

    def note(self, stamps: Sequence[int], tick: Tick) -> None:
        if self._n < len(self._data):
            row = self._data[self._n]
            row[0] = perf_counter_ns() - stamps[0]
            row[1], row[2] = tick.late_ns, tick.missed
            np.subtract(stamps[1:], stamps[:-1], out=row[3:])
            self._n += 1

    @property
    def overhead(self) -> NDArray[np.float64]:
        """Of each tick but the first [us]."""
        return np.asarray(self._data[1 : self._n, 0] / 1e3)

    @property
    def late(self) -> NDArray[np.float64]:
        """How late each tick was that was due, but the first [us]."""
        own, missed = self._data[1 : self._n, 1:3].T
        return lateness(own, missed, 1e9 / HZ) / 1e3

    @property
    def stages(self) -> NDArray[np.float64]:
        """(stages, ticks): what each took, without the first tick [us]."""
        return np.asarray(self._data[1 : self._n, 3:].T / 1e3)


class NullCost(NullLog):
    """Notes the cost of every tick, and records nothing."""

    def __init__(self, cost: Cost) -> None:
        super().__init__()
        self._cost = cost

    def timing(self, t_ns: int, tick: Tick) -> None:
        self._cost.note(self.stamps, tick)


class RecordedCost(EpisodeLog):
    """Notes the cost of every tick, with that of recording it. Set `cost` before the first tick."""

    cost: Cost

    def timing(self, t_ns: int, tick: Tick) -> None:
        super().timing(t_ns, tick)
        self.cost.note(self.stamps, tick)


@contextmanager
def burning(cores: tuple[int, ...]) -> Iterator[None]:
    """A process per core that is always busy; ordinary priority."""
    running = [
        subprocess.Popen([sys.executable, "-c", BURN, str(core), str(os.getpid())])
        for core in cores
    ]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def turn(seconds: float, setup: Setup, worker: Any, recorded: bool, load: str) -> Cost:
    settings, cost = null_settings(HZ, seconds), Cost(round(HZ * seconds) + 2)
    with ExitStack() as stack:
        loop, _ = stack.enter_context(robot(settings, WallClock(), beside=worker))
        log: NullLog = NullCost(cost)
        if recorded:
            folder = stack.enter_context(TemporaryDirectory())
            kept = RecordedCost(
                Path(folder) / "a.mcap", joints=loop.station.joints, cameras={},
                chunk_shape=CHUNK_SHAPE, pro=loop.pro, realtime=True,
                max_ticks=round(HZ * seconds) + 2, metadata={},
            )  # fmt: skip
            kept.cost = cost
            log = stack.enter_context(kept)
        if load == BUSY:
            stack.enter_context(burning(setup.others))
        stack.enter_context(setup.pinned())
        loop.episode(None, log)
    return cost


def back_to_back(seconds: float) -> Cost:
    """On a virtual clock, the policy in place: no waiting, so that caches stay warm."""
    cost = Cost(round(HZ * seconds) + 2)
    with robot(null_settings(HZ, seconds), VirtualClock(1)) as (loop, _):
        loop.episode(None, NullCost(cost))
    return cost


def measure(effort: float = 1.0) -> Findings:
    seconds, n = max(0.2, min(1.0, effort)), max(1, round(TURNS * effort))
    done: dict[tuple[str, str], list[Cost]] = {}
    warm: list[Cost] = []
    clock = WallClock()
    with realtime() as setup:
        title = "Overhead of the loop per tick, null robot, 500 Hz"
        if setup.core is None:
            return Findings(title, skipped="; ".join(setup.lines) or "no core of its own")
        settings = null_settings(HZ, seconds)
        with robot(settings, clock, plan=False) as (_, what):
            pass
        with policy_process(settings, clock, setup.others) as worker:
            for _ in range(n):
                for log in (NULL, RECORDED):
                    for load in (IDLE, BUSY):
                        cost = turn(seconds, setup, worker, log == RECORDED, load)
                        done.setdefault((log, load), []).append(cost)
                with setup.pinned():
                    warm.append(back_to_back(seconds))
        said = setup.lines
    numbers, rows = [], []
    at_once = float(np.percentile(np.concatenate([c.overhead for c in warm]), 50))
    numbers.append(Number("overhead, ticks back to back on a virtual clock: p50", at_once, "us"))
    for log in (NULL, RECORDED):
        overhead = np.concatenate([c.overhead for c in done[log, IDLE]])
        for p, limit in zip((50, 99), _LIMITS, strict=True):
            found = float(np.percentile(overhead, p))
            numbers.append(Number(f"overhead, {log}: p{p}", found, "us", limit))
        p99 = {k: _p99(done[log, k]) for k in (IDLE, BUSY)}
        ratio = p99[BUSY] / p99[IDLE]
        numbers.append(Number(f"p99 lateness, {log}: saturated / idle", ratio, "x", 2.0))
        for load in (IDLE, BUSY):
            costs = done[log, load]
            a = np.percentile(np.concatenate([c.overhead for c in costs]), (50, 99, 100))
            b = np.percentile(np.concatenate([c.late for c in costs]), (50, 99, 100))
            rows.append((f"{log}, {load}", (*a.tolist(), *b.tolist(), p99[load])))
    stages = np.hstack([c.stages for c in done[RECORDED, IDLE]])
    table = tuple((name, percentiles(x)) for name, x in zip(STAGES, stages, strict=True))
    columns = (
        "overhead p50", "p99", "max", "lateness p50", "p99", "max", "p99 median of turns"
    )  # fmt: skip
    notes = (what, "; ".join(said), f"{n} turns of {seconds:g} s each, in rotation")
    tables = [
        Table("per tick", columns, tuple(rows), "us"),
        Table(f"stages, {RECORDED}, {IDLE}", PERCENTILES, table, "us"),
    ]
    return Findings(title, numbers, tables, notes)


def _p99(turns: list[Cost]) -> float:
    return float(np.median([np.percentile(c.late, 99) for c in turns]))
