"""PRO as the study learns it: the product's network (`learn.pro.head`), taught by the executions of
one arm alone, from the features of the product's kernels.

Its signals mean, for the line of the order that is due: `completion`, the probability p that the
station closes it in time; `time_to_go`, the time tau [s] until then if it does; `risk` and 1 -
`stability` as in `targets`. What an episode is judged by comes from a network that
was not taught by it (two folds of episodes).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.special import expit, logit
from torch import Tensor

from headway.config import Positive
from headway.kernels import spec
from headway.learn.execution.lessons import Floats, Lesson, Singles
from headway.learn.execution.recurrent import Schedule, Track, answers, fit
from headway.learn.execution.targets import RISK_S, Targets, targets
from headway.learn.pro.calibration import sigmoid
from headway.learn.pro.fit import two_hot
from headway.learn.pro.head import ProHead

FOLDS = 2
# A head that reads the time of the episode would be paid like a clock.
NOT_READ = ("elapsed",)
DROPPED = 0.05  # how often a group of telemetry is masked in a piece
FLAGS = ("closes", "risk", "unstable")  # in the order of the network's flags


class ProcessFit(Schedule, frozen=True):
    """How PRO is taught. `risk_s` [s]: risk is the probability of a failure within that time. With
    a longer one it sees a failure coming earlier, and tells less well when it comes."""

    risk_s: Positive = RISK_S


@dataclass(frozen=True)
class Signals:
    """What PRO says at n steps: tau (n,) [s], and probabilities p (n,), risk (n,), and unstable
    (n,)."""

    to_close: Singles
    closes: Singles
    risk: Singles
    unstable: Singles

    def at(self, step: NDArray[np.int64]) -> Signals:
        """Those at the steps `step` (D,)."""
        return Signals(*(getattr(self, n)[step] for n in self.__dataclass_fields__))


@dataclass(frozen=True)
class Head:
    """A network with the calibration of its flags: p = sigmoid(slope * logit + shift)."""

    net: ProHead
    slope: tuple[float, float, float] = (1.0, 1.0, 1.0)
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def signals(self, lessons: Sequence[Lesson]) -> list[Signals]:
        """The signals at every step of each of `lessons`."""
        said = answers(self.net, [(x.features, x.mask) for x in lessons], _ask)
        out = []
        for a in said:
            p = expit(a[:, 1:] * np.array(self.slope) + np.array(self.shift)).astype(np.float32)
            out.append(Signals(a[:, 0], p[:, 0], p[:, 1], p[:, 2]))
        return out


def fold_of(count: int) -> NDArray[np.int64]:
    """The fold of each of `count` lessons. It follows from its place alone: lessons are only ever
    added at the end, so none changes its fold from round to round."""
    return np.arange(count) % FOLDS


def teach(lessons: Sequence[Lesson], how: ProcessFit, seed: int) -> Head:
    """A head that is taught by `lessons`."""
    wanted = [targets(x, how.risk_s) for x in lessons]
    net = _network(lessons, wanted, seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        fit(net, [_track(x, y) for x, y in zip(lessons, wanted, strict=True)], _loss,
            lessons[0].hz, how, seed)  # fmt: skip
    return Head(net)


def cross_fitted(
    lessons: Sequence[Lesson], how: ProcessFit, seed: int, teaches: NDArray[np.bool_]
) -> tuple[list[Signals], list[Head]]:
    """The signals of each lesson by a head that was taught by those of the other fold that
    `teaches`, and the heads by the fold that they were not taught. The flags are calibrated on what
    the heads say of such lessons that they have not seen (Platt 1999)."""
    fold = fold_of(len(lessons))
    heads = [
        teach([lessons[i] for i in np.flatnonzero((fold != k) & teaches)], how, seed * FOLDS + k)
        for k in range(FOLDS)
    ]
    slope, shift = calibration(lessons, heads, how.risk_s, teaches)
    heads = [Head(h.net, slope, shift) for h in heads]
    return held_out(lessons, heads), heads


def held_out(lessons: Sequence[Lesson], heads: Sequence[Head]) -> list[Signals]:
    """The signals of each lesson by the head of its fold."""
    fold = fold_of(len(lessons))
    out: dict[int, Signals] = {}
    for k, head in enumerate(heads):
        mine = np.flatnonzero(fold == k)
        out.update(zip(mine.tolist(), head.signals([lessons[i] for i in mine]), strict=True))
    return [out[i] for i in range(len(lessons))]


def calibration(
    lessons: Sequence[Lesson], heads: Sequence[Head], risk_s: float, used: NDArray[np.bool_]
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Slope and shift of the flags' logits, by those of the lessons that are `used`, each by the
    head of `heads` that did not see it. A flag of which one class is missing keeps its logits.
    `risk_s` as in `ProcessFit`."""
    every = held_out(lessons, [Head(h.net) for h in heads])
    raw = [every[i] for i in np.flatnonzero(used)]
    wanted = [targets(lessons[i], risk_s) for i in np.flatnonzero(used)]
    slope, shift = [], []
    for name in FLAGS:
        p = np.concatenate([getattr(s, name) for s in raw]).astype(np.float64)
        y = np.concatenate([getattr(t, name) for t in wanted]).astype(np.float64)
        known = np.isfinite(y)
        x, y = logit(np.clip(p[known], 1e-7, 1 - 1e-7)), y[known]
        both = len(y) > 0 and y.min() < y.max()
        a, b = sigmoid(x, y) if both else (1.0, 0.0)
        slope.append(a)
        shift.append(b)
    return (slope[0], slope[1], slope[2]), (shift[0], shift[1], shift[2])


