"""`late_ticks` names a likely cause for every late tick.

The counters of a tick are read when it begins. Their difference to the previous tick therefore
covers what can make this one late: the work of the previous tick and the wait after it. The causes
are tried in the order of this table, and the first one with evidence is named. It is the most
likely cause, not a proven one.

| cause | evidence |
|---|---|
| start | it is the first tick |
| collection | Python's garbage collector ran |
| page fault | a major fault, or enough minor faults to explain half of the lateness |
| preemption | an involuntary context switch, to a thread of the same or a higher priority |
| rehearsal | version 0.1 rehearsed each tick before it was due; here that ended too late |
| wake-up | the previous tick ended in time: the timer, the host or Python's global lock was late |
| a stage | the previous tick ended after this one was due; this stage exceeded its median most: |
|         | device read, policy adoption, policy hand-over, recorder, ... |
| unknown | the counters or the previous tick are not in the recording (checked after "start") |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headway.edge.control.audit import STAGES
from headway.tools.latency.rows import Ns, Rows, has, late_ns, total_ns

FAULT_NS = 1000  # duration of a minor page fault, approximately
_NAMES = {"read": "device read", "log": "recorder", "command": "device command"}
_NEEDS = ("begun", "minor_faults", "major_faults", "preemptions", "gc_ns")


@dataclass(frozen=True)
class LateTick:
    """Tick number `index` of the recording began `late_us` [us] after it was due. `missed` counts
    the deadlines that were skipped before it."""

    index: int
    t_s: float  # since the first tick [s]
    late_us: float
    missed: int
    cause: str


def late_ticks(rows: Rows, period_ns: int, threshold_ns: float, adopted: Ns) -> list[LateTick]:
    """The ticks in `rows` that began later than `threshold_ns` [ns], or after skipped deadlines.
    `period_ns` is the period of the loop; `adopted` are the `t_ns` of ticks that adopted a
    chunk."""
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
    """Per cause (cause, number of late ticks, deadline misses, worst lateness [us]), the most
    frequent cause first."""
    out = []
    for cause in {t.cause for t in ticks}:
        of = [t for t in ticks if t.cause == cause]
        out.append((cause, len(of), sum(t.missed for t in of), max(t.late_us for t in of)))
    return sorted(out, key=lambda c: (-c[1], c[0]))
