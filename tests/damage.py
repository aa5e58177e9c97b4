"""Damage to recordings, on purpose."""

from __future__ import annotations

import struct
from pathlib import Path

CHUNK = struct.Struct("<BQQQQII")  # opcode, length, times, size, checksum, length of "zstd"


def chunks(data: bytes) -> list[int]:
    """Offsets of the chunk records of a recording."""
    magic, at, found = b"\x28\xb5\x2f\xfd", -1, []
    while (at := data.find(magic, at + 1)) >= 0:
        found.append(at - 8 - 4 - CHUNK.size)
        assert data[found[-1]] == 0x06
    return found


def damage(path: Path, *which: int) -> Path:
    """Flip a bit in some chunks of the recording at `path`."""
    raw = bytearray(path.read_bytes())
    at = [*chunks(bytes(raw)), len(raw)]
    for i in which:
        raw[at[i] + CHUNK.size + 60] ^= 1
    path.write_bytes(raw)
    return path
