"""The records of an MCAP file, from the start and without trust: what is whole is found also where
the end is missing. `headway.mcaplog` gives them meaning. Format: mcap.dev/spec.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from typing import NamedTuple

from mcap import records
from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode

MAGIC = b"\x89MCAP0\r\n"
MESSAGE = struct.Struct("<HIQQ")  # channel, sequence, log time, publish time
_HEAD = struct.Struct("<BQ")
_CHUNK = struct.Struct("<QQQII")
_LARGEST_CHUNK = 1 << 32  # bytes; a length beyond this is damage, not data

# what damaged bytes make the parsers raise
DAMAGE = (McapError, struct.error, ValueError, IndexError, KeyError, MemoryError, OverflowError)


class Piece(NamedTuple):
    """A chunk, or a message that lies in no chunk; `channels` None = not known."""

    offset: int  # of the record's body
    size: int
    chunk: bool
    channels: frozenset[int] | None = None


@dataclass
class Contents:
    """What a file declares, and where its messages are. `stopped` is the offset at which a cut file
    stops to be whole, None for a complete one."""

    fd: int
    size: int
    schemas: dict[int, records.Schema] = field(default_factory=dict)
    channels: dict[int, records.Channel] = field(default_factory=dict)
    metadata: dict[str, dict[str, str]] = field(default_factory=dict)
    pieces: list[Piece] = field(default_factory=list)
    stopped: int | None = None


def read_contents(fd: int) -> Contents:
    """`fd` is an open file that begins with MAGIC."""
    log = Contents(fd, os.fstat(fd).st_size)
    log.stopped = _scan(log)
    if log.stopped is not None or not log.channels:
        log.stopped = _verify(log, log.stopped)
    return log


def _scan(log: Contents) -> int | None:
    """Walk over the records from the start; where the file ends early or its summary is damaged,
    the offset of the end of what is whole."""
    at = len(MAGIC)
    index: dict[int, frozenset[int]] | None = None  # once in the summary: chunk -> its channels
    before = at, dict(log.schemas), dict(log.channels)
    while True:
        head = os.pread(log.fd, _HEAD.size, at)
        if len(head) < _HEAD.size:
            return at
        op, n = _HEAD.unpack(head)
        body, end = at + _HEAD.size, at + _HEAD.size + n
        if op == 0 or end > log.size:
            return at
        try:
            if op in (Opcode.CHUNK, Opcode.MESSAGE) and index is None:
                log.pieces.append(Piece(body, n, op == Opcode.CHUNK))
            elif op in (Opcode.SCHEMA, Opcode.CHANNEL, Opcode.METADATA):
                _learn(log, op, os.pread(log.fd, n, body))
            elif op == Opcode.DATA_END:
                index, before = {}, (end, dict(log.schemas), dict(log.channels))
            elif op == Opcode.CHUNK_INDEX and index is not None:
                chunk = records.ChunkIndex.read(_stream(os.pread(log.fd, n, body)))
                index[chunk.chunk_start_offset] = frozenset(chunk.message_index_offsets)
            elif op == Opcode.FOOTER:
                _check_summary(log.fd, os.pread(log.fd, n, body), at)
        except DAMAGE:
            if index is None:
                return at
            stopped, log.schemas, log.channels = before
            return stopped
        at = end
        if op == Opcode.FOOTER:
            whole = os.pread(log.fd, len(MAGIC), at) == MAGIC
            return _match(log, index or {}) if whole else at


def _check_summary(fd: int, footer: bytes, at: int) -> None:
    """The summary's checksum covers it and the footer up to the checksum (mcap.dev/spec)."""
    start, _, crc = struct.unpack("<QQI", footer)
    if crc and start:
        covered = os.pread(fd, at - start + _HEAD.size + 16, start)
        if zlib.crc32(covered) != crc:
            raise ValueError("the summary's checksum differs")


