"""A scripted expert that opens latched boxes, which computes chunks from noisy poses of the due box
and its lid.

It has almost no memory: its next actions follow from the TCP, the jaws, the latch and the lid, so
that a policy which sees only the present can imitate it, and so that it can take over from any
state. After a press without a click, a fin that it missed or lost, or a lid that fell shut, it
rises, looks again and retries; it waits for a jammed latch.

`disturb` adds short random pushes while nothing is held. In a quarter of the episodes the first
look is wrong by centimetres, and at a quarter of the boxes the wrong pad is pressed first, so that
demonstrations also show how to recover (after DART, Laskey et al. 2017). The pushes and what comes
of a wrong look are marked with `meta["demonstration"] = 0`, so that a policy imitates only the
recovery.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from headway.clock import NS
from headway.drivers import World
from headway.drivers.kinematics import Mat3, tool_down
from headway.drivers.sim.lidded_box import BROKEN_AWAY, LEDGE_TRAVEL, OPEN, Latch, LiddedBox
from headway.drivers.sim.scenes.shoebox import Boxes
from headway.learn.scripted import DT_NS, Aim, Scripted, cell_with, direction, half_turn
from headway.types import Vec

_STEP = DT_NS / NS  # time between waypoints [s]
_TURN = 0.07  # about the vertical, at most, between waypoints [rad]
_HOLD_FORCE = 6.0  # grip force at which the jaws hold something [N]
_EMPTY = 0.004  # opening below which closed jaws hold nothing [m]
_WIDE = 0.05  # opening from which the jaws fit over a fin [m]
_TRAVEL_Z = 0.175  # at this height the tool passes over all boxes with shut lids [m]
_LIDS_X = 0.43  # lids that stand open are further away than this, base frame [m]
_OVER_LIDS_Z = 0.28  # above this the tool passes over them [m]
_TIPS = 0.005  # the fingertips are this much below the TCP [m]
_RIM = 0.060  # TCP above the rim of a box: the fingertips are above the fin [m]
_LIFT = 0.14  # speed while a fin is held [m/s]
_PRESS = 0.065  # speed on a pad [m/s]
_FARTHEST = 1.95  # lid angle up to which it goes [rad]
_UP = np.array([0.0, 0.0, 0.03])  # first motion after a failed attempt, base frame [m]
_LET_GO = 1.68  # lid angle at which the jaws let go of a lid that shall fall open [rad]
_BALANCED = 1.75  # a lid below this may stand for ever instead of falling open
_PATIENCE = 6  # decisions after which it does not fall
_LET_FALL = 1.2  # and of one that shall fall shut
_ENOUGH_S = 2.5  # the latch is pressed again when it stays released for less than this [s]
_TOUCH = 5.0  # a push that is no noise of the sensor [N]
_TOO_MUCH = 22.0  # a push that has reached the end of a pad, or what is none [N]


@dataclass(frozen=True)
class _Seen:
    """The due box as it is perceived: its frame (`R`, `origin` [m]) in the base frame, the lid's
    `angle` [rad], and for how long its latch stays released and jammed [s]."""

    box: LiddedBox
    R: Mat3
    origin: Vec
    angle: float
    released_s: float
    jammed_s: float

    def at(self, point: tuple[float, float, float]) -> Vec:
        """A `point` of the box's frame [m] in the base frame (3,) [m]."""
        return np.asarray(self.R @ np.array(point) + self.origin)

    def ahead(self, p: Vec, way: float) -> Vec:
        """A goal for the jaws at `p` (3,) [m], base frame, that hold the fin: on the way to it they
        open the lid further (`way` 1) or shut it (-1), and keep their distance from the hinge, so
        that they neither slide on the fin nor pull the box along."""
        x, _, z = (self.R.T @ (p - self.origin)).tolist()
        hinge, rim = self.box.depth / 2, self.box.height
        x0, _, z0 = self.box.pinch(0.0)
        now, shut = (math.atan2(h - rim, hinge - a) for a, h in ((x, z), (x0, z0)))
        if now * way > shut + _FARTHEST:
            return p
        radius = math.hypot(hinge - x, z - rim)
        then = now + way * _LIFT * _STEP / radius  # at the next waypoint
        step = (hinge - radius * math.cos(then) - x, 0.0, rim + radius * math.sin(then) - z)
        return np.asarray(p + self.R @ (5.0 * np.array(step)))

    @property
    def fin(self) -> Vec:
        """Where the jaws should pinch the fin (3,) [m], base frame."""
        return self.at(self.box.pinch(self.angle))

    @property
    def yaw(self) -> float:
        """At which the jaws close across the fin [rad]."""
        return math.atan2(self.R[1, 0], self.R[0, 0])


