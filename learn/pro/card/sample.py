"""Whether a number is in-sample: set by the very episodes that it is then judged on.

The heads of a bundle's folds were not taught the episodes that they are asked about. But what their
probabilities are scaled by (Platt 1999), and the threshold of the bundle, were fitted to what all
of them said of those episodes together. So the threshold is in-sample wherever such an episode is
judged, and the scaling is fitted anew for each fold, on what is said of the other folds.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headway.learn.pro.card.measures import Floats
from headway.learn.pro.card.model import Sample

NEVER = "never seen"  # as `heads.held_out` says it
LEAST = 1e-7  # of a probability and of its opposite: models say it in single precision
ANEW = "fitted anew for each fold, on the other folds"


def is_seen(source: str) -> bool:
    """Whether what is said of how the head came to an episode means that it was trained on it."""
    return source.lower().startswith("seen")


def fold_in(source: str) -> int | None:
    """The fold that the episode was held out of, None where `source` names none."""
    found = re.fullmatch(r"held out by fold (\d+)", source)
    return int(found[1]) if found else None


def sample_of(source: Sequence[str]) -> Sample:
    """Whether what a bundle has fitted to the episodes of its training was fitted to those that are
    judged, where `source` says of each of these how the head came to it."""
    used = [is_seen(s) or fold_in(s) is not None for s in source]
    if not used or any(s != NEVER and not u for s, u in zip(source, used, strict=True)):
        return "not known"
    if all(used):
        return "in-sample"
    return "partly in-sample" if any(used) else "out of sample"


@dataclass(frozen=True)
class Refitted:
    """Probabilities `said` (n,) of each episode, whether their scaling is in-sample, and what was
    done that it is not, in words."""

    said: list[Floats]
    sample: Sample
    how: str = ""


def refitted(
    said: Sequence[Floats], labels: Sequence[NDArray[np.float32]], source: Sequence[str]
) -> Refitted:
    """The probabilities `said` (n,) of each episode, scaled anew where `source` names the fold that
    it was held out of: by Platt's scaling of the logits of the other folds to their `labels` (n,)
    of 0, 1 and NaN.

    All heads of a bundle share one scaling, which leaves logits that are a line in those of the
    network. A scaling of these is again a line in them, so it is the one that would have been
    found without the fold. A fold stays as it is, and in-sample, where the others lack a class."""
    every = np.concatenate([*said, np.zeros(0)])
    every = every[np.isfinite(every)]
    if not len(every) or every.min() == every.max():  # not taught: nothing can be scaled
        return Refitted(list(said), sample_of(source))
    from scipy.special import expit, logit

    folds = [fold_in(s) for s in source]
    x = [logit(np.clip(p, LEAST, 1 - LEAST)) for p in said]
    out, ways = list(said), list(source)
    for k in sorted({f for f in folds if f is not None}):
        others = [i for i, f in enumerate(folds) if f is not None and f != k]
        line = _line([x[i] for i in others], [labels[i] for i in others])
        if line is None:
            continue
        for i in (i for i, f in enumerate(folds) if f == k):
            out[i], ways[i] = expit(line[0] * x[i] + line[1]), NEVER
    return Refitted(out, sample_of(ways), ANEW if ways != list(source) else "")


def _line(x: Sequence[Floats], labels: Sequence[NDArray[np.float32]]) -> tuple[float, float] | None:
    """Slope and shift of the scaling of the logits `x` (n,), None where a class is missing."""
    from headway.learn.pro.calibration import sigmoid

    z = np.concatenate([*x, np.zeros(0)])
    y = np.concatenate([*labels, np.zeros(0)]).astype(np.float64)
    known = np.isfinite(z) & np.isfinite(y)
    z, y = z[known], y[known]
    return sigmoid(z, y) if (y == 0).any() and (y == 1).any() else None
