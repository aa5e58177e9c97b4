"""The jaw of an arm of Feetech servos: one more servo on the arm's line."""

from __future__ import annotations

import math
from typing import Annotated

from msgspec import Meta

from headway import config
from headway.clock import NS
from headway.drivers import Context
from headway.drivers.arms.feetech import WORLD
from headway.drivers.counts import Counts
from headway.drivers.feetech_bus import FeetechBus
from headway.drivers.servo_calibration import Motor
from headway.errors import ConfigError, DeviceError
from headway.types import GripperState, Health, Info, Sample, Stamp


class Config(config.Struct, frozen=True):
    """Keys of `[gripper]` for the kind `feetech`; the arm's section names port, calibration and the
    jaw's motor. `stroke` [m]: the opening at the open end of the calibrated range.
    `newton_per_ampere`: what the jaw presses with for the servo's current, measured with a scale;
    the default is that of an SO-101's jaw of 9 cm and about 1 Nm/A."""

    port: Annotated[str, Meta(min_length=1)]
    stroke: Annotated[float, Meta(gt=0.0, le=0.5)] = 0.1
    newton_per_ampere: Annotated[float, Meta(gt=0.0, le=1000.0)] = 11.0


class FeetechJaw:
    """The jaw `motor` at `bus`. The opening is taken as proportional to the servo's angle, which is
    right to a few millimetres. `force` of a command is not obeyed: these servos limit their torque
    in a register that wears out when it is written often."""

    waits = True

    def __init__(self, cfg: Config, ctx: Context, bus: FeetechBus, motor: Motor) -> None:
        self.stroke = cfg.stroke
        self.info = Info("feetech", "jaw of an STS3215 servo", uri=cfg.port)
        self._cfg, self._bus, self._motor = cfg, bus, motor
        self._place = bus.ids.index(motor.id)
        self._counts = Counts(ctx.clock, round(NS / bus.bus.rate_hz))
        self._number = 0
        self._width_ref = math.nan

    def open(self, timeout_s: float) -> None:
        if self._counts.state != "ok":
            self._bus.open(timeout_s)
            self._number = 0
            self._counts.opened()

    def read(self, timeout_s: float) -> Sample[GripperState]:
        if self._counts.state == "closed":
            raise DeviceError(f"the {self.info.model} is closed: open it before reading")
        try:
            number, arrival, value = self._bus.bus.newest(self._number, timeout_s)
        except DeviceError:
            if self._bus.bus.fault:
                self._counts.state = "fault"
            raise
        self._number = number
        k = self._place
        width = self._motor.share(value.position[k]) * self.stroke
        reference = width if math.isnan(self._width_ref) else self._width_ref
        force = abs(value.ampere[k]) * self._cfg.newton_per_ampere
        seq = self._counts.sample(arrival)
        return Sample(Stamp(arrival, arrival, seq), GripperState(width, reference, force))

    def activate(self) -> None:
        """Nothing: the arm's activation gives the jaw its torque, as they share a line."""

    def command(self, width: float, *, force: float) -> None:
        if not (math.isfinite(width) and math.isfinite(force)):
            raise DeviceError(f"the jaw wants finite numbers, found width {width}, force {force}")
        self._width_ref = min(max(width, 0.0), self.stroke)
        share = self._width_ref / self.stroke
        self._bus.goal({self._motor.id: self._motor.at_share(share)})

    def stop(self) -> None:
        if self._motor.id in self._bus.holding:
            self._bus.stay((self._motor.id,))

    def close(self) -> None:
        if self._counts.state != "closed":
            self._bus.close()
        self._counts.state = "closed"

    def health(self) -> Health:
        return self._counts.health()


def connect(cfg: Config, ctx: Context) -> FeetechJaw:
    """The jaw, not open yet. Raises ConfigError where no arm of kind feetech is at this port."""
    found = ctx.worlds.get(WORLD, {}).get(cfg.port)
    if found is None:
        raise ConfigError(
            f"[gripper] of kind feetech at {cfg.port} wants an [arm] of kind feetech at the same "
            "port: the jaw is a servo of its line"
        )
    bus, motors, jaw = found
    if jaw not in motors:
        raise ConfigError(
            f"[gripper] wants the arm's key `jaw` to name a motor, found {jaw!r}: name the jaw's "
            "motor there"
        )
    return FeetechJaw(cfg, ctx, bus, motors[jaw])
