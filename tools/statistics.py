"""Statistics for the summaries of runs and of PRO heads."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

# The least number of positives and of negatives for an AUROC. With 5 of each, random scores give an
# AUROC of 1.0 once in 252 cases; with 1 and 2, once in 3.
FEWEST = 5
Z = 1.959964  # quantile of the normal distribution, for intervals of 95 %


def wilson(successes: int, n: int, z: float = Z) -> tuple[float, float]:
    """Wilson score interval (low, high) of the proportion `successes` / `n` (Wilson 1927). `z` is
    the quantile of the normal distribution, by default for 95 %. (0, 1) for n = 0."""
    if n == 0:
        return 0.0, 1.0
    p = successes / n
    centre = p + z * z / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def auroc(scores: ArrayLike, positive: ArrayLike) -> float:
    """Area under the ROC curve of `scores` (n,) for the labels `positive` (n,): the probability
    that a positive has a higher score than a negative, where ties count half (Mann-Whitney U). NaN
    unless there are both, and where a score is NaN."""
    s, y = np.asarray(scores, float), np.asarray(positive, bool)
    up, down = s[y], s[~y]
    if not len(up) or not len(down):
        return math.nan
    if np.isnan(s).any():
        return math.nan
    down = np.sort(down)
    below = np.searchsorted(down, up, side="left") + np.searchsorted(down, up, side="right")
    return float(0.5 * below.sum() / (len(up) * len(down)))
