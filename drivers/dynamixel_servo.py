"""Dynamixel's X series as servos of a line (`headway.drivers.servo_bus`). Registers after Robotis'
control table of the X series.

Their bus watchdog is armed while they have torque: without a packet for `watchdog_s` a servo stops
and obeys no goal until the watchdog is cleared, which activation does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from headway.drivers.codecs import dynamixel
from headway.drivers.codecs.dynamixel import StatusDecoder
from headway.drivers.servo_calibration import COUNTS, Motor
from headway.drivers.servo_family import Packets, Reading, ReadRegisters, Registers
from headway.errors import DeviceError

_PRESENT, _COUNT = 126, 21  # current or load, velocity, position, trajectory, voltage, temperature
_OFFSET, _HIGH, _LOW, _WATCHDOG, _VOLTS = 20, 48, 52, 98, 144
_WATCHDOG_S = 0.02  # per count of the watchdog
_SPEED = 0.229 / 60.0 * COUNTS  # counts of position per second, per count of the velocity
# XL330, XC330, XL430, 2XL430, XC430, 2XC430, XM430, XH430, XD430, XW430, XM540, XH540, XD540, XW540
MODELS = frozenset(
    {1060, 1090, 1070, 1080, 1160, 1020, 1030, 1000, 1010, 1040, 1050, 1011, 1031, 1280, 1270}
    | {1120, 1130, 1100, 1110, 1150, 1140, 1190, 1200, 1210, 1220, 1230, 1240, 1180, 1170, 1101}
)


class DynamixelX:
    """A `headway.drivers.servo_family.Family`. `watchdog_s` [s] is rounded up to 20 ms. The current
    of a reading is `ampere_per_count` times register 126: 0.00269 for XM, XH and XW, 0.001 for
    XL330 and XC330; XL430 and XC430 give the load there, so 0 for them."""

    name, models, baud = "Dynamixel X", MODELS, 1_000_000
    registers = Registers(
        firmware=(6, 1), model=0, mode=11, position_mode=3, torque=64, goal=116,
        present=(_PRESENT, _COUNT),
    )  # fmt: skip
    set_up = "with the Dynamixel Wizard, or by `lerobot-setup-motors`"
    packets: Packets = dynamixel

    def __init__(self, watchdog_s: float = 0.2, ampere_per_count: float = 0.0) -> None:
        counts = min(127, max(1, math.ceil(watchdog_s / _WATCHDOG_S - 1e-9)))
        self.watchdog_s = counts * _WATCHDOG_S
        self.watchdog: tuple[int, bytes, bytes] | None = (_WATCHDOG, b"\0", bytes((counts,)))
        self._ampere = ampere_per_count

    def decoder(self) -> StatusDecoder:
        return StatusDecoder(_COUNT)

    def goal(self, counts: int) -> bytes:
        return counts.to_bytes(4, "little", signed=True)

    def volts(self, read: ReadRegisters, servo: int) -> float:
        return int.from_bytes(read(servo, _VOLTS, 2), "little") / 10.0

    def calibration(self, read: ReadRegisters, motor: Motor) -> Motor:
        offset, high, low = (_signed(read(motor.id, at, 4)) for at in (_OFFSET, _HIGH, _LOW))
        return Motor(motor.id, motor.drive_mode, offset, low, high)

    def reading(self, rows: Sequence[bytes]) -> Reading:
        """Raises DeviceError for a row of another length."""
        if any(len(row) != _COUNT for row in rows):
            raise DeviceError(f"wanted {_COUNT} registers of each servo, found another count")
        return Reading(
            tuple(_signed(r[6:10]) for r in rows),
            tuple(_signed(r[2:6]) * _SPEED for r in rows),
            tuple(_signed(r[0:2]) / 1000.0 for r in rows),
            tuple(_signed(r[18:20]) / 10.0 for r in rows),
            tuple(r[20] for r in rows),
            tuple(_signed(r[0:2]) * self._ampere for r in rows),
        )


def _signed(data: bytes) -> int:
    return int.from_bytes(data, "little", signed=True)
