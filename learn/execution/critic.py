"""The critic: estimates how much better a chunk is than the first one drawn, given the eyes' code
and both chunks. Three small networks, each taught by other episodes, tell the advantage of a
chunk. Its score is by how much they find it better than the first, less their disagreement about
that. So the plain policy's own chunk is played unless the networks agree that another one is
better, and what they wrongly believe of the whole situation does not count.
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
    """How to teach a critic: `members` networks; `doubt`: how many standard deviations of what they
    say of a difference are taken off."""

    members: int = 3
    doubt: float = 1.0
    fit: Regression = Regression(steps=400, width=128, weight_decay=1e-2)


class Critic(nn.Module):
    """`forward` takes the code (1, c) and N chunks, latent (N, a), and gives the score (N,): 0 for
    the first chunk, and for another one by how much it is better, less `doubt` deviations."""

    def __init__(self, members: Members, doubt: float) -> None:
        super().__init__()
        self.members = members
        self.doubt = doubt

    def forward(self, code: Tensor, latent: Tensor) -> Tensor:
        x = torch.cat([code.expand(latent.shape[0], -1), latent], dim=1)
        said = self.members(x)
        said = said - said[:, :1]
        mean = said.mean(dim=0)
        return mean - self.doubt * torch.sqrt(((said - mean) ** 2).mean(dim=0))


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
