"""Fitting an `EmaHead` to labelled episodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from headway.kernels import spec
from headway.learn.pro.ema import MEMBERS, EmaHead, reader
from headway.learn.pro.examples import FLAGS, Example

# What tells how long an episode has lasted, where the arm is, or how the task ended: a head that
# reads it may know the outcome from the schedule, the layout of one cell or the operator.
LEFT_OUT = {
    "time": ("elapsed", "phase_age", "close_age", *(f"phase_{i}" for i in range(spec.N_PHASES))),
    "pose": ("limit_dist",),
    "outcome": ("place_confirm", "barcode", "scale_match", "operator_age"),
}
# What a controller counts in the very tick of its own events. Where such an event is the label, as
# `item_lost`, a head that reads these is told of the failure and does not find it.
COUNTED = tuple(f.name for f in spec.FEATURES if "retries" in f.needs)
POSITIVE = 0.25  # share of a batch that is drawn from steps with a risk: they are rare
BATCH = 256  # of each member
JITTER = 0.1  # deviation of the noise on the inputs, which have a deviation of about 1
DROPPED = 0.05  # how often a group of telemetry is masked in a step of the training
WEIGHT_DECAY = 1e-2
MOST_INPUTS = 300_000_000  # numbers in memory at once, 4 bytes each


@dataclass(frozen=True)
class Fit:
    """How to fit a head. `counted`: whether failures are events that the controller itself counts,
    so that features in COUNTED are not learned from."""

    steps: int = 1500
    lr: float = 3e-3
    seed: int = 0
    counted: bool = False


@dataclass(frozen=True)
class Steps:
    """All steps of several episodes, n in total."""

    inputs: Tensor  # (n, width)
    flags: Tensor  # (n, 3), NaN where unknown
    to_go: Tensor  # (n,) [s], NaN where unknown


def left_out(counted: bool, keep: Sequence[str] = ()) -> dict[str, list[str]]:
    """The features that a head is not to learn from, by the reason in words: those in LEFT_OUT, and
    those in COUNTED where failures are `counted`, see `Fit`; without those named in `keep`."""
    names = [n for group in LEFT_OUT.values() for n in group if n not in keep]
    found = {"so that the head knows neither the clock nor the place": names}
    if counted:
        why = "since the failures are events of the controller, which counts them in the same tick"
        found[why] = [n for n in COUNTED if n not in keep]
    return found


def choose(
    examples: Sequence[Example], keep: Sequence[str] = (), counted: bool = False
) -> NDArray[np.int64]:
    """The places (F,) in spec.NAMES of the features that a head can learn from in `examples`: those
    that are not constant and not `left_out`, whose arguments `counted` and `keep` are."""
    without = {n for names in left_out(counted, keep).values() for n in names}
    everything = np.concatenate([e.features for e in examples])
    moves = everything.max(axis=0) > everything.min(axis=0)
    chosen = [i for i, n in enumerate(spec.NAMES) if moves[i] and n not in without]
    return np.array(chosen, np.int64)


def taught_by(examples: Sequence[Example]) -> tuple[str, ...]:
    """The targets of which `examples` show both classes, or for time-to-go any value."""
    out = []
    for name in FLAGS:
        values = np.concatenate([getattr(e, name) for e in examples])
        if (values == 0).any() and (values == 1).any():
            out.append(name)
    if any(np.isfinite(e.time_to_go).any() for e in examples):
        out.append("time_to_go")
    return tuple(out)


def fit(
    examples: Sequence[Example],
    names: NDArray[np.int64],
    how: Fit,
    taught: tuple[str, ...],
    progress: Callable[[float], object] | None = None,
) -> EmaHead:
    """A head taught the targets `taught` by `examples`, which reads the features at the places
    `names` (F,). The result depends on `how.seed`, and not on what ran before."""
    durations = [float(np.nanmax(e.time_to_go)) for e in examples if e.success and len(e)]
    limit = max(durations, default=1.0)
    made = reader(np.concatenate([e.features for e in examples]), names, examples[0].hz)
    with torch.random.fork_rng():
        torch.manual_seed(how.seed)
        net = EmaHead(made, limit, float(np.median(durations or [1.0])), taught)
        data = gather(net, examples, how.seed)
        descend(net, data, how, progress)
    return net.eval()


def gather(net: EmaHead, examples: Sequence[Example], seed: int = 0) -> Steps:
    """The steps of `examples`, prepared for `net`; targets that it is not taught are unknown. Where
    they would not fit into memory, those with a risk and as many others as fit, drawn by `seed`."""
    share = MOST_INPUTS / max(1, net.reader.width * sum(len(e) for e in examples))
    rng = np.random.default_rng(seed)
    inputs, flags, to_go = [], [], []
    for e in examples:
        kept = (e.risk == 1) | (rng.random(len(e)) < share)
        inputs.append(net.reader.prepare(e.features, e.mask)[kept])
        flags.append(np.stack([getattr(e, n) for n in FLAGS], axis=1)[kept])
        to_go.append(e.time_to_go[kept])
    table = np.concatenate(flags).astype(np.float32)
    table[:, [n not in net.taught for n in FLAGS]] = np.nan
    return Steps(
        torch.from_numpy(np.concatenate(inputs)),
        torch.from_numpy(table),
        torch.from_numpy(np.concatenate(to_go).astype(np.float32)),
    )


def descend(
    net: EmaHead, data: Steps, how: Fit, progress: Callable[[float], object] | None
) -> None:
    generator = torch.Generator().manual_seed(how.seed)
    risk = data.flags[:, FLAGS.index("risk")]
    known = torch.isfinite(data.flags).any(dim=1) | torch.isfinite(data.to_go)
    alarms, others = torch.nonzero(risk == 1)[:, 0], torch.nonzero(known & (risk != 1))[:, 0]
    share = int(BATCH * POSITIVE) if len(alarms) else 0
    groups = _columns_of_groups(net)
    optimiser = torch.optim.AdamW(net.parameters(), lr=how.lr, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, how.lr, total_steps=how.steps)
    net.train()
    each = (MEMBERS, BATCH - share)
    for k in range(how.steps):
        at = others[torch.randint(len(others), each, generator=generator)]
        if share:
            rare = torch.randint(len(alarms), (MEMBERS, share), generator=generator)
            at = torch.cat([at, alarms[rare]], dim=1)
        x = data.inputs[at]  # (MEMBERS, BATCH, width)
        keep = torch.rand(*at.shape, len(groups), generator=generator) >= DROPPED
        dropped = ((~keep).float() @ groups) > 0
        noise = torch.randn(x.shape, generator=generator) * JITTER
        noise[..., -len(net.reader.masks) :] = 0.0
        loss = _loss(net, (x + noise) * ~dropped, data.flags[at], data.to_go[at])
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), MEMBERS * 1.0)
        optimiser.step()
        schedule.step()
        if progress is not None:
            progress((k + 1) / how.steps)


def _columns_of_groups(net: EmaHead) -> Tensor:
    """A matrix (G, width). Entry (g, i) is 1 if input i has to be zeroed when mask bit g is 0."""
    r = net.reader
    needs = torch.from_numpy(r.needs).T  # (G, F)
    return torch.cat([needs] * (1 + len(r.gains)) + [torch.eye(len(r.masks))], dim=1)


def _loss(net: EmaHead, inputs: Tensor, flags: Tensor, to_go: Tensor) -> Tensor:
    """The sum over the members, each of which learns by its own mean."""
    logits, times = net(inputs)
    loss = logits.sum() * 0.0
    for i in range(flags.shape[-1]):
        known = torch.isfinite(flags[..., i])
        if known.any():
            x, y = logits[..., i][known], flags[..., i][known]
            loss = loss + MEMBERS * F.binary_cross_entropy_with_logits(x, y)
    known = torch.isfinite(to_go)
    if "time_to_go" in net.taught and known.any():
        loss = loss + MEMBERS * 0.3 * two_hot(times[known], to_go[known], net.bins)
    return loss


def two_hot(logits: Tensor, target: Tensor, bins: Tensor) -> Tensor:
    """Cross-entropy of logits (n, BINS) against the two `bins` next to `target` (n,) [s], weighted
    by nearness."""
    position = (target / (bins[1] - bins[0])).clamp(0, len(bins) - 1.001)
    low = position.floor().long()
    share = position - low
    log_p = torch.log_softmax(logits, dim=-1)
    picked = log_p.gather(1, low[:, None])[:, 0] * (1 - share)
    return -(picked + log_p.gather(1, low[:, None] + 1)[:, 0] * share).mean()
