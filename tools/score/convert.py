"""A channel as a file has it -> SI units in our layout, at its own stamps.

What cannot be right is masked (a quaternion of zeros is no orientation) or said with the number
seen and the number plausible (an angle of 180 where radians are meant).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from headway.clock import NS
from headway.errors import ConfigError, RecordingError
from headway.kernels.telemetry import FIELDS
from headway.tools.score import units
from headway.tools.score.mapping import LAYOUTS, Channel
from headway.tools.score.plausible import Plausible
from headway.tools.score.samples import BLOCK, Samples, Store
from headway.tools.score.source import Raw
from headway.types import Vec

TURN = 2 * np.pi
ANGLES = ("q", "q_ref")
QUAT_TOLERANCE = 0.02  # a quaternion's length further from 1 is said


@dataclass(frozen=True)
class Converted:
    """`samples` in SI units; `rate_hz` of them while they come, None for a single one."""

    samples: Samples
    rate_hz: float | None
    labels: tuple[str, ...] | None


def convert(path: str, name: str, c: Channel, raw: Raw, notes: list[str]) -> Converted:
    """Raises RecordingError, ConfigError."""
    where = f"{path}: {name}"
    raw = _selected(where, c, raw)
    _check_width(where, name, c, raw)
    first, rest = units.factors(
        name, units.agreed(name, c.unit, _columns_with_units(name, c, raw), where, notes), where
    )
    factor = np.ones(raw.samples.width)
    factor[:3] = first
    if name not in ("tcp", "twist", "wrench"):
        factor[3:] = first
    elif not (c.layout or "").startswith("xyz quat"):
        factor[3:] = rest
    for key, value in (("scale", c.scale), ("offset", c.offset)):
        if isinstance(value, list) and len(value) != raw.samples.width:
            raise ConfigError(
                f"{where}: `{key}` wants {raw.samples.width} values, found {len(value)}"
            )
    made = _Conversion(where, name, c, raw, factor, notes)
    return Converted(made.run(), raw.rate_hz, raw.labels)


def _columns_with_units(name: str, c: Channel, raw: Raw) -> list[tuple[str, str | None]]:
    if c.layout is not None and c.layout.startswith("xyz quat"):
        return list(raw.columns[:3])  # a quaternion has no unit
    return list(raw.columns)


def _selected(where: str, c: Channel, raw: Raw) -> Raw:
    if c.names is not None and raw.labels is None:
        raise ConfigError(
            f"{where}: `names` is for messages that name their values; columns of a table are "
            "named by `key`"
        )
    if c.columns is None:
        return raw
    width = raw.samples.width
    if not c.columns or not all(0 <= i < width for i in c.columns):
        raise ConfigError(f"{where}: wanted `columns` in 0..{width - 1}, found {c.columns}")
    labels = raw.labels
    return replace(
        raw,
        samples=raw.samples.of(c.columns),
        columns=tuple(raw.columns[i] for i in c.columns),
        labels=None if labels is None else tuple(labels[i] for i in c.columns),
    )


def _check_width(where: str, name: str, c: Channel, raw: Raw) -> None:
    if name == "tcp":
        width: int | None = LAYOUTS[c.layout or ""]
    else:
        width = None if FIELDS[name][0] == "J" else max(1, int(FIELDS[name][0]))
    if width is not None and raw.samples.width != width:
        shape = f"{c.layout}: {width}" if name == "tcp" else str(width)
        names = ", ".join(dict.fromkeys(n for n, _ in raw.columns))
        choose = "`names`" if raw.labels is not None else "`columns`"
        raise RecordingError(
            f"{where}: wanted {shape} values a sample, found {raw.samples.width} in {names}: "
            f"choose with {choose}"
        )


class _Conversion:
    """One pass over a channel, block by block."""

    def __init__(
        self, where: str, name: str, c: Channel, raw: Raw, factor: Vec, notes: list[str]
    ) -> None:
        self.where, self.name, self.c, self.raw, self.notes = where, name, c, raw, notes
        self.factor = factor
        self.sign = -1.0 if c.force == "by tool" else 1.0
        self.plausible = Plausible(name)
        self.bad = self.zero_quats = self.odd_quats = self.turns = 0
        self.worst_norm = 1.0
        self.run_start: int | None = None
        self.longest = (0, 0)  # [ns] of a run that is not finite, and when it began
        width = 7 if name == "tcp" else raw.samples.width
        self.last = np.full(width, np.nan)  # the last known values, of what has to be continuous
        self.offset = np.zeros(width)  # whole turns taken out of the joints so far
        self.turned: set[int] = set()
        self.flip = 1.0
        self.store = Store(width)

    def run(self) -> Samples:
        """The samples in SI units."""
        samples, t = self.raw.samples, self.raw.samples.t
        bias = self._bias() if self.name == "wrench" and self.c.tare_s > 0 else 0.0
        for lo, raw in samples.blocks(BLOCK):
            x = self._si(raw)
            at = t[lo : lo + len(x)]
            self._gaps(at, x)
            is_quat = (self.c.layout or "").startswith("xyz quat")
            self.plausible.see(raw, x[:, :3] if is_quat else x)
            if self.name == "tcp":
                x = self._pose(x)
            elif self.name == "wrench":
                x = (x - bias) * self.sign
            elif self.name in ANGLES:
                x = self._unwrapped(x)
            self.store.append(x)
        self._say(t)
        return Samples(t, self.store)

    def _si(self, raw: Vec) -> Vec:
        x: Vec = (raw * self.c.scale + self.c.offset) * self.factor
        x[~np.isfinite(x)] = np.nan  # infinity is no measurement either
        return x

    def _bias(self) -> Vec:
        t = self.raw.samples.t
        n = int(np.searchsorted(t, t[0] + round(self.c.tare_s * NS), side="right"))
        at_rest = self._si(self.raw.samples.read(0, n))
        known = at_rest[np.isfinite(at_rest).all(axis=1)]
        bias: Vec = known.mean(axis=0) if len(known) else np.zeros(6)
        self.notes.append(
            f"wrench: tared by its mean over the first {self.c.tare_s:g} s, "
            f"{np.array2string(bias, precision=3)} [N, Nm]"
        )
        return bias

    def _gaps(self, t: NDArray[np.int64], x: Vec) -> None:
        bad = np.asarray(~np.isfinite(x).all(axis=1))
        self.bad += int(bad.sum())
        edges = np.flatnonzero(
            np.diff(bad.astype(np.int8), prepend=int(self.run_start is not None))
        )
        for i in edges.tolist():
            if bad[i]:
                self.run_start = int(t[i])
            elif self.run_start is not None:
                self._end_run(int(t[i]))
        if self.run_start is not None:
            self.longest = max(self.longest, (int(t[-1]) - self.run_start, self.run_start))

    def _end_run(self, t_ns: int) -> None:
        assert self.run_start is not None
        self.longest = max(self.longest, (t_ns - self.run_start, self.run_start))
        self.run_start = None

    def _pose(self, x: Vec) -> Vec:
        """(n, 7) position and unit quaternion wxyz without jumps of sign; NaN where the quaternion
        is none."""
        q = quaternions(x[:, 3:], self.c.layout or "")
        norm = np.sqrt((q * q).sum(axis=1))
        zero = norm < 1e-3
        if (self.c.layout or "").startswith("xyz quat"):
            odd = np.abs(norm - 1) > QUAT_TOLERANCE
            self.zero_quats += int(zero.sum())
            self.odd_quats += int((odd & ~zero).sum())
            if (odd & ~zero).any():
                self.worst_norm = float(norm[odd & ~zero][np.abs(norm[odd & ~zero] - 1).argmax()])
        out = np.hstack([x[:, :3], q / np.where(zero, 1.0, norm)[:, None]])
        out[zero] = np.nan
        known = np.flatnonzero(np.isfinite(out).all(axis=1))
        if len(known):
            quats = np.vstack([self.last[3:], out[known, 3:]])
            dots = (quats[1:] * quats[:-1]).sum(axis=1)
            signs = self.flip * np.cumprod(np.where(dots < 0, -1.0, 1.0))  # NaN counts as no flip
            self.last = out[known[-1]].copy()
            self.flip = float(signs[-1])
            out[known, 3:] *= signs[:, None]
        return out

    def _unwrapped(self, x: Vec) -> Vec:
        """Joint angles (n, J) without the jumps of a whole turn of those that wrap at +-pi."""
        out: Vec = x.copy()
        for j in range(x.shape[1]):
            known = np.flatnonzero(np.isfinite(x[:, j]))
            if not len(known):
                continue
            steps = np.diff(x[known, j], prepend=self.last[j])
            jumps = np.where(np.abs(np.abs(steps) - TURN) < 0.5, -TURN * np.sign(steps), 0.0)
            if jumps.any():
                self.turns += int(np.count_nonzero(jumps))
                self.turned.add(j)
            total = self.offset[j] + np.cumsum(jumps)
            out[known, j] += total
            self.last[j], self.offset[j] = x[known[-1], j], total[-1]
        return out

    def _say(self, t: NDArray[np.int64]) -> None:
        n, name = len(t), self.name
        if self.bad == n and not self.c.optional:
            raise RecordingError(
                f"{self.where}: wanted finite values, found none in {n} samples: check the key, "
                "leave the channel out, or mark it `optional = true`"
            )
        if self.bad == n:
            self.notes.append(f"{name}: no finite value in this file")
        elif self.bad:
            length, start = self.longest
            self.notes.append(
                f"{name}: {self.bad} of {n} samples are not finite and masked, the longest run "
                f"{length / NS:.3f} s at {(start - t[0]) / NS:.3f} s"
            )
        if self.zero_quats:
            self.notes.append(
                f"{name}: {self.zero_quats} of {n} samples have a quaternion of zeros, which is no "
                "orientation: masked, with what needs it"
            )
        if self.odd_quats:
            self.notes.append(
                f"{name}: {self.odd_quats} of {n} quaternions have another length than 1, up to "
                f"{self.worst_norm:.3g}: scaled to 1; check the layout `{self.c.layout}`"
            )
        if self.turns:
            joints = ", ".join(map(str, sorted(self.turned)))
            self.notes.append(
                f"{name}: {self.turns} jumps of a whole turn in joint {joints} (counted from 0): "
                "taken as motion across +-pi"
            )
        given = self.c.unit if isinstance(self.c.unit, str) else (self.c.unit or [""])[0]
        self.notes += self.plausible.notes(t, self.store, given, tared=self.c.tare_s > 0)


def quaternions(r: Vec, layout: str) -> Vec:
    """(n, 4) wxyz of any length. rpy is about the fixed x, y, z in this order (URDF)."""
    if layout == "xyz quat wxyz":
        return r
    if layout == "xyz quat xyzw":
        return r[:, [3, 0, 1, 2]]
    if layout == "xyz rotvec":
        angle = np.sqrt((r * r).sum(axis=1, keepdims=True))
        return np.hstack([np.cos(angle / 2), r * 0.5 * np.sinc(angle / (2 * np.pi))])
    (cr, cp, cy), (sr, sp, sy) = np.cos(r.T / 2), np.sin(r.T / 2)
    return np.stack(
        [
            cr * cp * cy + sr * sp * sy,
            sr * cp * cy - cr * sp * sy,
            cr * sp * cy + sr * cp * sy,
            cr * cp * sy - sr * sp * cy,
        ],
        axis=1,
    )
