"""Servos of the Dynamixel X series (as an XL430-W250) on one half-duplex line of 1 Mbit/s, protocol
2.0: the joints of a plant, ids 1 to n, and its jaw, id n + 1.

`FF FF FD 00 id length instruction parameters CRC`, with FD stuffed after FF FF FD inside (Robotis
e-Manual, "DYNAMIXEL Protocol 2.0" and the X series' control table). Ping, read, write, regwrite and
action, reboot, sync, fast sync, bulk and fast bulk reads, sync and bulk writes are there. A
position is 2048 where the joint is at 0 rad, plus the homing offset (register 20), which mode 3
ignores beyond 1024 counts; bit 0 of register 10 turns the servo the other way, about 2048 (which is
assumed). New baud rates are stored, not taken. Every mode of register 11 goes to positions, 3 alone
keeps to the limits of registers 48 and 52.

Its promises: a servo whose torque is switched on holds its place until a goal is written; a goal
beyond the limits is refused; the EEPROM is not written with torque on, and what is only read never
is. The bus watchdog (register
98, 20 ms each): when no packet for it or for all has come for so long, the servo stops, register 98
reads 255, and goals are refused until 0 is written there. With the watchdog at 0 it holds its last
goal when the host dies, and the journal says `held` after a second.

Faults, of the servo `target` or of all: `silent` (neither answers nor obeys), `stuck` (its position
stands still), `restart` (once: as after a loss of power), and the hardware errors `voltage`,
`heat`, `encoder`, `shock`, `overload`: their bit of register 70, the alert bit in every status, and
no torque where the shutdown register has the bit, until a reboot after the fault is over.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from msgspec import Meta

from headway.config import NotNegative, Struct
from headway.hil import servo_line, servo_partner
from headway.hil.device_port import DevicePort
from headway.hil.emulators import _dynamixel_servo as servo
from headway.hil.faults_table import Fault, FaultsTable
from headway.hil.journal import Journal
from headway.hil.plant import Plant
from headway.hil.servos import Servos
from headway.hil.silence import Silence

BAUD = 1_000_000
ALL = 0xFE
HEADER = b"\xff\xff\xfd\x00"
_PING, _READ, _WRITE, _REG_WRITE, _ACTION, _REBOOT, _STATUS = 1, 2, 3, 4, 5, 8, 0x55
_SYNC_READ, _SYNC_WRITE, _FAST_SYNC_READ = 0x82, 0x83, 0x8A
_BULK_READ, _BULK_WRITE, _FAST_BULK_READ = 0x92, 0x93, 0x9A
_LONGEST = 1024
_INSTRUCTION_ERROR = 2
_DELAY_S = 2e-6


class Config(Struct, frozen=True):
    """`link`: a symbolic link to the port, "" for none. `jaw_rad` [rad]: how far the servo of the
    jaw turns from closed to open, 0 for none. `volts` of the supply. `paced`: answers take the time
    that 1 Mbit/s needs, and the servos' return delay."""

    link: str = ""
    jaw_rad: NotNegative = 1.5
    volts: Annotated[float, Meta(gt=0.0, le=25.5)] = 12.0
    paced: bool = False
    faults: tuple[Fault, ...] = ()


