"""A scripted expert for returned goods, which computes chunks from noisy poses of the items.

It does what the station asks for: it picks the item, holds it at the scanner until the barcode has
been read, and puts it into the tote that the station names. From whatever state it is given the
robot in, it goes on: items that were dropped or put into a wrong tote are fetched, what nobody
asked for is put back into the bin, and an item that is not read or not confirmed is shown again.
"""

from __future__ import annotations

import math

import numpy as np

from headway.drivers import World
from headway.drivers.sim.returned_items import Loose
from headway.drivers.sim.scenes.returns import BIN, SCAN, TOTES, Made, in_tote, meaning
from headway.learn.experts._grasps import Solid, blocked, solid
from headway.learn.scripted import Aim, Scripted, cell_with, half_turn
from headway.types import Vec

_HOLD_FORCE = 6.0  # grip force at which the jaws hold something [N]
_EMPTY = 0.004  # opening below which closed jaws hold nothing [m]
_WIDEST = 0.072  # that the open jaws go around [m]
_TRAVEL_Z = 0.21  # [m]
_UP = np.array([0.0, 0.0, 0.03])  # first motion after a failed attempt, base frame [m]
_REACH = ((0.22, -0.43), (0.73, 0.43))  # where the arm can pick things up (x, y) [m]
_TURNS = (0.0, 0.25, -0.25, 0.5, -0.5)  # of the jaws, to find room beside an item [rad]
_PATIENCE = 3  # attempts that were in the way of something, before that is moved away
_FAR = 0.11  # [m] a neighbour at this distance is in nobody's way
_SHARES = (-0.6, 0.0, 0.6)  # places in the bin, of its half size
_UNREAD_S = 1.9  # how long an item is shown before it is taken away and shown again
_UNCONFIRMED_S = 5.2  # how long the station may take to close the line of what is in its tote
_AWAY_Z = 0.325  # so high the scanner no longer sees what the jaws hold [m]


