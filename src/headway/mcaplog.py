"""Read MCAP recordings: Headway's as NumPy rows and images, others' as decoded messages.

    log = open_recording("run.mcap")
    rows = log.rows("/telemetry")          # structured array, the bits that were written

A file that ends early (after a power cut, a full disk or a stopped copy) is read up to its last
whole chunk, and `truncated` and `note` say so. A damaged chunk in the middle is skipped, and
`damage` says what is missing because of it. Format: mcap.dev/spec.
"""

from __future__ import annotations

import json
import os
import weakref
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from mcap import records
from mcap.opcode import Opcode
from numpy.typing import NDArray

from headway.errors import RecordingError, Truncated
from headway.mcapdecode import CameraCalibration, calibration_of, decoder, image_of, line_of
from headway.mcapfile import (
    DAMAGE,
    MAGIC,
    MESSAGE,
    RUN,
    Contents,
    LostChunk,
    Piece,
    lost,
    read_contents,
    records_in,
    unpack,
)
from headway.wire import RowLayout, Rows, dtype_from_json

T = TypeVar("T")
_LATEST_NS = 1 << 63  # times of rows are kept as int64


class Message(NamedTuple):
    """A message as recorded at `t_ns` [ns]. What `seq` counts: see `Recording.sequence`."""

    t_ns: int
    seq: int
    data: bytes
    channel: int  # number of the channel in the file


class ChannelInfo(NamedTuple):
    """One publisher of a topic: most topics have one channel, some have several."""

    number: int
    schema: str


class LogLine(NamedTuple):
    """A line of /log at `t_ns` [ns]; `level` is debug, info, warning, error, fatal or unknown."""

    t_ns: int
    level: str
    text: str


class Damage(NamedTuple):
    """A chunk that was skipped because it cannot be read.

    `messages` has the number of missing messages by topic; `start_ns` and `end_ns` are the recorded
    times of the first and last of them [ns]. They are empty and None when the file does not say.
    `text` says all that for people.
    """

    offset: int  # of the chunk's body in the file [bytes]
    messages: dict[str, int]
    start_ns: int | None
    end_ns: int | None
    text: str


