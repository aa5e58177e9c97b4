"""Feetech STS3215 servos on one half-duplex line of 1 Mbit/s: the joints of an arm, ids 1 to n, and
its jaw, id n + 1, as in an SO-101.

`FF FF id length instruction parameters ~sum`, registers little-endian, signs in a bit of their own
(Feetech's memory table of the STS3215). A position is 2048 where the joint is at 0 rad, less the
offset of register 31. Ping, read, write, regwrite and action, sync read and sync write are there.
Broadcast pings are answered in the order of the ids. New baud rates are stored, not taken.

Its promises: none about the host. There is no bus watchdog, so the servos hold their last goals
when the host dies, and the journal says `held` after a second. A servo whose torque is switched on
goes to the goal in its register, wherever that is. What is written with the lock (register 55) on
holds until a loss of power.

Faults, of the servo `target` or of all: `silent` (neither answers nor obeys; its neighbours do),
`stuck` (its position stands still), `voltage`, `angle` (their bit of the status), `heat`,
`current`, `overload` (their bit, and the torque goes off until it is switched on after the fault is
over), `restart` (once: as after a loss of power).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Annotated, Any

from msgspec import Meta

from headway.config import NotNegative, Struct
from headway.hil import servo_line, servo_partner
from headway.hil.device_port import DevicePort
from headway.hil.emulators import _feetech_servo as servo
from headway.hil.faults_table import Fault, FaultsTable
from headway.hil.journal import Journal
from headway.hil.plant import Plant
from headway.hil.servos import Servos
from headway.hil.silence import Silence

BAUD = 1_000_000
ALL = 0xFE
_PING, _READ, _WRITE, _REG_WRITE, _ACTION, _SYNC_READ, _SYNC_WRITE = 1, 2, 3, 4, 5, 0x82, 0x83
_DELAY_S = 2e-6  # of one count of the register for the return delay


class Config(Struct, frozen=True):
    """`link`: a symbolic link to the port, "" for none. `jaw_rad` [rad]: how far the servo of the
    jaw turns from closed to open, 0 for none. `volts` of the supply. `paced`: answers take the time
    that 1 Mbit/s needs, and the servos' return delay."""

    link: str = ""
    jaw_rad: NotNegative = 1.75
    volts: Annotated[float, Meta(gt=0.0, le=25.5)] = 7.4
    paced: bool = False
    faults: tuple[Fault, ...] = ()


class _Bus:
    """The servos, and the packets for them."""

    def __init__(self, cfg: Config, plant: Plant, journal: Journal, faults: FaultsTable) -> None:
        self._faults, self._journal = faults, journal
        self._motion = Servos(plant, cfg.jaw_rad)
        self._servos = [
            servo.Servo(index + 1, index, self._motion, faults, journal, cfg.volts)
            for index in range(self._motion.count)
        ]
        self._silence = Silence(journal, "no watchdog: the servos hold their last goals")
        self._buffer = b""
        self._later: dict[int, bytes] = {}  # what waits for an action

    def advance(self) -> None:
        """Move on to now."""
        for fault in self._faults.starting():
            for one in self._servos:
                if fault.target in (None, one.id):
                    one.begin(fault.kind)
        self._motion.update()
        self._silence.look(self._motion.any_torque())

    def feed(self, data: bytes) -> bytes:
        """Take what was heard; returns what the servos say to it."""
        self._silence.heard()
        self._buffer += data
        said = b""
        while True:
            start = self._buffer.find(b"\xff\xff")
            if start < 0:
                self._buffer = self._buffer[-1:]
                return said
            self._buffer = self._buffer[start:]
            if len(self._buffer) < 4:
                return said
            end = self._buffer[3] + 4
            if self._buffer[2] == 0xFF or end < 6:
                self._buffer = self._buffer[1:]
            elif len(self._buffer) < end:
                return said
            elif checksum(self._buffer[2 : end - 1]) == self._buffer[end - 1]:
                packet, self._buffer = self._buffer[:end], self._buffer[end:]
                said += self._obey(packet[2], packet[4], packet[5:-1])
            else:
                self._buffer = self._buffer[1:]

    def forget(self) -> None:
        """Nothing came for a while: what was begun will not be ended."""
        self._buffer = b""

    def delay_s(self) -> float:
        """How long the servos wait before they answer [s]."""
        return max(one.memory[servo.RETURN_DELAY] for one in self._servos) * _DELAY_S

    def _obey(self, to: int, instruction: int, body: bytes) -> bytes:
        if instruction == _SYNC_READ and len(body) >= 2:
            return b"".join(
                self._status(id_, one, one.read(body[0], body[1]))
                for id_ in body[2:]
                for one in self._listening(id_)
            )
        if instruction == _SYNC_WRITE and len(body) >= 2:
            each = body[1] + 1
            for n in range(2, len(body) - each + 1, each):
                for one in self._listening(body[n]):
                    one.write(body[0], body[n + 1 : n + each])
            return b""
        return b"".join(self._one(one, to, instruction, body) for one in self._listening(to))

    def _one(self, one: servo.Servo, to: int, instruction: int, body: bytes) -> bytes:
        """What one servo does with a packet to it, or to all."""
        quiet = to == ALL or one.memory[servo.STATUS_LEVEL] == 0
        id_ = one.id  # by which it answers, also where it gets a new one
        if instruction == _PING:
            return self._status(id_, one, b"")
        if instruction == _READ and len(body) == 2 and to != ALL:
            return self._status(id_, one, one.read(body[0], body[1]))
        if instruction == _WRITE and body:
            one.write(body[0], body[1:])
        elif instruction == _REG_WRITE and body:
            self._later[one.id] = body
        elif instruction == _ACTION:
            wrote = self._later.pop(one.id, b"")
            if wrote:
                one.write(wrote[0], wrote[1:])
        else:
            return b""
        return b"" if quiet else self._status(id_, one, b"")

    def _listening(self, id_: int) -> list[servo.Servo]:
        return [
            one
            for one in self._servos
            if id_ in (one.id, ALL) and not self._faults.active("silent", one.id)
        ]

    def _status(self, id_: int, one: servo.Servo, values: bytes) -> bytes:
        body = bytes([id_, len(values) + 2, one.errors()]) + values
        return b"\xff\xff" + body + bytes([checksum(body)])


def checksum(body: bytes) -> int:
    """Of a packet from its id on, without the checksum itself."""
    return ~sum(body) & 0xFF


KINDS = servo.KINDS  # of faults
DRIVERS = (("arms", "feetech"), ("grippers", "feetech"))
WIRE = ("serial", ("port",))
PLANT = {"model": "so101"}
HOST_GONE = "holds"
NEEDS = {("grippers", "feetech"): ("arms", "feetech")}


def table(folder: str, uri: str) -> dict[str, Any]:
    """The driver's keys for the bus at `uri`, see `headway.hil.emulators`."""
    return servo_partner.table(folder, uri, Config().jaw_rad)


def serve(
    cfg: Config,
    plant: Plant,
    journal: Journal,
    ready: Callable[[str], None],
    stop: threading.Event,
) -> None:
    """Be the servos until `stop` is set."""
    faults = FaultsTable(cfg.faults, KINDS, journal)
    port = DevicePort(BAUD, cfg.link, journal, paced=cfg.paced)
    bus = _Bus(cfg, plant, journal, faults)
    ready(port.path)
    servo_line.serve(bus, port, faults, stop)
