"""What the guard allows."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from headway.config import INFINITE, Struct
from headway.drivers.capsules import Capsule, Xyz

# Infinity is "no limit" for these.
Limit = Annotated[float, INFINITE]
Corner = tuple[Limit, Limit, Limit]


class CapsuleConfig(Struct, frozen=True, kw_only=True):
    """A further part of the arm, such as a tool: see `headway.drivers.capsules`."""

    name: str
    frame: int
    a: Xyz
    b: Xyz
    radius: float
    contact: bool = False  # made to touch what stands around: not kept away from it

    def __post_init__(self) -> None:
        _numbers(self.name, self.a, self.b, (self.radius,))
        if not self.radius >= 0.0:
            raise ValueError(f"capsule {self.name}: wants a radius >= 0, found {self.radius}")

    def capsule(self) -> Capsule:
        return Capsule(self.name, self.frame, self.a, self.b, self.radius, self.contact)


class FixedCapsule(Struct, frozen=True, kw_only=True):
    """Something round that does not move, in the base frame [m]."""

    name: str
    a: Xyz
    b: Xyz
    radius: float

    def __post_init__(self) -> None:
        _numbers(self.name, self.a, self.b, (self.radius,))
        if not self.radius >= 0.0:
            raise ValueError(f"obstacle {self.name}: wants a radius >= 0, found {self.radius}")


class Box(Struct, frozen=True, kw_only=True):
    """Something square that does not move, along the axes of the base frame [m]."""

    name: str
    lower: Xyz
    upper: Xyz

    def __post_init__(self) -> None:
        _numbers(self.name, self.lower, self.upper)
        if not all(a <= b for a, b in zip(self.lower, self.upper, strict=True)):
            raise ValueError(
                f"obstacle {self.name}: wants lower <= upper on every axis, found {self.lower} and "
                f"{self.upper}"
            )


def _numbers(name: str, *values: tuple[float, ...]) -> None:
    if not all(math.isfinite(x) for v in values for x in v):
        raise ValueError(f"{name}: wants finite numbers, found {values}")


class GuardConfig(Struct, frozen=True, kw_only=True):
    """What the guard allows. The box is in the base frame [m] and holds the TCP position."""

    workspace_min: Corner
    workspace_max: Corner
    force_max: Limit  # |force| [N] that trips
    torque_max: Limit  # |torque| [Nm] that trips
    force_release: float = 0.5  # a trip ends below this fraction of both
    require_wrench: bool = True
    mode: Literal["reject", "clamp"] = "reject"  # clamp: follow as far as the joint limits allow
    max_command_age_s: float = 0.1  # also how far a command may lie in the future
    position_margin: float = 0.0  # [rad], taken off both joint limits
    workspace_margin: float = 0.0  # [m], taken off every face of the box
    reset_tolerance: float = 0.01  # [rad] that the measured start may lie outside the limits
    dq_scale: float = 1.0  # fractions of the arm's own limits, 0 < x <= 1
    ddq_scale: float = 1.0
    dddq_scale: float = 1.0
    lever_m: Limit = 1.5  # farthest the TCP gets from any joint axis; only saves time
    power_max: Limit | None = None  # |force . TCP velocity| [W] that trips
    # PRO risk that stops the robot until `acknowledge`; None: PRO does not stop it
    risk_max: float | None = None
    # The arm against itself and what stands around it, where its chain has a body.
    check_collision: bool = True
    collision_margin: float = 0.005  # [m] kept between surfaces
    floor_z: float | None = None  # [m], a floor or table top in the base frame
    capsules: tuple[CapsuleConfig, ...] = ()  # beside the arm's own
    fixed_capsules: tuple[FixedCapsule, ...] = ()
    boxes: tuple[Box, ...] = ()

    def __post_init__(self) -> None:
        for key in ("dq_scale", "ddq_scale", "dddq_scale", "force_release"):
            if not 0.0 < getattr(self, key) <= 1.0:
                raise ValueError(f"{key} wants 0 < x <= 1, found {getattr(self, key)}")
        for key in ("force_max", "torque_max", "max_command_age_s", "lever_m"):
            if not getattr(self, key) > 0.0:
                raise ValueError(f"{key} wants a positive number, found {getattr(self, key)}")
        for key in ("position_margin", "workspace_margin", "reset_tolerance", "collision_margin"):
            if not 0.0 <= getattr(self, key) < math.inf:
                raise ValueError(f"{key} wants a number >= 0, found {getattr(self, key)}")
        if self.power_max is not None and not self.power_max > 0.0:
            raise ValueError(
                f"power_max wants a positive number or nothing, found {self.power_max}"
            )
        if self.floor_z is not None and not math.isfinite(self.floor_z):
            raise ValueError(f"floor_z wants a finite number or nothing, found {self.floor_z}")
        if self.risk_max is not None and not 0.0 <= self.risk_max <= 1.0:
            raise ValueError(f"risk_max wants 0..1 or nothing, found {self.risk_max}")
        m = 2.0 * self.workspace_margin
        pairs = zip(self.workspace_min, self.workspace_max, strict=True)
        if not all(lo + m < hi for lo, hi in pairs):
            raise ValueError(
                f"workspace wants min + 2 x margin < max on every axis, found {self.workspace_min} "
                f"to {self.workspace_max} with margin {self.workspace_margin}"
            )
