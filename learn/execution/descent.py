"""Gradient descent as all networks of a unit are taught: AdamW (Loshchilov & Hutter 2019), at a
rate that rises over the first tenth of the steps and falls afterwards (Smith & Topin 2019)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Descent:
    """`steps` steps that lower a loss of `net`; call `step` with the loss of each. `most`: the
    largest norm of a gradient."""

    def __init__(
        self, net: nn.Module, steps: int, lr: float, weight_decay: float, most: float = 1.0
    ) -> None:
        self._net, self._most = net, most
        self._optimiser = torch.optim.AdamW(net.parameters(), lr=lr, weight_decay=weight_decay)
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(
            # The first phase has to have a length, however few steps there are.
            self._optimiser, lr, total_steps=max(2, steps), pct_start=max(0.1, 1.5 / max(2, steps)),
        )  # fmt: skip

    def step(self, loss: Tensor) -> None:
        """One step down."""
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._net.parameters(), self._most)
        self._optimiser.step()
        self._schedule.step()
