"""The PRO head: GRU-64 on 50 Hz features; one network for training over sequences and for single
steps with the state as input and output."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from headway.kernels import spec

HIDDEN = 64
BINS = 25  # of time-to-go


class ProHead(nn.Module):
    """`sequence` for training, `forward` for one step. `limit_s`: the longest time-to-go."""

    def __init__(self, limit_s: float, typical_s: float) -> None:
        """`typical_s`: median duration of a success; progress is 1 - time_to_go / typical_s."""
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
        """Normalised, clipped, and zero where any group that a feature needs is masked."""
        x = ((features - self.mean) / self.std).clamp(-6.0, 6.0)
        missing = (1.0 - mask) @ self.needs.T  # (..., n): how many needed groups are missing
        return torch.cat([x * (missing < 0.5), mask], dim=-1)

    def sequence(self, features: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """(b, t, 176), (b, t, M) -> time-to-go logits (b, t, BINS), binary logits (b, t, 3)."""
        h, _ = self.gru(self.embed(self.inputs(features, mask)))
        return self.to_go(h), self.binary(h)

    def expected(self, logits: Tensor) -> Tensor:
        """Mean time-to-go [s] of bin logits."""
        return (torch.softmax(logits, dim=-1) * self.bins).sum(-1)

    def forward(self, features: Tensor, mask: Tensor, h: Tensor) -> tuple[Tensor, ...]:
        """One step: (1, 176), (1, M), (1, HIDDEN) -> progress, stability, completion, risk,
        time_to_go, each (1, 1), and the next state. The cell is written out (Cho et al. 2014), so
        that the graph is plain matrix products on every engine."""
        x = self.embed(self.inputs(features, mask))
        gi = x @ self.gru.weight_ih_l0.T + self.gru.bias_ih_l0
        gh = h @ self.gru.weight_hh_l0.T + self.gru.bias_hh_l0
        ir, iz, inew = gi.chunk(3, dim=1)
        hr, hz, hnew = gh.chunk(3, dim=1)
        r, z = torch.sigmoid(ir + hr), torch.sigmoid(iz + hz)
        h_out = (1 - z) * torch.tanh(inew + r * hnew) + z * h
        time_to_go = self.expected(self.to_go(h_out)).unsqueeze(1)
        p = torch.sigmoid(self.binary(h_out) / self.temperature)
        progress = (1.0 - time_to_go / self.typical).clamp(0.0, 1.0)
        return progress, 1.0 - p[:, 2:3], p[:, 0:1], p[:, 1:2], time_to_go, h_out


def _needs() -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """(176, M): 1 where a feature needs a mask group."""
    table = np.zeros((len(spec.NAMES), len(spec.MASKS)), np.float32)
    for i, feature in enumerate(spec.FEATURES):
        for group in feature.needs:
            table[i, spec.MASKS.index(group)] = 1.0
    return table
