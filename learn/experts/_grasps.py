"""Where the jaws find room around an item: for experts, which know where everything lies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headway.types import Vec

# Of the standard gripper, seen from above [m]: from the TCP to the middle of an open finger, half
# its size along and across the direction in which the jaws close, and their opening.
_SIDE, _ALONG, _ACROSS, _STROKE = 0.0485, 0.006, 0.011, 0.085
_ROOM = 0.004  # wanted beside a finger [m]
_TURNS = (0.0, 0.25, -0.25, 0.5, -0.5, 0.8, -0.8, 1.2, -1.2, math.pi / 2)  # [rad]
_SHIFTS = (0.0, 0.007, -0.007, 0.014, -0.014, 0.02, -0.02)  # [m]


@dataclass(frozen=True)
class Solid:
    """A box seen from above: its centre (x, y) [m], half its size along its own two axes [m], the
    direction `yaw` [rad] of the first one, and the radius of its corners [m]."""

    x: float
    y: float
    half: tuple[float, float]
    yaw: float = 0.0
    corner: float = 0.0

    def depth(self, x: float, y: float) -> float:
        """By how much the point (x, y) [m] lies inside; negative: how far it is away [m]."""
        c, s = math.cos(self.yaw), math.sin(self.yaw)
        dx, dy = x - self.x, y - self.y
        r = self.corner
        a = abs(c * dx + s * dy) - self.half[0] + r
        b = abs(c * dy - s * dx) - self.half[1] + r
        if a > 0.0 or b > 0.0:
            return r - math.hypot(max(a, 0.0), max(b, 0.0))
        return r - max(a, b)

    def extent(self, yaw: float) -> float:
        """Half of what it measures along the direction `yaw` [m]."""
        r, turn = self.corner, yaw - self.yaw
        a, b = (h - r for h in self.half)
        return r + a * abs(math.cos(turn)) + b * abs(math.sin(turn))


def solid(p: Vec, R: Vec, half: Sequence[float], rounded: bool = False) -> Solid:
    """A body at `p` (3,) [m] with the rotation `R` (3, 3) and half extents `half` (3,) [m] along
    its axes, seen from above; the axis that is nearest to the vertical is left out. `rounded`: its
    ends are half circles."""
    upright = int(np.argmax(np.abs(R[2])))
    a, b = (i for i in range(3) if i != upright)
    size = float(half[a]), float(half[b])
    yaw = math.atan2(R[1, a], R[0, a])
    return Solid(float(p[0]), float(p[1]), size, yaw, min(size) if rounded else 0.0)


def grasp(item: Solid, others: Sequence[Solid], skip: int = 0) -> tuple[float, float, float]:
    """TCP position (x, y) [m] and yaw [rad] at which the open jaws come down around `item` with the
    least of `others` (items, walls) below the fingers, and close across its narrow side as well as
    that allows. `skip`: how many good ones to leave out, for another attempt."""
    narrow = 0 if item.half[0] <= item.half[1] else 1
    is_round = abs(item.half[0] - item.half[1]) < 0.002
    # The jaws close along the tool's y, which points along the narrow side.
    along = item.yaw + (0.0 if narrow == 0 else math.pi / 2)
    found: list[tuple[float, float, float, float]] = []
    for turn in _TURNS:
        yaw = along + turn
        cx, cy = math.cos(yaw), math.sin(yaw)
        cost = 0.0 if is_round else (0.02 * abs(turn) + (1.0 if abs(turn) > 0.6 else 0.0))
        free = _STROKE / 2 - (item.half[narrow] if is_round else item.extent(yaw))
        for shift in _SHIFTS:
            if abs(shift) > max(0.0, free - 0.005):
                continue
            x, y = item.x + shift * cx, item.y + shift * cy
            hit = sum(_below(x + k * _SIDE * cx, y + k * _SIDE * cy, yaw, others) for k in (1, -1))
            tight = max(0.0, 0.006 - free)
            found.append((cost + 0.3 * abs(shift) + 40.0 * hit + 60.0 * tight, x, y, yaw))
    found.sort()
    _, x, y, yaw = found[min(skip, len(found) - 1)]
    return x, y, yaw % math.pi - math.pi / 2


def _below(x: float, y: float, yaw: float, others: Sequence[Solid]) -> float:
    """How deep a finger at (x, y), which closes along `yaw`, stands in `others` [m]."""
    c, s = math.cos(yaw), math.sin(yaw)
    worst = 0.0
    for a in (-_ACROSS, 0.0, _ACROSS):
        for b in (-_ALONG, _ALONG):
            px, py = x + b * c - a * s, y + b * s + a * c
            for other in others:
                worst = max(worst, other.depth(px, py) + _ROOM)
    return worst
