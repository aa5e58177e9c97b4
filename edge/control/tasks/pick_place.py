"""Which part of the task the robot is in, as its own sensors tell: gripper, TCP and the station's
layout. It never sees an object's pose. Its phase, retries and `done` are what PRO's status features
and the end of an episode are made of.
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
    APPROACH = 0
    DESCEND = 1
    GRASP = 2
    LIFT = 3
    TRANSPORT = 4
    PLACE = 5
    RETREAT = 6
    RECOVER = 7


Place = Annotated[float, Meta(ge=-10.0, le=10.0)]  # a coordinate within reach of any arm [m]


class ZoneConfig(config.Struct, frozen=True):
    """A box on the table [m]."""

    centre: tuple[Place, Place]
    half: tuple[Positive, Positive]

    def holds(self, x: float, y: float) -> bool:
        """Whether a point (base frame) lies in it."""
        return abs(x - self.centre[0]) < self.half[0] and abs(y - self.centre[1]) < self.half[1]


class TaskConfig(config.Struct, frozen=True):
    """The `[task]` section: one pick from `source` to `target`."""

    source: ZoneConfig
    target: ZoneConfig
    # 0 pick-and-place, 1 box opening, 2 returns
    index: Annotated[int, Meta(ge=0, le=2)] = 0
    limit_s: Positive = 18.0
    clear_z: Place = 0.18  # above this the tool passes over everything [m]
    low_z: Place = 0.12  # below this it works in a zone
    done_z: Place = 0.22  # retreated after placing
    empty_width: NotNegative = 0.004  # jaws closed further than this hold nothing [m]
    settle_s: Annotated[float, Meta(ge=0.0, le=60.0)] = 0.12  # jaws so long still have closed
    open_fraction: Fraction = 0.5  # a commanded width below this share of the stroke means "close"


# Called with the kind, a text for people, and the jaw width and TCP position [m] by name.
OnEvent = Callable[[EventKind, str, dict[str, float]], None]


def _nobody(kind: EventKind, text: str, numbers: dict[str, float]) -> None:
    """Nobody wants to know."""


@dataclass(slots=True)
class TaskMonitor:
    """`step` once per tick. `stroke` [m] of the gripper; `on_event` is called with what happens, in
    the tick in which it does."""

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
        """TCP position [m], jaw width and its command [m], seconds since the last tick. With a NaN
        among them nothing changes."""
        c = self.cfg
        if not math.isfinite(x + y + z + width + width_ref):
            return self.phase
        closing = width_ref < c.open_fraction * self.stroke
        # Encoder noise is 0.1 mm; a closing jaw moves 0.24 mm per 2 ms tick.
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
