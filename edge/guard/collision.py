"""How near the arm comes to itself and to what stands around it: capsules (segments with a radius)
on the frames of its chain, against each other, a floor, boxes and fixed capsules.

Distances are closed forms; for two segments see Ericson, Real-Time Collision Detection (2005),
section 5.1.9. A pair whose bounding spheres are apart by more than the margin is not looked at
further. This is the readable reference of `edge/guard/cpp/collision.hpp`, which computes the same
to the last bit.

Only the commanded configurations are checked, not the paths between them. At the speeds and rates
of a control loop, the arm moves a few millimetres from one to the next.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headway.drivers.capsules import Capsule, Xyz
from headway.edge.guard.config import GuardConfig
from headway.edge.guard.reasons import FINE, Finding, Reason
from headway.types import Vec

Point = Sequence[float]
Segment = tuple[Xyz, Xyz]

SEGMENT, BOX, FLOOR = range(3)  # what the second of a pair is
TINY = 1e-12  # [m^2] a segment shorter than a micrometre is a point


@dataclass(frozen=True)
class Scene:
    """The bodies, and the pairs of them that are checked.

    `capsules` move with the frames of the chain. `fixed` segments (two ends, each (3,) [m]),
    `boxes` (lower and upper corner, each (3,) [m]) and `floor` (height [m]) are in the base frame.

    A pair is (kind, first, second, radii, apart). `kind` is SEGMENT, BOX or FLOOR and says what the
    second body is; the first is always a capsule. `first` and `second` are positions in `capsules`
    or `boxes`; where the second body is a segment, positions from `len(capsules)` on mean `fixed`
    ones. `radii` [m] is the sum of both radii. `apart` [m^2] is the squared distance of the two
    centres beyond which the bodies are certainly further apart than the margin.

    `names` are those of the pairs, for people; `margin` [m] is kept between two surfaces."""

    capsules: tuple[Capsule, ...]
    fixed: tuple[Segment, ...]
    boxes: tuple[Segment, ...]
    floor: float
    pairs: tuple[tuple[int, int, int, float, float], ...]
    names: tuple[str, ...]  # of the pairs
    margin: float

    def rows(self) -> tuple[NDArray[np.float64], ...]:
        """The same for the compiled core: capsules (m, 8), each its frame, its two ends [m] in that
        frame and its radius [m]; fixed segments (s, 6), each two ends [m]; boxes (b, 6), each two
        corners [m]; pairs (p, 5)."""
        capsules = [(c.frame, *c.a, *c.b, c.radius) for c in self.capsules]
        fixed = [(*a, *b) for a, b in self.fixed]
        boxes = [(*a, *b) for a, b in self.boxes]
        rows = ((capsules, 8), (fixed, 6), (boxes, 6), (self.pairs, 5))
        return tuple(np.array(x, np.float64).reshape(-1, width) for x, width in rows)


def scene(cfg: GuardConfig, body: Sequence[Capsule], frames: int, upright: bool = True) -> Scene:
    """What there is to check for an arm with the capsules `body` and the frames 0..`frames` - 1;
    without any pair where there is nothing to check. `upright`: the first joint turns about the
    vertical.

    Not checked are: two capsules on the same frame or on neighbouring frames, which always touch;
    capsules that are made for contact, and those on frame 0, which does not move, against the
    surroundings; capsules on frame 1 of an `upright` arm, which come no nearer to it, against the
    floor.

    Raises ValueError for a capsule on a frame that the arm does not have, for surroundings of an
    arm without a body, and for numbers that are not finite.
    """
    capsules = (*body, *(c.capsule() for c in cfg.capsules)) if cfg.check_collision else ()
    around = cfg.floor_z is not None or cfg.boxes or cfg.fixed_capsules
    if cfg.check_collision and around and not capsules:
        raise ValueError(
            "floor_z, boxes and fixed_capsules want an arm whose chain has a body, found none: "
            "give its capsules, or check_collision = false"
        )
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
        if cfg.floor_z is not None and c.frame > (1 if upright else 0):
            add(FLOOR, i, 0, "the floor", 0.0, 0.0)
    floor = 0.0 if cfg.floor_z is None else cfg.floor_z
    made = Scene(
        capsules, tuple(fixed), tuple(boxes), floor, tuple(pairs), tuple(names),
        cfg.collision_margin,
    )  # fmt: skip
    if not (math.isfinite(floor) and all(np.isfinite(rows).all() for rows in made.rows())):
        raise ValueError(f"wanted bodies and a floor of finite numbers, found {made}")
    return made


class Collisions:
    """Which pairs of the scene `given` come too near. A pair that is nearer than the margin when
    it is first looked at may stay as it is and may part; it must never come nearer again than it
    was at any accepted configuration since."""

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
        # The centres stand in one table: capsules, fixed segments, boxes. A floor has no centre, so
        # the entry of its pairs is any one, and is not used.
        ahead = len(given.capsules) + len(given.fixed)
        self._second = np.where(kind == BOX, second + ahead, np.where(kind == FLOOR, 0, second))
        self._apart = np.array([p[4] for p in given.pairs])

    def start(self, frames: Vec) -> None:
        """Nothing may come nearer than it is at `frames` (n + 1, 12), or than the margin."""
        self._allowed = [min(self._scene.margin, d) for d in self.distances(frames)]

    def look(self, frames: Vec, stopping: bool) -> Finding:
        """The first pair that is too near in `frames` (n + 1, 12); `stopping`: they are the arm's
        where a stop would end, not where it was commanded to."""
        self.found = self.distances(frames)
        for k, (d, allowed) in enumerate(zip(self.found, self._allowed, strict=True)):
            if not d >= allowed:
                names = self._scene.names[k]
                return Finding(Reason.COLLISION, k, stopping, d, allowed, cause=names)
        return FINE

    def accept(self, distances: list[float]) -> None:
        """A configuration with the `distances` [m] of all pairs is sent: from now on, pairs that
        were too near may not come nearer than they are there."""
        most = self._scene.margin
        self._allowed = [
            min(most, max(a, d)) for a, d in zip(self._allowed, distances, strict=True)
        ]

    def distances(self, frames: Vec) -> list[float]:
        """The distance [m] of every pair, from surface to surface; the margin for pairs that are
        farther apart than it. `frames` (n + 1, 12) are those of `Chain.transforms`."""
        scene = self._scene
        if not scene.pairs:
            return []
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
    """Squared distance [m^2] of the segment from `p1` to `q1` and the one from `p2` to `q2`, all
    (3,) [m] (Ericson 2005, 5.1.9)."""
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
    """Squared distance [m^2] of the segment from `p` to `q` and the axis-aligned box from `lower`
    to `upper`, all (3,) [m].

    Along the segment, the squared distance of a point to the box is convex, and between two
    crossings of the planes of the faces it is quadratic. So its slope is linear there: the
    crossings between which the slope changes its sign are found first, and then its zero by one
    linear interpolation."""
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
    """Half the derivative by `t` of the squared distance [m^2] of the point p + t u to the box."""
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
