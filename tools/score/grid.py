"""Resampling: from samples at their own times to values at regular ticks.

How a telemetry field is resampled depends on what it is. Joints, poses and speeds move smoothly, so
they are interpolated by cubics through four samples: a derivative over a few milliseconds is then
that of the motion, and not of the steps between samples. Forces and widths may jump, and the norm
of a velocity turns sharply where it reaches 0, so they are interpolated along straight lines.
Flags, phases and commands hold their last value. Interpolation looks ahead by one sample, for
cubics by two (`Resampled.lookahead_ns`): a robot that runs knows its newest sample alone. With
`newest` everything holds the newest sample, as it does there. Samples that lie at the ticks already
are taken as they are.

Across a gap in the samples, fields that move have no value (NaN), and fields that hold keep their
value for `Resampled.hold_ns`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from headway.clock import NS
from headway.kernels import spec
from headway.tools.score.samples import Samples
from headway.tools.score.stamps import CHUNK, GAP, Times
from headway.types import Vec

CUBIC = ("q", "dq", "q_ref", "dq_ref", "tcp", "twist")
FORCES = ("wrench", "force_norm")
LINEAR = (
    "tau_ext", *FORCES, "torque_norm", "width", "grip_force", "touch", "vacuum", "comms_jitter",
    "speed", "spin",
)  # fmt: skip
CURVED, STRAIGHT, HELD = "interpolated by cubics", "interpolated linearly", "held"
THINNED = "thinned to the newest sample before each tick, of forces the largest in contact"
KINDS = (CURVED, STRAIGHT, HELD, THINNED)
ROUNDING_NS = 1_000  # a sample this close to a tick counts as being at the tick
CONTACT = spec.CONSTANTS["contact_on"]  # [N] from which on a force counts as a contact


def ticks_ns(hz: float, lo: int, hi: int) -> Times:
    """Times of the ticks lo..hi-1 at the rate `hz`, from tick 0 on [ns]."""
    ticks: Times = np.rint(np.arange(lo, hi) * (NS / hz)).astype(np.int64)
    return ticks


@dataclass(frozen=True)
class Resampled:
    """The telemetry field `name` at `n` regular ticks."""

    name: str
    samples: Samples  # in SI units
    start_ns: int  # time of tick 0 on the file's clock
    hz: float  # of the ticks
    n: int
    period_ns: float  # between two samples where none is missing; 0 for a single sample
    hold_ns: float  # how long a value that holds counts when no other follows
    on_change: bool = False  # samples come when the value changes: it holds, whatever the field
    newest: bool = False  # nothing is interpolated: no value depends on a sample after its tick

    @property
    def kind(self) -> str:
        """How the field is resampled, one of `KINDS`."""
        if self.on_change or self.name not in CUBIC + LINEAR:
            return HELD
        if self.name in LINEAR and self.decimated:
            return THINNED
        if self.newest:
            return HELD
        return CURVED if self.name in CUBIC else STRAIGHT

    @cached_property
    def is_exact(self) -> bool:
        """Whether the samples lie at the ticks, to a quarter of a tick's period."""
        t = self.samples.t
        return len(t) == self.n and all(
            np.abs(t[lo : lo + CHUNK] - self._ticks(lo, min(lo + CHUNK, self.n))).max()
            <= 0.25 * NS / self.hz
            for lo in range(0, self.n, CHUNK)
        )

    def _ticks(self, lo: int, hi: int) -> Times:
        """Times of the ticks lo..hi-1 [ns]."""
        return self.start_ns + ticks_ns(self.hz, lo, hi)

    @property
    def decimated(self) -> bool:
        """Whether there are clearly more samples than ticks, so that some are passed over."""
        return 0 < self.period_ns < 0.75 * NS / self.hz

    @property
    def lookahead_ns(self) -> float:
        """How much later than a tick the samples are that its value depends on."""
        return {CURVED: 2 * self.period_ns, STRAIGHT: self.period_ns}.get(self.kind, 0.0)

    def at(self, lo: int, hi: int) -> Vec:
        """The values at the ticks lo..hi-1, (hi - lo, k) in SI units, NaN where there are none."""
        if self.is_exact:
            return self.samples.read(lo, hi)
        t, ticks = self.samples.t, self._ticks(lo, hi)
        before = int(ticks[0]) - round(NS / self.hz)  # the tick before these
        # The samples around these ticks: interpolating wants up to three more on either side.
        first = max(int(np.searchsorted(t, before, side="right")) - 3, 0)
        last = min(int(np.searchsorted(t, ticks[-1] + ROUNDING_NS, side="right")) + 3, len(t))
        times, x = t[first:last], self.samples.read(first, last)
        at = np.searchsorted(times, ticks + ROUNDING_NS, side="right") - 1
        if self.kind in (CURVED, STRAIGHT):
            return self._between(times, x, ticks, at)
        y = self._held(times, x, ticks, at)
        if self.kind == THINNED and self.name in FORCES:
            fresh = times > before + ROUNDING_NS
            y = _with_peaks(y, times[fresh], x[fresh], ticks)
        return y

    def _held(self, t: Times, x: Vec, ticks: Times, at: NDArray[np.int64]) -> Vec:
        """The last value before each tick. `t` (m,) [ns] and `x` (m, k) are the samples around the
        ticks at the times `ticks` (n,) [ns]; `at` (n,) is the index of the newest sample at each
        tick, -1 where none has come yet. Returns (n, k)."""
        if not len(t):
            return np.full((len(ticks), self.samples.width), np.nan)
        y: Vec = x[np.maximum(at, 0)].copy()
        y[(at < 0) | (ticks - t[np.maximum(at, 0)] > self.hold_ns)] = np.nan
        return y

    def _between(self, t: Times, x: Vec, ticks: Times, at: NDArray[np.int64]) -> Vec:
        """The values interpolated between samples; arguments and result as those of `_held`."""
        if len(t) < 2:
            return self._held(t, x, ticks, at)
        y = np.full((len(ticks), x.shape[1]), np.nan)
        y[at >= 0] = x[at[at >= 0]]
        i = np.clip(at, 0, len(t) - 2)
        # Where the next sample is too far away, a value counts for half a period only: holding it
        # for longer would look as if the robot had stopped.
        near = ticks - t[np.maximum(at, 0)] <= max(ROUNDING_NS, 0.5 * self.period_ns)
        y[~near] = np.nan
        step = (t[i + 1] - t[i]).astype(np.float64)
        inside = (at >= 0) & (at < len(t) - 1) & (step <= GAP * self.period_ns)
        s = ((ticks - t[i]) / step)[:, None]
        line = x[i] + s * (x[i + 1] - x[i])
        at_sample = np.abs(s[:, 0]) * step <= ROUNDING_NS
        line[at_sample] = x[i[at_sample]]  # also where the next sample is NaN
        if self.kind == CURVED and len(t) >= 4:
            curve, fits = _cubic(t, x, ticks, i, GAP * self.period_ns)
            line = np.where(fits[:, None] & ~at_sample[:, None], curve, line)
        if self.name == "tcp":
            norm = np.sqrt((line[:, 3:] ** 2).sum(axis=1, keepdims=True))
            line[:, 3:] /= np.maximum(norm, 1e-12)
        y[inside] = line[inside]
        return y


