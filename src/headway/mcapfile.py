"""The records of an MCAP file that may be damaged: `read_contents` finds everything that is whole,
also when the end is missing or something in the middle is damaged. `headway.mcaplog` interprets the
records. Format: mcap.dev/spec.
"""

from __future__ import annotations

import os
import struct
import zlib
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from typing import NamedTuple

from mcap import records
from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode

MAGIC = b"\x89MCAP0\r\n"
RUN = "headway.run"  # metadata record: when and where it was recorded, see `headway.mcapdiff`
MESSAGE = struct.Struct("<HIQQ")  # channel, sequence, log time, publish time
_HEAD = struct.Struct("<BQ")
_CHUNK = struct.Struct("<QQQII")
_FOOTER = struct.Struct("<QQI")  # summary start, start of the offsets, checksum
_INDEX = struct.Struct("<HI")  # message index: channel, bytes of its (time, offset) entries
_LARGEST = 1 << 32  # bytes of a chunk or record; a length beyond this is damage, not data

# The errors that the parsers raise for damaged bytes.
DAMAGE = (McapError, struct.error, ValueError, IndexError, KeyError, MemoryError, OverflowError)


class Piece(NamedTuple):
    """A chunk, or a message outside chunks. `channels`: those of its messages, None if unknown."""

    offset: int  # of the record's body in the file [bytes]
    size: int  # of that body [bytes]
    chunk: bool
    channels: frozenset[int] | None = None


class LostChunk(NamedTuple):
    """A chunk that cannot be read, and what the message indexes after it say. `counts` has the
    number of lost messages by channel, `start_ns` and `end_ns` the times of the first and last of
    them [ns]; they are None when the file does not say."""

    offset: int  # of the chunk's body in the file [bytes]
    size: int  # of that body [bytes]
    why: str
    counts: dict[int, int] | None = None
    start_ns: int | None = None
    end_ns: int | None = None


@dataclass
class Contents:
    """What a file declares, and where its messages are. `stopped` is the offset [bytes] up to which
    an incomplete file is whole, None for a complete one. `damage` lists the chunks before that
    which were found damaged when the file was opened. `no_summary`: the data section is complete,
    but the summary after it is damaged."""

    fd: int
    size: int
    schemas: dict[int, records.Schema] = field(default_factory=dict)
    channels: dict[int, records.Channel] = field(default_factory=dict)
    metadata: dict[str, dict[str, str]] = field(default_factory=dict)
    pieces: list[Piece] = field(default_factory=list)
    damage: list[LostChunk] = field(default_factory=list)
    stopped: int | None = None
    no_summary: bool = False


@dataclass
class _Summary:
    """The chunks that a summary names, by the offset of their records, and where metadata lie, in a
    file of `size` [bytes]."""

    size: int
    chunks: dict[int, Piece] = field(default_factory=dict)
    metadata: list[tuple[int, int]] = field(default_factory=list)  # offset, length of the record

    def learn(self, op: int, body: bytes) -> None:
        """Take what the index record `body` of the kind `op` says. Raises one of DAMAGE."""
        if op == Opcode.CHUNK_INDEX:
            c = records.ChunkIndex.read(_stream(body))
            # Empty when the writer made no message index; then the channels are unknown.
            channels = frozenset(c.message_index_offsets) or None
            at, n = c.chunk_start_offset, c.chunk_length
            if n < _HEAD.size or at + n > self.size:
                raise ValueError(f"a chunk of {n} bytes at byte {at}, outside the file")
            self.chunks[at] = Piece(at + _HEAD.size, n - _HEAD.size, True, channels)
        elif op == Opcode.METADATA_INDEX:
            m = records.MetadataIndex.read(_stream(body))
            self.metadata.append((m.offset, m.length))


def read_contents(fd: int) -> Contents:
    """The contents of the open file `fd`, which must begin with MAGIC."""
    log = Contents(fd, os.fstat(fd).st_size)
    log.stopped = _scan(log)
    if log.stopped is not None and _resume(log):
        log.stopped, log.no_summary = None, False
    if log.stopped is not None or not log.channels:
        _verify(log)
    return log


