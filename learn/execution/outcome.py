"""The value that "1.5" learns from: the probability that the order ends well, from its outcome
alone. It is given all that PRO is given, and more, so that the comparison is fair: the same
features at the same rate in a network of the same kind, what the policy's eyes saw (the code of the
newest decision), how many lines the station has closed, and the time.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from headway.learn.execution.lessons import Lesson, Singles
from headway.learn.execution.process import FOLDS, fold_of, standardisation
from headway.learn.execution.recurrent import Schedule, Track, answers, fit
from headway.learn.pro.head import HIDDEN, ProHead

DROPOUT = 0.2  # there is one label an episode, so it would learn episodes by heart


class OutcomeHead(nn.Module):
    """Logits (b, t, 1) of success from features, mask and what lies `beside` them (b, t, k)."""

    def __init__(self, beside: Singles, mean: Singles, std: Singles) -> None:
        """`beside` (n, k): all of it in the training data; `mean` and `std` of the features."""
        super().__init__()
        self.features = ProHead(1.0, 1.0)  # for what it does to its inputs
        self.features.mean[:] = torch.from_numpy(mean)
        self.features.std[:] = torch.from_numpy(std)
        for p in self.features.parameters():
            p.requires_grad_(False)
        still = beside.max(axis=0) == beside.min(axis=0)
        gain = np.where(still, 0.0, 1.0 / np.maximum(beside.std(axis=0), 1e-3))
        self.register_buffer("shift", torch.from_numpy(beside.mean(axis=0)))
        self.register_buffer("gain", torch.from_numpy(gain.astype(np.float32)))
        width = len(mean) + self.features.needs.shape[1] + beside.shape[1]
        self.embed = nn.Sequential(nn.Linear(width, HIDDEN), nn.ReLU(), nn.Dropout(DROPOUT))
        self.gru = nn.GRU(HIDDEN, HIDDEN, batch_first=True)
        self.out = nn.Sequential(nn.Dropout(DROPOUT), nn.Linear(HIDDEN, 1))

    def forward(self, features: Tensor, mask: Tensor, beside: Tensor) -> Tensor:
        near = ((beside - self.shift) * self.gain).clamp(-5.0, 5.0)
        x = self.embed(torch.cat([self.features.inputs(features, mask), near], dim=-1))
        return self.out(self.gru(x)[0])


def cross_fitted(lessons: Sequence[Lesson], how: Schedule, seed: int) -> list[Singles]:
    """The probability (n,) of success at every step of each lesson, by a network that was taught by
    the other fold. An order without an outcome teaches nothing."""
    parts = [(x.features, x.mask, _beside(x)) for x in lessons]
    fold = fold_of(len(lessons))
    out: dict[int, Singles] = {}
    for k in range(FOLDS):
        taught = [i for i in np.flatnonzero(fold != k) if lessons[i].success is not None]
        mine = np.flatnonzero(fold == k).tolist()
        net = _taught([lessons[i] for i in taught], [parts[i] for i in taught], how, seed + k)
        said = answers(net, [parts[i] for i in mine], lambda net, *x: torch.sigmoid(net(*x)))
        out.update((i, a[:, 0]) for i, a in zip(mine, said, strict=True))
    return [out[i] for i in range(len(lessons))]


def _taught(
    lessons: Sequence[Lesson],
    parts: Sequence[tuple[Singles, Singles, Singles]],
    how: Schedule,
    seed: int,
) -> OutcomeHead:
    tracks = [
        Track(p, np.full((len(x.t), 1), float(bool(x.success)), np.float32), np.zeros(0, np.int64))
        for x, p in zip(lessons, parts, strict=True)
    ]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        mean, std = standardisation(lessons, not_read=())
        net = OutcomeHead(np.concatenate([p[2] for p in parts]), mean, std)
        fit(net, tracks, _loss, lessons[0].hz, how, seed)
    return net


def _loss(net: OutcomeHead, parts: tuple[Tensor, ...], y: Tensor) -> Tensor:
    known = torch.isfinite(y)
    return F.binary_cross_entropy_with_logits(net(*parts)[known], y[known])


def _beside(x: Lesson) -> Singles:
    """(n, c + 3): the code of the newest decision, the shares of lines that are closed and that are
    left, and the share of the time that has passed."""
    newest = np.maximum(0, np.searchsorted(x.at, x.t + 1e-9, side="right") - 1)
    closed = x.closed_by(x.t)
    more = np.stack(
        [closed / x.happened.lines, (x.happened.lines - closed) / 4.0, x.t / x.limit_s], axis=1
    )
    return np.concatenate([x.code[newest], more.astype(np.float32)], axis=1)
