"""Reading MCAP recordings: ours as NumPy rows and images, others' as decoded messages.

    log = open_recording("run.mcap")
    rows = log.rows("/telemetry")          # structured array, the bits that were written

A file that was cut (power, a full disk, a copy that stopped) is read up to the last whole chunk;
`truncated` and `note` say so. Format: mcap.dev/spec.
"""

from __future__ import annotations

import json
import os
import struct
import weakref
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mcap import records
from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from numpy.typing import NDArray

from headway.errors import RecordingError, Truncated
from headway.wire import Layout, Rows, dtype_from_json

MAGIC = b"\x89MCAP0\r\n"
_HEAD = struct.Struct("<BQ")
_MESSAGE = struct.Struct("<HIQQ")
_CHUNK = struct.Struct("<QQQII")
_LARGEST_CHUNK = 1 << 32  # bytes; a length beyond this is damage, not data
_BAD = (McapError, struct.error, ValueError, IndexError, KeyError, MemoryError, OverflowError)

_PIXELS = {"rgb8": ("u1", 3), "mono8": ("u1", 0), "16UC1": ("<u2", 0), "32FC1": ("<f4", 0)}


class Message(NamedTuple):
    t_ns: int
    seq: int
    data: bytes


class LogLine(NamedTuple):
    t_ns: int
    level: str
    text: str


class Calibration(NamedTuple):
    """Pinhole matrix (3, 3) [px] of the camera `frame_id`."""

    intrinsics: NDArray[np.float64]
    height: int
    width: int
    frame_id: str


@dataclass(frozen=True)
class _Piece:
    """A chunk, or a message that lies in no chunk; `channels` None = not known."""

    offset: int
    size: int
    chunk: bool
    channels: frozenset[int] | None


