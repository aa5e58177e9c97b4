"""Does the loop keep its deadlines as well as a loop that does nothing?

The loop with a null robot and the bare `Rate` on the same `WallClock` take turns, a second each, in
one process, so that both see the same machine. The null devices answer at once, without threads;
a further contender reads them through a thread each, as devices behind a port are read. Lateness is
how long after its deadline a tick begins; skipped ticks count, each as late as the tick that came
instead. The ratio is that of the medians over the turns of each turn's p99: a host that stops the
machine for 20 ms spoils one turn.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from contextlib import ExitStack

import numpy as np
from numpy.typing import NDArray

from headway.benchmarks._findings import Findings, Number, Table, lateness
from headway.benchmarks._robot import null_settings, policy_process, robot
from headway.clock import NS, Rate, Tick, WallClock
from headway.edge.control.log import NullLog
from headway.edge.control.settings import Settings
from headway.edge.host.realtime import Setup, realtime

RATES = (500.0, 1000.0)
TURNS = 8
BARE, SLEEP = "bare loop", "bare loop, no spinning"
WHOLE, HOLD = "whole loop", "loop without policy"
THREADS = "whole loop, device threads"


class Lateness(NullLog):
    """How late every tick began, and when the first and the last one did; preallocated."""

    def __init__(self, period_ns: int, size: int) -> None:
        super().__init__()
        self._late: NDArray[np.int64] = np.zeros((2, size), np.int64)  # own lateness, missed before
        self._period = period_ns
        self.ticks = self.first_ns = self.last_ns = 0

    def timing(self, t_ns: int, tick: Tick) -> None:
        if self.ticks == 0:
            self.first_ns = t_ns
        elif self.ticks < self._late.shape[1]:  # the first tick begins when it likes
            self._late[0, self.ticks] = tick.late_ns
            self._late[1, self.ticks] = tick.missed
        self.last_ns = t_ns + tick.late_ns
        self.ticks += 1

    @property
    def us(self) -> NDArray[np.float64]:
        """Lateness of each tick that was due but the first [us]."""
        own, missed = self._late[:, 1 : self.ticks]
        return lateness(own, missed, self._period) / 1e3

    @property
    def missed(self) -> int:
        """How many ticks were skipped."""
        return int(self._late[1, 1 : self.ticks].sum())


def bare(hz: float, seconds: float, clock: WallClock) -> Lateness:
    """The same bookkeeping without a body."""
    size = round(hz * seconds) + 1
    log = Lateness(round(NS / hz), size)
    for tick in Rate(hz, clock):
        log.timing(tick.t_ns, tick)
        if tick.index >= size - 1:
            break
    return log


def turns(hz: float, seconds: float, n: int, setup: Setup) -> tuple[dict[str, list[Lateness]], str]:
    """`n` turns of `seconds` [s] of every contender, each on the loop's core. The robots' reader
    threads exist only in their own turns: the bare loop has the process for itself."""
    clock, plain = WallClock(), WallClock(spin_ns=0)
    polled, waited = (null_settings(hz, seconds, threaded=t) for t in (False, True))
    done: dict[str, list[Lateness]] = {}
    what = ""

    def loop(plan: bool, settings: Settings = polled) -> Lateness:
        nonlocal what
        log = Lateness(round(NS / hz), round(hz * seconds) + 2)
        with ExitStack() as stack:
            beside = worker if plan else None
            running, what = stack.enter_context(robot(settings, clock, plan=plan, beside=beside))
            with setup.pinned():
                running.episode(None, log)
        return log

    def alone(clock: WallClock) -> Lateness:
        gc.collect()
        gc.disable()  # as the loop does
        try:
            with setup.pinned():
                return bare(hz, seconds, clock)
        finally:
            gc.enable()

    contenders: dict[str, Callable[[], Lateness]] = {
        WHOLE: lambda: loop(True),
        BARE: lambda: alone(clock),
        HOLD: lambda: loop(False),
        SLEEP: lambda: alone(plain),
        THREADS: lambda: loop(True, waited),
    }
    with policy_process(polled, clock, setup.others) as worker:
        for _ in range(n):
            for name, run in contenders.items():
                done.setdefault(name, []).append(run())
    return done, what


def measure(effort: float = 1.0) -> Findings:
    numbers: list[Number] = []
    rows: list[tuple[str, tuple[float, ...]]] = []
    what, said = "", [""]
    seconds, n = min(1.0, effort), max(2, round(TURNS * effort))
    for hz in RATES:
        with realtime() as setup:  # the bare loop as well
            done, what = turns(hz, seconds, n, setup)
            said = setup.lines
        p99 = {k: float(np.median([np.percentile(x.us, 99) for x in v])) for k, v in done.items()}
        label = f"{hz:.0f} Hz"
        numbers += [
            Number(f"{label}: rate error", 100 * _error(done[WHOLE], hz), "%", 0.1),
            Number(f"{label}: p99 lateness, whole / bare", p99[WHOLE] / p99[BARE], "x", 1.5),
            Number(f"{label}: p99 lateness, no policy / bare", p99[HOLD] / p99[BARE], "x", 1.5),
            Number(f"{label}: p99 lateness, device threads / bare", p99[THREADS] / p99[BARE], "x"),
            Number(f"{label}: p99 lateness, whole / no spinning", p99[WHOLE] / p99[SLEEP], "x"),
            Number(f"{label}: rate error, bare", 100 * _error(done[BARE], hz), "%"),
        ]
        for name, logs in done.items():
            late = np.concatenate([x.us for x in logs])
            p50, all99 = (float(v) for v in np.percentile(late, (50, 99)))
            missed = 100 * sum(x.missed for x in logs) / len(late)
            rows.append((f"{label} {name}", (p50, p99[name], all99, float(late.max()), missed)))
    columns = ("p50", "p99 median", "p99 pooled", "max", "missed [%]")
    notes = (what, "all loops with: " + "; ".join(said), f"{n} turns of {seconds:g} s, in rotation")
    return Findings(
        "Loop at a fixed rate on the wall clock, null robot",
        numbers,
        [Table("lateness", columns, tuple(rows), "us")],
        notes,
    )


def _error(logs: list[Lateness], hz: float) -> float:
    """|achieved / wanted - 1| over all turns; a skipped tick is a tick less."""
    ticks = sum(x.ticks - 1 for x in logs)
    seconds = sum(x.last_ns - x.first_ns for x in logs) / NS
    return abs(ticks / seconds / hz - 1.0)
