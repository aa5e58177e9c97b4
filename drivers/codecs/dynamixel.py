"""Packets of Dynamixel servos, protocol 2.0 (Robotis e-Manual, "DYNAMIXEL Protocol 2.0").

    FF FF FD 00 id length instruction parameters... CRC

`length` (2 bytes) counts from the instruction to the CRC, which is over the whole packet. Numbers
are little-endian, signed ones a two's complement. Where FF FF FD comes inside a packet, FD is put
after it, so a header is always one. An answer has the instruction 0x55 and then the servo's error.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from headway.drivers.codecs.crc import dynamixel as crc

BROADCAST = 0xFE
PING, READ, WRITE, STATUS, SYNC_READ, SYNC_WRITE = 0x01, 0x02, 0x03, 0x55, 0x82, 0x83
ALERT = 0x80  # of an error: the servo's register 70 says what is wrong with it
ERRORS = {
    1: "could not do it", 2: "does not know the instruction", 3: "took the CRC for wrong",
    4: "took a value for out of range", 5: "took the length for wrong",
    6: "took a value for beyond its limit", 7: "does not give access",
}  # fmt: skip
_HEADER = b"\xff\xff\xfd\x00"
_MARK, _STUFFED = b"\xff\xff\xfd", b"\xff\xff\xfd\xfd"


@dataclass(frozen=True)
class Status:
    """The answer of the servo `id`: its `error` byte and parameters."""

    id: int
    error: int
    data: bytes

    def errors(self) -> str:
        """The errors in words, "" where there are none."""
        said = [ERRORS.get(self.error & 0x7F, "")] if self.error & 0x7F else []
        if self.error & ALERT:
            said.append("reports a hardware error (register 70)")
        return ", ".join(filter(None, said))


def packet(servo: int, instruction: int, data: bytes = b"") -> bytes:
    """An instruction to the servo `servo`, or to all (BROADCAST)."""
    body = (bytes((instruction,)) + data).replace(_MARK, _STUFFED)
    head = _HEADER + bytes((servo,)) + (len(body) + 2).to_bytes(2, "little") + body
    return head + crc(head).to_bytes(2, "little")


def read(servo: int, address: int, count: int) -> bytes:
    """Ask for `count` registers from `address` on."""
    return packet(servo, READ, _pair(address, count))


def write(servo: int, address: int, data: bytes) -> bytes:
    """Write `data` into the registers from `address` on."""
    return packet(servo, WRITE, address.to_bytes(2, "little") + data)


def sync_read(address: int, count: int, servos: Iterable[int]) -> bytes:
    """Ask several servos for `count` registers each; they answer one after the other."""
    return packet(BROADCAST, SYNC_READ, _pair(address, count) + bytes(servos))


def sync_write(address: int, data: Mapping[int, bytes]) -> bytes:
    """Write into the registers from `address` on of several servos, as many bytes for each. Nobody
    answers. Raises ValueError where the counts differ."""
    counts = {len(d) for d in data.values()}
    if len(counts) != 1:
        raise ValueError(f"a sync write wants as many bytes for each servo, found {counts}")
    rows = b"".join(bytes((servo,)) + d for servo, d in data.items())
    return packet(BROADCAST, SYNC_WRITE, _pair(address, counts.pop()) + rows)


def _pair(address: int, count: int) -> bytes:
    return address.to_bytes(2, "little") + count.to_bytes(2, "little")


class StatusDecoder:
    """A `headway.drivers.codecs.Decoder` of answers with at most `most` parameters. A damaged
    length that says more is seen at once, and not when as many bytes have come."""

    def __init__(self, most: int = 1000) -> None:
        self.errors = self.skipped = 0
        self._longest = 4 + most + (most + 2) // 3  # with what is stuffed
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Sequence[Status]:
        buffer = self._buffer
        buffer += data
        out: list[Status] = []
        while True:
            start = buffer.find(_HEADER)
            if start < 0:
                self._skip(len(buffer) - _begun(buffer))
                return out
            self._skip(start)
            if len(buffer) < 7:
                return out
            length = int.from_bytes(buffer[5:7], "little")
            if not 4 <= length <= self._longest or buffer[4] >= BROADCAST:
                self._bad()
                continue
            if len(buffer) < length + 7:
                # A length that is too long would hold back what follows: a header inside is none of
                # this packet's, as what is inside is stuffed.
                if buffer.find(_HEADER, 4) > 0:
                    self._bad()
                    continue
                return out
            whole = bytes(buffer[: length + 7])
            if crc(whole[:-2]) != int.from_bytes(whole[-2:], "little"):
                self._bad()
                continue
            del buffer[: length + 7]
            body = whole[7:-2].replace(_STUFFED, _MARK)
            if body[0] == STATUS and len(body) > 1:
                out.append(Status(whole[4], body[1], body[2:]))

    def reset(self) -> None:
        self._buffer.clear()

    def _bad(self) -> None:
        self.errors += 1
        self._skip(1)

    def _skip(self, count: int) -> None:
        self.skipped += count
        del self._buffer[:count]


def _begun(buffer: bytearray) -> int:
    """How many bytes at the end of `buffer` may be the beginning of a header."""
    return next(n for n in (3, 2, 1, 0) if buffer.endswith(_HEADER[:n]))
