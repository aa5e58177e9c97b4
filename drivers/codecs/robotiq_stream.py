"""The data stream of the Robotiq FT 300 and FT 300-S, after its instruction manual, section
"Control over Modbus RTU": 16 bytes, a hundred times a second, at 19200 bit/s.

    20 4E | Fx Fy Fz Mx My Mz, int16 little-endian | CRC-16/Modbus of these 14 bytes, low byte first

Forces are in N / 100, moments in Nm / 1000.
"""

from __future__ import annotations

import struct

import msgspec

from headway.drivers.codecs import crc
from headway.drivers.codecs.fixed import FixedFrames

HEADER = b"\x20\x4e"
SIZE = 16
STOP = b"\xff" * 50  # jams the line: the sensor stops to stream and listens to Modbus again
FORCE = 100.0  # counts per N
TORQUE = 1000.0  # counts per Nm

_COUNTS = struct.Struct("<6h")
_SUM = struct.Struct("<H")


class StreamFrame(msgspec.Struct, frozen=True):
    """One measurement: `counts` (6,) as sent, forces, then moments."""

    counts: tuple[int, ...]

    @property
    def wrench(self) -> tuple[float, ...]:
        """(6,) force [N] and moment [Nm]."""
        c = self.counts
        return (
            c[0] / FORCE, c[1] / FORCE, c[2] / FORCE,
            c[3] / TORQUE, c[4] / TORQUE, c[5] / TORQUE,
        )  # fmt: skip

    @property
    def saturated(self) -> bool:
        """Whether a count is at the end of its range: the true value may lie beyond."""
        return any(c in (32767, -32768) for c in self.counts)


class StreamDecoder(FixedFrames[StreamFrame]):
    """A `Decoder` of the stream."""

    def __init__(self) -> None:
        super().__init__(HEADER, SIZE, _intact, _unpack)


def _intact(piece: bytes) -> bool:
    return bool(crc.modbus(piece[:14]) == _SUM.unpack_from(piece, 14)[0])


def _unpack(piece: bytes) -> StreamFrame:
    return StreamFrame(_COUNTS.unpack_from(piece, 2))
