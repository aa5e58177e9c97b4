"""The Franka Hand, over franky's Gripper: a connection of its own, beside that of the arm.

A thread of its own (`drivers.bus`) talks to the hand, so the arm's loop never waits for it. The
hand carries out one motion after the other, in two kinds. `move` goes to an opening, and holds
nothing. `grasp` closes until it meets something, and goes on pressing. So a command to open, or to
an opening wider than `grasp_below`, is a move; one that closes further is a grasp with the
command's force. A new goal stops the motion before it; goals that differ by less than `step` are
the same one.

`open` moves nothing. `activate` homes the hand where it does not know how far it opens, which
closes and opens the jaws. When its host dies, the hand finishes its motion, and goes on pressing.
"""

from __future__ import annotations

import contextlib
import math
from types import ModuleType
from typing import Annotated, Any, NamedTuple

from msgspec import Meta

from headway.clock import NS, Clock
from headway.config import Positive, Struct
from headway.drivers import Context
from headway.drivers.arms.franka import library
from headway.drivers.bus import Bus
from headway.drivers.counts import Counts
from headway.errors import DeviceError
from headway.types import GripperState, Health, Info, Sample, Stamp

# Of the Franka Hand, by its data sheet.
STROKE = 0.08  # [m]
SPEED_MAX = 0.1  # [m/s], both fingers together
FORCE_MAX = 70.0  # [N], that it keeps pressing with
_HOMED = 1e-3  # [m]: a hand that was not homed says that it opens by nothing


class Config(Struct, frozen=True):
    """Keys of `[gripper]` for the kind `franka`. `host`: the address of the robot's controller, as
    of the arm. `speed` [m/s] of the jaws. `grasp_below` [m]: a command to close to less is a grasp.
    `step` [m]: goals that differ by less are the same one. `rate_hz` [Hz] of samples."""

    host: Annotated[str, Meta(min_length=1)] = "172.16.0.2"
    rate_hz: Annotated[float, Meta(ge=1.0, le=100.0)] = 20.0
    speed: Annotated[float, Meta(gt=0.0, le=SPEED_MAX)] = SPEED_MAX
    grasp_below: Annotated[float, Meta(ge=0.0, le=STROKE)] = 0.01
    step: Positive = 0.001


class Goal(NamedTuple):
    """What the hand shall do: go to the opening `width` [m] with `force` [N], stop where it is
    (`stop`), or home itself (`home`)."""

    width: float = 0.0
    force: float = 0.0
    stop: bool = False
    home: bool = False


