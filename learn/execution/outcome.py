"""The value that "1.5" learns from: the probability that the policy ends the order well, from its
outcome alone; an order in which somebody took over is none that it would have ended well by itself.
It is given all that PRO is given, and more, so that the comparison is fair: the same features of
the telemetry, what the policy's eyes saw, how many lines the station has closed, and the time.

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
from headway.learn.rollout import ORACLE

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


def cross_fitted(
    lessons: Sequence[Lesson], how: OutcomeFit, seed: int, teaches: NDArray[np.bool_]
) -> list[Singles]:
    """The probability (D,) that the policy by itself ends the order well, at every decision of each
    lesson, by networks that were taught those lessons of the other fold that `teaches`
    (`by_itself`). Where these are too few orders, or nothing but successes or failures, it is the
    share of those that ended well."""
    x = np.concatenate([_inputs(lesson) for lesson in lessons])
    episode = episode_of(lessons)
    wanted = np.concatenate([by_itself(lesson) for lesson in lessons])
    wanted[~teaches[episode]] = np.nan
    out = np.full(len(x), np.nan, np.float32)
    for k in range(FOLDS):
        mine = fold_of(len(lessons))[episode] == k
        taught = ~mine & np.isfinite(wanted)
        orders, good = np.unique(episode[taught]), wanted[taught]
        if len(orders) < 2 * how.members or good.min() == good.max():
            # One more of each kind, so that nothing is certain after a few orders (Laplace). Each
            # order counts once: those that fail last longer, and have more decisions.
            ended = sum(float(wanted[taught & (episode == order)].mean()) for order in orders)
            out[mine] = (ended + 1.0) / (len(orders) + 2.0)
            continue
        out[mine] = _told(x, episode, wanted, orders, mine, how, seed * FOLDS + k)
    parts: list[Singles] = np.split(out, np.cumsum([len(e.at) for e in lessons])[:-1])
    return parts


def by_itself(x: Lesson) -> Singles:
    """Whether (D,) the order of `x` ended well without anybody taking over after the decision: 1 or
    0, NaN where nobody knows, and while somebody else drove."""
    out = np.full(len(x.at), np.nan if x.success is None else float(x.success), np.float32)
    if x.success and len(x.takeovers):
        out[x.at < x.takeovers[-1]] = 0.0
    out[x.source == ORACLE] = np.nan
    return out


def _told(
    x: Singles,
    episode: NDArray[np.int64],
    wanted: Singles,
    taught: NDArray[np.int64],
    mine: NDArray[np.bool_],
    how: OutcomeFit,
    seed: int,
) -> Singles:
    """What networks that are taught what is known of `wanted` (D,) in the episodes `taught` say of
    the decisions `mine`."""
    order = np.random.default_rng([seed, 23]).permutation(taught)
    parts = [order[m :: how.members] for m in range(how.members)]
    known = np.isfinite(wanted)
    held = [torch.from_numpy(np.flatnonzero(known & np.isin(episode, p))) for p in parts]
    rows = [
        torch.from_numpy(np.flatnonzero(known & np.isin(episode, np.setdiff1d(taught, p))))
        for p in parts
    ]
    X, Y = torch.from_numpy(x), torch.from_numpy(wanted)
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
