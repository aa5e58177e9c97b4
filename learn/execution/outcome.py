"""The value that "1.5" learns from: the probability that the order ends well, from its outcome
alone. It is given all that PRO is given, and more, so that the comparison is fair: the same
features of the telemetry, what the policy's eyes saw, how many lines the station has closed, and
the time.

There is one label an episode, so a network on hundreds of numbers learns episodes by heart. A
recurrent one like PRO's did: its log loss on episodes that it had not seen was worse than that of a
constant. Several small networks, each of which stops where it tells the episodes best that it was
not taught, did best of what was tried.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from headway.config import Struct
from headway.learn.execution.descent import Descent
from headway.learn.execution.lessons import Lesson, Singles, episode_of
from headway.learn.execution.process import FOLDS, fold_of
from headway.learn.execution.regression import Members

LOOK = 10  # steps between two looks at the episodes that are held out


class OutcomeFit(Struct, frozen=True):
    """How to teach the value: `members` networks, each of which is not taught one of as many parts
    of the episodes."""

    members: int = 5
    steps: int = 250
    batch: int = 256
    width: int = 32
    dropout: float = 0.5
    lr: float = 1e-3
    weight_decay: float = 0.1


def cross_fitted(lessons: Sequence[Lesson], how: OutcomeFit, seed: int) -> list[Singles]:
    """The probability (D,) of success at every decision of each lesson, by networks that were
    taught the other fold. An order without an outcome teaches nothing; without a fold of orders
    that went well and others that did not, it is the share of those that did."""
    x = np.concatenate([_inputs(lesson) for lesson in lessons])
    episode = episode_of(lessons)
    outcome = np.array([np.nan if e.success is None else float(e.success) for e in lessons])
    out = np.full(len(x), np.nan, np.float32)
    for k in range(FOLDS):
        mine = np.isin(episode, np.flatnonzero(fold_of(len(lessons)) == k))
        taught = np.flatnonzero((fold_of(len(lessons)) != k) & np.isfinite(outcome))
        good = outcome[taught]
        if len(good) < 2 * how.members or good.min() == good.max():
            # One more of each kind, so that nothing is certain after a few orders (Laplace).
            out[mine] = (good.sum() + 1.0) / (len(good) + 2.0)
            continue
        out[mine] = _told(x, episode, outcome, taught, mine, how, seed * FOLDS + k)
    parts: list[Singles] = np.split(out, np.cumsum([len(e.at) for e in lessons])[:-1])
    return parts


def _told(
    x: Singles,
    episode: NDArray[np.int64],
    outcome: NDArray[np.float64],
    taught: NDArray[np.int64],
    mine: NDArray[np.bool_],
    how: OutcomeFit,
    seed: int,
) -> Singles:
    """What networks that are taught the episodes `taught` say of the decisions `mine`."""
    order = np.random.default_rng([seed, 23]).permutation(taught)
    parts = [order[m :: how.members] for m in range(how.members)]
    held = [torch.from_numpy(np.flatnonzero(np.isin(episode, p))) for p in parts]
    rows = [
        torch.from_numpy(np.flatnonzero(np.isin(episode, np.setdiff1d(taught, p)))) for p in parts
    ]
    X, Y = torch.from_numpy(x), torch.from_numpy(outcome[episode].astype(np.float32))
    asked = X[torch.from_numpy(np.flatnonzero(mine))]
    best = [np.inf] * how.members
    said = [torch.zeros(len(asked))] * how.members
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        every = np.flatnonzero(np.isin(episode, taught))
        net = Members(X[torch.from_numpy(every)], how.members, how.width, how.dropout)
        descent = Descent(net, how.steps, how.lr, how.weight_decay, most=10.0 * how.members)
        for step in range(how.steps):
            if step % LOOK == 0:
                net.eval()
                with torch.no_grad():
                    for m in range(how.members):
                        loss = F.binary_cross_entropy_with_logits(net(X[held[m]])[m], Y[held[m]])
                        if float(loss) < best[m]:
                            best[m], said[m] = float(loss), net(asked)[m]
                net.train()
            at = torch.stack([r[torch.randint(len(r), (how.batch,))] for r in rows])
            each = F.binary_cross_entropy_with_logits(net(X[at]), Y[at], reduction="none")
            descent.step(each.mean(dim=1).sum())
    found: Singles = torch.sigmoid(torch.stack(said).mean(dim=0)).numpy()
    return found


def _inputs(x: Lesson) -> Singles:
    """(D, k): the features of the telemetry, squeezed, and their mask; the code; the share of lines
    that are closed, and how many are left; and the share of the time that has passed."""
    features = x.features[x.step]
    squeezed = np.sign(features) * np.log1p(np.abs(features))
    closed = x.closed_by(x.at)
    more = np.stack(
        [closed / x.happened.lines, x.happened.lines - closed, x.at / x.limit_s], axis=1
    )
    parts = [squeezed, x.mask[x.step], x.code, more]
    return np.concatenate([p.astype(np.float32) for p in parts], axis=1)
