"""The PRO head: a GRU with 64 units on features at 50 Hz. `ProHead` is the network for training on
whole sequences; `ProStep` computes the same in single steps, with the state as input and output."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from headway.kernels import spec

HIDDEN = 64
BINS = 25  # of the distribution of time-to-go


class ProHead(nn.Module):
    """The network for training; `step` makes the one for the robot."""

    def __init__(self, limit_s: float, typical_s: float) -> None:
        """`limit_s` is the longest time-to-go [s], `typical_s` the median duration of a success
        [s]; progress is 1 - time_to_go / typical_s."""
        super().__init__()
        n, m = len(spec.NAMES), len(spec.MASKS)
        self.limit_s = limit_s
        self.register_buffer("mean", torch.zeros(n))
        self.register_buffer("std", torch.ones(n))
        self.register_buffer("bins", torch.linspace(0.0, limit_s, BINS))
        self.register_buffer("typical", torch.tensor(float(typical_s)))
        self.register_buffer("temperature", torch.ones(3))  # completion, risk, unstable
        self.register_buffer("needs", torch.from_numpy(_needs()))
        self.embed = nn.Sequential(nn.Linear(n + m, HIDDEN), nn.ReLU())
        self.gru = nn.GRU(HIDDEN, HIDDEN, batch_first=True)
        self.to_go = nn.Linear(HIDDEN, BINS)
        self.binary = nn.Linear(HIDDEN, 3)

    def inputs(self, features: Tensor, mask: Tensor) -> Tensor:
        """Input of the network: the features (..., 209) normalised, clipped, and set to zero if any
        mask bit that they need is 0; then the mask (..., M)."""
        x = ((features - self.mean) / self.std).clamp(-6.0, 6.0)
        missing = (1.0 - mask) @ self.needs.T  # (..., n): how many needed groups are missing
        return torch.cat([x * (missing < 0.5), mask], dim=-1)

    def sequence(self, features: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of time-to-go (b, t, BINS), and binary logits (b, t, 3) of completion, risk and
        instability, from `features` (b, t, 209) and `mask` (b, t, M)."""
        h, _ = self.gru(self.embed(self.inputs(features, mask)))
        return self.to_go(h), self.binary(h)

    def expected(self, logits: Tensor) -> Tensor:
        """Mean time-to-go (...) [s] from the logits (..., BINS)."""
        return (torch.softmax(logits, dim=-1) * self.bins).sum(-1)

    def step(self) -> ProStep:
        """The network for single steps, with a copy of the present weights."""
        return ProStep(self)


class ProStep(nn.Module):
    """`forward` takes features (1, 209), the mask (1, M) of 0 and 1, and the state (1, HIDDEN). It
    returns progress, stability, completion, risk and time_to_go [s], each (1, 1), and the next
    state (1, HIDDEN).

    It computes the same as `ProHead.sequence` with few and simple operators, because in so small a
    network starting an operator costs more than its arithmetic. So constants are folded into
    weights, and the GRU (Cho et al. 2014) is written with one matrix product for all its gates.
    """

    def __init__(self, net: ProHead) -> None:
        super().__init__()
        with torch.no_grad():
            gru, n = net.gru, HIDDEN
            wi, wh = gru.weight_ih_l0, gru.weight_hh_l0
            bi, bh = gru.bias_ih_l0, gru.bias_hh_l0
            none = torch.zeros(n, n)
            gates = torch.cat([  # r and z; the candidate's part from x; its part from h
                torch.cat([wi[: 2 * n], wh[: 2 * n]], dim=1),
                torch.cat([wi[2 * n :], none], dim=1),
                torch.cat([none, wh[2 * n :]], dim=1),
            ])  # fmt: skip
            bias = torch.cat([bi[: 2 * n] + bh[: 2 * n], bi[2 * n :], bh[2 * n :]])
            embed = net.embed[0]
            scale = torch.stack(
                [1 / net.temperature[0], 1 / net.temperature[1], -1 / net.temperature[2]]
            )
            weight = torch.cat([net.to_go.weight, net.binary.weight * scale[:, None]])
            parts = {
                "mean": net.mean, "gain": 1 / net.std,
                "needs": net.needs, "spare": 1 - net.needs.sum(dim=1),
                "embed": embed.weight, "embed_bias": embed.bias,
                "gates": gates, "gates_bias": bias,
                "heads": weight, "heads_bias": torch.cat([net.to_go.bias, net.binary.bias * scale]),
                # For the means of time-to-go and of progress, which is 1 - time_to_go / typical.
                "means": torch.stack([net.bins, 1 - net.bins / net.typical], dim=1),
            }  # fmt: skip
            for name, value in parts.items():
                self.register_buffer(name, value.detach().clone())

    def forward(self, features: Tensor, mask: Tensor, h: Tensor) -> tuple[Tensor, ...]:
        known = torch.relu(F.linear(mask, self.needs, self.spare))  # 0: a needed group is masked
        x = ((features - self.mean) * self.gain).clamp(-6.0, 6.0) * known
        x = torch.relu(F.linear(torch.cat([x, mask], dim=1), self.embed, self.embed_bias))
        g = F.linear(torch.cat([x, h], dim=1), self.gates, self.gates_bias)
        rz, new, old = g.split([2 * HIDDEN, HIDDEN, HIDDEN], dim=1)
        r, z = torch.sigmoid(rz).split(HIDDEN, dim=1)
        new = torch.tanh(new + r * old)
        h_out = new + z * (h - new)
        logits, flags = F.linear(h_out, self.heads, self.heads_bias).split([BINS, 3], dim=1)
        time_to_go, progress = (torch.softmax(logits, dim=1) @ self.means).split(1, dim=1)
        completion, risk, stability = torch.sigmoid(flags).split(1, dim=1)
        return progress.clamp(0.0, 1.0), stability, completion, risk, time_to_go, h_out


def _needs() -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """A matrix (209, M) that is 1 where a feature needs a channel group."""
    table = np.zeros((len(spec.NAMES), len(spec.MASKS)), np.float32)
    for i, feature in enumerate(spec.FEATURES):
        for group in feature.needs:
            table[i, spec.MASKS.index(group)] = 1.0
    return table
