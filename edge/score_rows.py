"""From a mapped file to telemetry rows on a regular grid: units, frames, resampling.

Resampling is causal: a tick holds the newest sample at or before it (zero-order hold), and nothing
once that is too old, so that a stream that stopped is masked instead of frozen.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.clock import NS
from headway.edge.score_input import LAYOUTS, Channel, Mapping, factors, scale_of
from headway.edge.score_read import NoSuchKeyError, Series, Source
from headway.errors import ConfigError, RecordingError
from headway.kernels import telemetry
from headway.kernels.derive import rotate
from headway.kernels.telemetry import FIELDS, Scale
from headway.types import Vec

Rows = NDArray[Any]
ROUNDING_NS = 1_000


@dataclass(frozen=True)
class Telemetry:
    """`rows` at `hz`, starting at 0 = the file's `origin_ns`; `events` (t [s], text)."""

    rows: Rows
    hz: float
    scale: Scale
    origin_ns: int
    success: bool | None = None
    events: list[tuple[float, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def telemetry_of(source: Source, mapping: Mapping) -> Telemetry:
    """Raises RecordingError and ConfigError: what was wanted, what the file has, what to do."""
    notes = [source.note] if source.note else []
    found: dict[str, Series] = {}
    for name, channel in mapping.channels.items():
        try:
            found[name] = _channel(source, name, channel, notes)
        except NoSuchKeyError as e:  # noqa: PERF203 - once per channel
            if not channel.optional:
                raise
            notes.append(f"{name}: no {e.what} `{e.key}` in this file")
    if not found:
        raise RecordingError(f"{source.path}: wanted channels, found none of the mapped ones")
    joints = _joints(source, mapping, found)
    hz = _rate(source, mapping, found, notes)
    origin, n = _span(source, found, hz)
    grid = origin + np.rint(np.arange(n) * (NS / hz)).astype(np.int64)
    rows: Rows = telemetry.empty(joints, n)
    rows["t_ns"] = grid - origin
    rows["elapsed"] = rows["t_ns"] / NS
    columns = _on_grid(mapping, found, grid, hz, notes)
    wrench = mapping.channels.get("wrench")
    if "wrench" in columns and wrench is not None and wrench.frame == "base":
        columns["wrench"] = _in_tcp_frame(source, columns)
    for name, x in columns.items():
        rows[name] = x if rows[name].ndim == 2 else x[:, 0]
    for name, value in mapping.constants.items():
        rows[name] = value
    events = _phases(source, mapping, rows, grid, notes) + _events(source, mapping, origin, notes)
    scale, assumed = scale_of(mapping.limits, joints, str(source.path))
    if assumed:
        notes.append(f"limits that the mapping does not give, assumed: {', '.join(assumed)}")
    success = _outcome(source, mapping, notes)
    return Telemetry(rows, hz, scale, origin, success, sorted(events), notes)


def _channel(source: Source, name: str, c: Channel, notes: list[str]) -> Series:
    """In SI units and our layout, at its own stamps."""
    keys = [c.key] if isinstance(c.key, str) else c.key
    parts = [source.series(k, c.topic) for k in keys]
    where = f"{source.path}: {name}"
    if any(len(p.t) != len(parts[0].t) or (p.t != parts[0].t).any() for p in parts):
        raise RecordingError(f"{where}: wanted `{'`, `'.join(keys)}` at the same times")
    t, x = parts[0].t, np.hstack([p.x for p in parts])
    if c.columns is not None:
        if not c.columns or not all(0 <= i < x.shape[1] for i in c.columns):
            raise ConfigError(
                f"{where}: wanted `columns` in 0..{x.shape[1] - 1}, found {c.columns}"
            )
        x = x[:, c.columns]
    width = _width(name, c)
    if width is not None and x.shape[1] != width:
        shape = f"{c.layout}: {width}" if name == "tcp" else str(width)
        raise RecordingError(
            f"{where}: wanted {shape} values a sample, found {x.shape[1]} in {', '.join(keys)}: "
            "choose with `columns`"
        )
    back = np.flatnonzero(np.diff(t) < 0)
    if len(back):
        i = int(back[0])
        raise RecordingError(
            f"{where}: wanted times that do not go back, found {t[i] / NS:.6f} s and then "
            f"{t[i + 1] / NS:.6f} s at sample {i + 1} ({len(back)} such steps): sort the file, or "
            "cut it where its clock was set"
        )
    first, rest = factors(name, c, where)
    for key, value in (("scale", c.scale), ("offset", c.offset)):
        if isinstance(value, list) and len(value) != x.shape[1]:
            raise ConfigError(f"{where}: `{key}` wants {x.shape[1]} values, found {len(value)}")
    x = x * c.scale + c.offset
    x[:, :3] *= first
    if name not in ("tcp", "twist", "wrench"):
        x[:, 3:] *= first
    elif not (c.layout or "").startswith("xyz quat"):
        x[:, 3:] *= rest
    _say_gaps(name, t, x, where, notes, optional=c.optional)
    if name == "tcp":
        x = _pose(x, c.layout or "")
    if name == "wrench":
        x = _wrench(t, x, c, notes)
    return Series(t, x)


def _width(name: str, c: Channel) -> int | None:
    if name == "tcp":
        return LAYOUTS[c.layout or ""]
    width = FIELDS[name][0]
    return None if width == "J" else max(1, int(width))


def _say_gaps(name: str, t: Any, x: Vec, where: str, notes: list[str], *, optional: bool) -> None:
    bad = ~np.isfinite(x).all(axis=1)
    if bad.all() and not optional:
        raise RecordingError(
            f"{where}: wanted finite values, found none in {len(x)} samples: check the key, leave "
            "the channel out, or mark it `optional = true`"
        )
    if bad.all():
        notes.append(f"{name}: no finite value in this file")
    elif bad.any():
        edges = np.flatnonzero(np.diff(np.concatenate(([0], bad.astype(np.int8), [0]))))
        starts, ends = edges[::2], np.minimum(edges[1::2], len(t) - 1)
        length = t[ends] - t[starts]
        i = int(np.argmax(length))
        notes.append(
            f"{name}: {bad.sum()} of {len(x)} samples are not finite and masked, the longest run "
            f"{length[i] / NS:.3f} s at {(t[starts[i]] - t[0]) / NS:.3f} s"
        )


def _wrench(t: Any, x: Vec, c: Channel, notes: list[str]) -> Vec:
    if c.tare_s > 0:
        at_rest = x[(t - t[0]) <= c.tare_s * NS]
        bias = np.nanmean(at_rest, axis=0) if np.isfinite(at_rest).any() else np.zeros(6)
        x = x - bias
        notes.append(
            f"wrench: tared by its mean over the first {c.tare_s:g} s, "
            f"{np.array2string(bias, precision=3)} [N, Nm]"
        )
    return -x if c.force == "by tool" else x


def _pose(x: Vec, layout: str) -> Vec:
    """(n, 7) position and quaternion wxyz. rpy is about the fixed x, y, z in this order (URDF)."""
    pos, r = x[:, :3], x[:, 3:]
    if layout == "xyz quat wxyz":
        q = r
    elif layout == "xyz quat xyzw":
        q = r[:, [3, 0, 1, 2]]
    elif layout == "xyz rotvec":
        angle = np.sqrt((r * r).sum(axis=1, keepdims=True))
        q = np.hstack([np.cos(angle / 2), r * 0.5 * np.sinc(angle / (2 * np.pi))])
    else:
        (cr, cp, cy), (sr, sp, sy) = np.cos(r.T / 2), np.sin(r.T / 2)
        q = np.stack(
            [
                cr * cp * cy + sr * sp * sy,
                sr * cp * cy - cr * sp * sy,
                cr * sp * cy + sr * cp * sy,
                cr * cp * sy - sr * sp * cy,
            ],
            axis=1,
        )
    return np.hstack([pos, q / np.maximum(np.sqrt((q * q).sum(axis=1, keepdims=True)), 1e-12)])


def _in_tcp_frame(source: Source, columns: dict[str, Vec]) -> Vec:
    if "tcp" not in columns:
        raise ConfigError(
            f"{source.path}: a wrench in the base frame wants `channels.tcp` to turn it into the "
            'TCP frame, found none: map it, or give `frame = "tcp"` if that is what it is'
        )
    inverse = columns["tcp"][:, 3:] * np.array([1.0, -1.0, -1.0, -1.0])
    return rotate(inverse, columns["wrench"].reshape(-1, 2, 3)).reshape(-1, 6)


def _joints(source: Source, mapping: Mapping, found: dict[str, Series]) -> int:
    widths = {n: s.x.shape[1] for n, s in found.items() if FIELDS[n][0] == "J"}
    if len(set(widths.values())) > 1:
        said = ", ".join(f"{n} {w}" for n, w in widths.items())
        raise RecordingError(
            f"{source.path}: wanted the same number of joints everywhere, found {said}: choose "
            "with `columns`"
        )
    given = mapping.limits.q_min if mapping.limits.q_min is not None else mapping.limits.dq_max
    return next(iter(widths.values()), len(given) if isinstance(given, list) else 1)


def _rate(source: Source, mapping: Mapping, found: dict[str, Series], notes: list[str]) -> float:
    """As the mapping says; else what the median step of the densest channel says."""
    if mapping.time.rate_hz is not None:
        return mapping.time.rate_hz
    densest = max(found.values(), key=lambda s: len(s.t))
    steps = np.diff(densest.t)
    steps = steps[steps > 0]
    if not len(steps):
        raise RecordingError(
            f"{source.path}: wanted at least two samples at different times, found "
            f"{len(densest.t)} at {densest.t[0] / NS:g} s"
        )
    hz = NS / float(np.median(steps))
    whole = float(round(hz))
    hz = whole if whole and abs(hz / whole - 1) < 0.01 else hz
    notes.append(f"rate: {hz:g} Hz, from the median step between stamps")
    return hz


def _span(source: Source, found: dict[str, Series], hz: float) -> tuple[int, int]:
    start = min(int(s.t[0]) for s in found.values())
    end = max(int(s.t[-1]) for s in found.values())
    n = int((end - start) * hz / NS + 0.5) + 1
    samples = max(len(s.t) for s in found.values())
    if n > 1000 * samples + 1000 or n > 50_000_000:
        raise ConfigError(
            f"{source.path}: {samples} samples would fill {n} ticks of {hz:g} Hz "
            f"({(end - start) / NS:g} s): check `time.unit` and `time.rate_hz`"
        )
    return start, n


def _on_grid(
    mapping: Mapping, found: dict[str, Series], grid: Any, hz: float, notes: list[str]
) -> dict[str, Vec]:
    """Each channel at every tick: as it is where its stamps are on the grid to a quarter of a
    period, else the newest sample at or before the tick."""
    out, held, late = {}, [], []
    for name, (t, x) in found.items():
        c = mapping.channels[name]
        if len(t) == len(grid) and np.abs(t - grid).max() <= 0.25 * NS / hz:
            out[name] = x
            continue
        held.append(name)
        period = float(np.median(np.diff(t))) if len(t) > 1 else 0.0
        hold = max(mapping.time.hold_s * NS, 3 * period) if c.hold_s is None else c.hold_s * NS
        at = np.searchsorted(t, grid + ROUNDING_NS, side="right") - 1
        y = x[np.maximum(at, 0)].copy()
        old = (at < 0) | (grid - t[np.maximum(at, 0)] > hold)
        y[old] = np.nan
        out[name] = y
        if old.any():
            late.append(f"{name} {old.sum() / hz:.2f} s")
    if held:
        notes.append(
            f"resampled to {hz:g} Hz, causally, each tick holding the newest sample before it "
            f"(zero-order hold): {', '.join(held)}"
        )
    if late:
        notes.append(f"no sample young enough, masked: {', '.join(late)}")
    return out


def _phases(
    source: Source, mapping: Mapping, rows: Rows, grid: Any, notes: list[str]
) -> list[tuple[float, str]]:
    p = mapping.phase
    if p is None:
        return []
    try:
        starts = source.times(p.starts, p.topic)
    except NoSuchKeyError as e:
        if not p.optional:
            raise
        notes.append(f"phase: no {e.what} `{e.key}` in this file")
        return []
    if (np.diff(starts) < 0).any():
        raise RecordingError(f"{source.path}: wanted phase starts in order, found {starts / NS} s")
    index = np.searchsorted(starts, grid + ROUNDING_NS, side="right") - 1
    rows["phase"] = np.where(index >= 0, index, np.nan)
    names = [p.names[i] if i < len(p.names) else f"phase {i}" for i in range(len(starts))]
    return [((int(t) - int(grid[0])) / NS, n) for t, n in zip(starts, names, strict=True)]


def _events(
    source: Source, mapping: Mapping, origin: int, notes: list[str]
) -> list[tuple[float, str]]:
    e = mapping.events
    if e is None:
        return []
    try:
        if e.times is not None:
            times = source.times(e.times, e.topic)
            words = [w for _, w in source.text(e.labels, e.topic)] if e.labels else []
            if e.labels and len(words) != len(times):
                raise RecordingError(
                    f"{source.path}: wanted one label for each of {len(times)} event times, found "
                    f"{len(words)} in `{e.labels}`"
                )
            words = words or ["event"] * len(times)
            return [((int(t) - origin) / NS, w) for t, w in zip(times, words, strict=True)]
        out, before = [], ""
        for stamp, word in source.text(e.text or "", e.topic):
            if stamp is not None and word not in (before, "", "nan"):
                out.append(((stamp - origin) / NS, word))
            before = word
        return out
    except NoSuchKeyError as error:
        if not e.optional:
            raise
        notes.append(f"events: no {error.what} `{error.key}` in this file")
        return []


def _outcome(source: Source, mapping: Mapping, notes: list[str]) -> bool | None:
    o = mapping.outcome
    if o is None:
        return None
    try:
        words = source.text(o.key, o.topic)
    except NoSuchKeyError as e:
        if not o.optional:
            raise
        notes.append(f"outcome: no {e.what} `{e.key}` in this file")
        return None
    return any(_same(words[-1][1], s) for s in o.success) if words else None


def _same(word: str, wanted: str | float | bool) -> bool:
    """`1`, `1.0` and `true` are what a file may write for the same."""
    try:
        return float(word) == float(wanted)
    except ValueError:
        return word.strip().lower() == str(wanted).lower()
