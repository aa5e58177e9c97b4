"""One servo of the Dynamixel X series: its control table, and what a write into it does."""

from __future__ import annotations

import math
import time

from headway.hil.faults_table import FaultsTable
from headway.hil.journal import Journal
from headway.hil.servos import Servos

TURN, CENTRE = 4096, 2048
SIZE, _EEPROM = 147, 64
MODEL, ID, RETURN_DELAY, STATUS_LEVEL = 0, 7, 9, 68
_DRIVE_MODE, _MODE, _OFFSET = 10, 11, 20
_REVERSE, _POSITION_MODE = 1, 3
_MOST_OFFSET = 1024  # in the position mode: e-Manual, Homing Offset(20), others are ignored there
_PWM_LIMIT, _MAX, _MIN, _SHUTDOWN = 36, 48, 52, 63
_TORQUE, _REGISTERED, _HARDWARE, _WATCHDOG = 64, 69, 70, 98
_GOALS, _PROFILE_SPEED, _GOAL, _MOVING = 100, 112, 116, 122
_CURRENT, _SPEED, _POSITION, _VOLTS, _HEAT = 126, 128, 132, 144, 146
_MEASURED = 120  # from here on nothing can be written
_READ_ONLY = (*range(ID), _REGISTERED, _HARDWARE)  # before that
_MOST_ID = 252
_FIRED = 255  # what the watchdog reads once it has stopped the servo
_TICK_S = 0.02  # of the watchdog
_RPM = 0.229  # one count of a velocity
_STALL_NM = 1.5  # of an XL430-W250 at 12 V
DATA_RANGE, DATA_LENGTH, DATA_LIMIT, ACCESS = 4, 5, 6, 7  # errors of a status packet
BITS = {"voltage": 0x01, "heat": 0x04, "encoder": 0x08, "shock": 0x10, "overload": 0x20}
KINDS = ("silent", "stuck", "restart", *BITS)
_DEFAULTS = {  # address: (bytes, value), as an XL430-W250 leaves the factory
    MODEL: (2, 1060), 6: (1, 52), ID: (1, 1), 8: (1, 3), RETURN_DELAY: (1, 250), _MODE: (1, 3),
    12: (1, 255), 13: (1, 2), 24: (4, 10), 31: (1, 72), 32: (2, 160), 34: (2, 60),
    _PWM_LIMIT: (2, 885), 44: (4, 265), _MAX: (4, 4095), _MIN: (4, 0), _SHUTDOWN: (1, 0x34),
    STATUS_LEVEL: (1, 2), 76: (2, 1000), 78: (2, 100), 80: (2, 4000), 84: (2, 640),
}  # fmt: skip


