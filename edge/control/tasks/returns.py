"""Which phase of handling returned goods the robot is in, judged by its own sensors: the gripper,
the TCP position, the configured zones, and what the station says of the order; never by the pose of
an object.

Each line of an order is about one item, which is picked from the source, presented to the scanner,
and put into the tote that the station then names. What the station asks for is the instruction of
the policy. The episode is done when the station has closed all lines. Without a station there is
one item, no scanner that tells anything, and the task is done when the item has been put down.
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
    PRESENT = 4  # holding an item at the scanner, which has not read it yet
    TRANSPORT = 5  # holding an item above `clear_z`, or over a tote
    RETREAT = 6  # after letting go over a tote, until the station closes the line
    RECOVER = 7  # after a retry: open jaws until above `clear_z`, an unread item until taken away


PHASES = tuple(phase.name.lower() for phase in Phase)
Waits = Annotated[float, Meta(ge=0.0, le=60.0)]  # [s]


class Config(config.Struct, frozen=True):
    """The keys of `[task]` for this kind, beyond those that all kinds have: where items are picked,
    where the TCP presents them to the scanner, and the totes `blue` and `yellow`."""

    source: Zone
    scan: Zone
    blue: Zone
    yellow: Zone
    # heights of the TCP in the base frame [m]
    scan_low_z: Place = 0.15  # between these two the scanner sees what the jaws hold
    scan_high_z: Place = 0.28
    clear_z: Place = 0.17  # above this the tool passes over everything
    low_z: Place = 0.12  # below this the open jaws are descending to the item
    empty_width: NotNegative = 0.004  # jaws closed further than this hold nothing [m]
    # jaws that have not moved for this long have finished closing [s]
    settle_s: Waits = 0.12
    open_fraction: Fraction = 0.5  # a commanded width below this share of the stroke means "close"
    unread_s: Waits = 2.2  # an item presented for longer has to be taken away and shown again
    unconfirmed_s: Waits = 5.0  # an item put down for longer has to be put down again


check = check_world


def make(cfg: Config, about: TaskAbout) -> Returns:
    """The task for one episode. Raises ConfigError for a robot without a gripper."""
    return Returns(cfg, about, stroke_of(about, "returns"))


class Returns:
    """The task in one episode. `holding`: whether the jaws hold an item; `read`: whether a barcode
    has been read for the due line. Whether the right items are in the totes only the world can
    tell: `outcome` is None."""

    phases = PHASES

    def __init__(self, cfg: Config, about: TaskAbout, stroke: float) -> None:
        """`stroke` [m] of the gripper. `about.happened` is called with the width of the jaws and x,
        y, z of the TCP in the base frame [m]."""
        self.cfg, self._happened = cfg, about.happened
        self.phase: int = Phase.APPROACH
        self.retries = 0
        self.done = self.holding = self.read = False
        self.outcome: bool | None = None
        self.goal: Pose | None = None
        self.instruction: str | None = None
        self._totes = (cfg.blue, cfg.yellow)
        self._order: OrderState | None = None  # what the station said last
        self._line: int | None = None  # the due one, None before the station has said it
        self._closed_on_nothing = False
        self._jaws = Closing(cfg.open_fraction * stroke, cfg.settle_s)
        self._waited_s = 0.0  # how long the station has been shown what it does not see

    @property
    def recovering(self) -> bool:
        """Whether the robot gets ready to try again: with open jaws, or to present an item anew."""
        return self.phase == Phase.RECOVER

    def step(self, sensed: Sensed) -> None:
        """See `headway.edge.control.tasks.Task`. Nothing but the due line changes without samples
        of both arm and gripper, or with a value that is not finite."""
        state, grip, dt = sensed.state, sensed.grip, sensed.dt
        if sensed.order is not None:
            self._hear(sensed.order)
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
            self.phase, self._waited_s = Phase.GRASP, 0.0
        if jaws.closing:
            self._while_closed(x, y, z, width, dt)
        else:
            self._while_open(x, y, z, width, dt)
        if sensed.order is not None and sensed.order.line >= sensed.order.lines and not self.done:
            self.done = True
            self._say(EventKind.TASK_DONE, "done", x, y, z, width)

    def _hear(self, order: OrderState) -> None:
        """Take in what the station says anew. What lies in a tote and weighs wrong has to be put
        right, which is a retry."""
        if order is self._order:
            return
        last, self._order = self._order, order
        self.retries += order.mismatch and not (last is not None and last.mismatch)
        if order.line != self._line:
            self._line, self.read = order.line, False
            if self.phase == Phase.RETREAT:
                self.phase = Phase.APPROACH
        elif (order.instruction or None) != self.instruction or order.barcode == 1.0:
            self.read = True
        self.instruction = order.instruction or None

    def _while_closed(self, x: float, y: float, z: float, width: float, dt: float) -> None:
        settled = self._jaws.settled
        if width < self.cfg.empty_width:
            if self.holding or (settled and not self._closed_on_nothing):
                if self.holding:
                    self._retry(EventKind.ITEM_LOST, "item lost", x, y, z, width)
                else:
                    self._retry(EventKind.CLOSED_ON_NOTHING, "closed on nothing", x, y, z, width)
                self._closed_on_nothing = True
                self.holding = False
            return
        if not self.holding and settled and not self._closed_on_nothing:
            self.holding = True
            self._say(EventKind.ITEM_HELD, "item held", x, y, z, width)
        if self.holding:
            self._while_holding(x, y, z, width, dt)

    def _while_holding(self, x: float, y: float, z: float, width: float, dt: float) -> None:
        c = self.cfg
        shown = c.scan.holds(x, y) and c.scan_low_z < z < c.scan_high_z and self._line is not None
        if shown and not self.read:
            if self.phase == Phase.RECOVER:
                return
            self.phase = Phase.PRESENT
            self._waited_s += dt
            if self._waited_s > c.unread_s:
                self._retry(EventKind.NOT_READ, "presented, but not read", x, y, z, width)
            return
        self._waited_s = 0.0
        over = any(tote.holds(x, y) for tote in self._totes)
        self.phase = Phase.TRANSPORT if z > c.clear_z or over else Phase.LIFT

    def _while_open(self, x: float, y: float, z: float, width: float, dt: float) -> None:
        c = self.cfg
        if self._jaws.was_closing and self.holding:
            self.holding, self._waited_s = False, 0.0
            if any(tote.holds(x, y) for tote in self._totes):
                self.phase = Phase.RETREAT
                text = "released over a tote"
                self._say(EventKind.RELEASED_AT_TARGET, text, x, y, z, width)
            else:
                text = "released elsewhere"
                self._retry(EventKind.RELEASED_ELSEWHERE, text, x, y, z, width)
        if self.phase == Phase.RETREAT:
            self._while_waiting(x, y, z, width, dt)
        elif self.phase != Phase.RECOVER or z > c.clear_z:
            low = z < c.low_z and c.source.holds(x, y)
            self.phase = Phase.DESCEND if low else Phase.APPROACH

    def _while_waiting(self, x: float, y: float, z: float, width: float, dt: float) -> None:
        if self._line is None:
            if z > self.cfg.clear_z and not self.done:
                self.done = True
                self._say(EventKind.TASK_DONE, "done", x, y, z, width)
            return
        self._waited_s += dt
        if self._waited_s > self.cfg.unconfirmed_s:
            self._retry(EventKind.NOT_CONFIRMED, "put down, but not confirmed", x, y, z, width)

    def _retry(self, kind: EventKind, text: str, *at: float) -> None:
        self.retries += 1
        self.phase, self._waited_s = Phase.RECOVER, 0.0
        self._say(kind, text, *at)

    def _say(self, kind: EventKind, text: str, x: float, y: float, z: float, width: float) -> None:
        self._happened(kind, text, {"x": x, "y": y, "z": z, "width": width})
