"""A gripper without a device: it reaches every commanded width at once, and holds nothing."""

from __future__ import annotations

import math
from typing import Annotated

from msgspec import Meta

from headway import config
from headway.clock import Clock
from headway.drivers import Context
from headway.drivers.null_source import NullSource
from headway.errors import DeviceError
from headway.types import GripperState


class Config(config.Struct, frozen=True):
    """Keys of `[gripper]` for the kind `null`. `rate_hz` of the samples; `stroke`: the largest
    opening."""

    rate_hz: config.Hertz = 500.0
    threaded: bool = False  # use a reader thread, as for a device whose `read` waits
    stroke: Annotated[float, Meta(gt=0.0, le=1.0)] = 0.085  # [m]


class NullGripper(NullSource[GripperState]):
    """The gripper that `cfg` describes, on the run's `clock`; it is open at the start."""

    def __init__(self, clock: Clock, cfg: Config) -> None:
        super().__init__(clock, "null gripper", cfg.rate_hz, cfg.threaded)
        self.stroke = self._width = cfg.stroke

    def sample(self) -> GripperState:
        return GripperState(self._width, self._width, 0.0)

    def activate(self) -> None:
        """Nothing: it is always ready."""

    def command(self, width: float, *, force: float) -> None:
        if not (math.isfinite(width) and math.isfinite(force)):
            raise DeviceError(
                f"the null gripper wants finite numbers, found width {width}, force {force}"
            )
        self._width = min(max(width, 0.0), self.stroke)

    def stop(self) -> None:
        pass


def connect(cfg: Config, ctx: Context) -> NullGripper:
    """The gripper that `cfg` describes, not open yet."""
    return NullGripper(ctx.clock, cfg)
