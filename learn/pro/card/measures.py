"""Numbers with intervals that come from drawing whole episodes, since the steps of one episode are
no independent samples (Efron & Tibshirani 1993, chapter 8)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headway.learn.pro.card.model import Estimate, Quartiles, Share
from headway.tools.statistics import FEWEST, wilson

DRAWS = 1000  # each end of a 95 % interval then stands on 25 draws
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Wins:
    """How often positives have the higher score, by pairs of episodes: `count[i, j]` of the
    `pairs[i, j]` pairs of a positive step of episode i and a negative step of episode j, where ties
    count half. So the AUROC of any weighting of episodes is a quotient of two sums, and a draw of
    the bootstrap looks at no step again."""

    count: Floats  # (E, E)
    pairs: Floats  # (E, E)

    def among(self, chosen: NDArray[np.bool_]) -> Wins:
        """The same of those pairs of episodes for which `chosen` (E, E) is true."""
        return Wins(self.count * chosen, self.pairs * chosen)

    def plus(self, other: Wins) -> Wins:
        """These pairs and those of `other`, of the same episodes."""
        return Wins(self.count + other.count, self.pairs + other.pairs)

    @property
    def positives(self) -> int:
        """How many episodes have a positive that is compared with something."""
        return int((self.pairs > 0).any(axis=1).sum())

    @property
    def negatives(self) -> int:
        return int((self.pairs > 0).any(axis=0).sum())

    def auroc(self) -> float:
        """The area under the ROC curve of all steps; NaN without pairs."""
        pairs = self.pairs.sum()
        return float(self.count.sum() / pairs) if pairs else float("nan")

    def drawn(self, weights: Floats) -> Floats:
        """The AUROC (B,) of each draw of the episodes, which `weights` (B, E) says how often it
        has; NaN for a draw without pairs."""
        count = ((weights @ self.count) * weights).sum(axis=1)
        pairs = ((weights @ self.pairs) * weights).sum(axis=1)
        return np.divide(count, pairs, out=np.full(len(weights), np.nan), where=pairs > 0)


def wins(positives: Sequence[Floats], negatives: Sequence[Floats]) -> Wins:
    """The wins of the scores of steps, which `positives` and `negatives` give episode by episode;
    an episode may have none of either. NaN counts as the lowest score: it raises no alarm."""
    n = len(positives)
    up = np.array([len(p) for p in positives], int)
    down = np.array([len(q) for q in negatives], int)
    count = np.zeros((n, n))
    if up.any():
        every = _lowest(np.concatenate(list(positives)))
        rows = np.repeat(np.arange(n), up)
        order = np.argsort(every, kind="stable")  # a search for values in order is faster
        every, rows = every[order], rows[order]
        for j in np.flatnonzero(down):
            s = np.sort(_lowest(negatives[j]))
            below = np.searchsorted(s, every, "left") + np.searchsorted(s, every, "right")
            count[:, j] = np.bincount(rows, weights=below / 2, minlength=n)
    return Wins(count, np.outer(up, down).astype(float))


def draws(episodes: int, rng: np.random.Generator, count: int = DRAWS) -> Floats:
    """How often each of `episodes` is in each of `count` draws with replacement, (count, E)."""
    if not episodes:
        return np.zeros((count, 0))
    return rng.multinomial(episodes, np.full(episodes, 1 / episodes), size=count).astype(float)


def of_wins(
    w: Wins, weights: Floats, what: str = "episodes", share: float = 0.95, fewest: int = FEWEST
) -> Estimate:
    """The AUROC of `w` with its interval. No value where fewer than `fewest` episodes have
    positives, or negatives; `what` says what kind of episodes are wanted."""
    up, down = w.positives, w.negatives
    if min(up, down) < fewest:
        return Estimate(
            positives=up,
            negatives=down,
            why=f"wanted at least {fewest} {what} with positives and {fewest} with negatives, "
            f"found {up} and {down}",
        )
    low, high = interval(w.drawn(weights), share)
    return Estimate(value=w.auroc(), low=low, high=high, positives=up, negatives=down)


def less(a: Wins, b: Wins, weights: Floats, fewest: int = FEWEST) -> Estimate:
    """The AUROC of `a` less that of `b`, both in the same draws of the episodes."""
    up, down = min(a.positives, b.positives), min(a.negatives, b.negatives)
    if min(up, down) < fewest:
        return Estimate(positives=up, negatives=down, why="too few episodes")
    low, high = interval(a.drawn(weights) - b.drawn(weights))
    return Estimate(value=a.auroc() - b.auroc(), low=low, high=high, positives=up, negatives=down)


def mean(values: Sequence[float], rng: np.random.Generator, why: str) -> Estimate:
    """The mean over episodes of `values`, those that are NaN left out, with the interval of the
    bootstrap. Without any value, `why` says what was missing."""
    x = np.array([v for v in values if np.isfinite(v)], float)
    if not len(x):
        return Estimate(why=why)
    low, high = interval(draws(len(x), rng) @ x / len(x))
    return Estimate(value=float(x.mean()), low=low, high=high, positives=len(x))


def interval(values: Floats, share: float = 0.95) -> tuple[float | None, float | None]:
    """The ends between which the middle `share` of `values` lies, those that are NaN left out."""
    known = values[np.isfinite(values)]
    if not len(known):
        return None, None
    tail = (1 - share) / 2
    low, high = np.quantile(known, [tail, 1 - tail])
    return float(low), float(high)


def share_of(count: int, of: int) -> Share:
    low, high = wilson(count, of)
    return Share(count=count, of=of, low=low, high=high)


def quartiles(times: Floats) -> Quartiles:
    """The quartiles of `times` (n,) [s]."""
    if not len(times):
        return Quartiles()
    q25, median, q75 = (float(x) for x in np.quantile(times, [0.25, 0.5, 0.75]))
    return Quartiles(median=median, q25=q25, q75=q75)


def _lowest(scores: Floats) -> Floats:
    return np.where(np.isnan(scores), -np.inf, scores)
