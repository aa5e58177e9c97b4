"""Networks, small enough to train on two CPU cores. Pre-processing is part of the graph: the
exported model takes camera bytes and raw state."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class SpatialSoftmax(nn.Module):
    """Expected image coordinates of each channel's softmax (Levine et al. 2016, section 5.1):
    (b, c, h, w) -> (b, 2c), each in -1..1."""

    def __init__(self, h: int, w: int) -> None:
        super().__init__()
        y, x = torch.meshgrid(torch.linspace(-1, 1, h), torch.linspace(-1, 1, w), indexing="ij")
        self.register_buffer("grid", torch.stack([x.reshape(-1), y.reshape(-1)], dim=1))
        self.temperature = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        # In float32 whatever autocast says: bfloat16 coordinates would be off by half a pixel.
        weights = torch.softmax(x.float().reshape(b, c, h * w) * self.temperature, dim=2)
        return (weights.unsqueeze(3) * self.grid).sum(dim=2).reshape(b, 2 * c)


class ChunkPolicy(nn.Module):
    """RGB-D image + proprioception + instruction -> action chunk (b, horizon, 7).

    The instruction modulates the image features (FiLM, Perez et al. 2018), so that the same picture
    yields another target. `grasp` (b, 3) is an auxiliary output, trained on where the demonstration
    closed its jaws, and not exported.
    """

    def __init__(
        self,
        *,
        size: int,
        state: int,
        instructions: int,
        horizon: int,
        keypoints: int = 32,
        width: int = 256,
    ) -> None:
        super().__init__()
        self.horizon = horizon
        self.conv1 = nn.Conv2d(4, 24, 5, stride=2, padding=2)
        self.conv2 = nn.Conv2d(24, 32, 3, stride=2, padding=1)
        self.film = nn.Embedding(instructions, 64)
        nn.init.zeros_(self.film.weight)
        self.conv3 = nn.Conv2d(32, 48, 3, padding=1)
        self.conv4 = nn.Conv2d(48, keypoints, 1)
        self.points = SpatialSoftmax(math.ceil(size / 4), math.ceil(size / 4))
        self.embed = nn.Embedding(instructions, 8)
        self.register_buffer("state_mean", torch.zeros(state))
        self.register_buffer("state_std", torch.ones(state))
        self.register_buffer("action_mean", torch.zeros(horizon, 7))
        self.register_buffer("action_std", torch.ones(horizon, 7))
        self.head = nn.Sequential(
            nn.Linear(2 * keypoints + state + 8, width), nn.ReLU(),
            nn.Linear(width, width), nn.ReLU(),
            nn.Linear(width, horizon * 7),
        )  # fmt: skip
        self.aux = nn.Linear(2 * keypoints + state + 8, 3)

    def encode(self, rgb: Tensor, depth: Tensor, state: Tensor, instruction: Tensor) -> Tensor:
        """rgb (b, h, w, 3) uint8, depth (b, h, w) uint16 [mm], state (b, s), instruction (b,)."""
        colour = rgb.permute(0, 3, 1, 2).float() / 127.5 - 1.0
        metres = depth.unsqueeze(1).float() / 1000.0
        x = torch.cat([colour, (metres - 0.3) * 4.0], dim=1)
        x = torch.relu(self.conv1(x))
        x = torch.relu(self.conv2(x))
        scale, shift = self.film(instruction).unsqueeze(-1).unsqueeze(-1).chunk(2, dim=1)
        x = torch.relu(self.conv3(x * (1 + scale) + shift))
        points = self.points(self.conv4(x))
        s = (state - self.state_mean) / self.state_std
        return torch.cat([points, s, self.embed(instruction)], dim=1)

    def forward(self, rgb: Tensor, depth: Tensor, state: Tensor, instruction: Tensor) -> Tensor:
        """Actions in their own units: m, rad, and the probability of closed jaws."""
        return self.actions(self.encode(rgb, depth, state, instruction))

    def raw(self, code: Tensor) -> Tensor:
        """Normalised pose (..., :6) and the logit of closed jaws (..., 6)."""
        return self.head(code).reshape(-1, self.horizon, 7)

    def actions(self, code: Tensor) -> Tensor:
        out = self.raw(code)
        pose = out[..., :6] * self.action_std[:, :6] + self.action_mean[:, :6]
        return torch.cat([pose, torch.sigmoid(out[..., 6:])], dim=2)
