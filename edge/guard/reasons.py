"""Why a command was not sent as it came: the reasons, and the record that the guard's checks make.

`edge/guard/cpp/reasons.hpp` holds the same record for the compiled core, which hands it to Python
as the `Finding` of this file. Text for people is made from the record when it is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

import msgspec


class Reason(IntEnum):
    """Which check failed, numbered in the order of the guard's checks except for the last three.
    Recordings hold these numbers, so they never change, and a new one goes to the end."""

    OK = 0
    NO_COMMAND = 1  # None instead of a command: there is nothing fresh to do
    NOT_NUMBERS = 2
    NOT_FINITE = 3
    SHAPE = 4
    LATE = 5
    EARLY = 6  # stamped too far in the future: a clock is wrong
    POSITION = 7  # outside the joint limits, or no stop inside them would be left
    VELOCITY = 8
    ACCELERATION = 9
    JERK = 10
    WORKSPACE = 11
    NO_WRENCH = 12
    BAD_WRENCH = 13
    FORCE = 14  # latched until force, torque and power fall below `force_release` of their limits
    NO_STATE = 15
    BAD_STATE = 16
    NOT_POWERED = 17
    PROTECTIVE_STOP = 18  # latched until `Guard.acknowledge`
    NO_SIGNALS = 19
    RISK = 20  # latched until `Guard.acknowledge`
    COLLISION = 21  # checked after WORKSPACE
    POWER = 22  # checked with FORCE, and latched like it
    GRIP = 23  # of the jaws, which `Guard.jaws` checks apart from the joints


class Motion(NamedTuple):
    """What a command asks of one joint: the position `q` [rad], and the velocity `dq` [rad/s] and
    acceleration `ddq` [rad/s^2] that lead to it from the outputs before, as backward differences.
    `ddq_before` [rad/s^2] is the acceleration of the last output; NaN in a chunk of waypoints,
    whose jerk is not checked."""

    q: float
    dq: float
    ddq: float
    ddq_before: float


class Finding(msgspec.Struct, frozen=True):
    """What the first check that failed has found. Values and bounds have the unit of their reason:

    | reason | `index` | `found`, `least`, `most` |
    |---|---|---|
    | POSITION, VELOCITY, ACCELERATION, JERK | joint | rad, rad/s, rad/s^2, rad/s^3 |
    | WORKSPACE | axis of the base frame: 0 x, 1 y, 2 z | position of the TCP [m] |
    | COLLISION | pair of bodies, see `headway.edge.guard.collision.Scene` | distance [m] |
    | NOT_FINITE | joint | the value that came [rad] |
    | LATE, EARLY | | how old the command is, or how far in the future [s] |
    | FORCE, POWER | 0 the force, 1 the torque, 2 the power | N, Nm, W |
    | RISK | | PRO's risk, 0..1 |
    | GRIP | 0 the grip, 1 the force | 0 open to 1 closed, N |
    """

    reason: Reason
    index: int = -1  # -1: the reason has none, or forward kinematics gave no position at all
    stopping: bool = False  # found in the stop that would follow the command, not at the command
    found: float = math.nan
    least: float = -math.inf  # what would have been allowed
    most: float = math.inf
    motion: Motion | None = None  # of the joint, for the four joint limits
    cause: object = None  # what the text names besides: the two bodies, an exception, what came

    @property
    def limit(self) -> float:
        """The bound, `least` or `most`, that `found` lies beyond; inf where there is none."""
        return self.least if self.found < self.least else self.most

    @property
    def numbers(self) -> dict[str, float]:
        """What an event about the finding records: `index`, `found` and `limit`."""
        return {"index": self.index, "found": self.found, "limit": self.limit}

    @property
    def detail(self) -> str:
        """The finding in words, with its numbers; "" for OK. Joints are told by their index."""
        return self.words(())

    def words(self, joints: Sequence[str]) -> str:
        """As `detail`, with the joints by their names `joints`, in order."""
        reason, at, x, least, most = self.reason, self.index, self.found, self.least, self.most
        if reason is Reason.WORKSPACE and at >= 0:
            where = "would stop at" if self.stopping else "at"
            return f"TCP {where} {'xyz'[at]} = {x:.4f} m, allowed {least:.4f}..{most:.4f}"
        if reason is Reason.COLLISION:
            how = "would stop" if self.stopping else "are"
            return f"{self.cause} {how} {x:.4f} m apart, allowed {least:.4f}"
        if reason is Reason.FORCE or reason is Reason.POWER:
            what, unit = (("force", "N"), ("torque", "Nm"), ("power", "W"))[at]
            held = "latched until force, torque and power are below force_release of their limits"
            return f"{what} of {x:.3f} {unit}, trips above {most:g}; {held}"
        if reason is Reason.GRIP:
            what, unit, key = (
                ("grip", "", "0 open to 1 closed"),
                ("grip force", " N", "[guard] grip_force_max"),
            )[at]
            return f"{what} of {x:.4g}{unit}, allowed {least:g}..{most:g}{unit} ({key})"
        if self.motion is None:
            joint = joints[at] if 0 <= at < len(joints) else f"joint {at}"
            return _TEXT[reason].format(joint=joint, x=x, most=most, cause=self.cause)
        unit = ("rad", "rad/s", "rad/s^2", "rad/s^3")[reason - Reason.POSITION]
        where = " in the stop that would follow" if self.stopping else ""
        q, dq, ddq, before = self.motion
        text = f"; commanded q {q:.4f} dq {dq:.4f} ddq {ddq:.3f}"
        text += "" if math.isnan(before) else f" (was {before:.3f})"
        joint = joints[at] if 0 <= at < len(joints) else f"joint {at}"
        value = f"{reason.name.lower()} {x:.6g} {unit}{where}"
        return f"{joint}: {value}, allowed {least:.6g}..{most:.6g}{text}"


FINE = Finding(Reason.OK)

_TEXT = {
    Reason.OK: "",
    Reason.NO_COMMAND: "nothing fresh to do",
    Reason.NOT_NUMBERS: "wanted an array of real numbers, found {cause[0]} ({cause[1]!r})",
    Reason.NOT_FINITE: "{joint} is {x}, wanted finite numbers",
    Reason.SHAPE: "wanted the shape {cause[0]}, found {cause[1]}",
    Reason.LATE: "command is {x:.4f} s old, allowed {most:g} s",
    Reason.EARLY: "command is {x:.4f} s in the future, allowed {most:g} s",
    Reason.WORKSPACE: "forward kinematics failed: {cause!r}",
    Reason.NO_WRENCH: "no fresh wrench, and the configuration requires one",
    Reason.BAD_WRENCH: "wanted a finite force [N] and torque [Nm], found {cause!r}",
    Reason.NO_STATE: "no fresh arm state",
    Reason.BAD_STATE: "wanted finite measured joint positions, found {cause!r}",
    Reason.NOT_POWERED: "the arm is not powered",
    Reason.PROTECTIVE_STOP: "protective stop; acknowledge() and reset()",
    Reason.NO_SIGNALS: "a limit of PRO's risk is set, and PRO gave no signals",
    Reason.RISK: "PRO risk came to {x:.3f}, allowed {most:g}; acknowledge() and reset()",
}
