"""Samples at their own times -> values at regular ticks.

Each field is resampled as what it is. What moves smoothly (joints, poses, speeds) is interpolated
by cubics through four samples, so that a derivative over a few milliseconds is that of the motion
and not of the steps between samples; forces and widths, which may jump, along straight lines;
flags, phases and commands hold their last value. Interpolating looks ahead by one sample, two for
cubics: `lookahead_ns`. Where a channel has its samples at the ticks they are taken as they are.

Across a gap there is no value of what moves; what holds counts for `hold_ns`.
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
LINEAR = ("tau_ext", "wrench", "width", "grip_force", "vacuum", "comms_jitter")
CURVED, STRAIGHT, HELD = "interpolated by cubics", "interpolated linearly", "held"
THINNED = "thinned to the newest sample before each tick, of forces the largest in contact"
KINDS = (CURVED, STRAIGHT, HELD, THINNED)
ROUNDING_NS = 1_000
CONTACT = spec.CONSTANTS["contact_on"]  # [N]


def ticks_ns(hz: float, lo: int, hi: int) -> Times:
    """Times of the ticks lo..hi-1 at the rate `hz`, from tick 0 on [ns]."""
    ticks: Times = np.rint(np.arange(lo, hi) * (NS / hz)).astype(np.int64)
    return ticks


@dataclass(frozen=True)
class Resampled:
    """A channel at the ticks of `hz` from `start_ns` on, of which there are `n`. `period_ns`: of
    its samples while they come. `hold_ns`: how long the last value counts where no other comes, of
    what holds. `on_change`: samples come when the value changes, so it holds whatever it is."""

    name: str
    samples: Samples
    start_ns: int
    hz: float
    n: int
    period_ns: float
    hold_ns: float
    on_change: bool = False

    @property
    def kind(self) -> str:
        """How it is resampled."""
        if self.on_change or self.name not in CUBIC + LINEAR:
            return HELD
        if self.name in CUBIC:
            return CURVED
        return THINNED if self.decimated else STRAIGHT

    @cached_property
    def is_exact(self) -> bool:
        """Whether the samples are the ticks, to a quarter of a period."""
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
        """Whether there are clearly more samples than ticks."""
        return 0 < self.period_ns < 0.75 * NS / self.hz

    @property
    def lookahead_ns(self) -> float:
        return {CURVED: 2 * self.period_ns, STRAIGHT: self.period_ns}.get(self.kind, 0.0)

    def at(self, lo: int, hi: int) -> Vec:
        """Values at the ticks lo..hi-1, (hi - lo, k), NaN where there are none."""
        if self.is_exact:
            return self.samples.read(lo, hi)
        t, ticks = self.samples.t, self._ticks(lo, hi)
        first = int(np.searchsorted(t, ticks[0], side="right")) - 3
        if self.kind == THINNED:
            first = int(np.searchsorted(t, ticks[0] - round(NS / self.hz), side="right")) - 1
        first = max(first, 0)
        last = min(int(np.searchsorted(t, ticks[-1] + ROUNDING_NS, side="right")) + 3, len(t))
        times, x = t[first:last], self.samples.read(first, last)
        at = np.searchsorted(times, ticks + ROUNDING_NS, side="right") - 1
        if self.kind == HELD:
            return self._held(times, x, ticks, at)
        if self.kind == THINNED:
            y = self._held(times, x, ticks, at)
            before = int(ticks[0]) - round(NS / self.hz)  # the tick before this block
            fresh = times > before + ROUNDING_NS
            peaks = self.name == "wrench"
            return _with_peaks(y, times[fresh], x[fresh], ticks) if peaks else y
        return self._between(times, x, ticks, at)

    def _held(self, t: Times, x: Vec, ticks: Times, at: NDArray[np.int64]) -> Vec:
        if not len(t):
            return np.full((len(ticks), self.samples.width), np.nan)
        y: Vec = x[np.maximum(at, 0)].copy()
        y[(at < 0) | (ticks - t[np.maximum(at, 0)] > self.hold_ns)] = np.nan
        return y

    def _between(self, t: Times, x: Vec, ticks: Times, at: NDArray[np.int64]) -> Vec:
        if len(t) < 2:
            return self._held(t, x, ticks, at)
        y = np.full((len(ticks), x.shape[1]), np.nan)
        y[at >= 0] = x[at[at >= 0]]
        i = np.clip(at, 0, len(t) - 2)
        # Between samples further apart nobody knows: a value held there would look like a stop.
        near = ticks - t[np.maximum(at, 0)] <= max(ROUNDING_NS, 0.5 * self.period_ns)
        y[~near] = np.nan
        step = (t[i + 1] - t[i]).astype(np.float64)
        inside = (at >= 0) & (at < len(t) - 1) & (step <= GAP * self.period_ns)
        s = ((ticks - t[i]) / step)[:, None]
        line = x[i] + s * (x[i + 1] - x[i])
        s0 = np.abs(s[:, 0]) * step <= ROUNDING_NS
        line[s0] = x[i[s0]]  # at a sample it is the sample, whatever comes next
        if self.kind == CURVED and len(t) >= 4:
            curve, fits = _cubic(t, x, ticks, i, GAP * self.period_ns)
            line = np.where(fits[:, None] & ~s0[:, None], curve, line)
        if self.name == "tcp":
            norm = np.sqrt((line[:, 3:] ** 2).sum(axis=1, keepdims=True))
            line[:, 3:] /= np.maximum(norm, 1e-12)
        y[inside] = line[inside]
        return y


def _cubic(
    t: Times, x: Vec, ticks: Times, i: NDArray[np.int64], longest: float
) -> tuple[Vec, NDArray[np.bool_]]:
    """The cubic through the samples i-1..i+2, at the ends through the four nearest (Lagrange), and
    where these are finite and no further apart than `longest` [ns]."""
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
    """Of the wrenches since the tick before, the one of the largest force where it is a contact:
    a hit of one sample is not lost between two ticks."""
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
