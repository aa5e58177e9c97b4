"""The few statistics that a run prints."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

# An AUROC of fewer of either kind says nothing: from 5 and 5, chance gives one of 1.0 once in 252
# orders; from 1 and 2, once in 3.
FEWEST = 5


def wilson(successes: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson score interval of a proportion (Wilson 1927); 95 % by default."""
    if n == 0:
        return 0.0, 1.0
    p = successes / n
    centre = p + z * z / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def auroc(scores: ArrayLike, positive: ArrayLike) -> float:
    """Probability that a positive scores above a negative, ties half (Mann-Whitney U); NaN unless
    there are both."""
    s, y = np.asarray(scores, float), np.asarray(positive, bool)
    up, down = s[y], s[~y]
    if not len(up) or not len(down):
        return math.nan
    wins = (up[:, None] > down).sum() + 0.5 * (up[:, None] == down).sum()
    return float(wins / (len(up) * len(down)))
