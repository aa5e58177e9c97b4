"""The critic: what a chunk is worth more than what the policy usually does, from what the eyes saw
and the chunk. Three small networks, each taught by other episodes; where they do not agree the
score is lower, so that a policy which picks its best chunk is not drawn to where nobody has been.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from headway.config import Struct
from headway.learn.execution.lessons import Lesson, Singles, episode_of, of_all
from headway.learn.execution.regression import Members, Regression, fit

KEPT = 0.85  # share of the episodes that each member learns from


class CriticFit(Struct, frozen=True):
    """How to teach a critic: `members` networks; `doubt`: deviations of them that are taken off."""

    members: int = 3
    doubt: float = 0.5
    fit: Regression = Regression(steps=400, width=128, weight_decay=1e-2)


class Critic(nn.Module):
    """`forward` takes the code (1, c) and N chunks, latent (N, a), and gives the score (N,)."""

    def __init__(self, members: Members, doubt: float) -> None:
        super().__init__()
        self.members = members
        self.doubt = doubt

    def forward(self, code: Tensor, latent: Tensor) -> Tensor:
        x = torch.cat([code.expand(latent.shape[0], -1), latent], dim=1)
        said = self.members(x)
        mean = said.mean(dim=0)
        return mean - self.doubt * torch.sqrt(((said - mean) ** 2).mean(dim=0) + 1e-12)


def teach(lessons: Sequence[Lesson], advantage: Singles, how: CriticFit, seed: int) -> Critic:
    """A critic of the `advantage` (D,) of all decisions of `lessons`."""
    x = np.concatenate([of_all(lessons, "code"), of_all(lessons, "latent")], axis=1)
    episode = episode_of(lessons)
    rng = np.random.default_rng([seed, 31])
    rows = []
    for _ in range(how.members):
        kept = rng.permutation(len(lessons))[: max(1, round(KEPT * len(lessons)))]
        rows.append(np.flatnonzero(np.isin(episode, kept)))
    return Critic(fit(x.astype(np.float32), advantage, rows, how.fit, seed), how.doubt).eval()