@dataclass
class Recording:
    """An opened file; what it returns is in the order of the file."""

    path: Path
    truncated: bool = False
    note: str = ""  # what was recovered of a truncated file
    metadata: dict[str, str] = field(default_factory=dict)  # as given to Recorder
    end: dict[str, str] = field(default_factory=dict)  # how it ended, messages, dropped
    other_metadata: dict[str, dict[str, str]] = field(default_factory=dict)
    _schemas: dict[int, records.Schema] = field(default_factory=dict)
    _channels: dict[int, records.Channel] = field(default_factory=dict)
    _pieces: list[_Piece] = field(default_factory=list)
    _fd: int = -1

    @property
    def topics(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(c.topic for c in self._channels.values()))

    def schema(self, topic: str) -> str:
        """Name of the schema, such as "foxglove.RawImage"; "" where the channel has none."""
        schema = self._schemas.get(self._channel(topic).schema_id)
        return schema.name if schema is not None else ""

    def units(self, topic: str) -> dict[str, str]:
        """Column -> unit of one of our own topics."""
        return dict(json.loads(self._channel(topic).metadata.get("headway.units", "{}")))

    def dtype(self, topic: str) -> np.dtype[np.void]:
        """Of the rows of one of our own topics. Raises RecordingError for others."""
        return self._layout(topic).dtype

    def require_complete(self) -> None:
        """Raises Truncated."""
        if self.truncated:
            raise Truncated(self.note)

    def messages(self, topic: str) -> Iterator[Message]:
        """The messages as they lie in the file. Raises RecordingError on damage."""
        self._channel(topic)
        wanted = {i for i, c in self._channels.items() if c.topic == topic}
        for piece in self._pieces:
            if piece.channels is not None and not piece.channels & wanted:
                continue
            try:
                data = _unpack(self._fd, piece)
                for at, end in _records(data, Opcode.MESSAGE):
                    channel, seq, t_ns, _ = _MESSAGE.unpack_from(data, at)
                    if channel in wanted:
                        yield Message(t_ns, seq, data[at + _MESSAGE.size : end])
            except _BAD as e:
                raise RecordingError(
                    f"{self.path}: wanted a chunk at byte {piece.offset}, found damage ({e}): "
                    "copy the file again from where it was made"
                ) from None

    def rows(self, topic: str) -> Rows:
        """All rows of a struct topic, with the dtype and the bits that were written."""
        return self.timed_rows(topic)[1]

    def timed_rows(self, topic: str) -> tuple[NDArray[np.int64], Rows]:
        """The recorded times [ns] and the rows."""
        layout = self._layout(topic)
        found = list(self.messages(topic))
        try:
            rows = layout.decode([m.data for m in found])
        except ValueError as e:
            raise RecordingError(
                f"{self.path}: {topic} does not hold the rows that it declares: {e}; "
                "`decoded` reads it as any protobuf"
            ) from None
        return np.array([m.t_ns for m in found], np.int64), rows

    def images(self, topic: str) -> Iterator[tuple[int, NDArray[Any]]]:
        """(t_ns, array) of a foxglove.RawImage topic: (h, w, 3) uint8, (h, w) uint8, uint16 or
        float32."""
        self._require(topic, "foxglove.RawImage")
        for t_ns, m in self.decoded(topic):
            if m.encoding not in _PIXELS:
                raise RecordingError(
                    f"{self.path}: {topic}: wanted {', '.join(_PIXELS)}, found {m.encoding!r}"
                )
            kind, depth = _PIXELS[m.encoding]
            shape = (m.height, m.width, depth) if depth else (m.height, m.width)
            try:
                yield t_ns, np.frombuffer(m.data, kind).reshape(shape)
            except ValueError as e:
                raise RecordingError(f"{self.path}: {topic}: {e}") from None

    def calibration(self, topic: str) -> Calibration:
        """The first foxglove.CameraCalibration of `topic`."""
        self._require(topic, "foxglove.CameraCalibration")
        for _, m in self.decoded(topic):
            k = np.array(m.K, np.float64)
            if k.size == 9:
                return Calibration(k.reshape(3, 3), m.height, m.width, m.frame_id)
        raise RecordingError(f"{self.path}: {topic}: wanted a calibration with K, found none")

    def logs(self, topic: str = "/log") -> list[LogLine]:
        """Lines of a foxglove.Log topic; none where the recording has no such topic."""
        if topic not in self.topics:
            return []
        self._require(topic, "foxglove.Log")
        levels = ("unknown", "debug", "info", "warning", "error", "fatal")
        return [
            LogLine(t, levels[m.level if 0 <= m.level < 6 else 0], m.message)
            for t, m in self.decoded(topic)
        ]

    def decoded(self, topic: str) -> Iterator[tuple[int, Any]]:
        """(t_ns, message) of any protobuf, ROS 2 (CDR) or JSON topic.

        Protobuf and ROS 2 messages have attributes, JSON gives dicts. Raises RecordingError for
        other encodings, or messages that do not fit their schema.
        """
        decode = self._decoder(topic)
        for m in self.messages(topic):
            try:
                value = decode(m.data)
            except Exception as e:
                raise RecordingError(
                    f"{self.path}: {topic}: a message does not fit its schema: {e}"
                ) from None
            yield m.t_ns, value

    def _decoder(self, topic: str) -> Callable[[bytes], Any]:
        channel = self._channel(topic)
        if channel.message_encoding == "json":
            return json.loads
        schema = self._schemas.get(channel.schema_id)
        try:
            for factory in _factories():
                decode = factory.decoder_for(channel.message_encoding, schema)
                if decode is not None:
                    return decode  # type: ignore[no-any-return]
        except Exception as e:
            raise RecordingError(f"{self.path}: {topic}: cannot use its schema: {e}") from None
        raise RecordingError(
            f"{self.path}: {topic}: wanted protobuf, ROS 2 cdr or json messages, found "
            f"{channel.message_encoding!r} with schema {schema.encoding if schema else None!r}"
        )

    def _channel(self, topic: str) -> records.Channel:
        for channel in self._channels.values():
            if channel.topic == topic:
                return channel
        raise RecordingError(
            f"{self.path}: wanted topic {topic!r}, found {', '.join(self.topics) or 'no topics'}"
        )

    def _require(self, topic: str, schema: str) -> None:
        found = self.schema(topic)
        if found != schema:
            raise RecordingError(f"{self.path}: {topic}: wanted {schema}, found {found or 'none'}")

    def _layout(self, topic: str) -> Layout:
        text = self._channel(topic).metadata.get("headway.dtype")
        try:
            if text is not None:
                return Layout(dtype_from_json(text))
            found = f"{self.schema(topic)} of another program: read it with `decoded`"
        except (ValueError, MemoryError) as e:
            found = str(e)
        raise RecordingError(f"{self.path}: {topic}: wanted rows that Headway wrote, found {found}")