class Recording:
    """An opened file; it returns everything in the order of the file. `truncated`: it ends early,
    and `note` says what was recovered. Made by `open_recording`, which explains `strict`. All
    methods but `logs` raise RecordingError for a topic that is missing or of another kind."""

    def __init__(self, path: Path, contents: Contents, strict: bool = False) -> None:
        self.path = path
        self._strict = strict
        self._contents = contents
        self.truncated = contents.stopped is not None
        self.note = ""
        self._damage: dict[int, Damage] = {}
        for lost_here in contents.damage:
            self._found(lost_here)
        if contents.no_summary:
            self.note = (
                f"{path}: the summary at its end is damaged; the messages before it, up to byte "
                f"{contents.stopped} of {contents.size}, were read without it"
            )
        elif self.truncated:
            self.note = (
                f"{path} ends in the middle: read up to byte {contents.stopped} of {contents.size} "
                f"({len(contents.pieces)} chunks, {len(self.topics)} topics); the rest is lost, or "
                "still being written"
            )

    @property
    def metadata(self) -> dict[str, str]:
        """The metadata given to `Recorder`: run configuration, seeds, versions."""
        return self._contents.metadata.get("headway", {})

    @property
    def run(self) -> dict[str, str]:
        """When and where it was recorded (see `headway.edge.host.origin`); empty in recordings of
        older versions."""
        return self._contents.metadata.get(RUN, {})

    @property
    def end(self) -> dict[str, str]:
        """How the recording ended, and how many messages were written and dropped."""
        return self._contents.metadata.get("headway.end", {})

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics of all channels in the file, in their order; a topic may have no messages."""
        return tuple(dict.fromkeys(c.topic for c in self._contents.channels.values()))

    def topic_of(self, channel: int) -> str:
        """Topic of the channel with the number `channel` in the file."""
        known = self._contents.channels.get(channel)
        return known.topic if known is not None else f"channel {channel}"

    def schema(self, topic: str) -> str:
        """Name of the schema, such as "foxglove.RawImage"; "" if the channel has none."""
        schema = self._contents.schemas.get(self._channel(topic).schema_id)
        return schema.name if schema is not None else ""

    def units(self, topic: str) -> dict[str, str]:
        """The unit of each column of a topic that Headway wrote."""
        text = self._channel(topic).metadata.get("headway.units", "{}")
        try:
            return dict(json.loads(text))
        except (ValueError, TypeError, RecursionError):
            raise RecordingError(
                f"{self.path}: {topic}: wanted the units of its columns, found {text[:80]!r}: "
                "another program wrote it"
            ) from None

    def dtype(self, topic: str) -> np.dtype[np.void]:
        """The dtype of the rows of a topic that Headway wrote."""
        return self._layout(topic).dtype

    @property
    def damage(self) -> tuple[Damage, ...]:
        """The chunks found damaged so far, in the order of the file. Reading all messages of a
        topic finds those that concern it; `verify` finds all."""
        return tuple(self._damage[at] for at in sorted(self._damage))

    @property
    def notes(self) -> list[str]:
        """Texts for people: what is missing at the end, and what `damage` knows."""
        return [*([self.note] if self.note else []), *(d.text for d in self.damage)]

    def verify(self) -> tuple[Damage, ...]:
        """Read every chunk. Returns `damage`, which is complete then."""
        for piece in self._contents.pieces:
            self._records(piece, frozenset())
        return self.damage

    def require_complete(self) -> None:
        """Raises Truncated for a file that ends early, and RecordingError for any damaged chunk."""
        if self.truncated:
            raise Truncated(self.note)
        if found := self.verify():
            raise RecordingError(found[0].text)

    def messages(self, topic: str) -> Iterator[Message]:
        """The undecoded messages of `topic`. Damaged chunks are skipped and noted in `damage`; with
        `strict` they raise RecordingError."""
        self._channel(topic)
        wanted = {i for i, c in self._contents.channels.items() if c.topic == topic}
        for piece in self._contents.pieces:
            if piece.channels is not None and not piece.channels & wanted:
                continue
            yield from self._records(piece, wanted)

    def _records(self, piece: Piece, wanted: AbstractSet[int]) -> list[Message]:
        """The messages of the channels `wanted` in `piece`; none if the piece is damaged."""
        try:
            data = unpack(self._contents.fd, piece)
            found = []
            for at, end in records_in(data, Opcode.MESSAGE):
                channel, seq, t_ns, _ = MESSAGE.unpack_from(data, at)
                if channel in wanted:
                    found.append(Message(t_ns, seq, data[at + MESSAGE.size : end], channel))
        except DAMAGE as e:
            if piece.offset not in self._damage:
                self._found(lost(self._contents.fd, piece, str(e) or type(e).__name__))
            return []
        return found

    def _found(self, d: LostChunk) -> None:
        """Note a damaged chunk. Raises RecordingError when `strict`."""
        if self._strict:
            raise RecordingError(
                f"{self.path}: wanted a chunk at byte {d.offset}, found damage ({d.why}): copy the "
                "file again from where it was made"
            ) from None
        self._damage[d.offset] = self._described(d)

    def _described(self, d: LostChunk) -> Damage:
        counts: dict[str, int] = {}
        for channel, n in (d.counts or {}).items():
            topic = self.topic_of(channel)
            counts[topic] = counts.get(topic, 0) + n
        what = "how much is missing is not known"
        if counts:
            names = ", ".join(f"{n} of {topic}" for topic, n in counts.items())
            what = f"{sum(counts.values())} messages are missing ({names})"
        if d.start_ns is not None and d.end_ns is not None:
            what += f" over {(d.end_ns - d.start_ns) / 1e9:.3f} s"
            begin = self.metadata.get("start_ns", "")
            if begin.isdecimal() and len(begin) < 20:
                what += f" from {(d.start_ns - int(begin)) / 1e9:.3f} s of the episode on"
        text = (
            f"{self.path}: skipped a damaged chunk at byte {d.offset} ({d.why}): {what}; copy the "
            "file again from where it was made, if it is whole there"
        )
        return Damage(d.offset, counts, d.start_ns, d.end_ns, text)

    def has_rows(self, topic: str) -> bool:
        """Whether `topic` holds rows that Headway wrote, see `rows`."""
        return "headway.dtype" in self._channel(topic).metadata

    def rows(self, topic: str) -> Rows:
        """All rows (m,) of a topic that Headway wrote, with the dtype and bits as written."""
        return self.timed_rows(topic)[1]

    def timed_rows(self, topic: str) -> tuple[NDArray[np.int64], Rows]:
        """The recorded times (m,) [ns] and the rows (m,), see `rows`."""
        layout = self._layout(topic)
        found = list(self.messages(topic))
        latest = max((m.t_ns for m in found), default=0)
        if latest >= _LATEST_NS:
            raise RecordingError(
                f"{self.path}: {topic}: wanted times before the year 2262, found {latest} ns: "
                "another program wrote into it"
            )
        try:
            rows = layout.decode([m.data for m in found])
        except ValueError as e:
            raise RecordingError(
                f"{self.path}: {topic} does not hold the rows that it declares: {e}: another "
                "program wrote into it; `Recording.decoded` reads it as any protobuf"
            ) from None
        return np.array([m.t_ns for m in found], np.int64), rows

    def sequence(self, topic: str) -> NDArray[np.int64]:
        """The sequence numbers (m,) that the recorder gave to the messages of `topic`, from 0. It
        also counts messages that it dropped, so a gap is a loss."""
        return np.array([m.seq for m in self.messages(topic)], np.int64)

    def images(self, topic: str) -> Iterator[tuple[int, NDArray[Any]]]:
        """(t_ns, image) per message of a foxglove.RawImage topic; an image is (h, w, 3) uint8, or
        (h, w) uint8, uint16 or float32."""
        return self._taken(topic, "foxglove.RawImage", image_of)

    def calibration(self, topic: str) -> CameraCalibration:
        """The first foxglove.CameraCalibration of `topic`."""
        for _, found in self._taken(topic, "foxglove.CameraCalibration", calibration_of):
            if found is not None:
                return found
        raise RecordingError(
            f"{self.path}: {topic}: wanted a calibration with the nine numbers of K, found none: "
            "record the camera's calibration once per episode"
        )

    def logs(self, topic: str = "/log") -> list[LogLine]:
        """Lines of a foxglove.Log topic; none if the recording has no such topic."""
        if topic not in self.topics:
            return []
        return [LogLine(t, *line) for t, line in self._taken(topic, "foxglove.Log", line_of)]

    def decoded(self, topic: str) -> Iterator[tuple[int, Any]]:
        """(t_ns, message) of any protobuf, ROS 2 (CDR) or JSON topic.

        Protobuf and ROS 2 messages have attributes, JSON gives dicts. Raises RecordingError for
        other encodings, or messages that do not fit their schema.
        """
        decoders = {c.number: self.decoder(c.number) for c in self.channels(topic)}
        for m in self.messages(topic):
            try:
                value = decoders[m.channel](m.data)
            except Exception as e:
                raise RecordingError(
                    f"{self.path}: {topic}: the message at {m.t_ns} ns does not fit its schema "
                    f"{self.schema(topic) or '(none)'}: {e}: leave the topic out, or record it "
                    "again"
                ) from None
            yield m.t_ns, value

    def channels(self, topic: str) -> list[ChannelInfo]:
        """The channels of a topic; their messages may have different schemas."""
        found = []
        for number, channel in self._contents.channels.items():
            if channel.topic == topic:
                schema = self._contents.schemas.get(channel.schema_id)
                found.append(ChannelInfo(number, schema.name if schema is not None else ""))
        return found

    def decoder(self, number: int) -> Callable[[bytes], Any]:
        """A function that decodes the messages of the channel `number`, see `mcapdecode`."""
        channel = self._contents.channels[number]
        return decoder(self.path, channel, self._contents.schemas.get(channel.schema_id))

    def _channel(self, topic: str) -> records.Channel:
        for channel in self._contents.channels.values():
            if channel.topic == topic:
                return channel
        raise RecordingError(
            f"{self.path}: wanted topic {topic!r}, found {', '.join(self.topics) or 'no topics'}: "
            "choose one that is there"
        )

    def _taken(self, topic: str, schema: str, take: Callable[[Any], T]) -> Iterator[tuple[int, T]]:
        """(t_ns, what `take` makes of the message) of a topic of the schema `schema`. Raises
        RecordingError for another one, and for messages of that name that `take` cannot read."""
        found = self.schema(topic)
        if found != schema:
            raise RecordingError(
                f"{self.path}: {topic}: wanted {schema}, found {found or 'none'}: choose a "
                "topic of that kind"
            )
        for t_ns, m in self.decoded(topic):
            try:
                value = take(m)
            except Exception as e:  # JSON, or a schema that only has the name
                raise RecordingError(
                    f"{self.path}: {topic}: wanted {schema} in protobuf, found a message at {t_ns} "
                    f"ns that cannot be read as one ({e}): leave the topic out, or record it again"
                ) from None
            yield t_ns, value

    def _layout(self, topic: str) -> RowLayout:
        text = self._channel(topic).metadata.get("headway.dtype")
        try:
            if text is not None:
                return RowLayout(dtype_from_json(text))
            found = f"{self.schema(topic)} of another program: read it with `decoded`"
        except (ValueError, MemoryError) as e:
            found = str(e)
        raise RecordingError(
            f"{self.path}: {topic}: wanted rows that Headway wrote, found {found}: record it with "
            "`headway run`, or score it with `headway score`"
        )


def open_recording(path: Path | str, *, strict: bool = False) -> Recording:
    """Open the MCAP file at `path`. `strict`: reading a damaged chunk raises RecordingError, for
    callers who need all data; otherwise it is skipped. Raises RecordingError when there is no
    MCAP file at `path`."""
    path = Path(path)
    try:
        # O_NONBLOCK: opening a named pipe would wait for its writer.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as e:
        raise RecordingError(
            f"wanted a recording at {path}: {e.strerror}; check the path"
        ) from None
    try:
        start = os.pread(fd, len(MAGIC), 0)
        if start != MAGIC:
            found = f"{start!r}" if start else "an empty file"
            raise RecordingError(
                f"wanted an MCAP recording at {path}, found {found} at its start: "
                "give a file that `headway run` wrote, or another .mcap"
            )
        recording = Recording(path, read_contents(fd), strict)
    except OSError as e:  # a folder or a pipe
        os.close(fd)
        raise RecordingError(
            f"wanted a recording at {path}, found no file that can be read from any place "
            f"({e.strerror}): give an .mcap file"
        ) from None
    except BaseException:
        os.close(fd)
        raise
    weakref.finalize(recording, os.close, fd)
    return recording
