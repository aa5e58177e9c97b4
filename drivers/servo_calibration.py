"""The calibration of a hobby-servo arm, in LeRobot's file format, so that one calibration serves
both: a JSON object with, for each motor's name, `id`, `drive_mode`, `homing_offset`, `range_min`
and `range_max` (lerobot.motors.MotorCalibration; written by `lerobot-calibrate`).

As in LeRobot, the angle 0 is in the middle of the calibrated range, and `drive_mode` 1 turns the
other way: for servos that cannot (Feetech's) the driver inverts, as LeRobot's bus of them does
(`apply_drive_mode`); those that can (Dynamixel's) were told to when they were calibrated.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import structs

from headway.errors import ConfigError, DeviceError

COUNTS = 4096  # per turn
ID_MAX = 252  # of a Dynamixel; Feetech's go to 253
RAD = 2.0 * math.pi / COUNTS


class Motor(msgspec.Struct, frozen=True):
    """One motor: positions are counts as its servo gives them, with its homing offset.
    `servo_inverts`: whether a servo that `drive_mode` 1 turns the other way does so by itself."""

    id: int
    drive_mode: int
    homing_offset: int
    range_min: int
    range_max: int
    servo_inverts: bool = False  # of the family, see `read`: the file does not say it

    @property
    def middle(self) -> float:
        """Where the angle is 0 [counts]."""
        return (self.range_min + self.range_max) / 2.0

    @property
    def inverted(self) -> bool:
        """Whether the angle grows as the counts fall."""
        return bool(self.drive_mode) and not self.servo_inverts

    @property
    def sign(self) -> float:
        """Of the angle over the counts."""
        return -1.0 if self.inverted else 1.0

    def angle(self, counts: float) -> float:
        """[rad]"""
        return self.sign * (counts - self.middle) * RAD

    def counts(self, angle: float) -> int:
        """The nearest position to `angle` [rad]."""
        return round(self.middle + self.sign * angle / RAD)

    def share(self, counts: float) -> float:
        """0 at one end of the range, 1 at the other; of a jaw: how far it is open."""
        along = (counts - self.range_min) / (self.range_max - self.range_min)
        return 1.0 - along if self.inverted else along

    def at_share(self, share: float) -> int:
        """The position at `share` of the range."""
        along = 1.0 - share if self.inverted else share
        return round(self.range_min + along * (self.range_max - self.range_min))


def read(path: Path, names: Sequence[str], *, servo_inverts: bool = False) -> dict[str, Motor]:
    """The motors `names` of the calibration file `path`, of servos that invert by themselves where
    `servo_inverts`. Raises ConfigError for a file that is missing or does not fit, with what to
    do."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=dict[str, Motor])
    except FileNotFoundError:
        raise ConfigError(
            f"wanted a calibration at {path}, found none: make one with `lerobot-calibrate`, and "
            "name its file"
        ) from None
    except (OSError, msgspec.DecodeError) as e:
        raise ConfigError(f"wanted a calibration of LeRobot at {path}, found {e}") from None
    missing = [n for n in names if n not in found]
    if missing:
        raise ConfigError(
            f"{path} wants the motors {', '.join(names)}, found no {', '.join(missing)}: is it the "
            "calibration of another robot?"
        )
    for name, m in found.items():
        if not 0 <= m.id <= ID_MAX:
            raise ConfigError(
                f"{path}: {name} wants an `id` of 0 to {ID_MAX}, found {m.id}: correct it, or "
                "calibrate again"
            )
        if not 0 <= m.range_min < m.range_max < COUNTS:
            raise ConfigError(
                f"{path}: {name} wants 0 <= range_min < range_max < {COUNTS}, found {m.range_min} "
                f"and {m.range_max}: calibrate it again"
            )
    ids = [found[n].id for n in names]
    if len(set(ids)) != len(ids):
        raise ConfigError(f"{path}: two motors have the same id, found {ids}")
    return {n: structs.replace(found[n], servo_inverts=servo_inverts) for n in names}


def check(path: Path, wanted: Mapping[str, Motor], found: Mapping[str, Motor]) -> None:
    """Raises DeviceError where the servos hold another calibration than the file: `found` is what
    they say, of which drive mode, homing offset and range are compared."""
    wrong = [
        f"{name} has {part} {getattr(found[name], part)} (the file {getattr(m, part)})"
        for name, m in wanted.items()
        for part in ("drive_mode", "homing_offset", "range_min", "range_max")
        if getattr(found[name], part) != getattr(m, part)
    ]
    if wrong:
        raise DeviceError(
            f"wanted the calibration of {path} in the servos, found another: {'; '.join(wrong)}: "
            "name the file of this arm, or calibrate it again with `lerobot-calibrate`"
        )
