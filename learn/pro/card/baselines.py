"""What a head has to be better than: a clock, a count of retries, the force alone, and trees on
plain statistics of the raw channels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from headway.errors import Missing
from headway.kernels import spec
from headway.learn.pro.card.measures import Floats
from headway.learn.pro.card.parts import AFTER_S, HALF_STEP, Parts
from headway.learn.pro.examples import Example

if TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingClassifier

WINDOWS_S = (1.0, 0.25)
AT_ONCE = 100_000  # steps that are asked about in one call
NEGATIVES, POSITIVES = 15_000, 10_000  # most steps of each that a fold's trees are trained on
TREES, ROUNDS = {"learning_rate": 0.1, "max_leaf_nodes": 15, "min_samples_leaf": 20}, 80
# The telemetry itself, one value a channel: the newest value of each. No statistics of the kernels,
# no elapsed time, no phase.
RAW = tuple(i for i, n in enumerate(spec.NAMES) if n.endswith(".last"))

Step = Callable[[], object]  # is called after each part of the work


def require() -> None:
    """Raises Missing where scikit-learn or SciPy is not installed."""
    try:
        for name in ("scipy.stats", "sklearn.ensemble", "threadpoolctl"):
            import_module(name)
    except ImportError as e:
        raise Missing(
            f"a card wants scikit-learn and SciPy: {e}: pip install 'headway[card]'"
        ) from None


def elapsed(e: Example) -> Floats:
    """[s] since the first step."""
    return np.asarray(e.t, np.float64)


def retries(e: Example) -> Floats:
    """How many retries there were up to each step. One that is itself a failure would tell it as
    soon as it has happened, so it counts only when that failure can no longer be caught."""
    failed = {m.t for m in e.failures}
    at = sorted(m.t + (AFTER_S + 2 * HALF_STEP if m.t in failed else 0.0) for m in e.retries)
    return np.searchsorted(at, e.t, side="right").astype(np.float64)


def force(e: Example) -> Floats:
    """|F| [N], NaN where it is not known."""
    return np.asarray(e.force, np.float64)


def raw_channels(examples: Sequence[Example]) -> NDArray[np.int64]:
    """The places in spec.NAMES of the raw channels that are known somewhere and that move."""

    def moves(i: int) -> bool:
        for e in examples:
            x = e.features[known_features(e, [i])[:, 0], i]
            if len(x) and x.min() < x.max():
                return True
        return False

    return np.array([i for i in RAW if moves(i)], np.int64)


def known_features(e: Example, which: Sequence[int] | NDArray[np.int64]) -> NDArray[np.bool_]:
    """(n, len(which)) where the features at the places `which` are known, by the masks."""
    columns = [[spec.MASKS.index(m) for m in spec.FEATURES[i].needs] for i in which]
    return np.stack([(e.mask[:, c] >= 0.5).all(axis=1) for c in columns], axis=1)


def statistics(e: Example, channels: NDArray[np.int64]) -> NDArray[np.float32]:
    """Mean, standard deviation, least, most, slope [1/s] over each of `WINDOWS_S` and the newest
    value of the raw `channels` (C,), (n, C * 11). All windows end at their step. A channel that is
    masked keeps its last value, and is NaN before it had one."""
    if not len(e) or not len(channels):
        return np.zeros((len(e), len(channels) * (1 + 5 * len(WINDOWS_S))), np.float32)
    known = known_features(e, channels)
    columns = []
    for c, i in enumerate(channels):
        x = np.where(known[:, c], e.features[:, i], np.nan).astype(np.float64)
        x = _held(x)
        columns.append(x)
        for seconds in WINDOWS_S:
            columns.extend(_window(x, max(2, round(seconds * e.hz)), e.hz))
    return np.stack(columns, axis=1).astype(np.float32)


def _held(x: Floats) -> Floats:
    """`x` (n,) with its last known value in place of NaN."""
    at = np.maximum.accumulate(np.where(np.isfinite(x), np.arange(len(x)), -1))
    return np.where(at >= 0, x[np.maximum(at, 0)], np.nan)


def _window(x: Floats, length: int, hz: float) -> list[Floats]:
    """Statistics of the last `length` values of `x` (n,); before the first one stands the first."""
    w = sliding_window_view(np.concatenate([np.full(length - 1, x[0]), x]), length)
    line = (np.arange(length) - (length - 1) / 2) / hz
    return [w.mean(axis=1), w.std(axis=1), w.min(axis=1), w.max(axis=1), w @ line / (line @ line)]


@dataclass(frozen=True)
class Trees:
    """The out-of-fold scores (n,) of each episode, NaN where nothing could be trained; and why."""

    scores: list[Floats]
    why: str = ""


def trees(
    parts: Sequence[Parts],
    folds: NDArray[np.int64],
    targets: Sequence[NDArray[np.float32]],
    seed: int,
    step: Step,
    rounds: int = ROUNDS,
) -> Trees:
    """Gradient-boosted trees (Friedman 2001; histograms as in LightGBM) on `statistics`, trained on
    the `targets` (n,) of 0, 1 and NaN of the episodes that are not in a fold, and asked about those
    that are. `folds` (E,) numbers the fold of each episode. `step` is called after each fold."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    examples = [p.of for p in parts]
    channels = raw_channels(examples)
    scores: list[Floats] = [np.full(len(e), np.nan) for e in examples]
    if not len(channels):
        return Trees(scores, "no raw channel is known")
    rng = np.random.default_rng(seed)
    taken = [_rows(e, y, channels, rng, len(parts)) for e, y in zip(examples, targets, strict=True)]
    trained = False
    for k in np.unique(folds):
        rest = [taken[i] for i in np.flatnonzero(folds != k)]
        if rest:
            x, y = (np.concatenate(columns) for columns in zip(*rest, strict=True))
            if len(np.unique(y)) == 2:
                model = HistGradientBoostingClassifier(
                    early_stopping=False, random_state=seed, max_iter=rounds, **TREES
                ).fit(x, y)
                trained = True
                held = np.flatnonzero(folds == k)
                found = _ask(model, [examples[i] for i in held], channels)
                for i, s in zip(held, found, strict=True):
                    scores[i] = s
        step()
    return Trees(scores, "" if trained else "no fold has steps of both classes to train on")


