"""Feetech's STS3215 as servos of a line (`headway.drivers.servo_bus`). Registers after Feetech's
memory table."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import structs

from headway.drivers.codecs import feetech
from headway.drivers.codecs.feetech import StatusDecoder
from headway.drivers.servo_calibration import Motor
from headway.drivers.servo_family import Packets, Reading, ReadRegisters, Registers
from headway.errors import DeviceError

_COUNT = 15  # registers 56 to 70: position, speed, load, voltage, temperature, ..., current
_RANGE, _OFFSET, _MODE, _VOLTS = 9, 31, 33, 62
_POSITION = 0  # of the modes
_POSITION_BIT, _OFFSET_BIT, _LOAD_BIT = 15, 11, 10
_AMPERE = 0.0065  # per count of the current


class Sts3215:
    """A `headway.drivers.servo_family.Family`."""

    name, models, baud = "STS3215", frozenset({777}), 1_000_000
    registers = Registers(
        firmware=(0, 2), model=3, torque=40, goal=42, present=(56, _COUNT), lasting=16, limit=48
    )
    servo_inverts = False  # they have no register for it
    watchdog: tuple[int, bytes, bytes] | None = None  # they have none
    watchdog_s = 0.0
    packets: Packets = feetech

    def decoder(self) -> StatusDecoder:
        return StatusDecoder(_COUNT)

    def goal(self, counts: int) -> bytes:
        return feetech.unsigned(counts, _POSITION_BIT).to_bytes(2, "little")

    def refuse_mode(self, read: ReadRegisters, servo: int, name: str) -> None:
        mode = read(servo, _MODE, 1)[0]
        if mode != _POSITION:
            raise DeviceError(
                f"wanted {name} in position mode ({_POSITION}), found mode {mode}: set register "
                f"{_MODE} to {_POSITION} with Feetech's tool, or by `lerobot-calibrate`"
            )

    def volts(self, read: ReadRegisters, servo: int) -> float:
        return read(servo, _VOLTS, 1)[0] / 10.0

    def calibration(self, read: ReadRegisters, motor: Motor) -> Motor:
        low, high, offset = (
            int.from_bytes(read(motor.id, at, 2), "little") for at in (_RANGE, _RANGE + 2, _OFFSET)
        )
        homing = feetech.signed(offset, _OFFSET_BIT)
        return structs.replace(motor, homing_offset=homing, range_min=low, range_max=high)

    def reading(self, rows: Sequence[bytes]) -> Reading:
        """Raises DeviceError for a row of another length."""
        if any(len(row) != _COUNT for row in rows):
            raise DeviceError(f"wanted {_COUNT} registers of each servo, found another count")

        def word(row: bytes, at: int, bit: int) -> int:
            return feetech.signed(int.from_bytes(row[at : at + 2], "little"), bit)

        return Reading(
            tuple(word(r, 0, _POSITION_BIT) for r in rows),
            tuple(word(r, 2, _POSITION_BIT) for r in rows),
            tuple(word(r, 4, _LOAD_BIT) / 1000.0 for r in rows),
            tuple(r[6] / 10.0 for r in rows),
            tuple(r[7] for r in rows),
            tuple(word(r, 13, 15) * _AMPERE for r in rows),
        )
