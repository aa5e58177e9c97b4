"""The guard's check of what the jaws are sent."""

from __future__ import annotations

import math

from headway.edge.guard.config import GuardConfig
from headway.edge.guard.reasons import FINE, Finding, Reason

# By how much a grip may lie outside 0..1 and still mean its nearest bound: networks that were
# trained on 0 and 1 overshoot them a little.
GRIP_SLACK = 0.25


class JawsCheck:
    """What the jaws are sent: `grip` (0 open to 1 closed) and `force` [N], NaN for the configured
    force, and `finding`, what is said against what came. Refilled by each `apply`."""

    __slots__ = ("_clamp", "_most", "finding", "force", "grip")

    def __init__(self, cfg: GuardConfig) -> None:
        self._most, self._clamp = cfg.grip_force_max, cfg.mode == "clamp"
        self.grip, self.force, self.finding = 0.0, math.nan, FINE

    def reset(self) -> None:
        """Begin with open jaws."""
        self.grip, self.force, self.finding = 0.0, math.nan, FINE

    def apply(self, grip: float, force: float) -> None:
        """Take `grip` and `force` if they are allowed: a finite grip in 0..1 (see `GRIP_SLACK`),
        and a force of 0 to `guard.grip_force_max` or NaN. What is not allowed is brought to the
        nearest bound in the mode "clamp"; else, and where it is no number, grip and force stay as
        they were last sent."""
        self.finding = FINE
        least, most = -GRIP_SLACK, 1.0 + GRIP_SLACK
        if not least <= grip <= most:
            self.finding = Finding(Reason.GRIP, 0, found=grip, least=least, most=most)
        elif not (0.0 <= force <= self._most or math.isnan(force)):
            self.finding = Finding(Reason.GRIP, 1, found=force, least=0.0, most=self._most)
        if self.finding is FINE or (self._clamp and not math.isnan(grip)):
            self.grip = min(max(grip, 0.0), 1.0)
            self.force = min(max(force, 0.0), self._most) if not math.isnan(force) else force