class _Bus:
    """The servos, and the packets for them."""

    def __init__(self, cfg: Config, plant: Plant, journal: Journal, faults: FaultsTable) -> None:
        self._faults = faults
        self._motion = Servos(plant, cfg.jaw_rad)
        self._servos = [
            servo.Servo(index + 1, index, self._motion, faults, journal, cfg.volts)
            for index in range(self._motion.count)
        ]
        self._silence = Silence(journal, "the servos without a bus watchdog hold their last goals")
        self._buffer = b""
        self._later: dict[int, bytes] = {}  # what waits for an action

    def advance(self) -> None:
        """Move on to now."""
        for fault in self._faults.starting():
            for one in self._servos:
                if fault.target in (None, one.id):
                    one.begin(fault.kind)
        self._motion.update()
        for one in self._servos:
            one.advance()
        self._silence.look(self._motion.any_torque())

    def feed(self, data: bytes) -> bytes:
        """Take what was heard; returns what the servos say to it."""
        self._silence.heard()
        self._buffer += data
        said = b""
        while True:
            start = self._buffer.find(HEADER)
            if start < 0:
                self._buffer = self._buffer[-3:]
                return said
            self._buffer = self._buffer[start:]
            if len(self._buffer) < 7:
                return said
            end = 7 + int.from_bytes(self._buffer[5:7], "little")
            if not 10 <= end <= _LONGEST:
                self._buffer = self._buffer[1:]
            elif len(self._buffer) < end:
                return said
            elif crc(self._buffer[: end - 2]) == self._buffer[end - 2 : end]:
                packet, self._buffer = self._buffer[:end], self._buffer[end:]
                said += self._obey(packet[4], packet[7], unstuffed(packet[8:-2]))
            else:
                self._buffer = self._buffer[1:]

    def forget(self) -> None:
        """Nothing came for a while: what was begun will not be ended."""
        self._buffer = b""

    def delay_s(self) -> float:
        """How long the servos wait before they answer [s]."""
        return max(one.memory[servo.RETURN_DELAY] for one in self._servos) * _DELAY_S

    def _obey(self, to: int, instruction: int, body: bytes) -> bytes:
        if instruction in (_SYNC_READ, _FAST_SYNC_READ) and len(body) >= 4:
            address, size = struct.unpack_from("<HH", body)
            wanted = [(id_, address, size) for id_ in body[4:]]
            return self._read_many(wanted, instruction == _FAST_SYNC_READ)
        if instruction in (_BULK_READ, _FAST_BULK_READ):
            wanted = list(struct.iter_unpack("<BHH", body[: len(body) // 5 * 5]))
            return self._read_many(wanted, instruction == _FAST_BULK_READ)
        if instruction == _SYNC_WRITE and len(body) >= 4:
            address, size = struct.unpack_from("<HH", body)
            for n in range(4, len(body) - size, size + 1):
                self._write(body[n], address, body[n + 1 : n + 1 + size])
            return b""
        if instruction == _BULK_WRITE:
            n = 0
            while n + 5 <= len(body):
                id_, address, size = struct.unpack_from("<BHH", body, n)
                self._write(id_, address, body[n + 5 : n + 5 + size])
                n += 5 + size
            return b""
        said = b""
        for one in self._listening(to):
            one.heard()
            said += self._one(one, to, instruction, body)
        return said

    def _write(self, id_: int, address: int, values: bytes) -> None:
        for one in self._listening(id_):
            one.heard()
            one.write(address, values)

    def _one(self, one: servo.Servo, to: int, instruction: int, body: bytes) -> bytes:
        """What one servo does with a packet to it, or to all."""
        error, values, id_ = 0, b"", one.id  # it answers by the number that it had
        if instruction == _PING:
            values = bytes(one.memory[servo.MODEL : servo.MODEL + 2]) + bytes([one.memory[6]])
        elif instruction == _READ and len(body) == 4 and to != ALL:
            address, size = struct.unpack("<HH", body)
            inside = size > 0 and address + size <= servo.SIZE
            error, values = (0, one.read(address, size)) if inside else (servo.DATA_LENGTH, b"")
        elif instruction == _WRITE and len(body) >= 2:
            error = one.write(struct.unpack_from("<H", body)[0], body[2:])
        elif instruction == _REG_WRITE and len(body) >= 2:
            self._later[one.id] = body
        elif instruction == _ACTION:
            wrote = self._later.pop(one.id, b"")
            if wrote:
                error = one.write(struct.unpack_from("<H", wrote)[0], wrote[2:])
        elif instruction == _REBOOT:
            one.reboot()
        else:
            error = _INSTRUCTION_ERROR
        level = one.memory[servo.STATUS_LEVEL]
        answers = level == 2 or instruction == _PING or (instruction == _READ and level == 1)
        if not answers or (to == ALL and instruction != _PING):
            return b""
        return status(id_, error | one.alert(), values)

    def _read_many(self, wanted: Sequence[tuple[int, int, int]], fast: bool) -> bytes:
        """The answers to a read of several servos; `wanted`: id, address, size of each. Where it is
        fast, one packet has all of them, and a silent servo ends it."""
        answers = []
        for id_, address, size in wanted:
            inside = id_ != ALL and size > 0 and address + size <= servo.SIZE
            found = self._listening(id_) if inside else []
            if not found and fast:
                break
            for one in found:
                one.heard()
                answers.append((id_, one.alert(), one.read(address, size)))
        if not fast:
            return b"".join(status(*answer) for answer in answers)
        length = 1 + sum(size + 4 for _, _, size in wanted)
        if not answers or length > _LONGEST:
            return b""
        said = HEADER + bytes([ALL]) + length.to_bytes(2, "little") + bytes([_STATUS])
        for id_, error, values in answers:
            said += bytes([error, id_]) + values
            said += crc(said)
        return said

    def _listening(self, id_: int) -> list[servo.Servo]:
        return [
            one
            for one in self._servos
            if id_ in (one.id, ALL) and not self._faults.active("silent", one.id)
        ]


def status(id_: int, error: int, values: bytes) -> bytes:
    """The status packet of a servo."""
    body = stuffed(bytes([_STATUS, error]) + values)
    said = HEADER + bytes([id_]) + (len(body) + 2).to_bytes(2, "little") + body
    return said + crc(said)


def stuffed(body: bytes) -> bytes:
    """`body` with an FD more wherever it has FF FF FD, so that it holds no header."""
    return body.replace(b"\xff\xff\xfd", b"\xff\xff\xfd\xfd")


def unstuffed(body: bytes) -> bytes:
    """What `stuffed` was made of."""
    return body.replace(b"\xff\xff\xfd\xfd", b"\xff\xff\xfd")


def crc(data: bytes) -> bytes:
    """CRC-16 with the polynomial 0x8005, not reflected, from 0 on, as sent: low byte first."""
    remainder = 0
    for byte in data:
        remainder = (remainder << 8 ^ _REMAINDERS[remainder >> 8 ^ byte]) & 0xFFFF
    return remainder.to_bytes(2, "little")


def _remainder(byte: int) -> int:
    remainder = byte << 8
    for _ in range(8):
        remainder = (remainder << 1 ^ (0x8005 if remainder & 0x8000 else 0)) & 0xFFFF
    return remainder


_REMAINDERS = [_remainder(byte) for byte in range(256)]


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


KINDS = servo.KINDS  # of faults
DRIVERS = (("arms", "dynamixel"), ("grippers", "dynamixel"))
WIRE = ("serial", ("port",))
PLANT = {"model": "so101"}
NEEDS = {("grippers", "dynamixel"): ("arms", "dynamixel")}


def table(folder: str, uri: str) -> dict[str, Any]:
    """The driver's keys for the bus at `uri`, see `headway.hil.emulators`."""
    return servo_partner.table(folder, uri, Config().jaw_rad)
