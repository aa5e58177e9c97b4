"""How near the arm comes to itself and to what stands around it: capsules (segments with a radius)
on the frames of its chain, against each other, a floor, boxes and fixed capsules.

Distances are closed forms (Ericson, Real-Time Collision Detection, 2005, 5.1.9 for two segments).
A pair of bounding spheres that are apart by more than the margin is not looked at further. This is
the readable reference of `edge/cpp/collision.hpp`, which computes the same to the last bit.

What is checked are the configurations that are asked for, not the paths between them: at the speeds
and rates of a control loop these are millimetres.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headway.drivers.capsules import Capsule
from headway.drivers.kinematics_python import Twelve
from headway.edge.guard_config import GuardConfig

Point = tuple[float, float, float]
Segment = tuple[Point, Point]

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
        self._found: list[float] = []

    def start(self, frames: Sequence[Twelve]) -> None:
        """From here on nothing gets worse than this."""
        self._allowed = [min(self._scene.margin, d) for d in self.distances(frames)]

    def look(self, frames: Sequence[Twelve]) -> tuple[int, float, float] | None:
        """(pair, its distance [m], what is allowed) of the first one that is too near."""
        self._found = self.distances(frames)
        for k, (d, allowed) in enumerate(zip(self._found, self._allowed, strict=True)):
            if not d >= allowed:
                return k, d, allowed
        return None

    def accept(self, distances: list[float]) -> None:
        """Nothing gets worse than at this look either."""
        most = self._scene.margin
        self._allowed = [
            min(most, max(a, d)) for a, d in zip(self._allowed, distances, strict=True)
        ]

    @property
    def found(self) -> list[float]:
        """Distances of the last look."""
        return self._found

    def distances(self, frames: Sequence[Twelve]) -> list[float]:
        """Of every pair [m], surface to surface; those far apart as the margin."""
        scene = self._scene
        segments = [placed(frames[c.frame], c) for c in scene.capsules]
        segments += scene.fixed
        centres = [_middle(*s) for s in segments]
        boxes = [_middle(*b) for b in scene.boxes]
        out = []
        for kind, i, j, radius, apart in scene.pairs:
            if kind == FLOOR:
                (_, _, z0), (_, _, z1) = segments[i]
                d = (z1 if z1 < z0 else z0) - scene.floor - radius
                out.append(min(scene.margin, d))
                continue
            x, y, z = centres[i]
            u, v, w = centres[j] if kind == SEGMENT else boxes[j]
            dx, dy, dz = x - u, y - v, z - w
            if dx * dx + dy * dy + dz * dz > apart:
                out.append(scene.margin)
            elif kind == SEGMENT:
                out.append(math.sqrt(segments_apart(*segments[i], *segments[j])) - radius)
            else:
                out.append(math.sqrt(box_apart(*segments[i], *scene.boxes[j])) - radius)
        return out


def placed(f: Twelve, c: Capsule) -> Segment:
    """A capsule's ends in the base frame."""
    r00, r01, r02, r10, r11, r12, r20, r21, r22, px, py, pz = f
    (ax, ay, az), (bx, by, bz) = c.a, c.b
    return (
        (
            px + r00 * ax + r01 * ay + r02 * az,
            py + r10 * ax + r11 * ay + r12 * az,
            pz + r20 * ax + r21 * ay + r22 * az,
        ),
        (
            px + r00 * bx + r01 * by + r02 * bz,
            py + r10 * bx + r11 * by + r12 * bz,
            pz + r20 * bx + r21 * by + r22 * bz,
        ),
    )


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
        x = x0 + d * t
        out = x - lo if x < lo else x - hi if x > hi else 0.0
        total += out * d
    return total


def _box_point(t: float, p: Point, u: Point, lower: Point, upper: Point) -> float:
    total = 0.0
    for x0, d, lo, hi in zip(p, u, lower, upper, strict=True):
        x = x0 + d * t
        out = x - lo if x < lo else x - hi if x > hi else 0.0
        total += out * out
    return total


def _unit(x: float) -> float:
    return 0.0 if x < 0.0 else 1.0 if x > 1.0 else x


def _middle(a: Point, b: Point) -> Point:
    return 0.5 * (a[0] + b[0]), 0.5 * (a[1] + b[1]), 0.5 * (a[2] + b[2])
