"""What the guard allows."""

from __future__ import annotations

import math
from typing import Literal

from headway.config import Struct

Xyz = tuple[float, float, float]


class GuardConfig(Struct, frozen=True, kw_only=True):
    """What the guard allows. The box is in the base frame [m] and holds the TCP position."""

    workspace_min: Xyz
    workspace_max: Xyz
    force_max: float  # |force| [N] that trips
    torque_max: float  # |torque| [Nm] that trips
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
    lever_m: float = 1.5  # farthest the TCP gets from any joint axis; only saves time
    risk_max: float | None = None  # PRO risk that rejects; None: PRO does not stop the robot

    def __post_init__(self) -> None:
        for key in ("dq_scale", "ddq_scale", "dddq_scale", "force_release"):
            if not 0.0 < getattr(self, key) <= 1.0:
                raise ValueError(f"{key} wants 0 < x <= 1, found {getattr(self, key)}")
        for key in ("force_max", "torque_max", "max_command_age_s", "lever_m"):
            if not getattr(self, key) > 0.0:
                raise ValueError(f"{key} wants a positive number, found {getattr(self, key)}")
        for key in ("position_margin", "workspace_margin", "reset_tolerance"):
            if not 0.0 <= getattr(self, key) < math.inf:
                raise ValueError(f"{key} wants a number >= 0, found {getattr(self, key)}")
        if self.risk_max is not None and not 0.0 <= self.risk_max <= 1.0:
            raise ValueError(f"risk_max wants 0..1 or nothing, found {self.risk_max}")
        m = 2.0 * self.workspace_margin
        pairs = zip(self.workspace_min, self.workspace_max, strict=True)
        if not all(lo + m < hi for lo, hi in pairs):
            raise ValueError(
                f"workspace wants min + 2 x margin < max on every axis, found {self.workspace_min} "
                f"to {self.workspace_max} with margin {self.workspace_margin}"
            )
