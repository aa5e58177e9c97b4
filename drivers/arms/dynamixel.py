"""An arm of Dynamixel X servos (protocol 2.0), such as Koch's or the ViperX.

While the servos have torque, their bus watchdog is armed: when the host dies, each stops within
`watchdog_s` and holds. The bus's thread feeds it, so a control loop that hangs in a process that
lives does not trip it: the arm holds its last goal until the watchdog process ends the run. There
is no second way to reach the servos. A software stop is not a safety function.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from headway.drivers import Context, RemoteStop
from headway.drivers.dynamixel_servo import DynamixelX
from headway.drivers.finding import Found, Seen
from headway.drivers.servo_arm import ServoArm, ServoArmConfig, bus_of, find_lines
from headway.errors import ConfigError

remote_stop: RemoteStop | None = None  # see above
ADAPTERS = ((0x0403, 0x6014),)  # of the U2D2: FT232H, which much else has too
PATHS = ("calibration",)  # keys of `Config`, see `headway.plugins.with_paths`


class Config(ServoArmConfig, frozen=True):
    """Keys of `[arm]` for the kind `dynamixel`, beside those of `ServoArmConfig`. `watchdog_s` [s]
    of the servos, rounded up to 20 ms. `ampere_per_count`: of register 126, 0.00269 for XM430,
    XM540, XH430-W, XH540, XD and XW servos, 0.00134 for XH430-V, 0.001 for XL330, XC330 and XM335,
    0 where it is no current, or its unit is not known (XC335): the jaw's force is NaN then.
    `nm_per_a` [Nm/A]: torque of a joint per current; 0: the arm states no torques."""

    watchdog_s: Annotated[float, Meta(ge=0.02, le=2.54)] = 0.2
    ampere_per_count: Annotated[float, Meta(ge=0.0, le=0.1)] = 0.0
    nm_per_a: Annotated[float, Meta(ge=0.0, le=100.0)] = 0.0


def find(seen: Seen) -> list[Found]:
    """Lines of Dynamixel X servos, see `find_lines`."""
    return find_lines("dynamixel", seen, ADAPTERS, DynamixelX())


def connect(cfg: Config, ctx: Context) -> ServoArm:
    """The arm, not open yet. Raises ConfigError for a model or a calibration that does not fit, and
    for a torque of a current whose unit is not known."""
    if cfg.nm_per_a > 0.0 and not cfg.ampere_per_count:
        raise ConfigError(
            f"nm_per_a = {cfg.nm_per_a:g} wants `ampere_per_count`, the unit of these servos' "
            "current, found none: take it from the e-Manual of the model, or leave nm_per_a out"
        )
    bus, motors, model = bus_of(cfg, ctx, DynamixelX(cfg.watchdog_s, cfg.ampere_per_count))
    return ServoArm("dynamixel", cfg, ctx, model, motors, bus, cfg.nm_per_a)
