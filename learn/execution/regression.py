"""Small networks that tell a number from what the eyes saw and what was done."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from headway.config import Struct
from headway.learn.execution.descent import Descent
from headway.learn.members import MemberLinear

FLOATS = NDArray[np.float32]
CLIP = 4.0  # standardised inputs are clipped to +- this
DROPOUT = 0.1


class Regression(Struct, frozen=True):
    """How to teach a network: `steps` of `batch` samples; `width` of its two hidden layers."""

    steps: int = 250
    batch: int = 256
    width: int = 96
    lr: float = 3e-3
    weight_decay: float = 3e-2


class Members(nn.Module):
    """`members` perceptrons with two hidden layers, which share nothing but how their inputs are
    standardised: (n, inputs) or (members, n, inputs) -> (members, n)."""

    def __init__(self, x: Tensor, members: int, width: int, dropout: float = DROPOUT) -> None:
        """`x` (n, inputs): the training data, by which inputs are standardised."""
        super().__init__()
        self.dropout = dropout
        self.register_buffer("mean", x.mean(dim=0))
        std = x.std(dim=0)
        # What hardly moves in training must not be blown up when it moves later.
        self.register_buffer("gain", torch.where(std > 1e-6, 1.0 / std.clamp(min=2e-2), 0.0))
        self.layers = nn.ModuleList(
            [
                MemberLinear(members, a, b)
                for a, b in ((x.shape[1], width), (width, width), (width, 1))
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        x = ((x - self.mean) * self.gain).clamp(-CLIP, CLIP)
        first, second, out = self.layers
        x = F.dropout(F.silu(first(x)), self.dropout, self.training)
        x = F.dropout(F.silu(second(x)), self.dropout, self.training)
        return out(x)[..., 0]


def fit(x: FLOATS, y: FLOATS, rows: list[NDArray[np.int64]], how: Regression, seed: int) -> Members:
    """Networks that tell `y` (n,) from `x` (n, inputs); each learns from the samples `rows[i]`. The
    result depends on `seed`, and not on what ran before."""
    X, Y = torch.from_numpy(x), torch.from_numpy(y)
    every = torch.from_numpy(np.unique(np.concatenate(rows)))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = Members(X[every], len(rows), how.width)
        own = [torch.from_numpy(r) for r in rows]
        # Members do not share a gradient, and none is to be held back by the others.
        descent = Descent(net, how.steps, how.lr, how.weight_decay, most=10.0 * len(rows))
        net.train()
        for _ in range(how.steps):
            at = torch.stack([r[torch.randint(len(r), (how.batch,))] for r in own])
            descent.step(((net(X[at]) - Y[at]) ** 2).mean(dim=1).sum())
    return net.eval()


@torch.no_grad()
def told(net: Members, x: FLOATS) -> FLOATS:
    """What each member says of `x` (n, inputs): (members, n)."""
    parts = [net(torch.from_numpy(p)) for p in np.array_split(x, max(1, len(x) // 16384))]
    out: FLOATS = torch.cat(parts, dim=1).numpy()
    return out


def cross_fitted(
    x: FLOATS, y: FLOATS, fold: NDArray[np.int64], how: Regression, seed: int
) -> FLOATS:
    """What a network that learned from the other folds says of each sample of `x` (n, inputs)."""
    out = np.zeros(len(y), np.float32)
    for k in np.unique(fold):
        net = fit(x, y, [np.flatnonzero(fold != k)], how, seed * 7 + int(k))
        out[fold == k] = told(net, x[fold == k])[0]
    return out
