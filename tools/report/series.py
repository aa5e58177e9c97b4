"""The data of the plots, and how they are stored in the page: decimated to minima and maxima, then
as floats in base64.

A page has at most `LIMIT` points per series. A longer series is cut into buckets, of which each
keeps its smallest and its largest value in their order in time. So a peak of one tick stays
visible, at a time that is right to one bucket. A gap (NaN) stays if a whole bucket has no value.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

LIMIT = 6000
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Panel:
    """One plot: `series` maps labels to values (n,) at the times `t` (n,) [s], which do not
    decrease. `bounds` fixes the y axis. `dashed` names the series that are commands, not
    measurements."""

    title: str
    unit: str
    t: Array
    series: Mapping[str, Array]
    bounds: tuple[float, float] | None = None
    dashed: frozenset[str] = frozenset()
    note: str = ""


@dataclass(frozen=True)
class Span:
    """A bar in a lane: `text` applies from `start` to `end` [s]. `kind` is its colour: p0..p7,
    bandwarn or bandbad."""

    start: float
    end: float
    text: str
    kind: str


@dataclass(frozen=True)
class Event:
    """An event at `t` [s], or None for one without a time; `level` is that of its log line."""

    t: float | None
    level: str
    text: str


@dataclass
class Timeline:
    """Everything that is drawn over time: plots, lanes of bars by name, and events."""

    panels: list[Panel] = field(default_factory=list)
    lanes: dict[str, list[Span]] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)

    def to_json(self, strips: Sequence[Sequence[float]] = ()) -> dict[str, Any]:
        """The data that report.js reads. `strips` has the times [s] of every strip's frames."""
        bases: dict[str, str] = {}
        ends = [(p.t[0], p.t[-1]) for p in self.panels if len(p.t)]
        ends += [(s.start, s.end) for lane in self.lanes.values() for s in lane]
        start = min((float(a) for a, _ in ends), default=0.0)
        end = max((float(b) for _, b in ends), default=1.0)
        if end <= start:  # there is only one tick
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
            "events": sorted(
                ([e.t, e.level, e.text] for e in self.events if e.t is not None),
                key=lambda e: e[0],
            ),
            "strips": [list(times) for times in strips],
        }


def decimate(t: Array, y: Array, limit: int = LIMIT) -> tuple[Array, Array]:
    """`t` (n,) and `y` (n, k) reduced to at most `limit` points; unchanged if n is not more."""
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
    with np.errstate(over="ignore"):  # too large for float32: inf, drawn as a gap
        return base64.b64encode(y.astype("<f4").tobytes()).decode()


def spans_of(t: Array, codes: NDArray[Any], step: float) -> list[tuple[float, float, int]]:
    """(start [s], end [s], code) of every run of equal `codes` (n,) at the times `t` (n,) [s]. A
    value holds until the next tick, so the last run ends `step` [s] after the last time."""
    if not len(t):
        return []
    starts = np.flatnonzero(np.diff(codes, prepend=codes[0] - 1))
    ends = np.append(t[starts[1:]], t[-1] + step)
    return [(float(t[i]), float(e), int(codes[i])) for i, e in zip(starts, ends, strict=True)]


def merge(spans: list[Span], most: int = 300) -> list[Span]:
    """`spans`, or about 2 x `most` of them at most: if there are more, neighbours too short to be
    seen are joined into one that names all of them, with "on and off" if they had gaps."""
    if len(spans) <= most:
        return spans
    gap = (spans[-1].end - spans[0].start) / most
    groups: list[list[Span]] = []
    for s in spans:
        if groups and s.end - groups[-1][0].start < gap:
            groups[-1].append(s)
        else:
            groups.append([s])
    out: list[Span] = []
    for s in map(_covering, groups):
        before = out[-1] if out else s
        if before is not s and before.text == s.text and s.start - before.end < gap:
            out[-1] = Span(before.start, s.end, s.text, s.kind)
        else:
            out.append(s)
    return out


def _covering(group: list[Span]) -> Span:
    if len(group) == 1:
        return group[0]
    names = ", ".join(dict.fromkeys(s.text for s in group))
    holes = any(b.start - a.end > 1e-9 for a, b in pairwise(group))
    kinds = {s.kind for s in group}
    kind = "bandbad" if "bandbad" in kinds else group[0].kind
    return Span(group[0].start, group[-1].end, f"on and off: {names}" if holes else names, kind)
