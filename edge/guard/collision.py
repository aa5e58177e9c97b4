"""How near the arm comes to itself and to what stands around it: capsules (segments with a radius)
on the frames of its chain, against each other, a floor, boxes and fixed capsules.

Distances are closed forms (Ericson, Real-Time Collision Detection, 2005, 5.1.9 for two segments).
A pair of bounding spheres that are apart by more than the margin is not looked at further. This is
the readable reference of `edge/guard/cpp/collision.hpp`, which computes the same to the last bit.

What is checked are the configurations that are asked for, not the paths between them: at the speeds
and rates of a control loop these are millimetres.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headway.drivers.capsules import Capsule, Xyz
from headway.edge.guard.config import GuardConfig
from headway.types import Vec

Point = Sequence[float]
Segment = tuple[Xyz, Xyz]

SEGMENT, BOX, FLOOR = range(3)  # what the second of a pair is
TINY = 1e-12  # [m^2] a segment shorter than a micrometre is a point


@dataclass(frozen=True)
class Scene:
    """What `pairs` refer to. `capsules` ride on the chain's frames; `fixed` segments, `boxes`
    (lower and upper corner) and `floor` [m] are in the base frame. Pairs are (kind, first, second,
    sum of radii, squared distance of the centres beyond which they are apart); the second of two
    segments counts the fixed ones behind the capsules."""

    capsules: tuple[Capsule, ...]
    fixed: tuple[Segment, ...]
    boxes: tuple[Segment, ...]
    floor: float
    pairs: tuple[tuple[int, int, int, float, float], ...]
    names: tuple[str, ...]  # of the pairs
    margin: float

    def rows(self) -> tuple[NDArray[np.float64], ...]:
        """Capsules (m, 8): frame, ends, radius; fixed (s, 6); boxes (b, 6); pairs (p, 5)."""
        capsules = [(c.frame, *c.a, *c.b, c.radius) for c in self.capsules]
        fixed = [(*a, *b) for a, b in self.fixed]
        boxes = [(*a, *b) for a, b in self.boxes]
        rows = ((capsules, 8), (fixed, 6), (boxes, 6), (self.pairs, 5))
        return tuple(np.array(x, np.float64).reshape(-1, width) for x, width in rows)


def scene(cfg: GuardConfig, body: Sequence[Capsule], frames: int) -> Scene | None:
    """What there is to check for an arm of `body` and of `frames` frames; None: nothing.

    Not checked: capsules of one frame or of neighbouring ones, which always touch; against the
    surroundings capsules meant for contact and frame 0, which does not move; against the floor
    frame 1 as well, which turns about the vertical. Raises ValueError for a capsule on a frame that
    the arm does not have, and for surroundings of an arm without a body.
    """
    capsules = (*body, *(c.capsule() for c in cfg.capsules))
    if not cfg.check_collision:
        return None
    if not capsules:
        if cfg.floor_z is not None or cfg.boxes or cfg.fixed_capsules:
            raise ValueError(
                "floor_z, boxes and fixed_capsules want an arm whose chain has a body, found none: "
                "give its capsules, or check_collision = false"
            )
        return None
    for c in capsules:
        if not 0 <= c.frame < frames:
            raise ValueError(f"capsule {c.name} wants a frame 0..{frames - 1}, found {c.frame}")
    fixed = [(o.a, o.b) for o in cfg.fixed_capsules]
    boxes = [(o.lower, o.upper) for o in cfg.boxes]
    pairs: list[tuple[int, int, int, float, float]] = []
    names: list[str] = []

    def add(kind: int, i: int, j: int, name: str, radius: float, half: float) -> None:
        c = capsules[i]
        apart = cfg.collision_margin + c.radius + radius + 0.5 * math.dist(c.a, c.b) + half
        pairs.append((kind, i, j, c.radius + radius, apart * apart))
        names.append(f"{c.name} and {name}")

    for i, c in enumerate(capsules):
        for j, d in enumerate(capsules[:i]):
            if abs(c.frame - d.frame) > 1:
                add(SEGMENT, i, j, d.name, d.radius, 0.5 * math.dist(d.a, d.b))
        if c.frame == 0 or c.contact:
            continue
        for j, o in enumerate(cfg.fixed_capsules):
            add(SEGMENT, i, len(capsules) + j, o.name, o.radius, 0.5 * math.dist(o.a, o.b))
        for j, b in enumerate(cfg.boxes):
            add(BOX, i, j, b.name, 0.0, 0.5 * math.dist(b.lower, b.upper))
        if cfg.floor_z is not None and c.frame > 1:
            add(FLOOR, i, 0, "the floor", 0.0, 0.0)
    floor = 0.0 if cfg.floor_z is None else cfg.floor_z
    return Scene(
        capsules, tuple(fixed), tuple(boxes), floor, tuple(pairs), tuple(names),
        cfg.collision_margin,
    )  # fmt: skip


class Collisions:
    """Which pairs come too near. A pair that already is, when it is first looked at, may part and
    may stay, and never come nearer again than it has been."""

    def __init__(self, given: Scene) -> None:
        self._scene = given
        self._allowed: list[float] = []
        self.found: list[float] = []  # distances at the last look [m]
        self._frame = np.array([c.frame for c in given.capsules])
        self._ends = np.array([(c.a, c.b) for c in given.capsules])  # (m, 2, 3)
        self._fixed = np.array(given.fixed, np.float64).reshape(-1, 2, 3)
        boxes = np.array(given.boxes, np.float64).reshape(-1, 2, 3)
        self._boxes = 0.5 * (boxes[:, 0] + boxes[:, 1])
        kind, first, second = (np.array([p[i] for p in given.pairs], int) for i in range(3))
        self._first, self._floor = first, np.flatnonzero(kind == FLOOR)
        # Centres stand in one table: capsules, fixed segments, boxes. A floor has none; its pairs
        # refer to any.
        ahead = len(given.capsules) + len(given.fixed)
        self._second = np.where(kind == BOX, second + ahead, np.where(kind == FLOOR, 0, second))
        self._apart = np.array([p[4] for p in given.pairs])

    def start(self, frames: Vec) -> None:
        """From here on nothing gets worse than this."""
        self._allowed = [min(self._scene.margin, d) for d in self.distances(frames)]

    def look(self, frames: Vec) -> tuple[int, float, float] | None:
        """(pair, its distance [m], what is allowed) of the first one that is too near."""
        self.found = self.distances(frames)
        for k, (d, allowed) in enumerate(zip(self.found, self._allowed, strict=True)):
            if not d >= allowed:
                return k, d, allowed
        return None

    def accept(self, distances: list[float]) -> None:
        """Nothing gets worse than at this look either."""
        most = self._scene.margin
        self._allowed = [
            min(most, max(a, d)) for a, d in zip(self._allowed, distances, strict=True)
        ]

    def distances(self, frames: Vec) -> list[float]:
        """Of every pair [m], surface to surface; those far apart as the margin. `frames` (n + 1,
        12) as of `Chain.transforms`."""
        scene = self._scene
        f = frames[self._frame][:, None]  # (m, 1, 12)
        x, y, z = self._ends[:, :, :1], self._ends[:, :, 1:2], self._ends[:, :, 2:]
        ends = f[..., 9:] + f[..., 0:9:3] * x + f[..., 1:9:3] * y + f[..., 2:9:3] * z
        every = np.concatenate([ends, self._fixed])  # segments (m + s, 2, 3)
        centres = np.concatenate([0.5 * (every[:, 0] + every[:, 1]), self._boxes])
        d = centres[self._first] - centres[self._second]
        near = ~(d[:, 0] * d[:, 0] + d[:, 1] * d[:, 1] + d[:, 2] * d[:, 2] > self._apart)
        near[self._floor] = False
        out = [scene.margin] * len(scene.pairs)
        for k in self._floor.tolist():
            z0, z1 = every[scene.pairs[k][1], :, 2].tolist()
            out[k] = min(scene.margin, min(z0, z1) - scene.floor - scene.pairs[k][3])
        for k in np.flatnonzero(near).tolist():
            kind, i, j, radius, _ = scene.pairs[k]
            p, q = every[i].tolist()
            if kind == SEGMENT:
                squared = segments_apart(p, q, *every[j].tolist())
            else:
                squared = box_apart(p, q, *scene.boxes[j])
            out[k] = math.sqrt(squared) - radius
        return out


def segments_apart(p1: Point, q1: Point, p2: Point, q2: Point) -> float:
    """Squared distance [m^2] of the segments p1 q1 and p2 q2 (Ericson 2005, 5.1.9)."""
    ux, uy, uz = q1[0] - p1[0], q1[1] - p1[1], q1[2] - p1[2]
    vx, vy, vz = q2[0] - p2[0], q2[1] - p2[1], q2[2] - p2[2]
    rx, ry, rz = p1[0] - p2[0], p1[1] - p2[1], p1[2] - p2[2]
    a, e = ux * ux + uy * uy + uz * uz, vx * vx + vy * vy + vz * vz
    f, c = vx * rx + vy * ry + vz * rz, ux * rx + uy * ry + uz * rz
    if a <= TINY:
        s, t = 0.0, 0.0 if e <= TINY else _unit(f / e)
    elif e <= TINY:
        s, t = _unit(-c / a), 0.0
    else:
        b = ux * vx + uy * vy + uz * vz
        denominator = a * e - b * b
        s = _unit((b * f - c * e) / denominator) if denominator > 0.0 else 0.0
        t = (b * s + f) / e
        if t < 0.0:
            s, t = _unit(-c / a), 0.0
        elif t > 1.0:
            s, t = _unit((b - c) / a), 1.0
    dx, dy, dz = rx + ux * s - vx * t, ry + uy * s - vy * t, rz + uz * s - vz * t
    return dx * dx + dy * dy + dz * dz


def box_apart(p: Point, q: Point, lower: Point, upper: Point) -> float:
    """Squared distance [m^2] of the segment p q and an axis-aligned box. Along the segment it is
    convex and, between the planes of the faces, quadratic: the slope's change of sign is found
    among those crossings, then by one linear interpolation."""
    u = (q[0] - p[0], q[1] - p[1], q[2] - p[2])
    lo, hi = 0.0, 1.0
    slope_lo = _slope(lo, p, u, lower, upper)
    if slope_lo >= 0.0:
        return _box_point(lo, p, u, lower, upper)
    slope_hi = _slope(hi, p, u, lower, upper)
    if slope_hi <= 0.0:
        return _box_point(hi, p, u, lower, upper)
    for axis in range(3):
        for face in (lower[axis], upper[axis]):
            if u[axis] == 0.0:
                continue
            t = (face - p[axis]) / u[axis]
            if lo < t < hi:
                slope = _slope(t, p, u, lower, upper)
                if slope <= 0.0:
                    lo, slope_lo = t, slope
                else:
                    hi, slope_hi = t, slope
    rise = slope_hi - slope_lo
    t = lo - slope_lo * (hi - lo) / rise if rise > 0.0 else lo
    return _box_point(t, p, u, lower, upper)


def _slope(t: float, p: Point, u: Point, lower: Point, upper: Point) -> float:
    """Half the derivative of the squared distance by `t`."""
    total = 0.0
    for x0, d, lo, hi in zip(p, u, lower, upper, strict=True):
        total += _beyond(x0 + d * t, lo, hi) * d
    return total


def _box_point(t: float, p: Point, u: Point, lower: Point, upper: Point) -> float:
    total = 0.0
    for x0, d, lo, hi in zip(p, u, lower, upper, strict=True):
        out = _beyond(x0 + d * t, lo, hi)
        total += out * out
    return total


def _beyond(x: float, lo: float, hi: float) -> float:
    """How far `x` lies outside lo..hi, signed."""
    return x - lo if x < lo else x - hi if x > hi else 0.0


def _unit(x: float) -> float:
    return 0.0 if x < 0.0 else 1.0 if x > 1.0 else x
