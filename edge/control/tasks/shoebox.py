"""Which phase of opening latched boxes the robot is in, judged by its own sensors alone: the force
at the wrist, the jaws and the TCP, and what the station says of the order; never by the pose of an
object.

The closed jaws press a pad until its latch clicks, which is felt as a force that falls off while
the tool stays down. Then the open jaws reach for the lid's fin, pinch it, and lift it in an arc
until the lid is over its hinge. The phase and the retries go into PRO's status features; `done`
ends the episode.
"""

from __future__ import annotations

import math
from collections import deque
from enum import IntEnum
from typing import Annotated

from msgspec import Meta

from headway import config
from headway.config import Fraction, NotNegative, Positive, Seconds
from headway.edge.control.events import EventKind
from headway.edge.control.tasks import Place, Sensed, TaskAbout
from headway.edge.control.tasks._cells import Closing, check_world, stroke_of
from headway.types import OrderState, Pose


class Phase(IntEnum):
    """The phases of the task; the column `phase` of telemetry holds these numbers."""

    APPROACH = 0  # on the way to a pad
    PRESS = 1  # the closed jaws press on something
    REACH = 2  # the click was felt: on the way to the fin
    GRIP = 3  # the jaws close on the fin
    LIFT = 4  # they hold it
    RELEASE = 5  # the lid was let go beyond its hinge: until the station confirms
    RECOVER = 6  # after a failed attempt, until the tool is above `clear_z`


PHASES = tuple(phase.name.lower() for phase in Phase)


class Config(config.Struct, frozen=True):
    """The keys of `[task]` for this kind, beyond those that all kinds have."""

    clear_z: Place = 0.165  # above this the TCP is clear of all boxes with shut lids [m]
    touch_force: Positive = 3.0  # a push of more than this is a contact [N]
    click_force: Positive = 5.0  # least force at which a latch clicks [N]
    click_drop: Fraction = 0.4  # share of the force that falls off at a click
    click_s: Seconds = 0.05  # within this time
    click_rise: Positive = 0.0003  # a tool that has risen more than this lets go by itself [m]
    released_s: Seconds = 8.0  # for how long after the click a latch stays released
    open_angle: Positive = 1.5  # by which a lid was turned that stays open [rad]
    # height of the pinched point above the hinge, as an angle seen from the hinge [rad]
    pinch_angle: NotNegative = 0.2
    confirm_s: Seconds = 6.0  # the station confirms an open lid within this time
    done_z: Place = 0.22  # without a station: above this the tool has retreated [m]
    empty_width: NotNegative = 0.004  # jaws closed further than this hold nothing [m]
    most_width: NotNegative = 0.03  # jaws that are further open have not closed on a fin [m]
    # jaws that have not moved for this long have finished closing [s]
    settle_s: Annotated[float, Meta(ge=0.0, le=60.0)] = 0.12
    open_fraction: Fraction = 0.5  # a commanded width below this share of the stroke means "close"


check = check_world


def make(cfg: Config, about: TaskAbout) -> Shoebox:
    """The task for one episode. Raises ConfigError for a robot without a gripper."""
    return Shoebox(cfg, about, stroke_of(about, "shoebox"))


