"""Packets of Feetech's STS/SMS servos (communication protocol manual, half duplex, 1 Mbit/s).

    FF FF id length instruction parameters... checksum

`length` is the number of parameters + 2, the checksum the inverted low byte of the sum from `id` to
the last parameter. An answer has the servo's error byte in place of the instruction. Numbers of two
bytes are little-endian; signed ones have a sign bit and a magnitude, not a two's complement.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

BROADCAST = 0xFE
PING, READ, WRITE, SYNC_READ, SYNC_WRITE = 0x01, 0x02, 0x03, 0x82, 0x83
ERRORS = {1: "voltage", 2: "angle sensor", 4: "overheated", 8: "overcurrent", 32: "overload"}
_HEADER = b"\xff\xff"
_LONGEST = 250  # of the length byte; ids are below 254 and an answer has no more


@dataclass(frozen=True)
class Status:
    """The answer of the servo `id`: its `error` byte and parameters."""

    id: int
    error: int
    data: bytes

    def errors(self) -> str:
        """The errors in words, "" where there are none."""
        return ", ".join(word for bit, word in ERRORS.items() if self.error & bit)


def packet(servo: int, instruction: int, data: bytes = b"") -> bytes:
    """An instruction to the servo `servo`, or to all (BROADCAST)."""
    body = bytes((servo, len(data) + 2, instruction)) + data
    return _HEADER + body + bytes((~sum(body) & 0xFF,))


def read(servo: int, address: int, count: int) -> bytes:
    """Ask for `count` registers from `address` on."""
    return packet(servo, READ, bytes((address, count)))


def write(servo: int, address: int, data: bytes) -> bytes:
    """Write `data` into the registers from `address` on."""
    return packet(servo, WRITE, bytes((address,)) + data)


def sync_read(address: int, count: int, servos: Iterable[int]) -> bytes:
    """Ask several servos for `count` registers each; they answer one after the other."""
    return packet(BROADCAST, SYNC_READ, bytes((address, count, *servos)))


def sync_write(address: int, data: Mapping[int, bytes]) -> bytes:
    """Write into the registers from `address` on of several servos, as many bytes for each. Nobody
    answers. Raises ValueError where the counts differ."""
    counts = {len(d) for d in data.values()}
    if len(counts) != 1:
        raise ValueError(f"a sync write wants as many bytes for each servo, found {counts}")
    rows = b"".join(bytes((servo,)) + d for servo, d in data.items())
    return packet(BROADCAST, SYNC_WRITE, bytes((address, counts.pop())) + rows)


def signed(value: int, bit: int) -> int:
    """The number whose magnitude is in the bits below `bit` of `value`, and whose sign is `bit`."""
    magnitude = value & ((1 << bit) - 1)
    return -magnitude if value >> bit & 1 else magnitude


def unsigned(value: int, bit: int) -> int:
    """What `signed` turns back into `value`. Raises ValueError for one that does not fit."""
    if not abs(value) < 1 << bit:
        raise ValueError(f"wanted a number of {bit} bits and a sign, found {value}")
    return abs(value) | (1 << bit if value < 0 else 0)


class StatusDecoder:
    """A `headway.drivers.codecs.Decoder` of answers with at most `most` parameters. A damaged
    length that says more is seen at once, and not when as many bytes have come."""

    def __init__(self, most: int = _LONGEST - 2) -> None:
        self.errors = self.skipped = 0
        self._longest = most + 2
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Sequence[Status]:
        buffer = self._buffer
        buffer += data
        out: list[Status] = []
        while True:
            start = buffer.find(_HEADER)
            if start < 0:
                self._skip(len(buffer) - (1 if buffer.endswith(b"\xff") else 0))
                return out
            self._skip(start)
            while len(buffer) > 2 and buffer[2] == 0xFF:  # FF FF FF: the header begins later
                self._skip(1)
            if len(buffer) < 4:
                return out
            length = buffer[3]
            if not 2 <= length <= self._longest or buffer[2] >= BROADCAST:
                self.errors += 1
                self._skip(1)
                continue
            if len(buffer) < length + 4:
                return out
            body = buffer[2 : length + 3]
            if ~sum(body) & 0xFF != buffer[length + 3]:
                self.errors += 1
                self._skip(1)
                continue
            out.append(Status(body[0], body[2], bytes(body[3:])))
            del buffer[: length + 4]

    def reset(self) -> None:
        self._buffer.clear()

    def _skip(self, count: int) -> None:
        self.skipped += count
        del self._buffer[:count]
