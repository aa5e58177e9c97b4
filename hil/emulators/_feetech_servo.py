"""One STS3215: its memory, and what a write into it does."""

from __future__ import annotations

import math

from headway.hil.faults_table import FaultsTable
from headway.hil.journal import Journal
from headway.hil.servos import Servos

TURN, CENTRE = 4096, 2048
_SIZE, _FACTORY = 87, 80  # bytes; where the maker's own settings begin
_READ_ONLY = 5  # bytes at the beginning
ID, RETURN_DELAY, STATUS_LEVEL = 5, 7, 8
_MIN, _MAX, _MAX_TORQUE, _OFFSET = 9, 11, 16, 31
_TORQUE, _GOAL, _SPEED, _TORQUE_LIMIT, _LOCK = 40, 42, 46, 48, 55
_POSITION, _VELOCITY, _LOAD, _VOLTS, _HEAT, _STATUS, _MOVING, _CURRENT = (
    56, 58, 60, 62, 63, 65, 66, 69,
)  # fmt: skip
_SIGN_POSITION, _SIGN_OFFSET, _SIGN_LOAD = 15, 11, 10
_CENTRE_HERE = 128  # what a write of it to the torque does: the present position becomes 2048
_STALL_NM = 1.9  # of an STS3215 at 7.4 V: 19.5 kg cm
_STALL_A, _AMPERE = 2.4, 0.0065  # and one count of the current
BITS = {"voltage": 1, "angle": 2, "heat": 4, "current": 8, "overload": 32}
_TORQUE_OFF = ("heat", "current", "overload")
KINDS = ("silent", "stuck", "restart", *BITS)
_DEFAULTS = {
    0: 3, 1: 10, 3: 777 & 0xFF, 4: 777 >> 8, STATUS_LEVEL: 1, 12: 0x0F, 11: 0xFF, 13: 70, 14: 80,
    15: 40, 16: 0xE8, 17: 3, 18: 12, 19: 44, 20: 47, 21: 32, 22: 32, 24: 16, 26: 1, 27: 1, 28: 0xF4,
    29: 1, 30: 1, 34: 20, 35: 200, 36: 80, 37: 10, 38: 200, 39: 10, _LOCK: 1,
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
        self.memory = bytearray(_SIZE)
        for address, value in _DEFAULTS.items():
            self.memory[address] = value
        self.memory[ID] = id_
        self._saved = bytes(self.memory[:_TORQUE])  # what outlives a loss of power
        self._off_by = 0  # bits of what has switched the torque off
        self._commanded = False
        self._start()

    @property
    def id(self) -> int:
        """Its number on the line."""
        return self.memory[ID]

    def _start(self) -> None:
        """What power does: no torque, and the goal where it is."""
        self.memory[:] = self._saved.ljust(_SIZE, b"\0")
        self.memory[_LOCK] = 1
        self.memory[_TORQUE_LIMIT : _TORQUE_LIMIT + 2] = self.memory[_MAX_TORQUE : _MAX_TORQUE + 2]
        self._off_by, self._commanded = 0, False
        self._motion.torque(self._index, False)
        self._motion.hold(self._index)
        self._put(_POSITION, self._position(), _SIGN_POSITION)
        self._put(_GOAL, self._position(), _SIGN_POSITION)

    def begin(self, kind: str) -> None:
        """A fault begins."""
        if kind == "restart":
            self._start()
        elif kind in _TORQUE_OFF:
            self._off_by |= BITS[kind]
            self._switch(False)
            self._journal.write("stopped", kind, id=self.id)

    def errors(self) -> int:
        """The status byte."""
        bits = sum(bit for kind, bit in BITS.items() if self._faults.active(kind, self.id))
        return bits | self._off_by

    def read(self, address: int, count: int) -> bytes:
        """`count` bytes from `address` on, as they are now; 0 where there are none."""
        motion, i = self._motion, self._index
        if not self._faults.active("stuck", self.id):
            self._put(_POSITION, self._position(), _SIGN_POSITION)
            self._put(_VELOCITY, round(motion.dq[i] * TURN / math.tau), _SIGN_POSITION)
        load = 1000 if self.errors() & BITS["overload"] else motion.tau[i] / _STALL_NM * 1000
        self._put(_LOAD, round(min(max(load, -1000), 1000)), _SIGN_LOAD)
        self._put(_CURRENT, round(abs(load) / 1000 * _STALL_A / _AMPERE), _SIGN_POSITION)
        low = self._faults.active("voltage", self.id)
        self.memory[_VOLTS] = round(10 * (4.5 if low else self._volts))
        self.memory[_HEAT] = 75 if self._faults.active("heat", self.id) else 32
        self.memory[_STATUS] = self.errors()
        self.memory[_MOVING] = int(abs(motion.dq[i]) > 0.01)
        return bytes(self.memory[address : address + count]).ljust(count, b"\0")

    def write(self, address: int, values: bytes) -> None:
        """Write `values` from `address` on, and do what that asks for. What a servo keeps is lost
        with the power where its lock is on."""
        end = min(address + len(values), _SIZE if address >= _FACTORY else _POSITION)
        values, address = values[max(_READ_ONLY - address, 0) :], max(address, _READ_ONLY)
        if address >= end:
            return  # what is measured cannot be written
        self.memory[address:end] = values[: end - address]
        self._save(address, end)
        if address <= _TORQUE < end:
            self._write_torque(self.memory[_TORQUE])
        elif address < _SPEED + 2 and end > _GOAL:
            self._go()

    def _save(self, address: int, end: int) -> None:
        if not self.memory[_LOCK]:
            kept = self.memory[address : min(end, _TORQUE)]
            self._saved = self._saved[:address] + kept + self._saved[address + len(kept) :]

    def _write_torque(self, value: int) -> None:
        if value == _CENTRE_HERE:
            raw = self._position() + self._get(_OFFSET, _SIGN_OFFSET)
            self._put(_OFFSET, raw % TURN - CENTRE, _SIGN_OFFSET)
            self._save(_OFFSET, _OFFSET + 2)
            self.memory[_TORQUE] = int(self._motion.has_torque(self._index))
            return
        kinds = [k for k in _TORQUE_OFF if self._faults.active(k, self.id)]
        self._off_by = sum(BITS[k] for k in kinds)
        on = bool(value) and not kinds
        if on and not self._motion.has_torque(self._index):
            self._journal.write("activated", id=self.id)
        self._switch(on)
        self._go()

    def _switch(self, on: bool) -> None:
        self.memory[_TORQUE] = int(on)
        if on != self._motion.has_torque(self._index):
            self._commanded = False
            self._motion.torque(self._index, on)

    def _go(self) -> None:
        """Turn towards the goal in the memory, where there is torque."""
        if not self._motion.has_torque(self._index):
            return
        low, high = self._get(_MIN, _SIGN_POSITION), self._get(_MAX, _SIGN_POSITION)
        goal = self._get(_GOAL, _SIGN_POSITION)
        if low < high:
            goal = min(max(goal, low), high)
        speed = abs(self._get(_SPEED, _SIGN_POSITION)) * math.tau / TURN
        if not self._commanded and goal != self._position():
            self._commanded = True
            self._journal.write("command", id=self.id, goal=goal)
        raw = (goal + self._get(_OFFSET, _SIGN_OFFSET)) % TURN
        self._motion.go(self._index, (raw - CENTRE) * math.tau / TURN, speed or math.inf)

    def _position(self) -> int:
        raw = CENTRE + round(self._motion.q[self._index] * TURN / math.tau)
        return int(raw - self._get(_OFFSET, _SIGN_OFFSET)) % TURN

    def _get(self, address: int, sign: int) -> int:
        word = int.from_bytes(self.memory[address : address + 2], "little")
        size = word & (1 << sign) - 1
        return -size if word >> sign & 1 else size

    def _put(self, address: int, value: int, sign: int) -> None:
        word = min(abs(value), (1 << sign) - 1) | (1 << sign if value < 0 else 0)
        self.memory[address : address + 2] = word.to_bytes(2, "little")