class Shoebox:
    """The task in one episode. `holding`: whether the jaws hold a fin. Whether the right lid is
    open only the station can tell: `outcome` is None. Without a station, one lid is opened."""

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
        self._confirmed = False  # the station closed the line while the jaws still held the fin
        self._now = 0.0  # [s]
        self._at = (0.0, 0.0, 0.0, 0.0)  # x, y, z of the TCP and the width of the jaws [m]
        self._said_empty = False
        self._jaws = Closing(cfg.open_fraction * stroke, cfg.settle_s)
        self._clicked_s: float | None = None  # when the click was felt [s]
        self._let_go_s = 0.0  # when the lid was let go beyond its hinge [s]
        self._peak = self._low = 0.0  # of the present press: largest force [N], lowest z [m]
        self._lately: deque[tuple[float, float]] = deque()  # times [s] and pushes [N] of click_s
        self._free = False  # whether the jaws touched nothing since the last click
        self._pinched = (0.0, 0.0, 0.0)  # where the fin was pinched, base frame [m]

    @property
    def recovering(self) -> bool:
        """Whether the tool is on its way up after a failed attempt."""
        return self.phase == Phase.RECOVER

    @property
    def _released(self) -> bool:
        """Whether a latch was released, and has not caught again."""
        return self._clicked_s is not None

    def step(self, sensed: Sensed) -> None:
        """See `headway.edge.control.tasks.Task`. But for what the station says, nothing changes
        without samples of both arm and gripper, or with a value that is not finite; without a
        wrench no press is felt."""
        if sensed.order is not None and sensed.order is not self._order:
            self._follow(sensed.order)
        state, grip = sensed.state, sensed.grip
        if state is None or grip is None:
            return
        x, y, z = state.tcp.pos.tolist()
        width, width_ref = grip.width, grip.width_ref
        if not math.isfinite(x + y + z + width + width_ref):
            return
        self._now, self._at = sensed.elapsed, (x, y, z, width)
        if self.done:
            return
        jaws = self._jaws
        jaws.step(width, width_ref, sensed.dt)
        if jaws.begins:
            self._said_empty = False
            if self.phase == Phase.REACH:
                self.phase = Phase.GRIP
        push = 0.0 if sensed.wrench is None else -float(sensed.wrench[2])
        if self._released and not self.holding:
            self._wait_for_lid()
        if jaws.closing:
            self._while_closed(jaws.settled, push)
        else:
            self._while_open()

    def _follow(self, order: OrderState) -> None:
        """Take in what the station says anew. Another line begins with an approach; a lid that was
        opened and should not have been is a failed attempt."""
        last, self._order = self._order, order
        if order.line >= order.lines > 0:
            self._end("the order is complete")
            return
        self.instruction = order.instruction
        if last is not None and order.line != last.line:
            self._clicked_s, self._confirmed = None, self.holding
            if not self.holding:
                self.phase = Phase.APPROACH
        elif order.mismatch and self.phase == Phase.RELEASE:
            self._fail(EventKind.RELEASED_ELSEWHERE, "the station objects to the lid")

    def _while_closed(self, settled: bool, push: float) -> None:
        empty = self._at[3] < self.cfg.empty_width
        if self.holding:
            if not empty:
                self.phase = Phase.LIFT
            elif self._angle() >= self.cfg.open_angle:
                self._let_go("lid opened")  # it fell open and took the fin along
            else:
                self.holding = False
                self._fail(EventKind.ITEM_LOST, "fin lost")
        elif settled and not empty and self._at[3] < self.cfg.most_width:
            self.holding, self._pinched, self.phase = True, self._at[:3], Phase.LIFT
            self._confirmed = False
            self._say(EventKind.ITEM_HELD, "fin held")
        elif settled and self.phase == Phase.GRIP and not self._said_empty:
            self._said_empty = True
            self._fail(EventKind.CLOSED_ON_NOTHING, "closed on nothing")
        elif empty:
            self._press(push)
            self._rise()

    def _press(self, push: float) -> None:
        """Follow a press of the closed jaws with the force `push` [N]."""
        c, z = self.cfg, self._at[2]
        self._lately.append((self._now, push))
        while self._lately[0][0] < self._now - c.click_s:
            self._lately.popleft()
        if self.phase != Phase.PRESS:
            free = all(force < c.touch_force for _, force in self._lately)
            self._free = free or (self._free and self.phase != Phase.RECOVER)
            if push > c.touch_force and self._free and self.phase in (Phase.APPROACH, Phase.REACH):
                self.phase, self._peak, self._low = Phase.PRESS, push, z
            return
        self._peak, self._low = max(self._peak, push), min(self._low, z)
        before = max(force for _, force in self._lately)
        falls = before >= c.click_force and push < (1.0 - c.click_drop) * before
        if falls and z < self._low + c.click_rise:
            self._clicked_s, self.phase, self._free = self._now, Phase.REACH, False
            self._say(EventKind.CLICKED, "the latch clicked")
        elif push < 0.5 * c.touch_force:
            self._end_press()

    def _end_press(self) -> None:
        """The jaws no longer press, and there was no click."""
        if self._peak >= self.cfg.click_force:
            self._fail(EventKind.PRESSED_IN_VAIN, "pressed without a click")
        else:
            self.phase = Phase.REACH if self._released else Phase.APPROACH

    def _while_open(self) -> None:
        c = self.cfg
        if self._jaws.was_closing and self.holding:
            if self._angle() >= c.open_angle:
                self._let_go("released with the lid up")
            else:
                self.holding = False
                self._fail(EventKind.RELEASED_ELSEWHERE, "released before the lid was up")
        elif self.phase == Phase.PRESS:
            self._end_press()
        elif self.phase == Phase.GRIP:
            self.phase = Phase.REACH if self._released else Phase.APPROACH
        if self.phase == Phase.RELEASE:
            if self._order is None and self._at[2] > c.done_z:
                self._end("done")
            elif self._now - self._let_go_s > c.confirm_s:
                self._fail(EventKind.RELEASED_ELSEWHERE, "nobody confirms that the lid is open")
        self._rise()

    def _rise(self) -> None:
        """End a recovery once the tool is up."""
        if self.phase == Phase.RECOVER and self._at[2] > self.cfg.clear_z:
            self.phase = Phase.REACH if self._released else Phase.APPROACH

    def _wait_for_lid(self) -> None:
        """A latch that was released catches again when the lid is not lifted in time."""
        assert self._clicked_s is not None
        if self._now - self._clicked_s > self.cfg.released_s:
            self._clicked_s = None
            self._fail(EventKind.LATCHED, "the latch has caught again")

    def _angle(self) -> float:
        """By how much the lid was turned since its fin was pinched [rad]. The pinched point moves
        on a circle about the hinge; the chord's slope tells the angle, whatever the radius is."""
        (x, y, z, _), (x0, y0, z0) = self._at, self._pinched
        if math.hypot(x - x0, y - y0, z - z0) < 0.02:
            return 0.0
        away = math.copysign(math.hypot(x - x0, y - y0), x - x0)
        return 2.0 * (math.atan2(away, z - z0) - self.cfg.pinch_angle)

    def _let_go(self, text: str) -> None:
        self.holding, self._clicked_s = False, None
        self.phase = Phase.APPROACH if self._confirmed else Phase.RELEASE
        self._let_go_s = self._now
        self._say(EventKind.RELEASED_AT_TARGET, text)

    def _fail(self, kind: EventKind, text: str) -> None:
        self.retries += 1
        self.phase = Phase.RECOVER
        self._say(kind, text)

    def _end(self, text: str) -> None:
        if not self.done:
            self.done = True
            self._say(EventKind.TASK_DONE, text)

    def _say(self, kind: EventKind, text: str) -> None:
        x, y, z, width = self._at
        self._happened(kind, text, {"x": x, "y": y, "z": z, "width": width})