def _ask(
    model: HistGradientBoostingClassifier, examples: Sequence[Example], channels: NDArray[np.int64]
) -> list[Floats]:
    """The scores (n,) of `examples`, many steps at a time, since each call is dear."""
    out: list[Floats] = []
    waiting: list[NDArray[np.float32]] = []
    for i, e in enumerate(examples):
        waiting.append(statistics(e, channels))
        if i + 1 == len(examples) or sum(map(len, waiting)) >= AT_ONCE:
            rows = np.concatenate(waiting)
            said = model.predict_proba(rows)[:, 1] if len(rows) else np.zeros(0)
            out += np.split(said.astype(np.float64), np.cumsum([len(w) for w in waiting])[:-1])
            waiting = []
    return out


def _rows(
    e: Example,
    y: NDArray[np.float32],
    channels: NDArray[np.int64],
    rng: np.random.Generator,
    episodes: int,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Some of the steps of an episode that have a target: statistics (m, F) and target (m,)."""
    chosen: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
    for value, most in ((0, NEGATIVES), (1, POSITIVES)):
        at = np.flatnonzero(y == value)
        few = max(1, most // episodes)
        chosen.append(rng.choice(at, few, replace=False) if len(at) > few else at)
    at = np.concatenate(chosen)
    return statistics(e, channels)[at], y[at] == 1


def folds_of(parts: Sequence[Parts], folds: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """The fold (E,) of each episode: whole sessions where there are at least two of them, else
    episodes, failed ones and others dealt out evenly."""
    sessions = sorted({p.of.session for p in parts})
    out = np.zeros(len(parts), np.int64)
    if len(sessions) >= 2:
        size = {s: sum(p.of.session == s for p in parts) for s in sessions}
        filled = np.zeros(min(folds, len(sessions)))
        for s in sorted(sessions, key=lambda s: -size[s]):  # the largest first, into the emptiest
            k = int(filled.argmin())
            filled[k] += size[s]
            out[[i for i, p in enumerate(parts) if p.of.session == s]] = k
        return out
    order = rng.permutation(len(parts))
    order = order[np.argsort([bool(parts[i].of.failures) for i in order], kind="stable")]
    out[order] = np.arange(len(parts)) % max(1, folds)
    return out
