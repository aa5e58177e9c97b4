"""Networks, small enough to train on two CPU cores. Pre-processing is part of the graph: the
exported model takes camera bytes and raw state."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class CameraModel:
    """Pinhole camera rigid to the tool. `position` [m] and the image axes in the TCP frame (from a
    hand-eye calibration); the optical axis is right x down."""

    size: int  # square image [px]
    focal: float  # [px]
    position: tuple[float, float, float]
    right: tuple[float, float, float]
    down: tuple[float, float, float]

    def rays(self, stride: int) -> Tensor:
        """(3, h, w): direction of each kept pixel per metre of depth along the optical axis, TCP
        frame."""
        right, down = torch.tensor(self.right), torch.tensor(self.down)
        forward = torch.linalg.cross(right, down)
        along = (torch.arange(0, self.size, stride) + 0.5 - self.size / 2) / self.focal
        v, u = torch.meshgrid(along, along, indexing="ij")
        return (
            forward[:, None, None] + right[:, None, None] * u + down[:, None, None] * v
        )  # fmt: skip


class Attention(nn.Module):
    """Where in space the instruction's object is: every pixel is lifted to 3D with its depth, a
    small network that sees one pixel's colour and place and the instruction scores it, and softmax
    over the image gives mean and covariance of the attended points (b, maps * 6).

    One pixel at a time cannot memorise scenes, which a convolutional encoder did here: trained on
    500 scenes it located no target on new ones.
    """

    def __init__(self, camera: CameraModel, instructions: int, maps: int, stride: int = 2) -> None:
        super().__init__()
        self.stride, self.maps = stride, maps
        self.register_buffer("rays", camera.rays(stride))
        self.register_buffer("origin", torch.tensor(camera.position)[:, None, None])
        self.pixel = nn.Conv2d(6, 32, 1)
        self.asked = nn.Embedding(instructions, 32)
        self.mix = nn.Conv2d(32, 32, 1)
        self.score = nn.Conv2d(32, maps, 1)

    def forward(self, rgb: Tensor, depth: Tensor, instruction: Tensor) -> Tensor:
        """rgb (b, h, w, 3) 0..255, depth (b, h, w) [mm], instruction (b,). Points in the TCP frame
        [m]: mean x, y, z, then var x, cov xy, var y [cm^2]."""
        s = self.stride
        colour = rgb[:, ::s, ::s].permute(0, 3, 1, 2).float() / 127.5 - 1.0
        metres = depth[:, ::s, ::s].unsqueeze(1).float() / 1000.0
        points = self.origin + metres * self.rays
        x = self.pixel(torch.cat([colour, points * 5.0], dim=1))
        x = torch.relu(x + self.asked(instruction).unsqueeze(-1).unsqueeze(-1))
        scores = self.score(torch.relu(self.mix(x))).flatten(2)
        weights = torch.softmax(scores * 4.0, dim=2)
        p = points.flatten(2).transpose(1, 2)  # (b, pixels, 3)
        mean = weights @ p  # (b, maps, 3)
        px, py = p[..., 0], p[..., 1]
        second = weights @ torch.stack([px * px, px * py, py * py], dim=2)
        mx, my = mean[..., 0], mean[..., 1]
        cov = second - torch.stack([mx * mx, mx * my, my * my], dim=2)
        return torch.cat([mean, cov * 1e4], dim=2).flatten(1)


class ChunkPolicy(nn.Module):
    """RGB-D image + proprioception + instruction -> action chunk (b, horizon, 7).

    The first attention map is trained to lie where the demonstration went on to close its jaws; the
    others are free.
    """

    def __init__(
        self,
        *,
        camera: CameraModel,
        state: int,
        instructions: int,
        horizon: int,
        maps: int = 3,
        width: int = 256,
    ) -> None:
        super().__init__()
        self.horizon = horizon
        self.attention = Attention(camera, instructions, maps)
        n = maps * 6 + 2 + state
        self.register_buffer("state_mean", torch.zeros(state))
        self.register_buffer("state_std", torch.ones(state))
        self.register_buffer("action_mean", torch.zeros(horizon, 7))
        self.register_buffer("action_std", torch.ones(horizon, 7))
        self.head = nn.Sequential(
            nn.Linear(n, width), nn.ReLU(),
            nn.Linear(width, width), nn.ReLU(),
            nn.Linear(width, horizon * 7),
        )  # fmt: skip

    def encode(self, rgb: Tensor, depth: Tensor, state: Tensor, instruction: Tensor) -> Tensor:
        """(b, n) features; the first three are the target's point in the TCP frame, times 10."""
        seen = self.attention(rgb, depth, instruction)
        mean, cov = seen.unflatten(1, (-1, 6)).split(3, dim=2)
        # Twice the angle of the longer axis of the target: the same for an item turned by half a
        # turn, as the grasp is.
        long = cov[:, 0, 0] - cov[:, 0, 2]
        cross = 2 * cov[:, 0, 1]
        length = torch.sqrt(long * long + cross * cross + 1e-4)
        axis = torch.stack([long / length, cross / length], dim=1)
        s = (state - self.state_mean) / self.state_std
        return torch.cat([mean.flatten(1) * 10.0, cov.flatten(1) * 0.3, axis, s], dim=1)

    def forward(self, rgb: Tensor, depth: Tensor, state: Tensor, instruction: Tensor) -> Tensor:
        """Actions in their own units: m, rad, and the probability of closed jaws."""
        out = self.raw(self.encode(rgb, depth, state, instruction))
        pose = out[..., :6] * self.action_std[:, :6] + self.action_mean[:, :6]
        return torch.cat([pose, torch.sigmoid(out[..., 6:])], dim=2)

    def raw(self, code: Tensor) -> Tensor:
        """Normalised pose (..., :6) and the logit of closed jaws (..., 6)."""
        return self.head(code).reshape(-1, self.horizon, 7)


def wrist_camera(
    size: int, fovy_deg: float, tilt: float, position: tuple[float, float, float]
) -> CameraModel:
    """The cell's wrist camera: image up is the tool's x, leaning by `tilt` [rad] to the fingers."""
    c, s = math.cos(tilt), math.sin(tilt)
    return CameraModel(
        size=size,
        focal=size / 2 / math.tan(math.radians(fovy_deg) / 2),
        position=position,
        right=(0.0, 1.0, 0.0),
        down=(-c, 0.0, -s),
    )
