"""The next policy: the cloned head taught once more, by what was good.

The mix holds the policy down: whole demonstrations up to the last line that was closed, corrections
of who took over, and only the best decisions of its own rollouts. Weighting all own rollouts by
their advantage instead drifted away and collapsed.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Annotated

import numpy as np
import torch
from msgspec import Meta
from numpy.typing import NDArray
from torch import Tensor, nn

from headway.config import AtLeastOne, NotNegative, Struct
from headway.errors import ConfigError
from headway.learn.execution.descent import Descent
from headway.learn.execution.lessons import Lesson, Singles, of_all
from headway.learn.rollout import DEMONSTRATION, ORACLE, POLICY

# Loss of a head on codes (b, c) with the chunks that were played (b, a), and weights (b,).
HeadLoss = Callable[[nn.Module, Tensor, Tensor, Tensor], Tensor]


class Mix(Struct, frozen=True):
    """What a policy learns from: the weight of a decision of a demonstration and of a correction;
    `top`, the share of the policy's own decisions that is taken, by advantage; and `most`, the
    largest share of the whole weight that these may have."""

    demonstration: NotNegative = 1.0
    correction: NotNegative = 1.5
    top: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.1
    most: Annotated[float, Meta(ge=0.0, lt=1.0)] = 0.1


class HeadFit(Struct, frozen=True):
    """How a head is taught: `steps` of `batch` decisions."""

    steps: int = 1000
    batch: int = 256
    lr: float = 1e-3
    weight_decay: float = 1e-4


class CloneFit(HeadFit, frozen=True):
    """How the first head is taught, whose hidden layers have the `width`; later ones go on from
    it."""

    width: AtLeastOne = 256


def weights(lessons: Sequence[Lesson], advantage: Singles | None, mix: Mix) -> Singles:
    """The weight (D,) of each decision of all lessons. Without an `advantage` (D,) the policy's own
    decisions have none. Raises ConfigError where nothing is left to learn from."""
    source = of_all(lessons, "source")
    taught = (source == DEMONSTRATION) & worked(lessons)
    out = np.zeros(len(source), np.float32)
    out[taught] = mix.demonstration
    out[source == ORACLE] = mix.correction
    own = source == POLICY
    if advantage is not None and own.any():
        best = own & (advantage > np.quantile(advantage[own], 1.0 - mix.top))
        rest, count = float(out.sum()), int(best.sum())
        # With demonstrations as the anchor, the rollouts get at most their share of the weight.
        share = mix.most / (1.0 - mix.most) * rest / max(1, count) if rest > 0 else 1.0
        out[best] = min(1.0, share)
    if not out.any():
        raise ConfigError(
            "wanted demonstrations, corrections or rollouts with an advantage to teach a policy, "
            "found none: record demonstrations in which a line is closed"
        )
    return out


def worked(lessons: Sequence[Lesson]) -> NDArray[np.bool_]:
    """Which decisions (D,) came before the last line of their episode was closed: what a
    demonstration does after it led nowhere that anybody has seen."""
    parts = []
    for x in lessons:
        last = x.happened.closed[-1] if len(x.happened.closed) else -np.inf
        parts.append(x.at < last)
    return np.concatenate(parts)


def improved(
    head: nn.Module,
    loss: HeadLoss,
    lessons: Sequence[Lesson],
    weight: Singles,
    how: HeadFit,
    seed: int,
    progress: Callable[[float], object] | None = None,
) -> nn.Module:
    """A copy of `head` that was taught the decisions of `lessons` with their `weight` (D,). The
    result depends on `seed`, and not on what ran before."""
    used = np.flatnonzero(weight > 0)
    code = torch.from_numpy(of_all(lessons, "code")[used].astype(np.float32))
    latent = torch.from_numpy(of_all(lessons, "latent")[used].astype(np.float32))
    w = torch.from_numpy(weight[used])
    net = copy.deepcopy(head).train()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        descent = Descent(net, how.steps, how.lr, how.weight_decay)
        # Drawn by weight, so that a batch is not full of samples that hardly count.
        drawn = torch.multinomial(w, how.steps * how.batch, replacement=True)
        for k, at in enumerate(drawn.view(how.steps, how.batch)):
            descent.step(loss(net, code[at], latent[at], torch.ones(how.batch)))
            if progress is not None:
                progress((k + 1) / how.steps)
    return net.eval()
