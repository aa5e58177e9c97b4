"""Why a tick was late.

A tick's counters are read when it begins, so their difference to the tick before covers just what
can make it late: the work of the tick before and the wait since. The first cause below that the
evidence supports is the one named; it is the likeliest, not a proof.

| cause | evidence |
|---|---|
| collection | the collector ran |
| page fault | a major fault, or so many minor ones that they explain half of the lateness |
| preemption | an involuntary context switch: something of a higher priority, or of the same |
| a stage | the tick before took until after the deadline, and this stage of it is furthest over |
|         | its median: device read, policy adoption or hand-over, recorder, ... |
| rehearsal | of version 0.1, which went through each tick once before it was due: over too late |
| wake-up | the tick before was done in time: the timer, the host, or Python's lock |
| unknown | the recording lacks the counters, or the tick before |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headway.edge.control.audit import STAGES
from headway.tools.latency.rows import Ns, Rows, has, late_ns, total_ns

FAULT_NS = 1000  # a minor page fault takes about this long
_NAMES = {"read": "device read", "log": "recorder", "command": "device command"}
_NEEDS = ("begun", "minor_faults", "major_faults", "preemptions", "gc_ns")


@dataclass(frozen=True)
class LateTick:
    """Tick `index` of the recording began `late_us` after its deadline."""

    index: int
    t_s: float  # since the first tick
    late_us: float
    missed: int
    cause: str


def late_ticks(rows: Rows, period_ns: int, threshold_ns: float, adopted: Ns) -> list[LateTick]:
    """The ticks later than `threshold_ns`, and those that skipped deadlines. `adopted`: times
    (tick `t_ns`) at which chunks were adopted."""
    late = late_ns(rows, period_ns)
    missed = rows["missed"] if has(rows, "missed") else np.zeros(len(rows), np.int64)
    found = np.flatnonzero((late > threshold_ns) | (missed > 0))
    medians = {s: float(np.median(rows[s])) for s in STAGES}
    total, took_over = total_ns(rows), set(adopted.tolist())
    out = []
    for i in found:
        cause = _cause(rows, int(i), int(late[i]), period_ns, total, medians, took_over)
        t_s = float(rows["t_ns"][i] - rows["t_ns"][0]) / 1e9
        out.append(LateTick(int(i), t_s, float(late[i]) / 1e3, int(missed[i]), cause))
    return out


def _cause(
    rows: Rows,
    i: int,
    late: int,
    period_ns: int,
    total: Ns,
    medians: dict[str, float],
    adopted: set[int],
) -> str:
    if i == 0:
        return "start"
    now, before = rows[i], rows[i - 1]
    missed = int(now["missed"]) if has(rows, "missed") else 0
    apart = int(now["t_ns"]) - int(before["t_ns"])
    if not has(rows, *_NEEDS) or apart > (missed + 1.5) * period_ns:
        return "unknown"

    def grown(name: str) -> int:
        return int(now[name] - before[name])

    if grown("gc_ns") > 0:
        return "collection"
    if grown("major_faults") > 0:
        return "page fault"
    if grown("preemptions") > 0:
        return "preemption"
    if 2 * FAULT_NS * grown("minor_faults") >= late:
        return "page fault"
    due = int(now["begun"]) - late
    if has(rows, "spare") and int(now["spare"]) < 0:
        return "rehearsal"
    if int(before["begun"]) + int(total[i - 1]) <= due:
        return "wake-up"
    stage = max(STAGES, key=lambda s: float(before[s]) - medians[s])
    if stage == "policy":
        return "policy adoption" if int(before["t_ns"]) in adopted else "policy hand-over"
    return _NAMES.get(stage, stage)


def by_cause(ticks: Sequence[LateTick]) -> list[tuple[str, int, int, float]]:
    """(cause, late ticks, deadlines missed, worst lateness [us]), most frequent first."""
    out = []
    for cause in {t.cause for t in ticks}:
        of = [t for t in ticks if t.cause == cause]
        out.append((cause, len(of), sum(t.missed for t in of), max(t.late_us for t in of)))
    return sorted(out, key=lambda c: (-c[1], c[0]))