def _network(lessons: Sequence[Lesson], wanted: Sequence[Targets], seed: int) -> ProHead:
    known = np.concatenate([t.to_close[np.isfinite(t.to_close)] for t in wanted])
    durations = np.concatenate([line_times(x) for x in lessons])
    # The bins end where next to nothing lies any more; what is longer counts as the last one.
    limit = float(np.quantile(known, 0.995)) if len(known) else lessons[0].limit_s
    typical = float(np.median(durations)) if len(durations) else limit
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = ProHead(max(1.0, limit), max(0.5, typical))
    mean, std = standardisation(lessons)
    net.mean[:], net.std[:] = torch.from_numpy(mean), torch.from_numpy(std)
    return net


def standardisation(
    lessons: Sequence[Lesson], not_read: Sequence[str] = NOT_READ
) -> tuple[Singles, Singles]:
    """Mean and deviation (N_FEATURES,) of the features. It is infinite, so that no network sees it,
    for a feature that is constant or among `not_read`."""
    x = np.concatenate([lesson.features for lesson in lessons])
    mean, std = x.mean(axis=0), x.std(axis=0)
    std = np.where(x.max(axis=0) == x.min(axis=0), np.inf, np.maximum(std, 1e-3))
    std[[spec.INDEX[n] for n in not_read]] = np.inf
    return mean.astype(np.float32), std.astype(np.float32)


def line_times(lesson: Lesson) -> Floats:
    """How long [s] each line took that was closed."""
    return np.diff(np.concatenate([[0.0], lesson.happened.closed]))


def _track(lesson: Lesson, wanted: Targets) -> Track:
    y = np.stack([wanted.to_close, wanted.closes, wanted.risk, wanted.unstable], axis=1)
    return Track((lesson.features, lesson.mask), y, np.flatnonzero(wanted.risk == 1))


def _ask(net: ProHead, features: Tensor, mask: Tensor) -> Tensor:
    """tau [s] and the logits of the flags, (b, t, 4)."""
    logits, flags = net.sequence(features, mask)
    return torch.cat([net.expected(logits)[..., None], flags], dim=-1)


def _loss(net: ProHead, parts: tuple[Tensor, ...], y: Tensor) -> Tensor:
    features, mask = parts
    if net.training:
        mask = mask * (torch.rand(len(mask), 1, mask.shape[2]) >= DROPPED)
    logits, flags = net.sequence(features, mask)
    loss = flags.sum() * 0.0
    for i in range(len(FLAGS)):
        known = torch.isfinite(y[..., 1 + i])
        if known.any():
            loss = loss + F.binary_cross_entropy_with_logits(
                flags[..., i][known], y[..., 1 + i][known]
            )
    known = torch.isfinite(y[..., 0])
    if known.any():
        loss = loss + 0.3 * two_hot(logits[known], y[..., 0][known], net.bins)
    return loss
