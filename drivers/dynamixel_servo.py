"""Dynamixel's X series as servos of a line (`headway.drivers.servo_bus`). Registers after Robotis'
control table of the X series.

Their bus watchdog is armed while they have torque: without a packet for `watchdog_s` a servo stops
and obeys no goal until the watchdog is cleared, which activation does.

Three modes go to positions: 3 within one turn, 4 over several, which is where LeRobot leaves joints
(its calibrations have offsets of up to half a turn, which mode 3 ignores), and 5 with a limit of
the current as well, where it leaves the jaw.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from msgspec import structs

from headway.drivers.codecs import dynamixel
from headway.drivers.codecs.dynamixel import StatusDecoder
from headway.drivers.servo_calibration import COUNTS, Motor
from headway.drivers.servo_family import Packets, Reading, ReadRegisters, Registers
from headway.errors import DeviceError

_PRESENT, _COUNT = 126, 21  # current or load, velocity, position, trajectory, voltage, temperature
_DRIVE_MODE, _MODE, _OFFSET, _HIGH, _LOW, _WATCHDOG, _VOLTS = 10, 11, 20, 48, 52, 98, 144
_REVERSE = 1  # the bit of the drive mode that turns a servo the other way
_POSITION, _EXTENDED, _WITH_CURRENT = 3, 4, 5  # modes that go to a position
_MOST_OFFSET = 1024  # counts; e-Manual, Homing Offset(20): others are ignored in mode 3
_WATCHDOG_S = 0.02  # per count of the watchdog
_SPEED = 0.229 / 60.0 * COUNTS  # counts of position per second, per count of the velocity
# Model numbers (register 0), after Robotis' own tables: src/actuator.h of Dynamixel2Arduino,
# param/dxl_model/dynamixel.model of dynamixel_hardware_interface, and the e-Manual of the XM335.
MODELS = frozenset(
    {
        1190, 1200,  # XL330-M077, -M288
        1210, 1220, 1230, 1240,  # XC330-T181, -T288, -M181, -M288
        1060, 1090,  # XL430-W250, 2XL430-W250
        1070, 1080, 1160,  # XC430-W150, -W240, 2XC430-W250
        1700, 1710,  # XC335-T332, XM335-T323
        1020, 1030, 1120, 1130,  # XM430-W350, -W210, XM540-W270, -W150
        1000, 1010, 1040, 1050,  # XH430-W350, -W210, -V350, -V210
        1100, 1110, 1140, 1150,  # XH540-W270, -W150, -V270, -V150
        1001, 1011, 1101, 1111,  # XD430-T350, -T210, XD540-T270, -T150
        1270, 1280, 1170, 1180, 1310,  # XW430-T333, -T200, XW540-T260, -T140, -H260
    }
)  # fmt: skip


class DynamixelX:
    """A `headway.drivers.servo_family.Family`. `watchdog_s` [s] is rounded up to 20 ms. The current
    of a reading is `ampere_per_count` times register 126 [A], by the e-Manual: 0.00269 for XM430,
    XM540, XH430-W, XH540, XD and XW; 0.00134 for XH430-V; 0.001 for XL330, XC330 and XM335, which
    measure it at their supply. With 0 it is not known: XL430 and XC430 give the load there, and of
    XC335 Robotis' own model file (xc335_t332.model) says no more than `raw`."""

    name, models, baud = "Dynamixel X", MODELS, 1_000_000
    registers = Registers(
        firmware=(6, 1), model=0, torque=64, goal=116, present=(_PRESENT, _COUNT), lasting=36,
        limit=100,
    )  # fmt: skip
    servo_inverts = True  # by bit 0 of register 10, which `lerobot-calibrate` sets
    packets: Packets = dynamixel

    def __init__(self, watchdog_s: float = 0.2, ampere_per_count: float = 0.0) -> None:
        counts = min(127, max(1, math.ceil(watchdog_s / _WATCHDOG_S - 1e-9)))
        self.watchdog_s = counts * _WATCHDOG_S
        self.watchdog: tuple[int, bytes, bytes] | None = (_WATCHDOG, b"\0", bytes((counts,)))
        self._ampere = ampere_per_count or math.nan

    def decoder(self) -> StatusDecoder:
        return StatusDecoder(_COUNT)

    def goal(self, counts: int) -> bytes:
        return counts.to_bytes(4, "little", signed=True)

    def refuse_mode(self, read: ReadRegisters, servo: int, name: str) -> None:
        """Also raises DeviceError for a homing offset that the servo ignores in its mode."""
        mode = read(servo, _MODE, 1)[0]
        if mode not in (_POSITION, _EXTENDED, _WITH_CURRENT):
            raise DeviceError(
                f"wanted {name} in a position mode ({_POSITION}, {_EXTENDED} or {_WITH_CURRENT}), "
                f"found mode {mode}: set register {_MODE} to {_EXTENDED} with the Dynamixel "
                "Wizard, or by `lerobot-calibrate`"
            )
        offset = _signed(read(servo, _OFFSET, 4))
        if mode == _POSITION and abs(offset) > _MOST_OFFSET:
            raise DeviceError(
                f"wanted a homing offset of {name} within -{_MOST_OFFSET} to {_MOST_OFFSET} counts "
                f"in mode {_POSITION}, found {offset}, which the servo ignores in this mode: it "
                f"would not stand where it says. Set register {_MODE} to {_EXTENDED} (several "
                "turns) with the Dynamixel Wizard, or by `lerobot-calibrate`"
            )

    def volts(self, read: ReadRegisters, servo: int) -> float:
        return int.from_bytes(read(servo, _VOLTS, 2), "little") / 10.0

    def calibration(self, read: ReadRegisters, motor: Motor) -> Motor:
        offset, high, low = (_signed(read(motor.id, at, 4)) for at in (_OFFSET, _HIGH, _LOW))
        # The other bits of the register do not turn it, and are no part of a calibration.
        reverse = read(motor.id, _DRIVE_MODE, 1)[0] & _REVERSE
        drive_mode = motor.drive_mode & ~_REVERSE | reverse
        return structs.replace(
            motor, drive_mode=drive_mode, homing_offset=offset, range_min=low, range_max=high
        )

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