def _scan(log: Contents) -> int | None:
    """Walk over the records from the start. Returns None for a complete file; when it ends early or
    its summary is damaged, the offset up to which it is whole."""
    at: int = len(MAGIC)
    summary: _Summary | None = None  # set once the walk is past the data section
    before = at, dict(log.schemas), dict(log.channels)
    while True:
        head = os.pread(log.fd, _HEAD.size, at)
        if len(head) < _HEAD.size:
            return at
        op, n = _HEAD.unpack(head)
        body: int = at + _HEAD.size
        end: int = body + n
        if op == 0 or end > log.size:
            return at
        try:
            if op in (Opcode.CHUNK, Opcode.MESSAGE) and summary is None:
                log.pieces.append(Piece(body, n, op == Opcode.CHUNK))
            elif op in (Opcode.SCHEMA, Opcode.CHANNEL, Opcode.METADATA):
                _learn(log, op, _read(log.fd, n, body))
            elif op == Opcode.DATA_END:
                summary, before = _Summary(log.size), (end, dict(log.schemas), dict(log.channels))
            elif summary is not None and op in (Opcode.CHUNK_INDEX, Opcode.METADATA_INDEX):
                summary.learn(op, _read(log.fd, n, body))
            elif op == Opcode.FOOTER:
                _check_summary(log.fd, _read(log.fd, n, body), at)
        except DAMAGE:
            if summary is None:
                return at
            at, log.schemas, log.channels = before
            log.no_summary = True
            return at
        at = end
        if op == Opcode.FOOTER:
            if os.pread(log.fd, len(MAGIC), at) != MAGIC:
                return at
            _match(log, summary or _Summary(log.size))
            return None


def _read(fd: int, n: int, at: int) -> bytes:
    """`n` bytes of the file from `at` on, fewer at its end. Raises one of DAMAGE for more than
    anything has, which a file with holes may say of itself."""
    if n > _LARGEST:
        raise ValueError(f"{n} bytes at byte {at}, more than anything has")
    return os.pread(fd, n, at)


def _check_summary(fd: int, footer: bytes, at: int) -> int:
    """The offset at which the summary begins, 0 for no summary. `at` is the offset of the footer
    record. The checksum covers the summary and the footer up to the checksum itself
    (mcap.dev/spec); raises one of DAMAGE when it differs."""
    start, _, crc = _FOOTER.unpack(footer)
    if start > at:
        raise ValueError("the summary begins behind its end")
    if crc and start:
        covered = _read(fd, at - start + _HEAD.size + 16, start)
        if zlib.crc32(covered) != crc:
            raise ValueError("the summary's checksum differs")
    return int(start)


def _resume(log: Contents) -> bool:
    """After a walk that damage in the middle stopped, use the summary at the end of the file, if
    that is whole and names chunks. Returns whether it was used."""
    at = log.size - len(MAGIC) - _FOOTER.size - _HEAD.size
    if at <= len(MAGIC) or os.pread(log.fd, len(MAGIC), log.size - len(MAGIC)) != MAGIC:
        return False
    summary = _Summary(log.size)
    found = Contents(log.fd, log.size)
    try:
        footer = os.pread(log.fd, _HEAD.size + _FOOTER.size, at)
        if _HEAD.unpack_from(footer) != (Opcode.FOOTER, _FOOTER.size):
            return False
        start = _check_summary(log.fd, footer[_HEAD.size :], at)
        if not len(MAGIC) <= start < at:
            return False
        data = _read(log.fd, at - start, start)
        for op in (Opcode.SCHEMA, Opcode.CHANNEL, Opcode.CHUNK_INDEX, Opcode.METADATA_INDEX):
            for a, b in records_in(data, op):
                summary.learn(op, data[a:b])
                _learn(found, op, data[a:b])
        for offset, n in summary.metadata:
            if os.pread(log.fd, 1, offset) == bytes([Opcode.METADATA]):
                record = _read(log.fd, n, offset)
                _learn(found, Opcode.METADATA, record[_HEAD.size :])
    except DAMAGE:
        return False
    if not summary.chunks:
        return False
    log.schemas, log.channels = found.schemas or log.schemas, found.channels or log.channels
    log.metadata |= found.metadata
    _match(log, summary)
    return True


def _match(log: Contents, summary: _Summary) -> None:
    """Take over from the summary where the chunks are and which channels each holds, also for
    chunks that the walk did not reach. Pieces of the walk that lie inside such a chunk are dropped:
    they were no real records."""
    if not summary.chunks:
        return
    chunks = sorted(summary.chunks.values())
    starts = [c.offset - _HEAD.size for c in chunks]
    for met in log.pieces:
        at = met.offset - _HEAD.size
        i = bisect_right(starts, at) - 1
        inside = i >= 0 and at < chunks[i].offset + chunks[i].size
        if not inside:
            chunks.append(met)
    log.pieces = sorted(chunks)


