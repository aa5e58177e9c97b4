"""A scripted expert for pick-and-place, which computes chunks from noisy poses of the items.

It has almost no memory: its next actions follow from the TCP, the jaws, the line that is due and
the items, so that a policy which sees only the present can imitate it, and it can take over from
any state. After closing on nothing or losing the item, it rises, looks again and retries. It picks
up what lies beside the bin, and takes out of the tote what does not belong there.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from headway.drivers import World
from headway.drivers.sim.scenes import Zone
from headway.drivers.sim.scenes.pick_place import BIN, LOW_WALL, RIM, TOTE
from headway.learn.experts._grasps import Solid, grasp, solid
from headway.learn.scripted import Aim, Scripted, cell_with, direction, half_turn
from headway.types import Vec

_HOLD_FORCE = 6.0  # grip force at which the jaws hold something [N]
_EMPTY = 0.004  # opening below which closed jaws hold nothing [m]
_LOW, _LOW_SPEED = 0.09, 0.08  # below this height [m] the open jaws descend slowly [m/s]
_RELEASE_Z = 0.08  # of the TCP [m]
_TURN = 0.045  # about the vertical, at most, between waypoints [rad]
_PATIENCE, _FAR = 3, 0.09  # attempts before a neighbour so near [m] is moved away
_UP = np.array([0.0, 0.0, 0.03])  # first motion after a failed attempt, base frame [m]


class Expert(Scripted):
    """The expert as a policy, for the simulated cell only, because it is told where the items
    are."""

    pushes = (3, 6)
    bounds = ((0.25, -0.32, 0.06), (0.6, 0.34, 0.36))
    bad_look: bool  # see `Scripted`
    rising: bool  # likewise
    # `reset`, which the base class calls when it is made, sets these.
    _attempt: int
    _bin_height: float
    _items: list[dict[str, Any]]
    _before: int | None  # the item that it moved last
    _way: int | None  # a neighbour that is in the way

    def reset(self) -> None:
        self._attempt = 0
        self._bin_height = self.cell.scene.truth["bin_height"]
        self._items = self.cell.scene.truth["items"]
        self._before, self._way = 0, None
        super().reset()

    def wrong_look(self) -> Vec:
        far = self.rng.uniform(0.015, 0.035)
        return far * direction(self.rng)

    def _give_up_attempt(self) -> None:
        self._attempt += not self.bad_look
        self.rising, self.bad_look = True, False

    def _positions(self) -> list[Vec]:
        """Where the items are (3,) [m], base frame."""
        cell = self.cell
        with cell.lock:
            return [cell.data.body(f"item{i}").xpos.copy() for i in range(len(self._items))]

    def _clear(self, job: int, where: list[Vec]) -> int:
        """The item to be moved for the sake of `job`: itself, or its nearest neighbour after some
        attempts in vain, until that is out of the way."""

        def apart(i: int) -> float:
            return math.dist(where[i][:2], where[job][:2])

        way = self._way
        if way is not None and (way == job or apart(way) > _FAR or self._attempt >= _PATIENCE):
            self._way, self._attempt = None, 0
        elif way is None and self._attempt >= _PATIENCE:
            near = min((i for i in range(len(where)) if i != job), key=apart, default=job)
            self._way = near if near != job and apart(near) < _FAR else None
        return job if self._way is None else self._way

    def _job(self, where: list[Vec]) -> int | None:
        """The item to be moved next, None where there is none: one that does not belong in the
        tote, else the first one that the order wants there and that is not. `where` are the items
        (3,) [m]."""
        ordered = self._ordered()
        for i, at in enumerate(where):
            if i not in ordered and _in_tote(at):
                return i
        return next((i for i in ordered if not _in_tote(where[i])), None)

    def _ordered(self) -> list[int]:
        """The items of the lines up to the one that is due."""
        order, wanted = self.cell.scene.order, self.cell.scene.truth["wanted"]
        due = len(wanted) if order is None else order.state.line + 1
        return [i for i in wanted[:due] if i is not None]

    def _seen(self, item: int) -> tuple[Vec, float]:
        """Where the TCP has to be to close the jaws around `item` (3,) [m], base frame, as far as
        it is perceived, and the yaw [rad]: the fingers come down beside the walls and the other
        items, across the item's narrow side."""
        cell = self.cell
        with cell.lock:
            poses = [
                (body.xpos.copy(), body.xmat.reshape(3, 3).copy())
                for body in (cell.data.body(f"item{i}") for i in range(len(self._items)))
            ]
        solids = [
            solid(p, R, facts["half"], facts["kind"] in _ROUNDED)
            for (p, R), facts in zip(poses, self._items, strict=True)
        ]
        at = poses[item][0]
        others = [s for i, s in enumerate(solids) if i != item]
        high = (TOTE, RIM, BIN) if self._bin_height > LOW_WALL else (TOTE, RIM)
        walls = [wall for zone in high for wall in _walls(zone, at)]
        x, y, yaw = grasp(solids[item], others, walls, skip=self._attempt % 4)
        yaw += self.yaw_noise
        seen: Vec = np.array([x, y, poses[item][0][2]]) + self.noise
        return seen, (yaw + math.pi / 2) % math.pi - math.pi / 2

    def fastest(self, p: Vec, goal: Vec, aim: Aim) -> float:
        # Slowly down to where something may be below the fingers.
        return _LOW_SPEED if goal[2] < p[2] < _LOW and not aim.close else aim.speed

    def turned(self, p: Vec, yaw: float, wanted: float) -> float:
        return yaw + max(-_TURN, min(_TURN, 0.35 * half_turn(wanted - yaw)))

    def may_push(self, p: Vec, close: bool, state: dict[str, float]) -> bool:
        return not close and BIN.holds(p[0], p[1], -0.03) and bool(p[2] > 0.07)

    def decide(self, p: Vec, yaw: float, state: dict[str, float], t_s: float) -> Aim:
        shut = state["gripper.width_ref"] < self.cell.gripper.stroke / 2
        where = self._positions()
        if shut:
            if state["gripper.width"] < _EMPTY:  # closed on nothing, or lost the item
                self._give_up_attempt()
                return Aim(p + _UP, yaw, False, self.speed)
            if state["gripper.force"] < _HOLD_FORCE:
                return Aim(p, yaw, True, self.speed)  # still closing
            self.grasped()
            held = min(range(len(where)), key=lambda i: math.dist(where[i], p))
            others = [at for i, at in enumerate(where) if i != held]
            if held in self._ordered():
                return self._carry(p, yaw, _free_place(TOTE, others))
            job = self._job(where)
            keep_off = None if job is None or job == held else where[job]
            return self._carry(p, yaw, _free_place(BIN, others, keep_off))
        if self.rising:
            if p[2] > 0.15:
                self.rising = False
                self.look()
            return Aim(np.array([p[0], p[1], 0.18]), yaw, False, self.speed)
        job = self._job(where)
        if job is not None:
            job = self._clear(job, where)
        if job is None:  # all is where it belongs: retreat, and wait for what the station says
            return Aim(np.array([p[0], p[1], 0.27]), yaw, False, self.speed)
        if job != self._before:
            self._before, self._attempt = job, 0
            self.look()
        target, fit = self._seen(job)
        off = math.hypot(p[0] - target[0], p[1] - target[1])
        if off > 0.07 and p[2] < 0.16 and not BIN.holds(p[0], p[1]):
            return Aim(np.array([p[0], p[1], 0.24]), yaw, False, self.speed)  # over the walls
        return self._approach(p, yaw, state, target, fit)

    def _approach(self, p: Vec, yaw: float, s: dict[str, float], target: Vec, fit: float) -> Aim:
        off = math.hypot(p[0] - target[0], p[1] - target[1])
        turn = (fit - yaw + math.pi / 2) % math.pi - math.pi / 2
        grasp_z = max(0.015, target[2] - 0.003)
        # Descend in a funnel: the closer to the axis of the grasp, the lower.
        ready = off < 0.012 and abs(turn) < 0.2
        z = grasp_z if ready or (p[2] < 0.07 and off < 0.02) else max(0.13, min(0.2, 0.10 + off))
        # A force means that a finger stands on a neighbour or on the target's edge.
        pushed = abs(s["wrench.fz"]) > 10.0 and p[2] < 0.12
        if pushed and p[2] > grasp_z + 0.012:
            self._give_up_attempt()
            return Aim(p + _UP, yaw, False, self.speed)
        if (p[2] < grasp_z + 0.005 and off < 0.014) or pushed:
            return Aim(p.copy(), yaw, True, self.speed)
        return Aim(np.array([target[0], target[1], z]), fit, False, self.speed)

    def _carry(self, p: Vec, yaw: float, to: tuple[float, float]) -> Aim:
        """Carry what the jaws hold to the place `to` (x, y) [m], and let go of it there."""
        x, y = to
        off = math.hypot(p[0] - x, p[1] - y)
        if off < 0.015:
            if p[2] < _RELEASE_Z + 0.012:
                return Aim(p, yaw, False, self.speed)
            return Aim(np.array([x, y, _RELEASE_Z]), yaw, True, 0.2)
        # By at most 0.6 rad: the shorter way round would change its mind at a quarter turn.
        straight = yaw - max(-0.6, min(0.6, yaw))
        if p[2] < 0.17:
            return Aim(np.array([p[0], p[1], 0.22]), yaw, True, self.speed)
        return Aim(np.array([x, y, 0.21]), straight, True, self.speed)


