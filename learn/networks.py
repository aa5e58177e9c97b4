"""The network of the action-chunk policy, small enough to train on two CPU cores. Pre-processing is
part of the network: the exported model takes the camera's bytes and the state in SI units."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class CameraModel:
    """A pinhole camera fixed to the tool. `position` [m] and the unit vectors `right` and `down` of
    the image are in the TCP frame, from a hand-eye calibration; the optical axis is their cross
    product, right x down."""

    size: int  # square image [px]
    focal: float  # [px]
    position: tuple[float, float, float]
    right: tuple[float, float, float]
    down: tuple[float, float, float]

    def rays(self, stride: int) -> Tensor:
        """The vectors (3, h, w) in the TCP frame from the camera to the points seen by every
        `stride`-th pixel, at a depth of 1 m along the optical axis."""
        right, down = torch.tensor(self.right), torch.tensor(self.down)
        forward = torch.linalg.cross(right, down)
        along = (torch.arange(0, self.size, stride) + 0.5 - self.size / 2) / self.focal
        v, u = torch.meshgrid(along, along, indexing="ij")
        return (
            forward[:, None, None] + right[:, None, None] * u + down[:, None, None] * v
        )  # fmt: skip

    def sees(self, points: Tensor) -> Tensor:
        """Which of `points` (n, 3) [m] in the TCP frame lie in the image, if nothing hides them."""
        right, down = torch.tensor(self.right), torch.tensor(self.down)
        away = points - torch.tensor(self.position)
        depth = away @ torch.linalg.cross(right, down)
        half = self.size / 2 / self.focal
        u, v = away @ right / depth, away @ down / depth
        return (depth > 0.0) & (u.abs() < half) & (v.abs() < half)


class Attention(nn.Module):
    """Finds where in space the object of the instruction is. Every pixel becomes a point in 3D by
    its depth. A small network scores each pixel from its colour, its point and the instruction. A
    softmax over the image then gives mean and covariance of the attended points (b, maps * 6).

    A network that sees one pixel at a time cannot memorise scenes. A convolutional encoder did:
    trained on 500 scenes, it located no target in new ones.
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
        """Per map 6 numbers of the attended points in the TCP frame: mean x, y, z [m], then var x,
        cov xy, var y [cm^2]. `rgb` (b, h, w, 3) 0..255, `depth` (b, h, w) [mm], `instruction` (b,)
        index."""
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
    """The policy: from an RGB-D image, the state vector and an instruction to an action chunk
    (b, horizon, 7).

    `state` and `instructions` are the lengths of the state vector and of the vocabulary; `maps` is
    the number of attention maps, `width` that of hidden units. The first map is trained to lie
    where the demonstration later closed the jaws; the others have no such target.
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
        """Features (b, n) from arguments as in `Attention.forward` and `state` (b, s). The first
        three are the attended point of the target in the TCP frame [m], times 10."""
        seen = self.attention(rgb, depth, instruction)
        mean, cov = seen.unflatten(1, (-1, 6)).split(3, dim=2)
        # Cosine and sine of twice the angle of the target's longer axis: they are the same after
        # half a turn, and so is the grasp.
        long = cov[:, 0, 0] - cov[:, 0, 2]
        cross = 2 * cov[:, 0, 1]
        length = torch.sqrt(long * long + cross * cross + 1e-4)
        axis = torch.stack([long / length, cross / length], dim=1)
        s = (state - self.state_mean) / self.state_std
        return torch.cat([mean.flatten(1) * 10.0, cov.flatten(1) * 0.3, axis, s], dim=1)

    def forward(self, rgb: Tensor, depth: Tensor, state: Tensor, instruction: Tensor) -> Tensor:
        """Actions (b, horizon, 7): position [m], rotation vector [rad], and the probability that
        the jaws are closed. Arguments as in `encode`."""
        out = self.raw(self.encode(rgb, depth, state, instruction))
        pose = out[..., :6] * self.action_std[:, :6] + self.action_mean[:, :6]
        return torch.cat([pose, torch.sigmoid(out[..., 6:])], dim=2)

    def raw(self, code: Tensor) -> Tensor:
        """Output (b, horizon, 7) before scaling: normalised pose, and the logit of closed jaws."""
        return self.head(code).reshape(-1, self.horizon, 7)


def wrist_camera(
    size: int, fovy_deg: float, tilt: float, position: tuple[float, float, float]
) -> CameraModel:
    """The wrist camera of the simulated cell: `size` [px] square, with the vertical field of view
    `fovy_deg` [deg], at `position` [m] in the TCP frame. Up in the image is the tool's x, and the
    camera leans by `tilt` [rad] towards the fingers."""
    c, s = math.cos(tilt), math.sin(tilt)
    return CameraModel(
        size=size,
        focal=size / 2 / math.tan(math.radians(fovy_deg) / 2),
        position=position,
        right=(0.0, 1.0, 0.0),
        down=(-c, 0.0, -s),
    )
