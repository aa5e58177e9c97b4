"""What the gripper is told: only what is new, and of a binary grip only open or closed."""

from __future__ import annotations

import math

from headway.drivers import Gripper
from headway.edge.motion.chunks import GripKind

CLOSE_ABOVE, OPEN_BELOW = 0.6, 0.4  # thresholds of a binary grip, 0 open to 1 closed
STEPS = 1000  # a continuous grip is sent when it has changed by the stroke divided by this
FORCE_STEP = 0.1  # [N], likewise


class Jaws:
    """Sends grips to `gripper`, whose jaws are open or opening with the configured `force` [N]."""

    def __init__(self, gripper: Gripper, force: float) -> None:
        self._gripper, self._configured = gripper, force
        self._width, self._force = gripper.stroke, force  # as they were last sent
        self._closed = False

    def command(self, grip: float, force: float, kind: GripKind) -> None:
        """Move the jaws to `grip`, 0 open to 1 closed, with `force` [N], NaN for the configured
        one. `kind` "binary" opens or closes them, with hysteresis: a policy that hovers around one
        half does not make them chatter. Raises DeviceError."""
        if math.isnan(force):
            force = self._configured
        if kind == "binary":
            self._closed = grip > (OPEN_BELOW if self._closed else CLOSE_ABOVE)
            if not self._closed:
                force = self._configured
            grip = float(self._closed)
        stroke = self._gripper.stroke
        width = (1.0 - grip) * stroke
        moved = abs(width - self._width) >= stroke / STEPS
        if moved or abs(force - self._force) >= FORCE_STEP:
            self._width, self._force = width, force
            self._gripper.command(width, force=force)
