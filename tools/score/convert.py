"""Conversion: from a channel as a file has it to SI units in Headway's layout, at its own times.

Several values of a field that has one are combined as the mapping says, sample by sample.
Values that cannot be right are masked: a quaternion of zeros, for example, is no orientation.
Values that are unlikely are kept, and a note gives the number found and the plausible ones: an
angle of 180 where radians are meant.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

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
from headway.tools.score.stamps import Times
from headway.types import Vec

TURN = 2 * np.pi
ANGLES = ("q", "q_ref")
# Values (n, k) of samples -> the one value (n, 1) of each; unknown where one of them is.
COMBINED: dict[str, Callable[[Vec], Vec]] = {
    "mean": lambda x: x.mean(axis=1, keepdims=True),
    "max": lambda x: x.max(axis=1, keepdims=True),
    "norm": lambda x: np.sqrt((x * x).sum(axis=1, keepdims=True)),
}
QUAT_TOLERANCE = 0.02  # quaternions whose length is further from 1 are counted in a note


@dataclass(frozen=True)
class Converted:
    """A channel in SI units."""

    samples: Samples
    rate_hz: float | None  # of the samples where none is missing; None for a single sample
    labels: tuple[str, ...] | None  # names of the values, such as joints, where the file has them


def convert(path: Path, name: str, c: Channel, raw: Raw, notes: list[str]) -> Converted:
    """Convert the channel `raw` of the file `path` to values of the telemetry field `name`, as the
    mapping `c` says. What is worth saying is added to `notes`. Raises RecordingError where the
    values cannot be those of the field, ConfigError where the mapping does not fit them."""
    where = f"{path}: {name}"
    raw = _selected(where, c, raw)
    _check_width(where, name, c, raw)
    factor = _factor(where, name, c, raw, notes)

    def to_si(block: Vec) -> Vec:
        x: Vec = (block * c.scale + c.offset) * factor
        x[~np.isfinite(x)] = np.nan  # infinity is no measurement either
        return x if c.combine is None else COMBINED[c.combine](x)

    t = raw.samples.t
    mend: _Pose | _Turns | _Wrench | None = None
    if name == "tcp":
        mend = _Pose(c)
    elif name in ANGLES:
        mend = _Turns(raw.samples.width)
    elif name == "wrench":
        n = int(np.searchsorted(t, t[0] + round(c.tare_s * NS), side="right"))
        mend = _Wrench(c, to_si(raw.samples.read(0, n)) if c.tare_s > 0 else None)
    plausible = Plausible(name)
    store = Store(7 if name == "tcp" else 1 if c.combine else raw.samples.width)
    unknown: list[NDArray[np.bool_]] = []
    for _, block in raw.samples.blocks(BLOCK):
        x = to_si(block)
        unknown.append(np.asarray(~np.isfinite(x).all(axis=1)))
        plausible.see(block, x[:, :3] if c.has_quaternion else x)
        store.append(x if mend is None else mend.of(x))
    _say_unknown(where, name, c, t, np.concatenate(unknown), notes)
    if mend is not None:
        notes += [f"{name}: {text}" for text in mend.notes(len(t))]
    given = c.units[0] if c.units else ""
    notes += plausible.notes(t, store, given, tared=c.tare_s > 0)
    return Converted(Samples(t, store), raw.rate_hz, None if c.combine else raw.labels)


def _factor(where: str, name: str, c: Channel, raw: Raw, notes: list[str]) -> Vec:
    """What each value of a sample is multiplied by to be in SI units, (k,)."""
    width = raw.samples.width
    columns = raw.columns[:3] if c.has_quaternion else raw.columns  # a quaternion has no unit
    scaled = bool((np.asarray(c.scale) != 1.0).any())
    named = units.agreed(name, c.units, scaled, columns, where, notes)
    first, rest = units.factors(name, named, where)
    for key, value in (("scale", c.scale), ("offset", c.offset)):
        if isinstance(value, list) and len(value) != width:
            raise ConfigError(f"{where}: `{key}` wants {width} values, found {len(value)}")
    factor = np.ones(width)
    factor[:3] = first
    if not c.has_quaternion:
        factor[3:] = rest
    return factor


def _selected(where: str, c: Channel, raw: Raw) -> Raw:
    """The values that the mapping's `columns` choose. Raises ConfigError."""
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
    """Raises RecordingError for samples of another number of values than the field has, and for
    fewer than two where they are to be combined."""
    if c.combine is not None:
        if raw.samples.width < 2:
            raise RecordingError(
                f"{where}: `combine` wants several values a sample, found one in "
                f"{raw.columns[0][0]}: name more in `key`, or drop `combine`"
            )
        return
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
            f"choose with {choose}" + (", or `combine` them" if width == 1 else "")
        )


def _say_unknown(
    where: str, name: str, c: Channel, t: Times, unknown: NDArray[np.bool_], notes: list[str]
) -> None:
    """Note how many samples are `unknown` (n,), that is not finite, and the longest run of them;
    `t` (n,) [ns] are the times. Raises RecordingError where all are unknown, unless the channel is
    optional."""
    n, bad = len(t), int(np.count_nonzero(unknown))
    if bad == n and not c.optional:
        raise RecordingError(
            f"{where}: wanted finite values, found none in {n} samples: check the key, leave the "
            "channel out, or mark it `optional = true`"
        )
    if bad == n:
        notes.append(f"{name}: no finite value in this file")
    elif bad:
        edges = np.flatnonzero(np.diff(unknown.astype(np.int8), prepend=0, append=0))
        starts, ends = t[edges[::2]], t[np.minimum(edges[1::2], n - 1)]
        longest = int(np.argmax(ends - starts))
        notes.append(
            f"{name}: {bad} of {n} samples are not finite and masked, the longest run "
            f"{(ends - starts)[longest] / NS:.3f} s at {(starts[longest] - t[0]) / NS:.3f} s"
        )