def connect(world: World, *, disturb: float = 0.0, cameras: tuple[str, ...] = ()) -> Expert:
    """The expert in `world`; `disturb` and `cameras` as in `Expert`. Raises ConfigError for a world
    that is not the simulated cell with the scene that the expert knows."""
    return Expert(cell_with(world, "pick_place"), disturb=disturb, cameras=cameras)


def _in_tote(p: Vec) -> bool:
    """Whether the point `p` (3,) [m] in the base frame is in the tote, as the station sees it."""
    return TOTE.holds(p[0], p[1]) and bool(p[2] < 0.10)


def _free_place(zone: Zone, items: list[Vec], off: Vec | None = None) -> tuple[float, float]:
    """The place (x, y) [m] in `zone` that is farthest from the `items`, and well `off` that one."""
    (cx, cy, _), (hx, hy, _) = zone.centre, zone.half
    places = [(cx + a * (hx - 0.055), cy + b * (hy - 0.065)) for a, b in _PLACES]
    if off is not None:
        away = [at for at in places if math.dist(at, off[:2]) > _FAR + 0.01]
        places = away or places
    return max(places, key=lambda at: min([math.dist(at, i[:2]) for i in items], default=0.0))


def _walls(zone: Zone, item: Vec) -> list[Solid]:
    """What the walls around `zone` keep the fingers from that close around something at `item`
    (3,) [m]: fingers on the other side of a wall cannot. So for an item inside it is all beyond
    the walls, for one outside all of the zone."""
    (cx, cy, _), (hx, hy, _) = zone.centre, zone.half
    if not zone.holds(item[0], item[1]):
        return [Solid(cx, cy, (hx + _WALL, hy + _WALL))]
    beyond = 0.02
    return [
        *(Solid(cx + a * (hx - _WALL + beyond), cy, (beyond, hy)) for a in (1, -1)),
        *(Solid(cx, cy + a * (hy - _WALL + beyond), (hx, beyond)) for a in (1, -1)),
    ]


_WALL = 0.004  # half the thickness of a wall [m]
_ROUNDED = ("capsule", "cylinder", "ellipsoid")  # lying or standing
_PLACES = ((0, 0), (-1, -1), (1, 1), (-1, 1), (1, -1))  # in a zone, as shares of its half size
