"""Going on with the training of a head that a bundle holds: `opened` gives its network, `tune`
teaches it labelled episodes. Heads of both kinds can be tuned, `EmaHead` and the recurrent
`ProHead`. Their weights are in the ONNX model under the names that they were exported with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from headway.bundle import Bundle
from headway.errors import SpecMismatch
from headway.export.graph import by_name, read
from headway.kernels import spec
from headway.learn.pro import fit
from headway.learn.pro.ema import BINS, EmaHead, Reader
from headway.learn.pro.examples import FLAGS, TARGETS, Example
from headway.learn.pro.head import HIDDEN, ProHead
from headway.learn.pro.heads import check

CROP_S, WARM_S = 8.0, 2.0  # a recurrent head learns from pieces so long, but not from their start
PIECES = 16  # in a batch
# Of `FLAGS` in an exported model: the logit of `unstable` has its sign turned there, as stability.
SIGN = np.array([1.0, 1.0, -1.0], np.float32)
Weights = dict[str, NDArray[Any]]
Progress = Callable[[float], object]


class Recurrent:
    """A `ProHead` with what training wants of a head."""

    hidden = HIDDEN
    taught = TARGETS

    def __init__(self, net: ProHead) -> None:
        self.net = net

    @torch.no_grad()
    def logits(
        self, features: NDArray[np.float32], mask: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """As `EmaHead.logits`."""
        x, m = torch.from_numpy(features)[None], torch.from_numpy(mask)[None]
        found: NDArray[np.float32] = self.net.eval().sequence(x, m)[1][0].numpy()
        return found

    @torch.no_grad()
    def calibrate(self, slope: Sequence[float], shift: Sequence[float]) -> None:
        """As `EmaHead.calibrate`."""
        factor = torch.tensor(slope)
        self.net.binary.weight *= factor[:, None]
        self.net.binary.bias[:] = self.net.binary.bias * factor + torch.tensor(shift)

    def step(self) -> torch.nn.Module:
        """As `EmaHead.step`."""
        return self.net.step()


def opened(bundle: Bundle) -> EmaHead | Recurrent:
    """The network of the PRO head in `bundle`. Raises SpecMismatch for one of another spec, or
    whose model does not name the weights of a head of Headway's."""
    check(bundle, [])
    whole = read(bundle.onnx)
    weights = {name: np.array(value) for name, value in by_name(whole).items()}
    # Which features and mask bits it picks: the exporter has no names for what is no weight.
    for node in whole.graph.node:
        if node.op_type == "Gather" and node.input[0] in ("features", "mask"):
            weights[f"{node.input[0]}_at"] = weights[node.input[1]]
    try:
        return _ema(bundle, weights) if "decay" in weights else _recurrent(weights)
    except KeyError as e:
        raise SpecMismatch(
            f"{bundle.onnx}: wanted the weights of a head that Headway trained, found none named "
            f"{e}: train a new head instead"
        ) from None


def tune(
    start: EmaHead | Recurrent,
    examples: Sequence[Example],
    how: fit.Fit,
    progress: Progress | None = None,
) -> EmaHead | Recurrent:
    """A copy of `start` that was taught `examples` too. The result depends on `how.seed`, and not
    on what ran before."""
    with torch.random.fork_rng():
        torch.manual_seed(how.seed)
        if isinstance(start, EmaHead):
            copy = EmaHead(start.reader, float(start.bins[-1]), float(start.typical), start.taught)
            copy.load_state_dict(start.state_dict())
            fit.descend(copy, fit.gather(copy, examples, how.seed), how, progress)
            return copy.eval()
        return Recurrent(_tuned(start.net, examples, how, progress))


def _ema(bundle: Bundle, w: Weights) -> EmaHead:
    info = bundle.manifest.pro
    assert info is not None
    n = len(w["features_at"])
    gains = (1.0 - w["decay"][::n]).astype(np.float32)
    reader = Reader(w["features_at"], w["mask_at"], w["mean"], w["gain"], gains)
    bins = w["means"][:, 0]
    typical = bins[-1] / (1.0 - w["means"][-1, 1])
    net = EmaHead(reader, float(bins[-1]), float(typical), info.taught or TARGETS)
    with torch.no_grad():
        for layer, name in ((net.first, "first"), (net.second, "second")):
            _copy(layer.weight, w[name])
            _copy(layer.bias, w[f"{name}_bias"])
        for part, name in (("weight", "heads"), ("bias", "heads_bias")):
            times, flags = w[name][..., :BINS], w[name][..., BINS:]
            _copy(getattr(net.to_go, part), times)
            _copy(getattr(net.flags, part), flags * SIGN)
    return net


