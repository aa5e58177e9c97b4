"""Intervals of a study's numbers, by drawing units and then their test orders with replacement.

A study has two levels: a few seeds, each a whole run of learning, and in each of them some hundred
test orders. Arms are paired on both: they have the same seeds and the same orders, so a draw takes
the same for all. The interval is the percentile interval of these draws, widened about the
estimate by

    sqrt(S / (S - 1)) t(S - 1) / z

for S seeds, because percentiles of so few independent values are too narrow ("expanded
percentile", Hesterberg 2015). With both levels drawn this errs on the wide side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Z = 1.959964  # the normal distribution's, for 95 %
BLOCK = 500  # draws at a time: bounds the memory


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval, from `n` seeds; NaN where there is none (an interval wants
    two seeds)."""

    value: float
    low: float
    high: float
    n: int


def draw(parts: Floats, draws: int, rng: np.random.Generator) -> Floats:
    """Draws of the mean over rounds of a quotient of sums over orders.

    `parts` (A, S, R, 2, n): numerator and denominator of each of n orders, by arm, seed and round;
    an order that was not tested has NaN. Returns (draws, slots, A), slots = S: each slot has one drawn
    seed, with its orders drawn anew, the same ones for all arms and rounds. NaN where a denominator
    is zero.
    """
    arms, seeds, _, _, n = parts.shape
    filled = np.nan_to_num(parts)
    made = np.empty((draws, seeds, arms))
    chosen = rng.integers(seeds, size=(draws, seeds))
    for at in range(0, draws, BLOCK):
        some = chosen[at : at + BLOCK]
        for slot in range(seeds):
            weights = rng.multinomial(n, np.full(n, 1.0 / n), size=len(some)).astype(float)
            for seed in range(seeds):
                rows = np.flatnonzero(some[:, slot] == seed)
                if rows.size:
                    made[at + rows, slot] = _quotients(filled[:, seed], weights[rows])
    return made


def _quotients(parts: Floats, weights: Floats) -> Floats:
    """`parts` (A, R, 2, n), `weights` (B, n) -> (B, A)."""
    sums = np.einsum("arpn,bn->barp", parts, weights, optimize=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        quotient = sums[..., 0] / sums[..., 1]
    quotient[~np.isfinite(quotient)] = np.nan
    return np.asarray(quotient.mean(axis=-1))


def values(parts: Floats) -> Floats:
    """The quotients themselves, (A, S): of each arm and seed, the mean over rounds."""
    sums = np.nansum(parts, axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        quotient = sums[..., 0] / sums[..., 1]
    quotient[~np.isfinite(quotient)] = np.nan
    return np.asarray(quotient.mean(axis=-1))


def estimate(units: Floats, drawn: Floats, least: float = -math.inf) -> Estimate:
    """The mean of `units` (S,) over seeds with its interval from the draws (B, slots) of `draw`.
    Seeds and draws without a value (NaN) are left out; `least` bounds the interval from below."""
    known = units[np.isfinite(units)]
    if not known.size:
        return Estimate(math.nan, math.nan, math.nan, 0)
    value = float(known.mean())
    if known.size < 2:
        return Estimate(value, math.nan, math.nan, 1)
    counts = np.isfinite(drawn).sum(axis=1)
    means = np.nansum(drawn, axis=1)[counts > 0] / counts[counts > 0]
    low, high = np.percentile(means, (2.5, 97.5))
    wider = widening(known.size)
    return Estimate(
        value,
        max(least, value - (value - float(low)) * wider),
        value + (float(high) - value) * wider,
        int(known.size),
    )


def difference(units: Floats, drawn: Floats) -> Estimate:
    """The first arm less the second, paired: `units` (2, S), `drawn` (B, slots, 2)."""
    return estimate(units[0] - units[1], drawn[..., 0] - drawn[..., 1])


def of_units(units: Floats, draws: int, rng: np.random.Generator) -> Estimate:
    """The mean of numbers (S,) that have no orders below them, by drawing seeds alone."""
    known = units[np.isfinite(units)]
    if known.size < 2:
        return estimate(units, np.empty((0, 1)))
    return estimate(known, known[rng.integers(known.size, size=(draws, known.size))])


def widening(seeds: int) -> float:
    """By how much the interval of so many seeds is widened."""
    from scipy.stats import t

    return math.sqrt(seeds / (seeds - 1)) * float(t.ppf(0.975, seeds - 1)) / Z
