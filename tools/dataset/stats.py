"""Statistics of features as LeRobot normalises with them: min, max, mean, std, count and quantiles,
per episode and of a whole data set."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
Stats = dict[str, NDArray[Any]]

# LeRobot looks at this many images of an episode of n frames, and makes large ones smaller.
_FEWEST, _MOST, _POWER = 100, 10_000, 0.75
_LARGE, _SMALL = 300, 150  # [px]


def of_numbers(x: NDArray[Any]) -> Stats:
    """Statistics of the values (n,) or (n, k), as arrays (1,) or (k,)."""
    y = np.asarray(x, np.float64).reshape(len(x), -1)
    found: Stats = {
        "min": y.min(axis=0),
        "max": y.max(axis=0),
        "mean": y.mean(axis=0),
        "std": y.std(axis=0),
        "count": np.array([len(y)]),
    }
    values = np.quantile(y, list(QUANTILES.values()), axis=0)
    return found | dict(zip(QUANTILES, values, strict=True))


def sampled(n: int) -> set[int]:
    """The frames, of n, that the statistics of images are of: evenly spread, as many as LeRobot
    takes."""
    wanted = max(min(_FEWEST, n), min(int(n**_POWER), _MOST))
    return set(np.round(np.linspace(0, n - 1, wanted)).astype(int).tolist())


class OfImages:
    """Statistics of images (h, w, 3) uint8, by channel, as shares of 255: arrays (3, 1, 1)."""

    def __init__(self) -> None:
        self._counts = np.zeros((3, 256), np.int64)
        self._images = 0

    def add(self, image: NDArray[np.uint8]) -> None:
        """Take in an image; a large one by every so many pixels."""
        h, w = image.shape[:2]
        step = max(1, (w if w > h else h) // _SMALL) if max(h, w) >= _LARGE else 1
        some = image[::step, ::step]
        for channel in range(3):
            self._counts[channel] += np.bincount(some[..., channel].ravel(), minlength=256)
        self._images += 1

    def result(self) -> Stats:
        """The statistics of the images so far, of which there must be one at least."""
        levels = np.arange(256) / 255.0
        share = self._counts / self._counts.sum(axis=1, keepdims=True)
        mean = share @ levels
        there = [np.flatnonzero(c) for c in self._counts]
        found: Stats = {
            "min": np.array([levels[at[0]] for at in there]),
            "max": np.array([levels[at[-1]] for at in there]),
            "mean": mean,
            "std": np.sqrt(np.maximum(share @ levels**2 - mean**2, 0.0)),
        }
        below = self._counts.cumsum(axis=1)
        for name, q in QUANTILES.items():
            found[name] = np.array([levels[int(np.searchsorted(b, q * b[-1]))] for b in below])
        found = {k: v.reshape(3, 1, 1) for k, v in found.items()}
        return found | {"count": np.array([self._images])}


class Total:
    """Statistics of all episodes from those of each. As in LeRobot, a quantile is the mean of the
    episodes' quantiles, weighted by their counts."""

    def __init__(self) -> None:
        self._sums: Stats = {}

    def add(self, stats: Stats) -> None:
        """Take in the statistics of an episode."""
        n = int(stats["count"][0])
        new = {k: n * stats[k] for k in ("mean", *QUANTILES)}
        new["square"] = n * (stats["std"] ** 2 + stats["mean"] ** 2)
        new |= {k: stats[k] for k in ("min", "max", "count")}
        if not self._sums:
            self._sums = new
            return
        merge: dict[str, Any] = {"min": np.minimum, "max": np.maximum}
        self._sums = {k: merge.get(k, np.add)(v, new[k]) for k, v in self._sums.items()}

    def result(self) -> Stats:
        """The statistics of all episodes so far, of which there must be one at least."""
        s, n = self._sums, self._sums["count"][0]
        found = {k: s[k] for k in ("min", "max", "count")}
        found |= {k: s[k] / n for k in ("mean", *QUANTILES)}
        return found | {"std": np.sqrt(np.maximum(s["square"] / n - found["mean"] ** 2, 0.0))}