def _recurrent(w: Weights) -> Recurrent:
    """The network of a recurrent head, also of one that was carried over from an earlier spec: its
    weights then belong to the features and mask bits that it picks."""
    features = w.get("features_at", np.arange(spec.N_FEATURES))
    masks = w.get("mask_at", np.arange(spec.N_MASKS))
    bins = w["means"][:, 0]
    net = ProHead(float(bins[-1]), float(bins[-1] / (1.0 - w["means"][-1, 1])))
    n = HIDDEN
    with torch.no_grad():
        net.mean[features] = _tensor(w["mean"])
        net.std[:] = torch.inf
        net.std[features] = 1.0 / _tensor(w["gain"])  # inf: it was constant in training
        # A feature may be had from less now than when the head was trained, which it does not know.
        needs = torch.zeros(len(features), spec.N_MASKS)
        needs[:, masks] = _tensor(w["needs"])
        net.needs[features] = needs
        embed = net.embed[0]
        embed.weight[:] = 0.0
        columns = np.concatenate([features, spec.N_FEATURES + masks])
        embed.weight[:, columns] = _tensor(w["embed"])
        _copy(embed.bias, w["embed_bias"])
        gates, bias = _tensor(w["gates"]), _tensor(w["gates_bias"])
        gru = net.gru
        gru.weight_ih_l0[:] = gates[: 3 * n, :n]
        gru.weight_hh_l0[:] = torch.cat([gates[: 2 * n, n:], gates[3 * n :, n:]])
        gru.bias_ih_l0[:] = bias[: 3 * n]
        gru.bias_hh_l0[:] = torch.cat([torch.zeros(2 * n), bias[3 * n :]])
        _copy(net.to_go.weight, w["heads"][:BINS])
        _copy(net.to_go.bias, w["heads_bias"][:BINS])
        _copy(net.binary.weight, w["heads"][BINS:] * SIGN[:, None])
        _copy(net.binary.bias, w["heads_bias"][BINS:] * SIGN)
    return Recurrent(net)


def _copy(into: Tensor, value: NDArray[Any]) -> None:
    into[:] = _tensor(value)


def _tensor(value: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.array(value, np.float32))


def _tuned(
    start: ProHead, examples: Sequence[Example], how: fit.Fit, progress: Progress | None
) -> ProHead:
    net = ProHead(float(start.bins[-1]), float(start.typical))
    net.load_state_dict(start.state_dict())
    _let_in(net, examples, how.counted)
    rng = np.random.default_rng(how.seed)
    hz = examples[0].hz
    length, warm = round(CROP_S * hz), round(WARM_S * hz)
    # A third of the pieces hold a failure, where there are any: they are rare.
    failed = [i for i, e in enumerate(examples) if (e.risk == 1).any()]
    steps = max(1, how.steps // 5)  # a piece holds many steps of the head
    optimiser = torch.optim.AdamW(net.parameters(), lr=how.lr / 3, weight_decay=fit.WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, how.lr / 3, total_steps=steps)
    net.train()
    for k in range(steps):
        pieces = []
        for j in range(PIECES):
            if failed and j % 3 == 0:
                e = examples[failed[rng.integers(len(failed))]]
                at = np.flatnonzero(e.risk == 1)
                first = int(rng.choice(at)) - int(rng.integers(warm, length))
            else:
                e = examples[int(rng.integers(len(examples)))]
                first = int(rng.integers(0, max(1, len(e) - length + 1)))
            first = min(max(0, first), max(0, len(e) - length))
            pieces.append((e, slice(first, first + length)))
        loss = _loss_of_pieces(net, pieces, warm)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if progress is not None:
            progress((k + 1) / steps)
    return net.eval()


def _let_in(net: ProHead, examples: Sequence[Example], counted: bool) -> None:
    """Standardise features that were constant when the head was trained, and that vary now: it can
    then learn from them. Their weights are 0 to begin with. `counted`: see `fit.Fit`."""
    x = np.concatenate([e.features for e in examples])
    left_out = {n for names in fit.left_out(counted).values() for n in names}
    moves = x.max(axis=0) > x.min(axis=0)
    for i, name in enumerate(spec.NAMES):
        if torch.isinf(net.std[i]) and moves[i] and name not in left_out:
            net.mean[i] = float(x[:, i].mean())
            net.std[i] = max(float(x[:, i].std()), 1e-3)
            with torch.no_grad():
                net.embed[0].weight[:, i] = 0.0


def _loss_of_pieces(net: ProHead, pieces: list[tuple[Example, slice]], warm: int) -> Tensor:
    longest = max(len(e.t[s]) for e, s in pieces)

    def stack(name: str, fill: float) -> Tensor:
        parts = [getattr(e, name)[s] for e, s in pieces]
        out = np.full((len(parts), longest, *parts[0].shape[1:]), fill, np.float32)
        for row, part in zip(out, parts, strict=True):
            row[: len(part)] = part
        return torch.from_numpy(out)

    times, logits = net.sequence(stack("features", 0.0), stack("mask", 0.0))
    inside = torch.zeros(len(pieces), longest, dtype=torch.bool)
    for row, (_, s) in zip(inside, pieces, strict=True):
        row[warm if s.start > 0 else 0 :] = True
    loss = logits.sum() * 0.0
    for i, name in enumerate(FLAGS):
        y = stack(name, np.nan)
        known = inside & torch.isfinite(y)
        if known.any():
            loss = loss + F.binary_cross_entropy_with_logits(logits[..., i][known], y[known])
    y = stack("time_to_go", np.nan)
    known = inside & torch.isfinite(y)
    if known.any():
        loss = loss + 0.3 * fit.two_hot(times[known], y[known], net.bins)
    return loss
