"""How a force/torque sensor sits at the wrist, and what makes one of its readings invalid.

Headway's wrench is the force and torque that act ON THE TOOL, in the sensor's frame. All drivers
here take a sensor's values as those of the load on its tool side, which is the same thing; a sensor
that is built in upside down, with its tool side at the arm, or that reports its reaction to the
load, needs `flip`. To see which it is: with the tool hanging straight down, the force must point
down, along gravity, and grow with the tool's weight.
"""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
from msgspec import Meta

from headway import config
from headway.drivers.rotations import quat_to_mat
from headway.errors import ConfigError
from headway.types import Vec, Wrench

Quaternion = tuple[float, float, float, float]
OPEN_END = Annotated[float, Meta(gt=0.0), config.INFINITE]  # a largest force or torque


class MountingConfig(config.Struct, frozen=True):
    """Keys that all real F/T sensors have. `flip`: the sensor reports the opposite of the load on
    the tool. `mount`: rotation (w, x, y, z) of the sensor's own axes in the frame `frame_id` that
    the wrench is wanted in. `force_max`, `torque_max`: of any axis, beyond which a reading is
    invalid, for sensors whose range is not known by their driver. `stuck_after`: so many samples
    with the same six numbers are no measurement, since each has noise; 0: any number may be."""

    flip: bool = False
    mount: Quaternion = (1.0, 0.0, 0.0, 0.0)
    frame_id: str = "ft"
    force_max: OPEN_END = math.inf  # [N]
    torque_max: OPEN_END = math.inf  # [Nm]
    stuck_after: Annotated[int, Meta(ge=0)] = 100


class Mounting:
    """Makes wrenches of what a sensor reports. `where` names it in errors: raises ConfigError for a
    `mount` that is no unit quaternion."""

    def __init__(self, cfg: MountingConfig, where: str) -> None:
        norm = math.sqrt(sum(x * x for x in cfg.mount))
        if abs(norm - 1.0) > 1e-3:
            raise ConfigError(
                f"[ft] kind {where}: wanted `mount` to be a unit quaternion (w, x, y, z), found one"
                f" of length {norm:.4g}: divide it by that"
            )
        self.cfg = cfg
        sign = -1.0 if cfg.flip else 1.0
        self._rotation: Vec = sign * quat_to_mat(np.array(cfg.mount) / norm)
        self._last: tuple[float, ...] = ()
        self._same = 0  # samples in a row with the numbers of `_last`
        self._as_is = not cfg.flip and cfg.mount == (1.0, 0.0, 0.0, 0.0)

    def wrench(self, values: tuple[float, ...]) -> tuple[Wrench, tuple[str, ...]]:
        """The wrench of the next sample, `values` (6,) [N, Nm] in the sensor's own axes, and why
        it is invalid: "not finite", "overrange", "stuck", or nothing."""
        self._same = self._same + 1 if values == self._last else 1
        self._last = values
        force, torque = np.array(values[:3]), np.array(values[3:])
        largest = max(map(abs, values[:3])), max(map(abs, values[3:]))
        flags: tuple[str, ...] = ()
        if not all(map(math.isfinite, values)):
            flags = ("not finite",)
        elif largest[0] > self.cfg.force_max or largest[1] > self.cfg.torque_max:
            flags = ("overrange",)
        elif 0 < self.cfg.stuck_after <= self._same:
            flags = ("stuck",)
        if not self._as_is and flags != ("not finite",):  # infinity times 0 is no number
            force, torque = self._rotation @ force, self._rotation @ torque
        return Wrench(force, torque, self.cfg.frame_id), flags
