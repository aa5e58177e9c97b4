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

    def depth(self, x: Vec, y: Vec) -> Vec:
        """By how much the points (x, y) [m], arrays of one shape, lie inside; negative: how far
        they are away [m]."""
        c, s, r = math.cos(self.yaw), math.sin(self.yaw), self.corner
        dx, dy = x - self.x, y - self.y
        a = np.abs(c * dx + s * dy) - self.half[0] + r
        b = np.abs(c * dy - s * dx) - self.half[1] + r
        outside = np.hypot(np.maximum(a, 0.0), np.maximum(b, 0.0))
        inside = np.minimum(np.maximum(a, b), 0.0)
        return r - outside - inside

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


def grasp(
    item: Solid, others: Sequence[Solid], walls: Sequence[Solid], skip: int = 0
) -> tuple[float, float, float]:
    """TCP position (x, y) [m] and yaw [rad] at which the open jaws come down around `item` with the
    least of `others` and of `walls` below the fingers, and of `others` between them, and close
    across its narrow side as well as that allows. `skip`: how many good ones to leave out, for
    another attempt."""
    narrow = 0 if item.half[0] <= item.half[1] else 1
    is_round = abs(item.half[0] - item.half[1]) < 0.002
    # The jaws close along the tool's y, which points along the narrow side.
    along = item.yaw + (0.0 if narrow == 0 else math.pi / 2)
    turns, shifts = (v.ravel() for v in np.meshgrid(_TURNS, _SHIFTS, indexing="ij"))
    yaws = along + turns
    size = [item.half[narrow] if is_round else item.extent(yaw) for yaw in yaws.tolist()]
    free = _STROKE / 2 - np.array(size)
    cost = np.zeros(len(yaws)) if is_round else 0.05 * np.abs(turns) + 0.3 * (np.abs(turns) > 0.6)
    cost += 0.3 * np.abs(shifts) + 60.0 * np.maximum(0.0, 0.006 - free)
    cost += 10.0 * (np.abs(shifts) > np.maximum(0.0, free - 0.005))
    x, y = item.x + shifts * np.cos(yaws), item.y + shifts * np.sin(yaws)
    cost += 80.0 * _hits(x, y, yaws, _FINGERS, [*others, *walls], _ROOM)
    cost += 60.0 * _hits(x, y, yaws, _BETWEEN, others, 0.0)
    best = np.argsort(cost, kind="stable")[min(skip, len(cost) - 1)]
    return float(x[best]), float(y[best]), float(yaws[best]) % math.pi - math.pi / 2


def blocked(x: Vec, y: Vec, yaw: Vec, solids: Sequence[Solid]) -> Vec:
    """How deep (n,) [m] the fingers of open jaws at (x, y) (n,) [m], which close along `yaw` (n,)
    [rad], come down on the worst of `solids`, or into the room that is wanted beside a finger."""
    return _hits(x, y, yaw, _FINGERS, solids, _ROOM)


def _hits(x: Vec, y: Vec, yaw: Vec, points: Vec, solids: Sequence[Solid], room: float) -> Vec:
    """How deep (n,) [m] the worst of `points` (p, 2), along and across the jaws of a gripper at
    (x, y) (n,) which close along `yaw` (n,), comes to what is within `room` [m] of `solids`."""
    c, s = np.cos(yaw)[:, None], np.sin(yaw)[:, None]
    px = x[:, None] + points[:, 0] * c - points[:, 1] * s
    py = y[:, None] + points[:, 0] * s + points[:, 1] * c
    worst: Vec = np.zeros(len(x))
    for each in solids:
        np.maximum(worst, each.depth(px, py).max(1) + room, out=worst)
    return worst


_SIDES = (-_ACROSS, 0.0, _ACROSS)
_FINGERS = np.array(
    [(k * _SIDE + b, a) for k in (1, -1) for a in _SIDES for b in (-_ALONG, 0.0, _ALONG)]
)
_BETWEEN = np.array([(k * b, a) for k in (1, -1) for a in _SIDES for b in (0.014, 0.026, 0.038)])
