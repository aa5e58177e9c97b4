"""What a plot holds, and how it travels in the page: min/max decimation, then base64 floats.

A page carries at most `LIMIT` points a series. Above that the samples are cut into buckets, and
each keeps its least and its greatest value in the order in which they came: a peak of one tick
survives, its time is right to one bucket. Gaps (NaN) survive where a whole bucket has no value.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

LIMIT = 6000
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Panel:
    """One plot: `series` label -> (n,) over the times `t` (n,) [s], not decreasing. `bounds` fixes
    the y axis; `dashed` names the series that are commands rather than measurements."""

    title: str
    unit: str
    t: Array
    series: Mapping[str, Array]
    bounds: tuple[float, float] | None = None
    dashed: frozenset[str] = frozenset()
    note: str = ""


@dataclass(frozen=True)
class Span:
    """`text` held from `start` to `end` [s]; `kind` is its colour: p0..p7, bandwarn or bandbad."""

    start: float
    end: float
    text: str
    kind: str


@dataclass(frozen=True)
class Event:
    """`t` [s] is None for one without a time."""

    t: float | None
    level: str
    text: str


@dataclass
class Timeline:
    """All that is drawn over time."""

    panels: list[Panel] = field(default_factory=list)
    lanes: dict[str, list[Span]] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)

    def to_json(self, strips: Sequence[Sequence[float]] = ()) -> dict[str, Any]:
        """What report.js reads; `strips` are the times of the frames of every camera strip."""
        bases: dict[str, str] = {}
        ends = [(p.t[0], p.t[-1]) for p in self.panels if len(p.t)]
        ends += [(s.start, s.end) for lane in self.lanes.values() for s in lane]
        start = min((float(a) for a, _ in ends), default=0.0)
        end = max((float(b) for _, b in ends), default=1.0)
        if end <= start:  # one tick
            start, end = start - 0.5, start + 0.5
        panels = []
        for p in self.panels:
            t, columns = decimate(p.t, np.column_stack(list(p.series.values())))
            x = base64.b64encode(t.astype("<f8").tobytes()).decode()
            panels.append(
                {
                    "title": p.title,
                    "unit": p.unit,
                    "x": bases.setdefault(x, f"t{len(bases)}"),
                    "bounds": p.bounds,
                    "series": [
                        {"label": k, "dash": k in p.dashed, "y": _floats(columns[:, i])}
                        for i, k in enumerate(p.series)
                    ],
                }
            )
        return {
            "range": [start, end],
            "times": {name: x for x, name in bases.items()},
            "panels": panels,
            "lanes": [
                {"label": k, "spans": [[s.start, s.end, s.text, s.kind] for s in lane]}
                for k, lane in self.lanes.items()
            ],
            "events": [[e.t, e.level, e.text] for e in self.events if e.t is not None],
            "strips": [list(times) for times in strips],
        }


def decimate(t: Array, y: Array, limit: int = LIMIT) -> tuple[Array, Array]:
    """`t` (n,) and `y` (n, k) with at most `limit` points; unchanged where there are fewer."""
    n = len(t)
    if n <= limit:
        return t, y
    size = -(-n // (limit // 2))
    count = -(-n // size)
    first = np.arange(count) * size
    last = np.minimum(first + size, n) - 1
    padded = np.full((count * size, y.shape[1]), np.nan)
    padded[:n] = y
    buckets = padded.reshape(count, size, -1)
    known = np.isfinite(buckets)
    least = np.where(known, buckets, np.inf).argmin(1)[:, None]
    most = np.where(known, buckets, -np.inf).argmax(1)[:, None]
    pairs = [np.minimum(least, most), np.maximum(least, most)]
    out = np.concatenate([np.take_along_axis(buckets, p, 1) for p in pairs], 1)
    out[~known.any(1)[:, None].repeat(2, 1)] = np.nan
    return np.stack([t[first], t[last]], 1).reshape(-1), out.reshape(2 * count, -1)


def _floats(y: Array) -> str:
    with np.errstate(over="ignore"):  # what float32 cannot hold is a gap, like any infinity
        return base64.b64encode(y.astype("<f4").tobytes()).decode()


def spans_of(t: Array, codes: NDArray[Any], step: float) -> list[tuple[float, float, int]]:
    """(start, end, code) of every run of equal `codes` (n,) at the times `t`; the last lasts `step`
    longer, since a value holds until the next tick."""
    if not len(t):
        return []
    starts = np.flatnonzero(np.diff(codes, prepend=codes[0] - 1))
    ends = np.append(t[starts[1:]], t[-1] + step)
    return [(float(t[i]), float(e), int(codes[i])) for i, e in zip(starts, ends, strict=True)]


def merge(spans: list[Span], most: int = 300) -> list[Span]:
    """At most about `most` spans: where there are more, near neighbours become one that names all
    that it covers."""
    if len(spans) <= most:
        return spans
    gap = (spans[-1].end - spans[0].start) / most
    out = [spans[0]]
    for s in spans[1:]:
        before = out[-1]
        if s.start - before.end >= gap:
            out.append(s)
            continue
        names = before.text.split(", ")
        text = before.text if s.text in names else f"{before.text}, {s.text}"
        kind = "bandbad" if "bandbad" in (before.kind, s.kind) else before.kind
        out[-1] = Span(before.start, s.end, text, kind)
    return out
