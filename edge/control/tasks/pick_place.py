"""Which phase of a pick-and-place task the robot is in, judged by its own sensors: the gripper, the
TCP position and the configured zones, never by the pose of an object. The phase and the retries go
into PRO's status features; `done` ends the episode.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated

from msgspec import Meta

from headway import config
from headway.config import Fraction, NotNegative, Positive
from headway.edge.control.events import EventKind


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


Place = Annotated[float, Meta(ge=-10.0, le=10.0)]  # a coordinate within reach of any arm [m]


class ZoneConfig(config.Struct, frozen=True):
    """A rectangle on the table, in the base frame: its centre (x, y) and half its size [m]."""

    centre: tuple[Place, Place]
    half: tuple[Positive, Positive]

    def holds(self, x: float, y: float) -> bool:
        """Whether the point (`x`, `y`) [m] in the base frame lies in the rectangle."""
        return abs(x - self.centre[0]) < self.half[0] and abs(y - self.centre[1]) < self.half[1]


class TaskConfig(config.Struct, frozen=True):
    """The `[task]` section: one pick from `source` to `target`."""

    source: ZoneConfig
    target: ZoneConfig
    # which task PRO is told of: 0 pick-and-place, 1 box opening, 2 returns
    index: Annotated[int, Meta(ge=0, le=2)] = 0
    limit_s: Positive = 18.0  # time limit of an episode [s]
    # heights of the TCP in the base frame [m]
    clear_z: Place = 0.18  # above this the tool passes over everything
    low_z: Place = 0.12  # below this the open jaws are descending to the item
    done_z: Place = 0.22  # above this the tool has retreated after placing
    empty_width: NotNegative = 0.004  # jaws closed further than this hold nothing [m]
    # jaws that have not moved for this long have finished closing [s]
    settle_s: Annotated[float, Meta(ge=0.0, le=60.0)] = 0.12
    open_fraction: Fraction = 0.5  # a commanded width below this share of the stroke means "close"


# Is called with the event's kind, a text for people, and the numbers of the event: the width of the
# jaws and x, y, z of the TCP in the base frame [m], by name.
OnEvent = Callable[[EventKind, str, dict[str, float]], None]


def _nobody(kind: EventKind, text: str, numbers: dict[str, float]) -> None:
    """The default of `on_event`: does nothing."""


@dataclass(slots=True)
class TaskMonitor:
    """Call `step` once per tick. `stroke` [m] of the gripper; `on_event` is called in the tick in
    which an event happens. `phase`, `retries`, `done` and `holding` (an item) are the state."""

    cfg: TaskConfig
    stroke: float
    on_event: OnEvent = _nobody
    phase: Phase = Phase.APPROACH
    retries: int = 0
    done: bool = False
    holding: bool = False
    _was_closing: bool = False
    _still_s: float = 0.0
    _last_width: float = 0.0
    _closed_on_nothing: bool = False

    def step(
        self, x: float, y: float, z: float, width: float, width_ref: float, dt: float
    ) -> Phase:
        """The phase after this tick: `x`, `y`, `z` of the TCP in the base frame [m], jaw opening
        `width` and its last command `width_ref` [m], and `dt` [s] since the last tick. With a value
        that is not finite nothing changes."""
        c = self.cfg
        if not math.isfinite(x + y + z + width + width_ref):
            return self.phase
        closing = width_ref < c.open_fraction * self.stroke
        # `_last_width` follows the width with a time constant of 10 ms. Encoder noise is 0.1 mm; a
        # jaw that closes by 0.24 mm per 2 ms tick is 1.2 mm ahead of it.
        moving = abs(width - self._last_width) > 0.0008
        self._last_width += (width - self._last_width) * min(1.0, dt / 0.01)
        self._still_s = 0.0 if moving else self._still_s + dt
        settled = self._still_s >= c.settle_s
        if closing and not self._was_closing:
            self._still_s, settled, self._closed_on_nothing = 0.0, False, False
            self.phase = Phase.GRASP
        if closing:
            self._while_closed(x, y, z, width, settled)
        else:
            self._while_open(x, y, z, width)
        self._was_closing = closing
        return self.phase

    def _while_closed(self, x: float, y: float, z: float, width: float, settled: bool) -> None:
        c = self.cfg
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
        if self._was_closing:
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
            if z > c.done_z and not self.done:
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
        self.on_event(kind, text, {"x": x, "y": y, "z": z, "width": width})
