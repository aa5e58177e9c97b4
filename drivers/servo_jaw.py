"""The jaw of an arm of servos: one more servo on the arm's line."""

from __future__ import annotations

import math
from typing import Annotated

from msgspec import Meta

from headway import config
from headway.drivers import Context
from headway.drivers.servo_arm import WORLD
from headway.drivers.servo_bus import ServoBus
from headway.drivers.servo_calibration import COUNTS, Motor
from headway.drivers.servo_device import ServoDevice
from headway.errors import ConfigError, DeviceError, Stale
from headway.types import GripperState, Info, Sample, Stamp

_ASIDE = COUNTS // 8  # a jaw that is so far outside its calibrated range is a turn or more away


class ServoJawConfig(config.Struct, frozen=True):
    """Keys that jaws of servos have; the arm's section names port, calibration and the jaw's motor.
    `stroke` [m]: the opening at the open end of the calibrated range. `newton_per_ampere`: what the
    jaw presses with for the servo's current, measured with a scale; the default is that of an
    SO-101's jaw of 9 cm and about 1 Nm/A. The force is NaN where the current's unit is not
    known."""

    port: Annotated[str, Meta(min_length=1)]
    stroke: Annotated[float, Meta(gt=0.0, le=0.5)] = 0.1
    newton_per_ampere: Annotated[float, Meta(gt=0.0, le=1000.0)] = 11.0


class ServoJaw(ServoDevice):
    """The jaw `motor` at `bus`. The opening is taken as proportional to the servo's angle, which is
    right to a few millimetres. `force` of a command is not obeyed: these servos limit their torque
    in a register that wears out when it is written often."""

    def __init__(
        self, kind: str, cfg: ServoJawConfig, ctx: Context, bus: ServoBus, motor: Motor
    ) -> None:
        info = Info(kind, f"jaw of a servo {bus.family.name}", uri=cfg.port)
        super().__init__(info, ctx.clock, bus)
        self.stroke = cfg.stroke
        self._cfg, self._motor = cfg, motor
        self._place = bus.ids.index(motor.id)
        self._width_ref = math.nan

    def read(self, timeout_s: float) -> Sample[GripperState]:
        arrival, value = self.newest(timeout_s)
        k = self._place
        width = self._motor.share(value.position[k]) * self.stroke
        reference = width if math.isnan(self._width_ref) else self._width_ref
        force = abs(value.ampere[k]) * self._cfg.newton_per_ampere
        seq = self.counts.sample(arrival)
        return Sample(Stamp(arrival, arrival, seq), GripperState(width, reference, force))

    def activate(self) -> None:
        """Nothing: the arm's activation gives the jaw its torque, as they share a line."""

    def command(self, width: float, *, force: float) -> None:
        if not (math.isfinite(width) and math.isfinite(force)):
            raise DeviceError(f"the jaw wants finite numbers, found width {width}, force {force}")
        self._refuse_turned()
        self._width_ref = min(max(width, 0.0), self.stroke)
        share = self._width_ref / self.stroke
        self.bus.goal({self._motor.id: self._motor.at_share(share)})

    def _refuse_turned(self) -> None:
        """Raises DeviceError for a jaw that says it stands far outside its range. A servo that
        counts several turns forgets them without power, and would go a whole turn to its goal."""
        try:
            _, _, reading = self.bus.bus.newest(0, 0.0)
        except Stale:  # nothing was read yet
            return
        motor, at = self._motor, reading.position[self._place]
        if not motor.range_min - _ASIDE <= at <= motor.range_max + _ASIDE:
            raise DeviceError(
                f"wanted the jaw (id {motor.id}) near its calibrated range, {motor.range_min} to "
                f"{motor.range_max} counts, found it at {at}: is the calibration this arm's? A "
                "Dynamixel in mode 4 or 5 forgets whole turns while its power is off: move the jaw "
                "to the middle of its range by hand, switch the power off and on, open it again"
            )

    def stop(self) -> None:
        if self._motor.id in self.bus.holding:
            self.bus.stay((self._motor.id,))


def jaw_of(kind: str, cfg: ServoJawConfig, ctx: Context) -> ServoJaw:
    """The jaw, not open yet. Raises ConfigError where no arm of the same kind is at this port."""
    found = ctx.worlds.get(WORLD, {}).get(cfg.port)
    if found is None:
        raise ConfigError(
            f"[gripper] of kind {kind} at {cfg.port} wants an [arm] of kind {kind} at the same "
            "port: the jaw is a servo of its line"
        )
    bus, motors, jaw = found
    if jaw not in motors:
        raise ConfigError(
            f"[gripper] wants the arm's key `jaw` to name a motor, found {jaw!r}: name the jaw's "
            "motor there"
        )
    return ServoJaw(kind, cfg, ctx, bus, motors[jaw])