def _cubic(
    t: Times, x: Vec, ticks: Times, i: NDArray[np.int64], longest: float
) -> tuple[Vec, NDArray[np.bool_]]:
    """Cubic interpolation by Lagrange's formula through four samples: for each tick those from one
    before to two after the sample `i` (n,), at the ends the four nearest.

    `t` (m,) [ns], `x` (m, k): the samples; `ticks` (n,) [ns]; `longest` [ns]: how far apart two of
    the four samples may be. Returns the values (n, k), and whether they can be used (n,): the
    samples are finite and no further apart."""
    at = np.clip(i - 1, 0, len(t) - 4)[:, None] + np.arange(4)
    times = (t[at] - ticks[:, None]).astype(np.float64)
    steps = np.diff(times, axis=1)
    fits = ((steps > 0) & (steps <= longest)).all(axis=1)
    y = np.zeros((len(ticks), x.shape[1]))
    for a in range(4):
        w = np.ones(len(ticks))
        for b in range(4):
            if a != b:
                gap = times[:, b] - times[:, a]
                w *= times[:, b] / np.where(gap == 0, 1.0, gap)
        y += w[:, None] * x[at[:, a]]
    known: NDArray[np.bool_] = np.asarray(np.isfinite(y).all(axis=1))
    return y, fits & known


def _with_peaks(y: Vec, t: Times, x: Vec, ticks: Times) -> Vec:
    """Replace the wrenches `y` (n, 6) at the times `ticks` (n,) [ns] by the one of the largest
    force since the tick before, where that is a contact: a hit that lasts for one sample is then
    not lost between two ticks. `t` (m,) [ns] and `x` (m, 6) [N, Nm] are the samples."""
    force = np.sqrt((x[:, :3] ** 2).sum(axis=1))
    tick = np.searchsorted(ticks, t - ROUNDING_NS, side="left")
    known = np.isfinite(force) & (force >= CONTACT) & (tick < len(ticks))
    order = np.flatnonzero(known)[np.argsort(force[known], kind="stable")]
    best = np.full(len(ticks), -1)
    best[tick[order]] = order  # the largest is written last
    has = best >= 0
    taken = x[best[has]]
    here = np.sqrt((y[has, :3] ** 2).sum(axis=1))
    y = y.copy()
    y[has] = np.where((np.nan_to_num(here) < force[best[has]])[:, None], taken, y[has])
    return y