class FrankaHand:
    """The hand that `cfg` describes; `franky` is the library."""

    waits = True

    def __init__(self, franky: ModuleType, clock: Clock, cfg: Config) -> None:
        self._franky, self.clock, self.cfg = franky, clock, cfg
        self.stroke = STROKE
        self.info = Info("franka", "Franka Hand", uri=f"{cfg.host}#hand")
        self.counts = Counts(clock, round(NS / cfg.rate_hz))
        self._bus: Bus[Goal, Any] = Bus("the Franka Hand", self._exchange, clock, cfg.rate_hz)
        self._number = 0  # of the exchange that was given last
        self._hand: Any = None
        self._ready = False  # homed, so it takes goals; written by the bus's thread as well
        # Of the bus's thread alone:
        self._motion: Any = None  # a future of what it does now
        self._doing = Goal()
        self._goal: Goal | None = None  # newest, that was not begun
        self._blocked = False  # the last motion did not get where it should

    def open(self, timeout_s: float) -> None:
        if self.counts.state == "ok":
            return
        self._bus.close()
        try:
            self._hand = self._franky.Gripper(self.cfg.host)
            state = self._hand.state
        except (self._franky.Exception, RuntimeError) as e:
            raise DeviceError(
                f"wanted a Franka Hand at {self.cfg.host}, found: {e}: is it mounted, and is `End "
                "effector` set to it in Desk?"
            ) from None
        self._ready = state.max_width > _HOMED
        self._motion, self._goal, self._blocked = None, None, False
        self._doing = Goal(state.width, 0.0)
        self._number = 0
        self._bus.reset()
        self._bus.start()
        self.counts.opened()

    def _exchange(self, goal: Goal | None) -> Any:
        """Begin what is due, and read the state. Raises DeviceError when the hand is lost."""
        hand, franky = self._hand, self._franky
        try:
            self._finish()
            if goal is not None:
                self._take(goal)
            if self._goal is not None and self._motion is None:
                self._begin(self._goal)
                self._goal = None
            return hand.state
        except (franky.Exception, RuntimeError) as e:
            raise DeviceError(f"lost the Franka Hand at {self.cfg.host}: {e}") from None

    def _finish(self) -> None:
        """Look whether the motion has ended, and how."""
        if self._motion is None or not self._motion.wait(0.0):
            return
        motion, self._motion = self._motion, None
        good = False
        with contextlib.suppress(self._franky.CommandException):  # it was stopped, or is blocked
            good = bool(motion.get())
        self._blocked = not good
        self._ready = self._ready or (self._doing.home and good)

    def _take(self, goal: Goal) -> None:
        """Let `goal` be the next one; what it replaces is stopped."""
        if goal.stop:
            self._goal = None
            if not self._doing.home:  # the goal of before, when it is given again, is a new one
                self._doing = Goal(self._hand.state.width, 0.0)
        elif goal.home or self._differs(goal):
            self._goal = goal
        else:
            return
        if self._motion is not None:
            self._hand.stop()  # the motion's future is ready then

    def _differs(self, goal: Goal) -> bool:
        """Whether `goal` is another one than what the hand does, or did last."""
        last = self._goal or self._doing
        if self._grasps(goal) != self._grasps(last):
            return True
        if self._grasps(goal):  # how far it closes is up to what is between the jaws
            return goal.force != last.force
        return last.home or abs(goal.width - last.width) >= self.cfg.step

    def _grasps(self, goal: Goal) -> bool:
        return not goal.home and goal.force > 0.0 and goal.width < self.cfg.grasp_below

    def _begin(self, goal: Goal) -> None:
        hand, speed = self._hand, self.cfg.speed
        self._doing, self._blocked = goal, False
        if goal.home:
            self._motion = hand.homing_async()
        elif self._grasps(goal):
            # Whatever the jaws meet counts as grasped, however wide it is.
            self._motion = hand.grasp_async(goal.width, speed, goal.force, STROKE, STROKE)
        else:
            self._motion = hand.move_async(goal.width, speed)

    def read(self, timeout_s: float) -> Sample[GripperState]:
        if self.counts.state == "closed":
            raise DeviceError("the Franka Hand is closed: open it before reading")
        try:
            self._number, arrival, state = self._bus.newest(self._number, timeout_s)
        except DeviceError:
            if self._bus.fault:
                self.counts.state = "fault"
            raise
        width = float(state.width)
        valid = self._ready and math.isfinite(width)
        flags: tuple[str, ...] = () if self._ready else ("not homed",)
        if self._blocked:
            flags += ("blocked",)
        seq = self.counts.sample(arrival, valid)
        force = self._doing.force if state.is_grasped else 0.0
        value = GripperState(width, self._doing.width, force)
        stamp = Stamp(arrival, arrival, seq, error_ns=self.counts.period_ns)
        return Sample(stamp, value, valid, flags)

    def activate(self) -> None:
        """Leave a fault, and home the hand where it does not know how far it opens: the jaws close
        and open then, and what they hold falls. Returns at once; until it is done, samples are not
        valid and have the flag "not homed"."""
        if self._hand is None:
            raise DeviceError("the Franka Hand is closed: open it before activate()")
        self._bus.reset()
        if not self._ready:
            self._bus.command(Goal(home=True))

    def command(self, width: float, *, force: float) -> None:
        if not (math.isfinite(width) and math.isfinite(force)):
            raise DeviceError(
                f"the Franka Hand wants finite numbers, found width {width}, force {force}"
            )
        if not self._ready:
            raise DeviceError("the Franka Hand was not homed: activate() it, and wait for it")
        goal = Goal(min(max(width, 0.0), STROKE), min(max(force, 0.0), FORCE_MAX))
        self._bus.command(goal)

    def stop(self) -> None:
        if self._hand is not None and not self._bus.fault:
            self._bus.command(Goal(stop=True))

    def close(self) -> None:
        self._bus.close()
        self._hand = None
        if self.counts.state == "ok":
            self.counts.state = "closed"

    def health(self) -> Health:
        return self.counts.health()


def connect(cfg: Config, ctx: Context) -> FrankaHand:
    """The hand that `cfg` describes, not open yet. Raises Missing without the library."""
    return FrankaHand(library(), ctx.clock, cfg)