def _match(log: Contents, index: dict[int, frozenset[int]]) -> int | None:
    """Let the summary say which channels a chunk holds. A chunk that it names and the walk did not
    meet is damage: returns its offset, and drops what follows."""
    if not index:
        return None
    met = {p.offset - _HEAD.size for p in log.pieces if p.chunk}
    lost = min((at for at in index if at not in met), default=None)
    if lost is not None:
        log.pieces = [p for p in log.pieces if p.offset < lost]
    for i, piece in enumerate(log.pieces):
        channels = index.get(piece.offset - _HEAD.size)
        if channels:  # empty where the writer made no message index
            log.pieces[i] = piece._replace(channels=channels)
    return lost


def _stream(body: bytes) -> ReadDataStream:
    return ReadDataStream(BytesIO(body))


def _learn(log: Contents, op: int, body: bytes) -> None:
    stream = _stream(body)
    if op == Opcode.SCHEMA:
        schema = records.Schema.read(stream)
        log.schemas[schema.id] = schema
    elif op == Opcode.CHANNEL:
        channel = records.Channel.read(stream)
        log.channels[channel.id] = channel
    elif op == Opcode.METADATA:
        found = records.Metadata.read(stream)
        log.metadata.setdefault(found.name, {}).update(found.metadata)


def _verify(log: Contents, stopped: int | None) -> int | None:
    """Unpack every chunk of a file without a summary: learn its channels, and drop what follows the
    first damage. Returns where the whole part ends."""
    for i, piece in enumerate(log.pieces):
        try:
            data = unpack(log.fd, piece)
            for op in (Opcode.SCHEMA, Opcode.CHANNEL):
                for at, end in records_in(data, op):
                    _learn(log, op, data[at:end])
            for at, _ in records_in(data, Opcode.MESSAGE):
                if MESSAGE.unpack_from(data, at)[0] not in log.channels:
                    raise ValueError("a message of no channel")
        except DAMAGE:  # noqa: PERF203 - once per chunk
            del log.pieces[i:]
            return piece.offset - _HEAD.size
    return stopped


def unpack(fd: int, piece: Piece) -> bytes:
    """The records of a chunk; raises one of DAMAGE when it is damaged."""
    body = os.pread(fd, piece.size, piece.offset)
    if len(body) < piece.size:
        raise ValueError("the file has become shorter")
    if not piece.chunk:
        return _HEAD.pack(Opcode.MESSAGE, piece.size) + body
    _, _, size, crc, n = _CHUNK.unpack_from(body)
    at = _CHUNK.size + n
    compression = body[_CHUNK.size : at].decode()
    (length,) = struct.unpack_from("<Q", body, at)
    packed = body[at + 8 : at + 8 + length]
    if size > _LARGEST_CHUNK or len(packed) < length:
        raise ValueError(f"a chunk of {size} bytes, {length} packed")
    data = _decompress(compression, packed, size)
    if crc and zlib.crc32(data) != crc:
        raise ValueError("checksum differs")
    return data


def _decompress(compression: str, packed: bytes, size: int) -> bytes:
    if compression == "zstd":
        import zstandard

        try:
            return zstandard.ZstdDecompressor().decompress(packed, max_output_size=size)
        except zstandard.ZstdError as e:
            raise ValueError(str(e)) from None
    if compression == "lz4":
        import lz4.frame  # type: ignore[import-untyped]

        try:
            return bytes(lz4.frame.decompress(packed))
        except RuntimeError as e:
            raise ValueError(str(e)) from None
    if compression:
        raise ValueError(f"unknown compression {compression!r}")
    return packed


def records_in(data: bytes, want: int) -> Iterator[tuple[int, int]]:
    """(start, end) of the bodies of the records of one kind."""
    at = 0
    while at < len(data):
        op, n = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        if at + n > len(data):
            raise ValueError("a record reaches beyond its chunk")
        if op == want:
            yield at, at + n
        at += n
