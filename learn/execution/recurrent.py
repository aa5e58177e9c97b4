"""Teaching recurrent networks on episodes of very different length, in little time.

A step of the training takes pieces of a few seconds from random episodes; the state of the network
begins at zero `warm_s` before the part that counts (truncated backpropagation through time,
Williams & Peng 1990). One episode in seven is kept aside: the weights that tell it best are those
that are returned, so that no network is trained for longer than its data bear.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from headway.config import Struct
from headway.errors import RecordingError
from headway.learn.execution.descent import Descent

HELD = 7  # of so many episodes, one is held out
LOOKS = 6  # how often the held-out episodes are looked at
MOST_HELD = 24  # of the held-out episodes, look at so many
AT_ONCE = 64  # episodes in one pass when signals are computed


@dataclass(frozen=True)
class Track:
    """An episode of n steps: `parts` are the inputs, each (n, k_i); `targets` (n, m) is NaN where
    nothing is known; `rare` are steps that training looks at more often."""

    parts: tuple[NDArray[np.float32], ...]
    targets: NDArray[np.float32]
    rare: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.targets)


class Schedule(Struct, frozen=True):
    """How long and on what to train: `steps` of `pieces` pieces of `piece_s` [s], of which the
    first `warm_s` [s] only warm up the state. A share `rare` of the pieces holds something rare."""

    steps: int = 200
    pieces: int = 24
    piece_s: float = 4.0
    warm_s: float = 1.0
    rare: float = 0.34
    lr: float = 5e-3
    weight_decay: float = 3e-2


# Loss of a network's answers on inputs (b, t, k_i) and targets (b, t, m), where they are known.
Loss = Callable[[Any, tuple[Tensor, ...], Tensor], Tensor]


def fit(
    net: nn.Module,
    sequences: Sequence[Track],
    loss: Loss,
    hz: float,
    how: Schedule,
    seed: int,
) -> nn.Module:
    """Teach `net`, in place, by `sequences` with `hz` steps a second, and return it with the
    weights that were best on those that are held out. What is drawn depends on `seed` alone. Raises
    RecordingError where the loss was never a number: no weights are best then."""
    rng = np.random.default_rng([seed, 17])
    held = [i for i in range(len(sequences)) if i % HELD == HELD - 1]
    taught = [i for i in range(len(sequences)) if i % HELD != HELD - 1]
    draw = _Drawer([sequences[i] for i in taught], hz, how, rng)
    judge = [sequences[i] for i in held][:MOST_HELD]
    descent = Descent(net, how.steps, how.lr, how.weight_decay)
    best, kept = np.inf, copy.deepcopy(net.state_dict())
    every = max(1, how.steps // LOOKS)
    for k in range(how.steps):
        net.train()
        parts, y = draw()
        descent.step(loss(net, parts, y))
        if (k + 1) % every == 0 or k + 1 == how.steps:
            found = _judged(net, judge, loss) if judge else -float(k)
            if found <= best:
                best, kept = found, copy.deepcopy(net.state_dict())
    if how.steps and not np.isfinite(best):
        raise RecordingError(
            f"wanted episodes whose loss is a number, found {best:g} on all {len(judge)} that are "
            "held out: leave out recordings with features that are not finite"
        )
    net.load_state_dict(kept)
    return net.eval()


class _Drawer:
    """Draws pieces of sequences as batches."""

    def __init__(
        self, sequences: list[Track], hz: float, how: Schedule, rng: np.random.Generator
    ) -> None:
        self._all, self._how, self._rng = sequences, how, rng
        self._length, self._warm = round(how.piece_s * hz), round(how.warm_s * hz)
        lengths = np.array([len(s) for s in sequences], np.float64)
        self._p = lengths / lengths.sum()
        self._rare = [i for i, s in enumerate(sequences) if len(s.rare)]

    def __call__(self) -> tuple[tuple[Tensor, ...], Tensor]:
        rng, how = self._rng, self._how
        chosen = []
        for j in range(how.pieces):
            if self._rare and j < how.rare * how.pieces:
                s = self._all[self._rare[int(rng.integers(len(self._rare)))]]
                first = int(rng.choice(s.rare)) - int(rng.integers(self._warm, self._length))
            else:
                s = self._all[int(rng.choice(len(self._all), p=self._p))]
                first = int(rng.integers(-self._warm, max(1, len(s) - self._length + 1)))
            first = min(max(0, first), max(0, len(s) - self._length))
            chosen.append((s, first))
        parts, y = stack([(s, slice(f, f + self._length)) for s, f in chosen])
        for row, (_, first) in zip(y, chosen, strict=True):
            if first > 0:  # the state begins at zero, as at the robot only in the first step
                row[: self._warm] = torch.nan
        return parts, y


def stack(pieces: Sequence[tuple[Track, slice]]) -> tuple[tuple[Tensor, ...], Tensor]:
    """The pieces as one batch: inputs (b, t, k_i), and targets (b, t, m), padded with NaN."""
    t = max(len(s.targets[at]) for s, at in pieces)

    def padded(arrays: list[NDArray[np.float32]], fill: float) -> Tensor:
        out = np.full((len(arrays), t, *arrays[0].shape[1:]), fill, np.float32)
        for row, a in zip(out, arrays, strict=True):
            row[: len(a)] = a
        return torch.from_numpy(out)

    count = len(pieces[0][0].parts)
    parts = tuple(padded([s.parts[i][at] for s, at in pieces], 0.0) for i in range(count))
    return parts, padded([s.targets[at] for s, at in pieces], np.nan)


@torch.no_grad()
def _judged(net: nn.Module, held: list[Track], loss: Loss) -> float:
    """The loss on whole sequences."""
    net.eval()
    return float(loss(net, *stack([(s, slice(None)) for s in held])))


@torch.no_grad()
def answers(
    net: Any, parts: Sequence[tuple[NDArray[np.float32], ...]], ask: Callable[..., Tensor]
) -> list[NDArray[np.float32]]:
    """What `ask(net, *inputs)`, (b, t, m) for inputs (b, t, k_i), says at all steps of the episodes
    with the inputs `parts`: (n, m) each."""
    net.eval()
    out: list[NDArray[np.float32]] = [np.zeros((0, 0), np.float32)] * len(parts)
    order = sorted(range(len(parts)), key=lambda i: len(parts[i][0]))
    for first in range(0, len(order), AT_ONCE):
        some = order[first : first + AT_ONCE]
        blank = [Track(parts[i], np.zeros((len(parts[i][0]), 1), np.float32), _NONE) for i in some]
        inputs, _ = stack([(s, slice(None)) for s in blank])
        said = ask(net, *inputs).numpy()
        for row, i in zip(said, some, strict=True):
            out[i] = row[: len(parts[i][0])].copy()
    return out


_NONE = np.zeros(0, np.int64)