class Expert(Scripted):
    """The expert as a policy."""

    bad_look: bool  # see `Scripted`
    rising: bool  # likewise
    # `reset`, which the base class calls when it is made, sets these.
    _leaving: bool
    _blocked: int  # how often a finger stood on something
    _since: float | None  # when it began to wait for the station [s]

    def reset(self) -> None:
        self._leaving = False
        self._blocked, self._since = 0, None
        super().reset()

    def may_push(self, p: Vec, close: bool, state: dict[str, float]) -> bool:
        return not close and BIN.holds(p[0], p[1], -0.03) and bool(p[2] > 0.07)

    def decide(self, p: Vec, yaw: float, state: dict[str, float], t_s: float) -> Aim:
        shut = state["gripper.width_ref"] < self.cell.gripper.stroke / 2
        if shut:
            if state["gripper.width"] < _EMPTY:  # closed on nothing, or lost the item
                self._fail(blocked=False)
                return Aim(p + _UP, yaw, False, self.speed)
            if state["gripper.force"] < _HOLD_FORCE:
                return Aim(p, yaw, True, self.speed)  # still closing
            self.grasped()
            return self._carry(p, yaw, t_s)
        self._leaving = False
        item = self._wanted(t_s)
        over = next((t for t in TOTES.values() if t.holds(p[0], p[1])), None)
        if over is not None and p[2] < 0.2 and not self.rising:
            here = item is not None and over.holds(*self._place(item)[:2].tolist())
            if not here:
                return Aim(
                    np.array([p[0], p[1], 0.24]), yaw, False, self.speed
                )  # up from the walls
        if item is None:  # nothing to do but to wait, over the bin
            self.rising = False
            return Aim(np.array([BIN.centre[0] - 0.06, BIN.centre[1], 0.3]), yaw, False, self.speed)
        if self.rising:
            if p[2] > 0.15:
                self.rising = False
                self.look()
            return Aim(np.array([p[0], p[1], 0.18]), yaw, False, self.speed)
        return self._approach(p, yaw, state, item)

    def _fail(self, blocked: bool) -> None:
        """Give up the present attempt. `blocked`: a finger stands on something, so that the next
        one is made at another place."""
        self._blocked += blocked and not self.bad_look
        self.bad_look = False
        self.rising, self._leaving, self._since = True, False, None

    # --- what is to be done -------------------------------------------------------------------

    def _asked(self) -> tuple[str, str] | None:
        """The body and the tote ("": it is to be scanned) that the station asks for."""
        order = self.cell.scene.order
        assert order is not None  # this scene always has one
        asked = meaning(order.state.instruction)
        if asked is None:
            return None
        for item in self._items():
            if item.colour == asked[0]:
                return item.loose.body, asked[1]
        return None

    def _items(self) -> list[Made]:
        items: list[Made] = self.cell.scene.truth["items"]
        return items

    def _place(self, item: Loose) -> Vec:
        with self.cell.lock:
            place: Vec = self.cell.data.body(item.body).xpos.copy()
        return place

    def _wanted(self, t_s: float) -> Loose | None:
        """The item to pick next: the one that the station asks for, unless it is where it belongs,
        or else what lies in a tote and should not. None: there is nothing to do but to wait."""
        asked = self._asked()
        settled = set(self.cell.scene.truth["lines"][: self.cell.scene.order.line])  # type: ignore[union-attr]
        wrong = None
        due = None
        for item in self._items():
            body, at = item.loose.body, self._place(item.loose)
            where = next((t for t in TOTES if in_tote(at, t)), "")
            if asked is not None and body == asked[0]:
                due, delivered = item.loose, bool(where) and where == asked[1]
                if delivered:
                    self._since = t_s if self._since is None else self._since
                    if t_s - self._since < _UNCONFIRMED_S:
                        due = None
                else:
                    self._since = None
            elif where and (body, where) not in settled:
                wrong = item.loose
        found = wrong or due
        if found is None:
            return None
        if self._blocked // _PATIENCE % 2:
            found = self._neighbour(found)
        x, y, _ = self._place(found).tolist()
        (x0, y0), (x1, y1) = _REACH
        return found if x0 < x < x1 and y0 < y < y1 else None

    def _neighbour(self, item: Loose) -> Loose:
        """The item that is nearest to `item` and in its way; `item` itself where none is near."""
        at = self._place(item)
        others = [i.loose for i in self._items() if i.loose is not item]
        nearest = min(others, key=lambda o: math.dist(self._place(o)[:2], at[:2]), default=item)
        return nearest if math.dist(self._place(nearest)[:2], at[:2]) < _FAR else item

    def _held(self, p: Vec) -> str:
        """The body of the item that is between the jaws at `p` (3,) [m]."""
        nearest, found = math.inf, ""
        with self.cell.lock:
            for item in self._items():
                for geom, along in item.loose.grips:
                    at, _ = self._geom(geom, along)
                    distance = float(np.linalg.norm(at - p))
                    if distance < nearest:
                        nearest, found = distance, item.loose.body
        return found

    # --- with open jaws -----------------------------------------------------------------------

    def _geom(self, name: str, along: float) -> tuple[Vec, Vec]:
        """The point that is `along` [m] from the middle of a geom on its x axis (3,) [m], and the
        geom's axes (3, 3), in the base frame."""
        geom = self.cell.data.geom(name)
        R: Vec = geom.xmat.reshape(3, 3).copy()
        return geom.xpos + along * R[:, 0], R

    def _grasp(self, item: Loose) -> tuple[Vec, float]:
        """Where the jaws go to hold `item`, as it is perceived: the position (3,) [m] of the TCP,
        and the yaw [rad] at which they close across it. The fingers come down beside the other
        boxes; each time that they did not, the next best grasp is tried."""
        with self.cell.lock:
            boxes = {name: self._box(name) for i in self._items() for name in i.loose.geoms}
            middle = self.cell.data.subtree_com[self.cell.model.body(item.body).id].copy()
            points = [self._geom(*grip)[0] for grip in item.grips]
        found: list[tuple[float, Vec, float]] = []
        for rank, ((name, _), at) in enumerate(zip(item.grips, points, strict=True)):
            box = boxes[name]
            narrow = int(box.half[1] < box.half[0])
            across = box.yaw + narrow * math.pi / 2 + np.array(_TURNS)  # along which the jaws close
            x, y = (np.full(len(_TURNS), v) for v in at[:2])
            others = [b for other, b in boxes.items() if other != name]
            cost = 80.0 * blocked(x, y, across, others) + 0.05 * np.abs(_TURNS)
            # A bag hangs from its neck, all else is held near its middle.
            cost += 0.1 * rank if item.form == "bag" else math.dist(at[:2], middle[:2])
            cost += float(2 * box.half[narrow] > _WIDEST)
            found += [(c, at, a) for c, a in zip(cost.tolist(), across.tolist(), strict=True)]
        found.sort(key=lambda f: f[0])
        _, at, closing = found[(2 * self._blocked) % len(found)]
        # The jaws close along the tool's y, and the tool points down.
        return at + self.noise, half_turn(closing + math.pi / 2 + self.yaw_noise)

    def _box(self, name: str) -> Solid:
        at, R = self._geom(name, 0.0)
        return solid(at, R, self.cell.model.geom(name).size)

    def _approach(self, p: Vec, yaw: float, s: dict[str, float], item: Loose) -> Aim:
        target, fit = self._grasp(item)
        off = math.hypot(p[0] - target[0], p[1] - target[1])
        turn = half_turn(fit - yaw)
        grasp_z = max(0.014, target[2] - 0.004)
        # Descend in a funnel: the closer to the axis of the grasp, the lower.
        ready = off < 0.012 and abs(turn) < 0.2
        low = p[2] < grasp_z + 0.05 and off < 0.02
        z = grasp_z if ready or low else max(0.13, min(_TRAVEL_Z, 0.10 + off))
        # A force means that a finger stands on a neighbour or on an edge.
        pushed = abs(s["wrench.fz"]) > 10.0 and p[2] < 0.14
        if pushed and (p[2] > grasp_z + 0.008 or abs(s["wrench.fz"]) > 25.0):
            self._fail(blocked=True)
            return Aim(p + _UP, yaw, False, self.speed)
        if (p[2] < grasp_z + 0.005 and off < 0.014) or pushed:
            return Aim(p.copy(), yaw, True, self.speed)
        # Between a contact and the answer to it the tool moves on for 0.3 s.
        speed = self.speed if p[2] > grasp_z + 0.07 else (0.10 if p[2] > grasp_z + 0.04 else 0.06)
        return Aim(np.array([target[0], target[1], z]), fit, False, speed)

    # --- with an item in the jaws -------------------------------------------------------------

    def _carry(self, p: Vec, yaw: float, t_s: float) -> Aim:
        asked, self._blocked = self._asked(), 0
        if asked is None or self._held(p) != asked[0]:
            return self._put(p, yaw, self._room(p), 0.07)  # nobody asked for this one
        if asked[1]:
            self._leaving, self._since = False, None
            return self._put(p, yaw, TOTES[asked[1]].centre[:2], 0.115)
        return self._present(p, yaw, t_s)

    def _present(self, p: Vec, yaw: float, t_s: float) -> Aim:
        x, y, z = SCAN.centre
        there = math.hypot(p[0] - x, p[1] - y) < 0.02 and abs(p[2] - z) < 0.02
        if self._leaving or not there:
            self._since = None
        elif self._since is None:
            self._since = t_s
        elif t_s - self._since > _UNREAD_S:
            self._leaving, self._since = True, None
        if self._leaving:
            self._leaving = bool(p[2] < _AWAY_Z)
            return Aim(np.array([x, y, _AWAY_Z + 0.01]), yaw, True, self.speed)
        if p[2] < 0.15 and p[0] > 0.34:
            return Aim(np.array([p[0], p[1], z]), yaw, True, self.speed)
        return Aim(np.array([x, y, z]), 0.0, True, self.speed)

    def _room(self, p: Vec) -> tuple[float, float]:
        """The place (x, y) [m] in the bin that is farthest from all items but the one that the jaws
        hold at `p` (3,) [m]."""
        held = self._held(p)
        lie = [self._place(i.loose) for i in self._items() if i.loose.body != held]
        (cx, cy, _), (hx, hy, _) = BIN.centre, BIN.half
        places = [(cx + a * hx, cy + b * hy) for a in _SHARES for b in _SHARES]
        return max(places, key=lambda xy: min([math.dist(xy, i[:2]) for i in lie], default=0.0))

    def _put(self, p: Vec, yaw: float, at: tuple[float, float], z: float) -> Aim:
        """Let go of what the jaws hold at the place `at` (x, y) and the height `z` [m]."""
        x, y = at
        if abs(p[0] - x) < 0.04 and abs(p[1] - y) < 0.04:
            if p[2] < z + 0.012:
                return Aim(p, yaw, False, self.speed)
            return Aim(np.array([x, y, z]), yaw, True, 0.22)
        if p[2] < 0.16:
            return Aim(np.array([p[0], p[1], _TRAVEL_Z]), yaw, True, self.speed)
        return Aim(np.array([x, y, _TRAVEL_Z]), 0.0, True, self.speed)


def connect(world: World, *, disturb: float = 0.0, cameras: tuple[str, ...] = ()) -> Expert:
    """The expert in `world`; `disturb` and `cameras` as in `Scripted`. Raises ConfigError for a
    world that is not the simulated cell with the scene that the expert knows."""
    return Expert(cell_with(world, "returns"), disturb=disturb, cameras=cameras)
