"""The registers of the Robotiq 2F-85 and 2F-140 grippers, after their instruction manual, section
"Control". Positions: 0 is open, 255 closed."""

from __future__ import annotations

import msgspec

from headway.drivers.codecs import modbus_rtu
from headway.drivers.codecs.modbus_rtu import Request

SLAVE = 9
_COMMAND, _STATUS, _COUNT = 1000, 2000, 3

ACTIVE = 3  # gSTA: the activation is complete
MOVING, HELD_OPENING, HELD_CLOSING, ARRIVED = 0, 1, 2, 3  # gOBJ

FAULTS = {  # gFLT
    0x5: "it is still activating",
    0x7: "it is not activated",
    0x8: "it is too hot: let it cool down",
    0x9: "it heard nothing for a second",
    0xA: "its supply is below the minimum: check the 24 V",
    0xB: "it releases automatically",
    0xC: "an internal fault: contact Robotiq",
    0xD: "its activation failed: is something in the way of the jaws?",
    0xE: "overcurrent",
    0xF: "it has released automatically",
}
FIRST_MAJOR = 0xA  # from here on, only a new activation helps
TOO_HOT = 0x8


class Goal(msgspec.Struct, frozen=True):
    """Move to `position` with `speed` and at most `force`, all 0..255; not `go`: stop."""

    position: int
    speed: int
    force: int
    go: bool = True


class Status(msgspec.Struct, frozen=True):
    """What the gripper says. `gsta` 3: active; `gobj`: see above; `fault`: see `FAULTS`, 0 is none;
    `wanted` echoes the position of the goal; `current` of the motor [A]."""

    activated: bool  # gACT: it was told to be active
    going: bool  # gGTO
    gsta: int
    gobj: int
    fault: int
    wanted: int
    position: int
    current: float

    @property
    def active(self) -> bool:
        """Whether it follows goals."""
        return self.activated and self.gsta == ACTIVE and self.fault < FIRST_MAJOR

    @property
    def held(self) -> bool:
        """Whether its jaws were stopped by something, which is between them or around them."""
        return self.gobj in (HELD_OPENING, HELD_CLOSING)


def reset(slave: int = SLAVE) -> Request:
    """End the activation, and with it a fault."""
    return modbus_rtu.write(slave, _COMMAND, (0, 0, 0))


def activate(slave: int = SLAVE) -> Request:
    """Activate: the jaws open and close once, to find their ends."""
    return modbus_rtu.write(slave, _COMMAND, (0x0100, 0, 0))


def goal(g: Goal, slave: int = SLAVE) -> Request:
    """Follow `g`."""
    action = 0x01 | (0x08 if g.go else 0x00)
    return modbus_rtu.write(slave, _COMMAND, (action << 8, g.position, g.speed << 8 | g.force))


def ask(slave: int = SLAVE) -> Request:
    """Ask for the status."""
    return modbus_rtu.read(slave, _STATUS, _COUNT, modbus_rtu.INPUT)


def status(registers: tuple[int, ...]) -> Status:
    """The status in the three registers that `ask` reads."""
    first, second, third = registers
    byte = first >> 8
    return Status(
        activated=bool(byte & 0x01),
        going=bool(byte & 0x08),
        gsta=byte >> 4 & 0x03,
        gobj=byte >> 6,
        fault=second >> 8 & 0x0F,
        wanted=second & 0xFF,
        position=third >> 8,
        current=(third & 0xFF) * 0.010,
    )