def lost(fd: int, piece: Piece, why: str) -> LostChunk:
    """What is known about the damaged `piece`: the message indexes after a chunk say how many
    messages of each channel it held, and their times. `why` says what is wrong with it."""
    counts: dict[int, int] = {}
    times: list[int] = []
    at = piece.offset + piece.size
    while True:
        head = os.pread(fd, _HEAD.size + _INDEX.size, at)
        if len(head) < _HEAD.size + _INDEX.size or head[0] != Opcode.MESSAGE_INDEX:
            break
        channel, n = _INDEX.unpack_from(head, _HEAD.size)
        entries = os.pread(fd, n, at + len(head))
        if n != _HEAD.unpack_from(head)[1] - _INDEX.size or len(entries) < n or n % 16:
            break
        counts[channel] = n // 16
        times += [t for t, _ in struct.iter_unpack("<QQ", entries)]
        at += len(head) + n
    if not times:
        return LostChunk(piece.offset, piece.size, why)
    return LostChunk(piece.offset, piece.size, why, counts, min(times), max(times))


def record_head(fd: int, at: int) -> tuple[int, int, int]:
    """Opcode of the record at offset `at`, and the offsets of the begin and end of its body. Raises
    one of DAMAGE at the end of the file."""
    op, n = _HEAD.unpack(os.pread(fd, _HEAD.size, at))
    return op, at + _HEAD.size, at + _HEAD.size + n


def metadata_name(body: bytes) -> str:
    """The name in the `body` of a metadata record. Raises one of DAMAGE."""
    return str(records.Metadata.read(_stream(body)).name)


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


def _verify(log: Contents) -> None:
    """Unpack every chunk of a file without a usable summary, to learn its channels and to note
    damaged chunks. Damaged chunks at the end count as the place where the file was cut."""
    good: list[Piece] = []
    bad: list[tuple[Piece, str]] = []
    for piece in log.pieces:
        try:
            data = unpack(log.fd, piece)
            for op in (Opcode.SCHEMA, Opcode.CHANNEL):
                for at, end in records_in(data, op):
                    _learn(log, op, data[at:end])
            for at, _ in records_in(data, Opcode.MESSAGE):
                if MESSAGE.unpack_from(data, at)[0] not in log.channels:
                    raise ValueError("messages of a channel that is declared nowhere else")
            good.append(piece)
        except DAMAGE as e:  # noqa: PERF203 - once per chunk
            bad.append((piece, str(e)))
    end = good[-1].offset if good else -1
    log.pieces = good
    log.damage = [lost(log.fd, piece, why) for piece, why in bad if piece.offset < end]
    after = [piece for piece, _ in bad if piece.offset > end]
    if after:
        log.stopped, log.no_summary = after[0].offset - _HEAD.size, False


def unpack(fd: int, piece: Piece) -> bytes:
    """The decompressed records of a chunk. Raises one of DAMAGE when it is damaged."""
    body = _read(fd, piece.size, piece.offset)
    if len(body) < piece.size:
        raise ValueError("the file has become shorter")
    if not piece.chunk:
        return _HEAD.pack(Opcode.MESSAGE, piece.size) + body
    _, _, size, crc, n = _CHUNK.unpack_from(body)
    at = _CHUNK.size + n
    compression = body[_CHUNK.size : at].decode()
    (length,) = struct.unpack_from("<Q", body, at)
    packed = body[at + 8 : at + 8 + length]
    emptied = not length and len(body) > at + 8  # a head overwritten by zeros
    if size > _LARGEST or len(packed) < length or emptied:
        raise ValueError(f"a chunk of {size} bytes, {length} packed")
    data = _decompress(compression, packed, size)
    if len(data) != size:
        raise ValueError(f"a chunk of {size} bytes that holds {len(data)}")
    if crc and zlib.crc32(data) != crc:
        raise ValueError("checksum differs")
    return data


def _decompress(compression: str, packed: bytes, size: int) -> bytes:
    """The bytes in `packed`, of which there are `size`: not many more are ever taken into memory.
    Raises ValueError for damaged ones."""
    if compression == "zstd":
        import zstandard

        try:
            said = zstandard.frame_content_size(packed)  # what it says, the decompressor allocates
            if said > size:
                raise ValueError(f"a chunk of {size} bytes that holds {said}")
            return zstandard.ZstdDecompressor().decompress(packed, max_output_size=size)
        except zstandard.ZstdError as e:
            raise ValueError(str(e)) from None
    if compression == "lz4":
        import lz4.frame  # type: ignore[import-untyped]

        try:
            opened = lz4.frame.LZ4FrameDecompressor()
            return bytes(opened.decompress(packed, max_length=size + 1))
        except RuntimeError as e:
            raise ValueError(str(e)) from None
    if compression:
        raise ValueError(f"unknown compression {compression!r}")
    return packed


def records_in(data: bytes, want: int) -> Iterator[tuple[int, int]]:
    """(start, end) in `data` of the bodies of the records with the opcode `want`. Raises one of
    DAMAGE."""
    at = 0
    while at < len(data):
        op, n = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        if at + n > len(data):
            raise ValueError("a record reaches beyond its chunk")
        if op == want:
            yield at, at + n
        at += n