class Servo:
    """The servo `id_`, which is the one numbered `index` of `motion`, at `volts` [V]."""

    def __init__(
        self,
        id_: int,
        index: int,
        motion: Servos,
        faults: FaultsTable,
        journal: Journal,
        volts: float,
    ) -> None:
        self._index, self._motion, self._faults, self._journal = index, motion, faults, journal
        self._volts = volts
        self.memory = bytearray(SIZE)
        self._heard = 0.0
        self._position = 0
        self._commanded = False
        self._start()
        self.memory[ID] = id_

    @property
    def id(self) -> int:
        """Its number on the line."""
        return self.memory[ID]

    def _start(self) -> None:
        """What power does: no torque, and the RAM as it leaves the factory."""
        id_ = self.memory[ID]
        for address, (size, value) in _DEFAULTS.items():
            if address >= _EEPROM or not id_:
                self._put(address, value, size)
        self.memory[_GOALS : _GOALS + 2] = self.memory[_PWM_LIMIT : _PWM_LIMIT + 2]
        self._switch(False)
        self._motion.hold(self._index)
        self._measure()
        self._put(_GOAL, self._position)

    def reboot(self) -> None:
        """End what a hardware error has begun, where that is over."""
        self.memory[_EEPROM:] = bytes(SIZE - _EEPROM)
        self._start()
        for kind, bit in BITS.items():
            if self._faults.active(kind, self.id):
                self._fail(bit)

    def begin(self, kind: str) -> None:
        """A fault begins."""
        if kind == "restart":
            self.reboot()
        elif kind in BITS:
            self._fail(BITS[kind])

    def _fail(self, bit: int) -> None:
        self.memory[_HARDWARE] |= bit
        if bit & self.memory[_SHUTDOWN]:
            if self._motion.has_torque(self._index):
                self._journal.write("stopped", "hardware error", id=self.id, error=bit)
            self._switch(False)

    def alert(self) -> int:
        """Bit 7 of the error in its status."""
        return 0x80 if self.memory[_HARDWARE] else 0

    def heard(self) -> None:
        """A packet for it, or for all, has come."""
        self._heard = time.monotonic()

    def advance(self) -> None:
        """Stop when the watchdog is due."""
        ticks = self.memory[_WATCHDOG]
        armed = 0 < ticks < _FIRED and self._motion.has_torque(self._index)
        if armed and time.monotonic() - self._heard >= ticks * _TICK_S:
            self.memory[_WATCHDOG] = _FIRED
            self._motion.hold(self._index)
            self._journal.write("stopped", "bus watchdog", id=self.id)

    def read(self, address: int, count: int) -> bytes:
        """`count` bytes from `address` on, as they are now; they lie within SIZE."""
        self._measure()
        return bytes(self.memory[address : address + count])

    def _measure(self) -> None:
        motion, i = self._motion, self._index
        if not self._faults.active("stuck", self.id):
            turned = self._sign * round(motion.q[i] * TURN / math.tau)
            self._position = CENTRE + turned + self._offset
            self._put(_POSITION, self._position)
            self._put(_SPEED, self._sign * round(motion.dq[i] * 60 / math.tau / _RPM))
        self._put(_CURRENT, self._sign * round(motion.tau[i] / _STALL_NM * 1000), 2)
        self.memory[_MOVING] = int(abs(motion.dq[i]) > 0.01)
        low = self._faults.active("voltage", self.id)
        self._put(_VOLTS, round(10 * (5.0 if low else self._volts)), 2)
        self.memory[_HEAT] = 80 if self._faults.active("heat", self.id) else 31

    @property
    def _sign(self) -> int:
        """Of what it measures: its drive mode may turn it the other way."""
        return -1 if self.memory[_DRIVE_MODE] & _REVERSE else 1

    @property
    def _offset(self) -> int:
        """What is added to where it stands [counts]; the drive mode does not turn it."""
        offset = self._get(_OFFSET)
        ignored = self.memory[_MODE] == _POSITION_MODE and abs(offset) > _MOST_OFFSET
        return 0 if ignored else offset

    def write(self, address: int, values: bytes) -> int:
        """Write `values` from `address` on, and do what that asks for; the error of its status, 0
        where all is well: nothing is written else."""
        end = address + len(values)
        error = self._refusal(address, values, end)
        if error:
            return error
        self.memory[address:end] = values
        if address <= _WATCHDOG < end:
            self.heard()
        if address <= _TORQUE < end:
            self._write_torque(bool(self.memory[_TORQUE]))
        elif address < _GOAL + 4 and end > _PROFILE_SPEED:
            self._go(address, end)
        return 0

    def _refusal(self, address: int, values: bytes, end: int) -> int:
        if end > _MEASURED or not values:
            return ACCESS if end <= SIZE and values else DATA_LENGTH
        if address < _EEPROM and self._motion.has_torque(self._index):
            return ACCESS
        if any(address <= one < end for one in _READ_ONLY):
            return ACCESS
        if address <= ID < end and values[ID - address] > _MOST_ID:
            return DATA_RANGE
        if address <= _TORQUE < end and values[_TORQUE - address] > 1:
            return DATA_RANGE
        if address <= _WATCHDOG < end and 127 < values[_WATCHDOG - address] < _FIRED:
            return DATA_RANGE
        if self.memory[_WATCHDOG] == _FIRED and address < _MEASURED and end > _GOALS:
            return DATA_RANGE
        if address <= _GOAL and end >= _GOAL + 4 and self.memory[_MODE] == _POSITION_MODE:
            goal = int.from_bytes(values[_GOAL - address :][:4], "little", signed=True)
            if not self._get(_MIN) <= goal <= self._get(_MAX):
                return DATA_LIMIT
        return 0

    def _write_torque(self, on: bool) -> None:
        on = on and not self.memory[_HARDWARE] & self.memory[_SHUTDOWN]
        if on and not self._motion.has_torque(self._index):
            self._motion.hold(self._index)
            self._measure()
            self._put(_GOAL, self._position)
            self._journal.write("activated", id=self.id)
        self._switch(on)

    def _switch(self, on: bool) -> None:
        self.memory[_TORQUE] = int(on)
        if on != self._motion.has_torque(self._index):
            self._commanded = False
            self._motion.torque(self._index, on)

    def _go(self, address: int, end: int) -> None:
        """Turn towards the goal in the table, where there is torque."""
        if not self._motion.has_torque(self._index):
            return
        goal = self._get(_GOAL)
        if not self._commanded and address <= _GOAL < end:
            self._commanded = True
            self._journal.write("command", id=self.id, goal=goal)
        speed = self._get(_PROFILE_SPEED) * _RPM * math.tau / 60
        way = self._sign * (goal - self._offset - CENTRE)
        self._motion.go(self._index, way * math.tau / TURN, speed or math.inf)

    def _get(self, address: int, size: int = 4) -> int:
        return int.from_bytes(self.memory[address : address + size], "little", signed=True)

    def _put(self, address: int, value: int, size: int = 4) -> None:
        high = (1 << 8 * size - 1) - 1
        kept = value if size == 1 else max(min(value, high), -high)
        self.memory[address : address + size] = kept.to_bytes(size, "little", signed=size > 1)
