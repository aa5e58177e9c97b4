"""Intervals of a study's numbers, by drawing units and then their test orders with replacement.

A study has two levels: a few seeds, each a whole run of learning, and in each of them some hundred
test orders. Arms are paired on both: they have the same seeds and the same orders, so a draw takes
the same for all.

Draws of both levels have the right shape but not the right width for few seeds S: the orders' noise
is in the spread between seeds already and comes a second time from drawing them, while the spread
of S drawn seeds is too small by (S - 1) / S and knows nothing of how uncertain it is itself. So the
percentile interval is scaled about the estimate to the width of a t interval,

    t(S - 1) sqrt(V) / (z sqrt(variance of the draws)),    V = max(s^2, w) / S

with s^2 the variance between the seeds' numbers (which is unbiased for the two levels together) and
w that from drawing orders alone, below which it cannot be. Widening percentiles of few values this
way is the "expanded percentile" interval of Hesterberg 2015; on counting the lower level twice see
Davison & Hinkley 1997, section 3.8. tests/test_study_statistics.py has its coverage.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headway.tools.statistics import Z

Floats = NDArray[np.float64]
BLOCK = 500  # draws at a time: bounds the memory
ORDERS_ONLY = 300  # draws of orders alone, for their variance
SHARE = (0.0, 1.0)
NO_BOUNDS = (-math.inf, math.inf)


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval, from `n` seeds; NaN where there is none (an interval wants
    two seeds)."""

    value: float
    low: float
    high: float
    n: int


class Drawn(NamedTuple):
    """Draws of the numbers of units. NaN where a denominator is zero."""

    both: Floats  # (B, slots, A): each slot has one drawn seed, with its orders drawn anew
    orders: Floats  # (B', S, A): of each seed itself, with its orders drawn anew

    def arm(self, i: int) -> Drawn:
        """Those of one arm, (B, slots) and (B', S)."""
        return Drawn(self.both[..., i], self.orders[..., i])

    def less(self, other: Drawn) -> Drawn:
        """The paired difference of two arms."""
        return Drawn(self.both - other.both, self.orders - other.orders)


def draw(parts: Floats, draws: int, rng: np.random.Generator) -> Drawn:
    """Draws of the mean over rounds of a quotient of sums over orders.

    `parts` (A, S, R, 2, n): numerator and denominator of each of n orders, by arm, seed and round;
    an order that was not tested has NaN. Orders are drawn the same for all arms and rounds.
    """
    arms, seeds, _, _, n = parts.shape
    filled = np.nan_to_num(parts)
    even = np.full(n, 1.0 / n)
    both = np.empty((draws, seeds, arms))
    chosen = rng.integers(seeds, size=(draws, seeds))
    for at in range(0, draws, BLOCK):
        some = chosen[at : at + BLOCK]
        for slot in range(seeds):
            weights = rng.multinomial(n, even, size=len(some)).astype(float)
            for seed in range(seeds):
                rows = np.flatnonzero(some[:, slot] == seed)
                if rows.size:
                    both[at + rows, slot] = _quotients(filled[:, seed], weights[rows])
    orders = np.empty((ORDERS_ONLY, seeds, arms))
    for seed in range(seeds):
        weights = rng.multinomial(n, even, size=ORDERS_ONLY).astype(float)
        orders[:, seed] = _quotients(filled[:, seed], weights)
    return Drawn(both, orders)


def _quotients(parts: Floats, weights: Floats) -> Floats:
    """`parts` (A, R, 2, n), `weights` (B, n) -> (B, A)."""
    return _mean(np.einsum("arpn,bn->barp", parts, weights, optimize=True))


def values(parts: Floats) -> Floats:
    """The quotients themselves, (A, S): of each arm and seed, the mean over rounds."""
    return _mean(np.nansum(parts, axis=-1))


def _mean(sums: Floats) -> Floats:
    """`sums` (..., R, 2) -> quotients, the mean over R; NaN where one is not a number."""
    with np.errstate(invalid="ignore", divide="ignore"):
        quotient = sums[..., 0] / sums[..., 1]
    quotient[~np.isfinite(quotient)] = np.nan
    return np.asarray(quotient.mean(axis=-1))


def estimate(units: Floats, drawn: Drawn, bounds: tuple[float, float] = NO_BOUNDS) -> Estimate:
    """The mean over seeds of `units` (S,) with its interval from the draws, (B, slots) and (B', S).
    Seeds and draws without a value (NaN) are left out; no interval goes beyond `bounds`."""
    known = units[np.isfinite(units)]
    s = int(known.size)
    if not s:
        return Estimate(math.nan, math.nan, math.nan, 0)
    value = float(known.mean())
    if s < 2:
        return Estimate(value, math.nan, math.nan, 1)
    counts = np.isfinite(drawn.both).sum(axis=1)
    means = np.nansum(drawn.both, axis=1)[counts > 0] / counts[counts > 0]
    inside = [np.var(o[np.isfinite(o)]) for o in drawn.orders.T if np.isfinite(o).any()]
    variance = max(float(known.var(ddof=1)), float(np.mean(inside)) if inside else 0.0) / s
    spread = float(means.std())
    scale = student(s) * math.sqrt(variance) / (Z * spread) if spread > 0.0 else 1.0
    low, high = (float(x) for x in np.percentile(means, (2.5, 97.5)))
    return Estimate(
        value,
        max(bounds[0], value - (value - low) * scale),
        min(bounds[1], value + (high - value) * scale),
        s,
    )


def of_units(units: Floats, draws: int, rng: np.random.Generator) -> Estimate:
    """The mean of numbers (S,) that have no orders below them, by drawing seeds alone."""
    known = units[np.isfinite(units)]
    if known.size < 2:
        return estimate(units, Drawn(np.empty((0, 1)), np.empty((0, 1))))
    both = known[rng.integers(known.size, size=(draws, known.size))]
    return estimate(known, Drawn(both, known[None]))


def student(seeds: int) -> float:
    """The quantile of the t distribution for the mean of so many seeds, for 95 %."""
    from scipy.stats import t

    return float(t.ppf(0.975, seeds - 1))
