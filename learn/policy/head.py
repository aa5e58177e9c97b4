"""The flow head: draws action chunks from noise, given what eyes, text and robot say (`code`).

Trained by flow matching (Lipman et al. 2023): on the straight way from noise x0 to a chunk x1, at
x = (1 - t) x0 + t x1, the head learns the velocity x1 - x0. A chunk is drawn by following the
velocity from t = 0 to 1 in STEPS Euler steps. Chunks are in latent units (`Latents`), in which
every number is about 1 in size.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HEAD, LATENTS = "head.", "latents."  # names of these weights in a policy's model begin so
STEPS = 8  # Euler steps of a draw
COLUMNS = 5  # latent numbers per waypoint: x, y, z, rz, grip
_FINE = (0.01, 0.01, 0.01, 0.05)  # below this a movement counts as small [m, m, m, rad]


class Latents(nn.Module):
    """Between chunks in SI units (n, h, 7), as `learn.experts` make them, and latent numbers
    (n, h * 5), of which `mean` and `std` (h, 5) are those of asinh(movement / _FINE): a millimetre
    counts for more in a small movement than in a large one. None is larger than those that it was
    fitted to: `low` and `high` (h, 5) in units of `std`. The tool points down, so that rx = ry = 0;
    the jaws' latent is 1 for closed and -1 for open, and everything in between is snapped to one of
    them."""

    mean: Tensor
    std: Tensor
    low: Tensor
    high: Tensor
    fine: Tensor

    def __init__(self, horizon: int) -> None:
        super().__init__()
        self.horizon = horizon
        self.register_buffer("fine", torch.tensor(_FINE))
        self.register_buffer("mean", torch.zeros(horizon, COLUMNS))
        self.register_buffer("std", torch.ones(horizon, COLUMNS))
        self.register_buffer("low", torch.full((horizon, COLUMNS), -5.0))
        self.register_buffer("high", torch.full((horizon, COLUMNS), 5.0))

    def fit(self, actions: Tensor) -> None:
        """Take mean, std and range from the chunks `actions` (n, h, 7)."""
        bent = self._bent(actions)
        self.mean[:, :4] = bent.mean(0)
        self.std[:, :4] = bent.std(0).clamp(min=0.05)
        normal = (bent - self.mean[:, :4]) / self.std[:, :4]
        self.low[:, :4], self.high[:, :4] = normal.amin(0), normal.amax(0)

    def _bent(self, actions: Tensor) -> Tensor:
        moved = torch.cat([actions[..., :3], actions[..., 5:6]], dim=-1)
        return torch.asinh(moved / self.fine)

    def to_latent(self, actions: Tensor) -> Tensor:
        """Latent numbers (n, h * 5) of `actions` (n, h, 7)."""
        jaws = torch.where(actions[..., 6:] > 0.5, 1.0, -1.0)
        bent = torch.cat([self._bent(actions), jaws], dim=-1)
        return ((bent - self.mean) / self.std).flatten(1)

    def _within(self, latent: Tensor) -> Tensor:
        rows = latent.reshape(-1, self.horizon, COLUMNS)
        return torch.minimum(torch.maximum(rows, self.low), self.high)

    def snapped(self, latent: Tensor) -> Tensor:
        """`latent` (n, h * 5) within the range, and the jaws' numbers as exactly 1 or -1: what is
        really played."""
        rows = self._within(latent)
        jaws = torch.where(rows[..., 4:] > 0.0, 1.0, -1.0)
        return torch.cat([rows[..., :4], jaws], dim=-1).flatten(1)

    def to_actions(self, latent: Tensor) -> Tensor:
        """Actions (n, h, 7) [m, rad, 0 or 1] of `latent` (n, h * 5)."""
        bent = self._within(latent) * self.std + self.mean
        moved = torch.sinh(bent[..., :4]) * self.fine
        jaws = (bent[..., 4:] > 0.0).to(moved.dtype)
        none = torch.zeros_like(moved[..., :2])
        return torch.cat([moved[..., :3], none, moved[..., 3:], jaws], dim=-1)


class FlowHead(nn.Module):
    """The velocity of the flow. `code` and `latent` are the lengths of the two vectors, `width`
    that of the hidden layers. While it is trained, normal noise of `jitter` is added to the code,
    so that the head does not rely on what is more precise than it will be."""

    rates: Tensor

    def __init__(self, code: int, latent: int, *, width: int = 256, jitter: float = 0.02) -> None:
        super().__init__()
        self.latent, self.jitter = latent, jitter
        # Not a weight: the exporter computes the waves of the fixed times beforehand.
        rates = torch.tensor([1.0, 2.0, 4.0]) * math.pi
        self.register_buffer("rates", rates, persistent=False)
        self.given, self.moved = nn.Linear(code, width), nn.Linear(latent + 6, width)
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)
        self.out = nn.Linear(width, latent)

    def condition(self, code: Tensor) -> Tensor:
        """What the velocity needs of `code` (b, c), for any noise and time."""
        if self.training:
            code = code + self.jitter * torch.randn_like(code)
        given: Tensor = self.given(code)
        return given

    def velocity(self, given: Tensor, x: Tensor, t: Tensor) -> Tensor:
        """The velocity (n, a) at `x` (n, a) and time `t` (n or 1, 1); `given` (n or 1, width)."""
        turns = t * self.rates
        wave = torch.cat([torch.sin(turns), torch.cos(turns)], dim=1).expand(x.shape[0], -1)
        h = F.silu(given + self.moved(torch.cat([x, wave], dim=1)))
        h = h + F.silu(self.first(h))
        h = h + F.silu(self.second(h))
        out: Tensor = self.out(h)
        return out

    def sample(self, code: Tensor, noise: Tensor, steps: int = STEPS) -> Tensor:
        """Latent chunks (n, a) drawn from `noise` (n, a), standard normal numbers. `code` has one
        row for all of them or one for each."""
        given, x = self.condition(code), noise
        for k in range(steps):
            t = torch.full((1, 1), k / steps, dtype=x.dtype, device=x.device)
            x = x + self.velocity(given, x, t) / steps
        return x


def flow_loss(
    head: FlowHead, code: Tensor, latent: Tensor, weight: Tensor | None = None, draws: int = 1
) -> Tensor:
    """The mean flow-matching loss of `head` on codes (b, c) with their chunks `latent` (b, a), each
    at `draws` random times with random noise. `weight` (b,) of each sample, None for 1."""
    given = head.condition(code).repeat(draws, 1)
    goal = latent.repeat(draws, 1)
    start = torch.randn_like(goal)
    t = torch.rand(goal.shape[0], 1, dtype=goal.dtype, device=goal.device)
    found = head.velocity(given, (1.0 - t) * start + t * goal, t)
    each = (found - (goal - start)).square().mean(dim=1)
    if weight is None:
        return each.mean()
    heavy = weight.repeat(draws)
    return (each * heavy).sum() / heavy.sum()
