"""An arm of Feetech STS3215 servos, such as the SO-100 and SO-101.

The servos have no watchdog for their bus: when the host dies they hold their last goal, with
torque. There is no second way to reach them, so the watchdog process cannot stop this arm either;
holding is all that can be had, and a software stop is not a safety function.
"""

from __future__ import annotations

from headway.drivers import Context, RemoteStop
from headway.drivers.feetech_servo import Sts3215
from headway.drivers.finding import Found, Seen
from headway.drivers.servo_arm import ServoArm, ServoArmConfig, bus_of, find_lines

remote_stop: RemoteStop | None = None  # see above
# USB ids of the chips on boards for these servos: CH343 (Waveshare, Feetech) and CH340 (older ones,
# and much else).
ADAPTERS = ((0x1A86, 0x55D3), (0x1A86, 0x7523))
_NM_PER_A = 1.0  # torque for current, of the STS3215 at 7.4 V: about 1.6 Nm at its stall of 2.4 A
PATHS = ("calibration",)  # keys of `Config`, see `headway.plugins.with_paths`


class Config(ServoArmConfig, frozen=True):
    """Keys of `[arm]` for the kind `feetech`: those of `ServoArmConfig`."""


def find(seen: Seen) -> list[Found]:
    """Lines of STS3215 servos, see `find_lines`."""
    return find_lines("feetech", seen, ADAPTERS, Sts3215())


def connect(cfg: Config, ctx: Context) -> ServoArm:
    """The arm, not open yet. Raises ConfigError for a model or a calibration that does not fit."""
    bus, motors, model = bus_of(cfg, ctx, Sts3215())
    return ServoArm("feetech", cfg, ctx, model, motors, bus, _NM_PER_A)
