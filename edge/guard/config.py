"""What the guard allows: the `[guard]` section of a run's file, and the limit of PRO's risk."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Annotated, Literal, NamedTuple

from msgspec import Meta

from headway.config import INFINITE, SecondsOrNone, Struct
from headway.drivers.capsules import Capsule, Xyz
from headway.types import Limits

# A number where infinity is a value too, and means "no limit".
Limit = Annotated[float, INFINITE]
Radius = Annotated[float, Meta(ge=0.0)]  # [m]
RESET_MOST = 0.02  # [rad]
Corner = tuple[Limit, Limit, Limit]


class CapsuleConfig(Struct, frozen=True, kw_only=True):
    """A further part of the arm, such as a tool: a segment with a radius that moves with a frame of
    the chain, see `headway.drivers.capsules`."""

    name: str
    frame: int  # 0: the base, i + 1: the link behind joint i
    a: Xyz  # the two ends, (3,) [m] in that frame
    b: Xyz
    radius: Radius
    contact: bool = False  # made to touch its surroundings, so it is not kept away from them

    def capsule(self) -> Capsule:
        """The same as the arm's own capsules are given."""
        return Capsule(self.name, self.frame, self.a, self.b, self.radius, self.contact)


class FixedCapsule(Struct, frozen=True, kw_only=True):
    """Something round that does not move: a segment with a radius."""

    name: str
    a: Xyz  # the two ends, (3,) [m] in the base frame
    b: Xyz
    radius: Radius


class Box(Struct, frozen=True, kw_only=True):
    """Something square that does not move, with its edges along the axes of the base frame."""

    name: str
    lower: Xyz  # the corners of the smallest and of the largest coordinates, (3,) [m]
    upper: Xyz

    def __post_init__(self) -> None:
        if not all(a <= b for a, b in zip(self.lower, self.upper, strict=True)):
            raise ValueError(
                f"obstacle {self.name}: wants lower <= upper on every axis, found {self.lower} and "
                f"{self.upper}"
            )


class RiskLimit(NamedTuple):
    """When PRO's risk stops the robot until `Guard.acknowledge`: when it has been above `most`
    (0..1) for longer than `after_s` [s] without a break."""

    most: float
    after_s: float = 0.0


class GuardConfig(Struct, frozen=True, kw_only=True):
    """The `[guard]` section: what the guard allows."""

    workspace_min: Corner  # the box that holds the TCP's position, (3,) [m] in the base frame
    workspace_max: Corner
    force_max: Limit  # |force| [N] above which the guard trips: it stops the arm, latched
    torque_max: Limit  # |torque| [Nm], likewise
    # A trip ends when force, torque and power are all below this fraction of their limits.
    force_release: float = 0.5
    require_wrench: bool = True  # False: ticks without a fresh wrench are accepted
    # What to do with a command that breaks a joint limit. reject: stop. clamp: follow it as far as
    # the joint limits allow.
    mode: Literal["reject", "clamp"] = "reject"
    # A command is refused when the time it was made for is further from now, before or after.
    max_command_age_s: float = 0.1
    position_margin: float = 0.0  # [rad], taken off both position limits of every joint
    workspace_margin: float = 0.0  # [m], taken off every face of the box
    # How far outside its limits a joint may stand at the start [rad]. From outside the arm's own
    # limits the first command moves it inside at once, so this is at most RESET_MOST.
    reset_tolerance: float = 0.01
    dq_scale: float = 1.0  # fractions of the arm's own limits, 0 < x <= 1
    ddq_scale: float = 1.0
    dddq_scale: float = 1.0
    # The TCP is never further than this [m] from any joint's axis. It bounds how far the TCP moves
    # in a stop; a larger value than needed only costs time.
    lever_m: Limit = 1.5
    # [N] that a policy may ask of the jaws. 140 N is what ISO/TS 15066 lets a hand be clamped with.
    grip_force_max: float = 140.0
    power_max: Limit = math.inf  # |force . TCP velocity| [W] above which the guard trips
    # The guard's `RiskLimit`: its `most`, where None means that PRO never stops the robot, and its
    # `after_s`. A run with `risk.abort_alpha` gives the guard a calibrated limit instead.
    risk_max: float | None = None
    risk_after_s: SecondsOrNone = 0.0
    # Whether the arm is kept from touching itself and its surroundings, if its chain has a body.
    check_collision: bool = True
    collision_margin: float = 0.005  # [m] kept between surfaces
    floor_z: float | None = None  # height [m] of a floor or table top in the base frame
    capsules: tuple[CapsuleConfig, ...] = ()  # further ones, beside the arm's own
    fixed_capsules: tuple[FixedCapsule, ...] = ()
    boxes: tuple[Box, ...] = ()

    def allowed(self, arm: Limits) -> Limits:
        """The limits that the guard holds an arm to whose own limits are `arm`: the position limits
        without `position_margin`, the rates times their scales."""
        return replace(
            arm,
            q_min=arm.q_min + self.position_margin,
            q_max=arm.q_max - self.position_margin,
            dq_max=arm.dq_max * self.dq_scale,
            ddq_max=arm.ddq_max * self.ddq_scale,
            dddq_max=arm.dddq_max * self.dddq_scale,
        )

    def __post_init__(self) -> None:
        for key in ("dq_scale", "ddq_scale", "dddq_scale", "force_release"):
            if not 0.0 < getattr(self, key) <= 1.0:
                raise ValueError(f"{key} wants 0 < x <= 1, found {getattr(self, key)}")
        positive = ("force_max", "torque_max", "max_command_age_s", "lever_m", "power_max")
        for key in (*positive, "grip_force_max"):
            if not getattr(self, key) > 0.0:
                raise ValueError(f"{key} wants a positive number, found {getattr(self, key)}")
        for key in ("position_margin", "workspace_margin", "reset_tolerance", "collision_margin"):
            if not 0.0 <= getattr(self, key) < math.inf:
                raise ValueError(f"{key} wants a number >= 0, found {getattr(self, key)}")
        if self.reset_tolerance > RESET_MOST:
            raise ValueError(
                f"reset_tolerance wants at most {RESET_MOST} rad, found {self.reset_tolerance}: "
                "jog the arm inside its limits instead"
            )
        if self.risk_max is not None and not 0.0 <= self.risk_max <= 1.0:
            raise ValueError(f"risk_max wants 0..1 or nothing, found {self.risk_max}")
        if self.risk_max is None and self.risk_after_s > 0.0:
            raise ValueError(f"risk_after_s = {self.risk_after_s} wants risk_max, found none")
        m = 2.0 * self.workspace_margin
        pairs = zip(self.workspace_min, self.workspace_max, strict=True)
        if not all(lo + m < hi for lo, hi in pairs):
            raise ValueError(
                f"workspace wants min + 2 x margin < max on every axis, found {self.workspace_min} "
                f"to {self.workspace_max} with margin {self.workspace_margin}"
            )
