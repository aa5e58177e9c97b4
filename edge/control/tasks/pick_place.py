"""Which phase of a pick-and-place task the robot is in, judged by its own sensors: the gripper, the
TCP position and the configured zones, never by the pose of an object. The phase and the retries go
into PRO's status features; `done` ends the episode.

Without a station the episode is one pick. With one it is an order: its lines are worked on one
after the other, each with the instruction that the station gives, until the station has closed all
of them.
"""

from __future__ import annotations

import math
from enum import IntEnum
from typing import Annotated

from msgspec import Meta

from headway import config
from headway.config import Fraction, NotNegative
from headway.edge.control.events import EventKind
from headway.edge.control.tasks import Place, Sensed, TaskAbout
from headway.edge.control.tasks._cells import Closing, Zone, check_world, stroke_of
from headway.types import OrderState, Pose


class Phase(IntEnum):
    """The phases of the task; the column `phase` of telemetry holds these numbers."""

    APPROACH = 0
    DESCEND = 1
    GRASP = 2
    LIFT = 3
    TRANSPORT = 4
    PLACE = 5
    RETREAT = 6
    RECOVER = 7  # after a retry, until the open jaws are above `clear_z`


PHASES = tuple(phase.name.lower() for phase in Phase)


class Config(config.Struct, frozen=True):
    """The keys of `[task]` for this kind, beyond those that all kinds have: picks from `source` to
    `target`."""

    source: Zone
    target: Zone
    # heights of the TCP in the base frame [m]
    clear_z: Place = 0.18  # above this the tool passes over everything
    low_z: Place = 0.12  # below this the open jaws are descending to the item
    done_z: Place = 0.22  # above this the tool has retreated after placing
    empty_width: NotNegative = 0.004  # jaws closed further than this hold nothing [m]
    # jaws that have not moved for this long have finished closing [s]
    settle_s: Annotated[float, Meta(ge=0.0, le=60.0)] = 0.12
    open_fraction: Fraction = 0.5  # a commanded width below this share of the stroke means "close"


check = check_world


def make(cfg: Config, about: TaskAbout) -> PickPlace:
    """The task for one episode. Raises ConfigError for a robot without a gripper."""
    return PickPlace(cfg, about, stroke_of(about, "pick_place"))


class PickPlace:
    """The task in one episode. `holding`: whether the jaws hold an item. `instruction`: what the
    station asks for, None without one. Whether the right items are at the target only the world
    can tell: `outcome` is None."""

    phases = PHASES

    def __init__(self, cfg: Config, about: TaskAbout, stroke: float) -> None:
        """`stroke` [m] of the gripper. `about.happened` is called with the width of the jaws and x,
        y, z of the TCP in the base frame [m]."""
        self.cfg, self._happened = cfg, about.happened
        self.phase: int = Phase.APPROACH
        self.retries = 0
        self.done = self.holding = False
        self.outcome: bool | None = None
        self.goal: Pose | None = None
        self.instruction: str | None = None
        self._order: OrderState | None = None  # what the station said last
        self._closed_on_nothing = False
        self._jaws = Closing(cfg.open_fraction * stroke, cfg.settle_s)

    @property
    def recovering(self) -> bool:
        """Whether the open jaws are on their way up after a retry."""
        return self.phase == Phase.RECOVER

    def step(self, sensed: Sensed) -> None:
        """See `headway.edge.control.tasks.Task`. But for what the station says, nothing changes
        without samples of both arm and gripper, or with a value that is not finite."""
        if sensed.order is not None and sensed.order is not self._order:
            self._follow(sensed.order)
        state, grip, dt = sensed.state, sensed.grip, sensed.dt
        if state is None or grip is None:
            return
        x, y, z = state.tcp.pos.tolist()
        width, width_ref = grip.width, grip.width_ref
        if not math.isfinite(x + y + z + width + width_ref):
            return
        jaws = self._jaws
        jaws.step(width, width_ref, dt)
        if jaws.begins:
            self._closed_on_nothing = False
            self.phase = Phase.GRASP
        if jaws.closing:
            self._while_closed(x, y, z, width)
        else:
            self._while_open(x, y, z, width)

    def _follow(self, order: OrderState) -> None:
        """Take in what the station says anew. What lies at the target and weighs wrong has to be
        put right, which is a retry; a line that is due begins with the approach, unless the robot
        has begun already."""
        last, self._order = self._order, order
        if order.mismatch and not (last is not None and last.mismatch):
            self.retries += 1
        if order.line >= order.lines > 0:
            if not self.done:
                self.done = True
                self._happened(EventKind.TASK_DONE, "the order is complete", {})
            return
        self.instruction = order.instruction
        if last is not None and order.line != last.line and self.phase == Phase.RETREAT:
            self.phase = Phase.APPROACH

    def _while_closed(self, x: float, y: float, z: float, width: float) -> None:
        c, settled = self.cfg, self._jaws.settled
        if width < c.empty_width:
            if self.holding or (settled and not self._closed_on_nothing):
                if self.holding:
                    self._say(EventKind.ITEM_LOST, "item lost", x, y, z, width)
                else:
                    self._say(EventKind.CLOSED_ON_NOTHING, "closed on nothing", x, y, z, width)
                self.retries += 1
                self._closed_on_nothing = True
                self.holding = False
                self.phase = Phase.RECOVER
            return
        if not self.holding and settled and not self._closed_on_nothing:
            self.holding = True
            self._say(EventKind.ITEM_HELD, "item held", x, y, z, width)
        if self.holding:
            if c.target.holds(x, y):
                self.phase = Phase.PLACE
            else:
                self.phase = Phase.TRANSPORT if z > c.clear_z else Phase.LIFT

    def _while_open(self, x: float, y: float, z: float, width: float) -> None:
        c = self.cfg
        if self._jaws.was_closing:
            if self.holding and c.target.holds(x, y):
                self.phase = Phase.RETREAT
                text = "released over the target"
                self._say(EventKind.RELEASED_AT_TARGET, text, x, y, z, width)
            elif self.holding:
                self.retries += 1
                self.phase = Phase.RECOVER
                text = "released outside the target"
                self._say(EventKind.RELEASED_ELSEWHERE, text, x, y, z, width)
            self.holding = False
        if self.phase == Phase.RETREAT:
            if z > c.done_z and self._order is not None:
                self.phase = Phase.APPROACH  # the station says when all is done
            elif z > c.done_z and not self.done:
                self.done = True
                self._say(EventKind.TASK_DONE, "done", x, y, z, width)
            return
        low = z < c.low_z and c.source.holds(x, y)
        if self.phase == Phase.RECOVER:
            if z > c.clear_z:
                self.phase = Phase.APPROACH
        else:
            self.phase = Phase.DESCEND if low else Phase.APPROACH

    def _say(self, kind: EventKind, text: str, x: float, y: float, z: float, width: float) -> None:
        self._happened(kind, text, {"x": x, "y": y, "z": z, "width": width})
