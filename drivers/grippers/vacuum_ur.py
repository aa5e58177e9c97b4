"""A suction cup at a digital output of a controller of Universal Robots, with or without a sensor
that says whether it holds, at a digital input.

It has no jaws: below half of `stroke` it sucks, above it does not, so that policies and tasks made
for jaws work it. When this computer or the connection fails, the output stays as it is, and so does
what the cup holds.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from msgspec import Meta

from headway.drivers import Context
from headway.drivers.ur import Link, LinkConfig, link_of
from headway.drivers.ur.link import Heard
from headway.drivers.ur.source import UrSource, said_of
from headway.errors import ConfigError, DeviceError
from headway.types import GripperState

# Of each bank: how many outputs, and where they begin in actual_digital_output_bits.
_BANKS = {"standard": (8, 0), "configurable": (8, 8), "tool": (2, 16)}


class Config(LinkConfig, frozen=True):
    """Keys of `[gripper]` for the kind `vacuum_ur`, beside those of `LinkConfig`. `bank` and
    `output`: the output that switches the vacuum on, 0-7, of the tool 0-1. `sensor`: the input that
    says that the cup holds something, as a bit of the controller's inputs: 0-7 standard, 8-15
    configurable, 16-17 tool; None: there is no sensor. `sensor_low`: it does so by being off.
    `stroke` [m]: the opening that stands for released."""

    bank: Literal["standard", "configurable", "tool"] = "tool"
    output: Annotated[int, Meta(ge=0, le=7)] = 0
    sensor: Annotated[int, Meta(ge=0, le=17)] | None = None
    sensor_low: bool = False
    stroke: Annotated[float, Meta(gt=0.0, le=1.0)] = 0.02


class UrVacuum(UrSource[GripperState]):
    """The suction cup that `cfg` describes. `width` and `width_ref` follow the output as the
    controller reports it; `vacuum` is 1 or 0 by the sensor. Raises ConfigError for an output that
    the bank does not have."""

    kind = "vacuum_ur"

    def __init__(self, cfg: Config, link: Link) -> None:
        count, first = _BANKS[cfg.bank]
        if cfg.output >= count:
            raise ConfigError(
                f"[gripper] `output` wants 0 to {count - 1} in the bank {cfg.bank}, found "
                f"{cfg.output}"
            )
        super().__init__(link, "vacuum gripper")
        self.cfg, self.stroke = cfg, cfg.stroke
        self._bit = first + cfg.output
        name = f"{cfg.bank}_digital_output"
        self._fields = link.writes([f"{name}_mask", name])
        self._sent: bool | None = None  # the output that was asked for last, None before the first

    def value(self, heard: Heard) -> tuple[GripperState, tuple[str, ...], bool]:
        state, cfg = heard.state, self.cfg
        width = 0.0 if state.outputs >> self._bit & 1 else cfg.stroke
        vacuum = None
        if cfg.sensor is not None:
            vacuum = float(bool(state.inputs >> cfg.sensor & 1) != cfg.sensor_low)
        return GripperState(width, width, 0.0, vacuum), said_of(state), True

    def activate(self) -> None:
        """Nothing: its outputs are there as soon as the controller is."""

    def command(self, width: float, *, force: float) -> None:
        """See `Gripper`. The force of a suction cup cannot be chosen. Never waits."""
        if not (math.isfinite(width) and math.isfinite(force)):
            raise DeviceError(
                f"the vacuum gripper wants finite numbers, found width {width}, force {force}"
            )
        on, newest = width < 0.5 * self.stroke, self.link.newest
        is_so = newest is not None and bool(newest.state.outputs >> self._bit & 1) == on
        if is_so and self._sent in (None, on):
            return  # and nothing is on its way that would change it after that report
        mask = 1 << self.cfg.output
        self.link.send(self._fields, (mask, mask if on else 0))
        self._sent = on

    def stop(self) -> None:
        """Nothing moves; what the cup holds is not let go."""


def connect(cfg: Config, ctx: Context) -> UrVacuum:
    """The gripper, not open yet. Raises ConfigError for an output that there is none of, and where
    `cfg` says otherwise than an earlier device of the run at the same controller."""
    return UrVacuum(cfg, link_of(cfg, ctx))