def _factories() -> list[Any]:
    from mcap_protobuf.decoder import DecoderFactory as Protobuf
    from mcap_ros2.decoder import DecoderFactory as Ros2

    return [Protobuf(), Ros2()]


def open_recording(path: Path | str) -> Recording:
    """Open an MCAP file. Raises RecordingError where there is none."""
    path = Path(path)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as e:
        raise RecordingError(
            f"wanted a recording at {path}: {e.strerror}; check the path"
        ) from None
    recording = Recording(path, _fd=fd)
    weakref.finalize(recording, os.close, fd)
    try:
        start = os.pread(fd, len(MAGIC), 0)
    except OSError as e:  # a folder
        raise RecordingError(f"wanted a recording at {path}: {e.strerror}") from None
    if start != MAGIC:
        found = f"{start!r}" if start else "an empty file"
        raise RecordingError(
            f"wanted an MCAP recording at {path}, found {found} at its start: "
            "give a file that `headway run` wrote, or another .mcap"
        )
    size = os.fstat(fd).st_size
    stopped = _scan(recording, size)
    if stopped is not None or not recording._channels:
        stopped = _verify(recording, stopped)
    if stopped is not None:
        recording.truncated = True
        recording.note = (
            f"{path} ends in the middle: {stopped} of {size} bytes are whole, with "
            f"{len(recording._pieces)} chunks on {len(recording.topics)} topics; the rest is lost"
        )
    return recording


def _scan(log: Recording, size: int) -> int | None:
    """Walk over the records from the start; where the file ends early, the offset of the end of
    what is whole."""
    at = len(MAGIC)
    last: _Piece | None = None
    while True:
        head = os.pread(log._fd, _HEAD.size, at)
        if len(head) < _HEAD.size:
            return at
        op, n = _HEAD.unpack(head)
        body, end = at + _HEAD.size, at + _HEAD.size + n
        if op == 0 or end > size:
            return at
        try:
            if op in (Opcode.CHUNK, Opcode.MESSAGE):
                last = _Piece(body, n, op == Opcode.CHUNK, None)
                log._pieces.append(last)
            elif op == Opcode.MESSAGE_INDEX and last is not None and last.chunk:
                (channel,) = struct.unpack("<H", os.pread(log._fd, 2, body))
                known = (last.channels or frozenset()) | {channel}
                last = log._pieces[-1] = _Piece(last.offset, last.size, True, known)
            elif op in (Opcode.SCHEMA, Opcode.CHANNEL, Opcode.METADATA):
                _learn(log, op, os.pread(log._fd, n, body))
        except _BAD:
            return at
        at = end
        if op == Opcode.FOOTER:
            whole = os.pread(log._fd, len(MAGIC), at) == MAGIC
            return None if whole else at


def _learn(log: Recording, op: int, body: bytes) -> None:
    stream = ReadDataStream(BytesIO(body))
    if op == Opcode.SCHEMA:
        schema = records.Schema.read(stream)
        log._schemas[schema.id] = schema
    elif op == Opcode.CHANNEL:
        channel = records.Channel.read(stream)
        log._channels[channel.id] = channel
    elif op == Opcode.METADATA:
        found = records.Metadata.read(stream)
        ours = {"headway": log.metadata, "headway.end": log.end}
        ours.get(found.name, log.other_metadata.setdefault(found.name, {})).update(found.metadata)


def _verify(log: Recording, stopped: int | None) -> int | None:
    """Unpack every chunk of a file without a summary: learn its channels, and drop what follows the
    first damage. Returns where the whole part ends."""
    for i, piece in enumerate(log._pieces):
        try:
            data = _unpack(log._fd, piece)
            for op in (Opcode.SCHEMA, Opcode.CHANNEL):
                for at, end in _records(data, op):
                    _learn(log, op, data[at:end])
            for at, _ in _records(data, Opcode.MESSAGE):
                if _MESSAGE.unpack_from(data, at)[0] not in log._channels:
                    raise ValueError("a message of no channel")
        except _BAD:  # noqa: PERF203 - once per chunk
            del log._pieces[i:]
            return piece.offset - _HEAD.size
    return stopped


def _unpack(fd: int, piece: _Piece) -> bytes:
    """The records of a chunk; raises one of _BAD when it is damaged."""
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


def _records(data: bytes, want: int) -> Iterator[tuple[int, int]]:
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