class Expert(Scripted):
    """The expert as a policy, for the simulated cell only: it is told where the boxes are."""

    speeds = (0.24, 0.32)
    sight = (0.0025, 0.0025, 0.0015)
    yaw_sight = 0.03
    pushes = (3, 6)
    bounds = ((0.25, -0.36, 0.15), (0.55, 0.36, 0.42))
    bad_look: bool  # see `Scripted`
    rising: bool  # likewise
    # `reset`, which the base class calls when it is made, sets these.
    _standing: int  # for how many decisions the due lid has been half open
    _box: int | None  # the one that was due last
    _wrong_side: bool  # whether the wrong pad is pressed

    def reset(self) -> None:
        self._standing = 0
        self._box, self._wrong_side = None, False
        super().reset()

    def wrong_look(self) -> Vec:
        return direction(self.rng) * self.rng.uniform(0.015, 0.03)

    @property
    def astray(self) -> bool:
        return bool(self.bad_look or self._wrong_side)

    def _give_up_attempt(self) -> None:
        self.rising, self.bad_look, self._wrong_side = True, False, False

    def _due(self) -> Latch | None:
        """The latch of the box that the station asks for, or of one that it asked for before and
        that is shut all the same once this one is open; None where it asks for none."""
        boxes: Boxes = self.cell.scene.truth["boxes"]
        state = boxes.order.state
        latch = boxes.named(state.instruction)
        if latch is not None and latch.angle > OPEN:
            before = (boxes.latches[i] for i in boxes.due[: state.line] if i is not None)
            latch = next((x for x in before if x.angle < OPEN), latch)
        if latch is not None and latch.i != self._box:
            self._box = latch.i
            self._wrong_side = self.disturb > 0 and self.rng.random() < 0.25
        return latch

    def _see(self, latch: Latch) -> _Seen:
        """The box of `latch` as it is perceived."""
        cell = self.cell
        with cell.lock:
            t_s: float = cell.scene.truth["boxes"].t_s
            body = cell.data.body(f"box{latch.i}")
            p, R = body.xpos.copy(), body.xmat.reshape(3, 3).copy()
            angle = latch.angle + float(self.rng.normal(0.0, 0.01))
        turn = tool_down(self.yaw_noise) @ tool_down(0.0)  # about the vertical
        until = latch.released_s(t_s), latch.jammed_s(t_s)
        return _Seen(latch.box, turn @ R, p + self.noise, angle, *until)

    def _wrongly_open(self) -> Latch | None:
        """The latch of a box that stands open and that no line so far asks for."""
        boxes: Boxes = self.cell.scene.truth["boxes"]
        asked = boxes.due[: boxes.order.state.line + 1]
        others = (x for x in boxes.latches if x.i not in asked and x.angle > _LET_FALL - 0.05)
        return None if None in asked else next(others, None)

    def _open(self) -> list[_Seen]:
        """The boxes whose lids stand open or are falling."""
        boxes: Boxes = self.cell.scene.truth["boxes"]
        return [self._see(latch) for latch in boxes.latches if latch.angle > BROKEN_AWAY]

    def fastest(self, p: Vec, goal: Vec, aim: Aim) -> float:
        return aim.speed

    def turned(self, p: Vec, yaw: float, wanted: float) -> float:
        return yaw + max(-_TURN, min(_TURN, 0.35 * half_turn(wanted - yaw)))

    def may_push(self, p: Vec, close: bool, state: dict[str, float]) -> bool:
        return p[2] > _TRAVEL_Z and p[0] < 0.45 and not self._shut(state)

    def _shut(self, s: dict[str, float]) -> bool:
        return s["gripper.width_ref"] < self.cell.gripper.stroke / 2

    def decide(self, p: Vec, yaw: float, state: dict[str, float], t_s: float) -> Aim:
        shut = self._shut(state)
        held = (
            shut
            and _EMPTY < state["gripper.width"] < _WIDE
            and state["gripper.force"] > _HOLD_FORCE
        )
        if held:
            self.grasped()
        wrong = self._wrongly_open()
        latch = self._due() if wrong is None else wrong
        seen = None if latch is None else self._see(latch)
        if held and seen is not None and math.dist(p, seen.fin) < 0.05:
            return self._turn(seen, wrong is not None)
        half_open = seen is not None and BROKEN_AWAY < seen.angle < _BALANCED
        self._standing = self._standing + 1 if half_open else 0
        by_hand = wrong is not None or self._standing > _PATIENCE  # this lid has to be moved
        for other in self._open():
            fin = other.fin
            if by_hand and seen is not None and other.box is seen.box:
                continue
            if math.hypot(p[0] - fin[0], p[1] - fin[1]) < 0.08 and p[2] < fin[2] + 0.035:
                return Aim(np.array([p[0], p[1], fin[2] + 0.06]), yaw, False, self.speed)
        if held or seen is None:  # that is something else
            return Aim(p, yaw, False, self.speed)
        if self.rising:
            return self._rise(p, yaw, shut)
        if by_hand:
            return self._reach(p, yaw, state, seen)
        if seen.angle > OPEN + 0.03:  # back to where the camera sees all boxes
            return Aim(np.array([0.37, p[1], max(0.28, min(p[2], 0.34))]), yaw, False, self.speed)
        if seen.angle > BROKEN_AWAY:  # the lid is falling, or leans on the jaws
            up = np.array([p[0], p[1], max(p[2], seen.fin[2] + 0.05)])
            return Aim(up, yaw, False, self.speed)
        if seen.released_s > (0.5 if p[2] < seen.fin[2] + 0.01 else _ENOUGH_S):
            return self._reach(p, yaw, state, seen)
        return self._press(p, yaw, state, seen)

    def _rise(self, p: Vec, yaw: float, shut: bool) -> Aim:
        """Up after a failed attempt, then look again."""
        top = _TRAVEL_Z if p[0] < _LIDS_X else _OVER_LIDS_Z
        if p[2] > top - 0.01:
            self.rising = False
            self.look()
        # Jaws that open beside a box would push it.
        return Aim(np.array([p[0], p[1], max(p[2], top + 0.01)]), yaw, shut, self.speed)

    def _turn(self, seen: _Seen, shut: bool) -> Aim:
        """Along the lid's arc, until it falls open by itself, or `shut`."""
        speed = _LIFT if seen.angle > BROKEN_AWAY else 0.5 * _LIFT
        way = -1.0 if shut else 1.0
        hold = seen.angle > _LET_FALL if shut else seen.angle < _LET_GO
        return Aim(lambda p: seen.ahead(p, way), seen.yaw, hold, speed)

    def _reach(self, p: Vec, yaw: float, s: dict[str, float], seen: _Seen) -> Aim:
        """Over the fin, down with open jaws, and close them."""
        # An open lid leans over the fin: there the jaws have less room.
        fin = seen.fin if seen.angle < BROKEN_AWAY else seen.at(seen.box.pinch(seen.angle, 0.027))
        rim = float(seen.origin[2]) + seen.box.height
        clear = rim + _RIM if seen.angle < BROKEN_AWAY else _OVER_LIDS_Z
        off = math.hypot(p[0] - fin[0], p[1] - fin[1])
        low = p[2] < fin[2] + 0.02 and off < 0.03
        if self._shut(s):
            if not low:  # they have pressed a pad
                above = np.array([p[0], p[1], clear + 0.01])
                return Aim(above, yaw, bool(p[2] < rim + 0.03), self.speed)
            if s["gripper.width"] < _EMPTY:
                self._give_up_attempt()
                return Aim(p + _UP, yaw, False, self.speed)
            return Aim(p, yaw, True, self.speed)  # still closing
        wide = s["gripper.width"] > _WIDE
        turn = (seen.yaw - yaw + math.pi / 2) % math.pi - math.pi / 2
        if abs(s["wrench.fz"]) > 12.0 and fin[2] + 0.008 < p[2] < clear:  # a finger stands on it
            self._give_up_attempt()
            return Aim(p + _UP, yaw, False, self.speed)
        if p[2] < fin[2] + 0.002 and off < 0.012:
            return Aim(p, yaw, True, self.speed)
        ready = off < 0.007 and abs(turn) < 0.12
        if wide and (ready or (p[2] < clear - 0.01 and off < 0.012)):
            # In two steps, so that fingers that come down on something do not press on it much.
            height = fin[2] + (0.010 if p[2] > fin[2] + 0.014 else 0.0)
            return Aim(np.array([fin[0], fin[1], height]), seen.yaw, False, 0.12)
        return Aim(self._over(p, fin, off, clear), seen.yaw, False, self.speed)

    def _press(self, p: Vec, yaw: float, s: dict[str, float], seen: _Seen) -> Aim:
        """Over the pad of the latch with closed jaws, and down until it clicks."""
        fin = seen.fin
        side = -seen.box.side if self._wrong_side else seen.box.side
        ledge = seen.at(seen.box.ledge(side))
        rim = float(seen.origin[2]) + seen.box.height
        off = math.hypot(p[0] - ledge[0], p[1] - ledge[1])
        depth = float(ledge[2]) + _TIPS - LEDGE_TRAVEL - 0.003
        if p[2] < rim + _RIM and math.hypot(p[0] - fin[0], p[1] - fin[1]) < 0.03:
            above = np.array([p[0], p[1], rim + _RIM + 0.01])  # not closing on the fin
            return Aim(above, yaw, False, self.speed)
        closed = s["gripper.width"] < 2 * _EMPTY
        down = off < 0.006 or (p[2] < rim + 0.02 and off < 0.012)
        if down and closed and (self._wrong_side or seen.jammed_s == 0.0):
            push, above = -s["wrench.fz"], p[2] > ledge[2] + _TIPS + 0.007
            if push > _TOO_MUCH or p[2] < depth + 0.001 or (push > _TOUCH and above):
                self._give_up_attempt()
                return Aim(p + _UP, yaw, True, self.speed)
            return Aim(np.array([ledge[0], ledge[1], depth]), seen.yaw, True, _PRESS)
        close = bool(p[0] < _LIDS_X)  # not on the fin of a lid that stands open
        return Aim(self._over(p, ledge, off, rim + 0.04), seen.yaw, close, self.speed)

    @staticmethod
    def _over(p: Vec, target: Vec, off: float, clear: float) -> Vec:
        """To above `target`, which is `off` [m] from `p` seen from above. The tool goes sideways
        above all boxes, or at the height `clear` [m] when it is near."""
        if off > 0.012 and p[2] < clear - 0.01:
            return np.array([p[0], p[1], clear + 0.01])
        if (
            p[0] > _LIDS_X and abs(p[1] - target[1]) > 0.05 and clear < _TRAVEL_Z
        ):  # not through lids that stand open
            return np.array([0.37, p[1], max(p[2], 0.25)])
        height = clear if off < 0.04 else max(clear, _TRAVEL_Z)
        if off > 0.04 and p[2] < height - 0.02:
            return np.array([p[0], p[1], height])
        return np.array([target[0], target[1], height])


def connect(world: World, *, disturb: float = 0.0, cameras: tuple[str, ...] = ()) -> Expert:
    """The expert in `world`; `disturb` and `cameras` as in `Expert`. Raises ConfigError for a world
    that is not the simulated cell with the scene that the expert knows."""
    return Expert(cell_with(world, "shoebox"), disturb=disturb, cameras=cameras)
