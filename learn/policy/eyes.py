"""The eyes: where in space things are that matter for the instruction.

Every pixel becomes a point in 3D by its depth. A small network scores each pixel from its colour,
the colours around it, its point and the instruction, and a softmax over the image gives what it
attends to: mean and covariance of the points, the colour, and how much there is of it. A second
look scores the pixels once more, this time by where they lie relative to what the first map found.

A network that sees one pixel and its close neighbours cannot memorise scenes. A convolutional
encoder did: trained on 500 scenes, it located no target in new ones (see `learn.networks`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from headway.learn.networks import CameraModel

PIXELS = 48  # the image is thinned out to so many rows and columns
PER_MAP = 11  # numbers that a map tells
_AROUND = (5, 13)  # sizes of the squares whose mean colour and height a pixel sees [px]


class Eyes(nn.Module):
    """`embedding` is the length of the instruction's embedding, `pose_at` says where in the state
    x, y, z [m] and sine and cosine of the yaw of the TCP are, and `first` and `second` count the
    maps of the two looks. The first two maps of the first look are trained to lie where the
    demonstration later grasped, and where it pressed."""

    rays: Tensor
    origin: Tensor
    around: Tensor

    def __init__(
        self,
        camera: CameraModel,
        embedding: int,
        pose_at: Sequence[int],
        *,
        first: int = 3,
        second: int = 3,
        width: int = 32,
    ) -> None:
        super().__init__()
        if camera.size % PIXELS:
            raise ValueError(f"wanted an image of a multiple of {PIXELS} px, found {camera.size}")
        self.size = camera.size
        self.pose_at = tuple(pose_at)
        self.maps = first + second
        self.register_buffer("around", torch.stack([_mean_around(n) for n in _AROUND]))
        self.register_buffer("rays", camera.rays(camera.size // PIXELS))
        self.register_buffer("origin", torch.tensor(camera.position)[:, None, None])
        self.pixel = nn.Linear(9 + 4 * len(_AROUND), width)
        self.asked = nn.Linear(embedding, width)
        self.mix = nn.Linear(width, width)
        self.score = nn.Linear(width, first)
        self.relative = nn.Linear(3, width)
        self.again = nn.Linear(embedding, width)
        self.mix_again = nn.Linear(width, width)
        self.score_again = nn.Linear(width, second)

    @property
    def outputs(self) -> int:
        """How many numbers the eyes tell: for each map `PER_MAP`, and 2 of the target's axis."""
        return self.maps * PER_MAP + 2

    def forward(
        self,
        rgb: Tensor,
        depth: Tensor,
        state: Tensor,
        embedding: Tensor,
        grid: tuple[int, int, int] = (1, 0, 0),
    ) -> Tensor:
        """What the eyes see (b, outputs). For each map: the attended point x, y, z in the TCP frame
        [dm]; var x, cov xy, var y there, and var z, as asinh of their size in cm^2, halved; red,
        green, blue (-1..1) minus the image's mean; and the log of the mean score, which tells how
        much of it is there. Last, cosine and sine of twice the angle of the longer axis of what the
        first map sees.

        `rgb` (b, h, w, 3) 0..255 and `depth` (b, h, w) [mm] of the camera, or thinned out to PIXELS
        rows and columns; `state` (b, s) in SI units; `embedding` (b, e). `grid`: look at every n-th
        of those rows and columns only, from this row and this column on, which is cheaper."""
        s = rgb.shape[1] // PIXELS
        # Floats first: TensorRT can neither slice uint8 nor read uint16.
        colour = rgb.float()[:, ::s, ::s].permute(0, 3, 1, 2) / 127.5 - 1.0
        metres = depth.float()[:, ::s, ::s].unsqueeze(1) / 1000.0
        x, y, z, sine, cosine = (state[:, i][:, None, None] for i in self.pose_at)
        points = self.origin + metres * self.rays  # (b, 3, h, w) in the TCP frame
        height = (z - points[:, 2]).unsqueeze(1)  # the tool points down
        near = torch.cat([colour, height * 5.0], dim=1)
        n, row, column = grid
        down, right = self.around[:, row::n], self.around[:, column::n]
        means = [a @ near @ b.T for a, b in zip(down, right, strict=True)]
        colour, points = colour[:, :, row::n, column::n], points[:, :, row::n, column::n]
        px, py, pz = points.unbind(1)
        base = torch.stack([x + cosine * px + sine * py, y + sine * px - cosine * py, z - pz], 1)
        seen = torch.cat([colour, points * 5.0, base * 5.0, *means], dim=1)
        seen = seen.flatten(2).transpose(1, 2)  # (b, pixels, channels)
        flat = torch.cat([seen[..., 3:6] / 5.0, seen[..., :3]], dim=2)
        h = torch.relu(self.pixel(seen) + self.asked(embedding).unsqueeze(1))
        one = _told(self.score(torch.relu(self.mix(h))), flat)
        offset = self.relative((flat[..., :3] - one[:, :1, :3] / 10.0) * 20.0)
        h = torch.relu(h + offset + self.again(embedding).unsqueeze(1))
        two = _told(self.score_again(torch.relu(self.mix_again(h))), flat)
        return torch.cat([one.flatten(1), two.flatten(1), _axis(one[:, 0, 3:6])], dim=1)


def _mean_around(size: int) -> Tensor:
    """The matrix (PIXELS, PIXELS) that takes the mean over `size` neighbours in a row, as far as
    they lie in the image."""
    at = torch.arange(PIXELS)
    close = ((at[:, None] - at[None, :]).abs() <= size // 2).float()
    return close / close.sum(dim=1, keepdim=True)


def _told(scores: Tensor, flat: Tensor) -> Tensor:
    """What maps with these `scores` (b, pixels, m) tell of the pixels `flat` (b, pixels, 6), points
    and colours: (b, m, PER_MAP), as in `Eyes.forward`."""
    sharp = scores.transpose(1, 2) * 4.0
    weights = torch.softmax(sharp, dim=2)
    points = flat[..., :3]
    centre = points.mean(dim=1, keepdim=True)  # differences of large squares would lose digits
    p = points - centre
    px, py, pz = p.unbind(2)
    mean = weights @ p
    second = weights @ torch.stack([px * px, px * py, py * py, pz * pz], dim=2)
    mx, my, mz = mean.unbind(2)
    cov = second - torch.stack([mx * mx, mx * my, my * my, mz * mz], dim=2)
    colour = weights @ flat[..., 3:] - flat[..., 3:].mean(dim=1, keepdim=True)
    much = torch.logsumexp(sharp, dim=2, keepdim=True) - math.log(flat.shape[1])
    return torch.cat(
        [(mean + centre) * 10.0, torch.asinh(cov * 1e4) * 0.5, colour, much * 0.2], dim=2
    )


def _axis(told: Tensor) -> Tensor:
    """Cosine and sine (b, 2) of twice the angle of the longer axis; they are the same after half a
    turn, and so is the grasp. `told` (b, 3): var x, cov xy, var y, as the maps tell them."""
    cov = torch.sinh(told * 2.0)  # [cm^2]
    long, cross = cov[:, 0] - cov[:, 2], 2.0 * cov[:, 1]
    length = torch.sqrt(long * long + cross * cross + 1e-2)
    return torch.stack([long / length, cross / length], dim=1)
