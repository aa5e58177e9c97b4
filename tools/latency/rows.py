"""Read the timing of a recording, rows of `edge.control.audit.TIMING`, and compute durations from
them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.edge.control.audit import STAGES
from headway.errors import HeadwayError
from headway.mcaplog import Recording

Rows = NDArray[np.void]
Ns = NDArray[np.int64]
PERCENTILES = (50.0, 95.0, 99.0, 99.9, 100.0)


@dataclass(frozen=True)
class Line:
    """Percentiles of `n` durations [us]."""

    name: str
    n: int
    p50: float
    p95: float
    p99: float
    p999: float
    max: float


def line(name: str, ns: Any) -> Line:
    """The percentiles of the durations `ns` (n,) [ns], n at least 1."""
    values = np.asarray(ns, np.float64) / 1e3
    return Line(name, len(values), *(float(x) for x in np.percentile(values, PERCENTILES)))


def timings(recording: Recording) -> tuple[Rows | None, str]:
    """Rows (n,) of `TIMING` from the topic /timing or from the file beside the recording, and where
    they come from; or None, and why there are none. Recordings of older versions may lack other
    columns, but have all stages."""
    if "/timing" in recording.topics:
        try:
            rows = recording.rows("/timing")
        except HeadwayError as e:
            return None, str(e)
        return _checked(rows, "the /timing topic")
    beside = recording.path.with_suffix(".timing.npy")
    if not beside.exists():
        return None, f"no /timing topic and no {beside.name} beside the recording"
    try:
        rows = np.load(beside, allow_pickle=False)
    except (OSError, ValueError, EOFError) as e:
        return None, f"{beside.name} cannot be read: {e}"
    return _checked(rows, f"{beside.name}, written beside the recording")


def _checked(rows: Any, source: str) -> tuple[Rows | None, str]:
    missing = [n for n in ("t_ns", "late", *STAGES) if n not in (rows.dtype.names or ())]
    if missing or rows.ndim != 1:
        return None, f"{source} has no {', '.join(missing) or 'rows'}"
    return (rows, source) if len(rows) else (None, f"{source} is empty")


def has(rows: Rows, *names: str) -> bool:
    """Whether `rows` have all columns `names`."""
    return all(n in (rows.dtype.names or ()) for n in names)


def total_ns(rows: Rows) -> Ns:
    """Time spent in all stages of each tick [ns]."""
    return np.asarray(np.sum([rows[s] for s in STAGES], axis=0), np.int64)


def late_ns(rows: Rows, period_ns: int) -> Ns:
    """How long after it was due each tick began [ns], the periods that it skipped included."""
    missed = rows["missed"] if has(rows, "missed") else 0
    return np.asarray(rows["late"] + missed * period_ns, np.int64)


def until_ns(rows: Rows, stage: str) -> Ns:
    """Time from the beginning of each tick to the end of `stage` (n,) [ns]."""
    upto = STAGES[: STAGES.index(stage) + 1]
    return np.asarray(np.sum([rows[s] for s in upto], axis=0), np.int64)


def hz_of(metadata: dict[str, str]) -> float | None:
    """Rate of the loop [Hz] from a recording's metadata, None if they do not state it."""
    try:
        hz = float(metadata.get("hz", ""))
    except ValueError:
        return None
    return hz if 0 < hz < float("inf") else None
