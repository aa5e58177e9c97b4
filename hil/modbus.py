"""The slave's side of Modbus RTU, for emulators (Modbus over Serial Line V1.02; Modbus Application
Protocol V1.1b3): read and write 16-bit registers. Written apart from the drivers' Modbus, which is
tested against it."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Sequence

READ, READ_INPUT, WRITE_ONE, WRITE, READ_WRITE = 0x03, 0x04, 0x06, 0x10, 0x17
_ILLEGAL_ADDRESS, _ILLEGAL_VALUE = 2, 3
_GAP_S = 0.05  # a frame that stands still for longer will not be ended
_MOST_READ, _MOST_WRITTEN = 125, 123  # registers in one frame
_LONGEST = 256  # bytes of a frame


class RefusedError(Exception):
    """A register that is not there, or may not be used so."""


class Slave:
    """The slave `address`. `read(register, count)` gives as many values 0..65535,
    `write(register, values)` takes them; both raise RefusedError where there is no such
    register."""

    def __init__(
        self,
        address: int,
        read: Callable[[int, int], Sequence[int]],
        write: Callable[[int, Sequence[int]], None],
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self.address = address
        self._read, self._write, self._seconds = read, write, seconds
        self._buffer = b""
        self._then = 0.0

    def feed(self, data: bytes) -> list[bytes]:
        """Take what was heard; returns the answers to the frames that ended in it. Frames for other
        slaves, and those whose checksum is wrong, get none."""
        now = self._seconds()
        if now - self._then > _GAP_S:
            self._buffer = b""
        self._then = now
        self._buffer += data
        answers = []
        start = 0
        while start < len(self._buffer):
            length = _length(self._buffer[start:])
            frame = self._buffer[start : start + length]
            if 0 < length == len(frame) and crc(frame[:-2]) == frame[-2:]:
                self._buffer, start = self._buffer[start + length :], 0
                if frame[0] in (self.address, 0):
                    answer = self._answer(frame)
                    if frame[0] != 0:  # nobody answers a broadcast
                        answers.append(answer + crc(answer))
            else:
                start += 1
        self._buffer = self._buffer[-_LONGEST:]
        return answers

    def _answer(self, frame: bytes) -> bytes:
        head, function, body = bytes([self.address, frame[1]]), frame[1], frame[2:-2]
        try:
            return head + self._done(function, body)
        except RefusedError:
            return bytes([self.address, function | 0x80, _ILLEGAL_ADDRESS])
        except ValueError:
            return bytes([self.address, function | 0x80, _ILLEGAL_VALUE])

    def _done(self, function: int, body: bytes) -> bytes:
        """Carry out a request; returns what its answer says after the function."""
        register, second = struct.unpack_from(">HH", body)
        if function in (READ, READ_INPUT):
            return self._values(register, second)
        if function == WRITE_ONE:
            self._write(register, [second])
            return body
        if function == READ_WRITE:
            self._written(body[4:])
            return self._values(register, second)
        self._written(body)
        return body[:4]

    def _written(self, body: bytes) -> None:
        register, count, size = struct.unpack_from(">HHB", body)
        if not 1 <= count <= _MOST_WRITTEN or size != 2 * count:
            raise ValueError
        self._write(register, struct.unpack_from(f">{count}H", body, 5))

    def _values(self, register: int, count: int) -> bytes:
        if not 1 <= count <= _MOST_READ:
            raise ValueError
        return bytes([2 * count]) + struct.pack(f">{count}H", *self._read(register, count))


def _length(data: bytes) -> int:
    """Of the request that `data` begins with [bytes]; 0 where that cannot be told yet, and where
    its function is none of ours."""
    function = data[1] if len(data) > 1 else 0
    if function in (READ, READ_INPUT, WRITE_ONE):
        return 8
    if function == WRITE and len(data) > 6:
        return 9 + data[6]
    if function == READ_WRITE and len(data) > 10:
        return 13 + data[10]
    return 0


def crc(data: bytes) -> bytes:
    """CRC-16/MODBUS of `data`, as sent: low byte first."""
    remainder = 0xFFFF
    for byte in data:
        remainder ^= byte
        for _ in range(8):
            remainder = remainder >> 1 ^ (0xA001 if remainder & 1 else 0)
    return remainder.to_bytes(2, "little")