class _Wrench:
    """Takes weight and bias out of wrenches, and turns their sign where they are given by the
    tool."""

    def __init__(self, c: Channel, at_rest: Vec | None) -> None:
        """`at_rest` (n, 6) [N, Nm]: the wrenches whose mean is taken out; None: nothing is."""
        self._c, self._bias = c, np.zeros(6)
        if at_rest is not None:
            known = at_rest[np.isfinite(at_rest).all(axis=1)]
            self._bias = known.mean(axis=0) if len(known) else self._bias

    def of(self, x: Vec) -> Vec:
        """Wrenches (m, 6) [N, Nm] as the sensor gives them -> those on the tool, in the same
        frame."""
        x = x - self._bias
        return -x if self._c.force == "by tool" else x

    def notes(self, n: int) -> list[str]:
        if self._c.tare_s == 0:
            return []
        return [
            f"tared by its mean over the first {self._c.tare_s:g} s, "
            f"{np.array2string(self._bias, precision=3)} [N, Nm]"
        ]


class _Pose:
    """Turns poses in the mapping's layout into position and unit quaternion. Blocks have to come
    one after the other, since the sign of a quaternion follows from the one before."""

    def __init__(self, c: Channel) -> None:
        self._c = c
        self._last = np.full(4, np.nan)  # the last known quaternion, with the sign it came with
        self._sign = 1.0  # what it was multiplied by
        self._zero = self._odd = 0  # how many quaternions have length 0, or another length than 1
        self._worst_norm = 1.0

    def of(self, x: Vec) -> Vec:
        """Poses (m, 6 or 7) [m, and rad or a quaternion] -> (m, 7): x y z [m] and quaternion wxyz,
        whose sign does not jump. NaN where the quaternion has length 0."""
        q = quaternions(x[:, 3:], self._c.layout or "")
        norm = np.sqrt((q * q).sum(axis=1))
        zero = norm < 1e-3
        odd = ~zero & (np.abs(norm - 1) > QUAT_TOLERANCE)
        self._zero += int(np.count_nonzero(zero))
        self._odd += int(np.count_nonzero(odd))
        if odd.any():
            self._worst_norm = float(norm[odd][np.abs(norm[odd] - 1).argmax()])
        out = np.hstack([x[:, :3], q / np.where(zero, 1.0, norm)[:, None]])
        out[zero] = np.nan
        known = np.flatnonzero(np.isfinite(out).all(axis=1))
        if len(known):
            quats = np.vstack([self._last, out[known, 3:]])
            dots = (quats[1:] * quats[:-1]).sum(axis=1)
            signs = self._sign * np.cumprod(np.where(dots < 0, -1.0, 1.0))  # not for NaN
            self._last, self._sign = quats[-1], float(signs[-1])
            out[known, 3:] *= signs[:, None]
        return out

    def notes(self, n: int) -> list[str]:
        out = []
        if self._zero:
            out.append(
                f"{self._zero} of {n} samples have a quaternion of zeros, which is no orientation: "
                "masked, with what needs it"
            )
        if self._odd:
            out.append(
                f"{self._odd} of {n} quaternions have another length than 1, up to "
                f"{self._worst_norm:.3g}: scaled to 1; check the layout `{self._c.layout}`"
            )
        return out


class _Turns:
    """Takes the jumps out of joint angles that wrap at +-pi. Blocks have to come one after the
    other, since whole turns add up."""

    def __init__(self, joints: int) -> None:
        self._last = np.full(joints, np.nan)  # the last known angles, as they came [rad]
        self._offset = np.zeros(joints)  # whole turns that were added so far [rad]
        self._jumps = np.zeros(joints, np.int64)

    def of(self, x: Vec) -> Vec:
        """Joint angles (m, J) [rad] that may jump by a whole turn -> (m, J) [rad] that do not."""
        out: Vec = x.copy()
        for j in range(x.shape[1]):
            known = np.flatnonzero(np.isfinite(x[:, j]))
            if not len(known):
                continue
            steps = np.diff(x[known, j], prepend=self._last[j])
            jumps = np.where(np.abs(np.abs(steps) - TURN) < 0.5, -TURN * np.sign(steps), 0.0)
            total = self._offset[j] + np.cumsum(jumps)
            out[known, j] += total
            self._jumps[j] += np.count_nonzero(jumps)
            self._last[j], self._offset[j] = x[known[-1], j], total[-1]
        return out

    def notes(self, n: int) -> list[str]:
        if not self._jumps.any():
            return []
        joints = ", ".join(map(str, np.flatnonzero(self._jumps)))
        return [
            f"{self._jumps.sum()} jumps of a whole turn in joint {joints} (counted from 0): taken "
            "as motion across +-pi"
        ]


def quaternions(r: Vec, layout: str) -> Vec:
    """Orientations `r` (n, 3 or 4) in `layout` -> quaternions wxyz (n, 4), of the length that they
    have in the file. Roll, pitch and yaw [rad] turn about the fixed axes x, y, z in this order, as
    in URDF; a rotation vector [rad] is axis times angle."""
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
