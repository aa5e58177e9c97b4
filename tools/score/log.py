"""Logs of messages: what `Bag` wants of a file, and a bag that was split into MCAP files."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from headway.errors import RecordingError
from headway.mcaplog import ChannelInfo, Message, Recording, open_recording

METADATA = "metadata.yaml"  # of a rosbag2 folder
_MARK = "rosbag2_bagfile_information"  # the first key in it
_FILES = re.compile(r"[^\s/'\"]+\.(?:mcap|db3)(?:\.zstd)?(?=['\"]?\s)")


class Log(Protocol):
    """Messages by topic. `headway.mcaplog.Recording` is one."""

    path: Path

    @property
    def topics(self) -> tuple[str, ...]: ...

    @property
    def notes(self) -> list[str]:
        """What is worth saying about the file, such as damage."""

    @property
    def damage(self) -> Sequence[object]:
        """The parts found so far that cannot be read."""

    @property
    def truncated(self) -> bool:
        """Whether it ends early."""

    @property
    def metadata(self) -> dict[str, str]:
        """What Headway wrote about a recording of its own."""

    def channels(self, topic: str) -> list[ChannelInfo]:
        """The publishers of a topic."""

    def messages(self, topic: str) -> Iterator[Message]:
        """The undecoded messages of a topic, in the order of the file."""

    def decoder(self, number: int) -> Callable[[bytes], Any]:
        """What turns the messages of the channel `number` into objects. Raises RecordingError."""


def is_bag(folder: Path) -> bool:
    """Whether the folder is a bag of rosbag2 that has to be read as a whole: one that is split into
    several files, or whose files say less without their metadata. A single MCAP file says all."""
    try:
        text = (folder / METADATA).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    files = set(_FILES.findall(text))
    return _MARK in text and (len(files) > 1 or not all(f.endswith(".mcap") for f in files))


class SplitLog:
    """The MCAP files that rosbag2 splits a long recording into, one after the other."""

    def __init__(self, path: Path, files: Sequence[Path]) -> None:
        """`files` in the order of time. Raises RecordingError where none can be read."""
        self.path = path
        self._lost: list[str] = []
        self._parts = [part for file in files if (part := self._opened(file)) is not None]
        if not self._parts:
            raise RecordingError(
                f"{path}: wanted MCAP files, found none that can be read: {'; '.join(self._lost)}"
            )
        # A publisher has a number in each file. Here it has one: that of the k-th of its topic,
        # schema and encoding.
        self._numbers: list[dict[int, int]] = []
        self._home: dict[int, tuple[Recording, int]] = {}
        self._info: dict[str, dict[int, ChannelInfo]] = {}
        known: dict[tuple[str, str, int], int] = {}
        for part in self._parts:
            mine: dict[int, int] = {}
            for topic in part.topics:
                often: Counter[str] = Counter()
                for info in part.channels(topic):
                    key = (topic, info.schema, often[info.schema])
                    often[info.schema] += 1
                    number = known.setdefault(key, len(known) + 1)
                    mine[info.number] = number
                    self._home.setdefault(number, (part, info.number))
                    of_topic = self._info.setdefault(topic, {})
                    of_topic.setdefault(number, ChannelInfo(number, info.schema))
            self._numbers.append(mine)

    def _opened(self, file: Path) -> Recording | None:
        try:
            return open_recording(file)
        except RecordingError as e:
            self._lost.append(f"left out: {e}")
            return None

    @property
    def topics(self) -> tuple[str, ...]:
        return tuple(self._info)

    @property
    def notes(self) -> list[str]:
        return [*self._lost, *(n for part in self._parts for n in part.notes)]

    @property
    def damage(self) -> Sequence[object]:
        return [*self._lost, *(d for part in self._parts for d in part.damage)]

    @property
    def truncated(self) -> bool:
        return any(part.truncated for part in self._parts)

    @property
    def metadata(self) -> dict[str, str]:
        return self._parts[0].metadata

    def channels(self, topic: str) -> list[ChannelInfo]:
        return list(self._info[topic].values())

    def messages(self, topic: str) -> Iterator[Message]:
        for part, numbers in zip(self._parts, self._numbers, strict=True):
            if topic in part.topics:
                for m in part.messages(topic):
                    yield m._replace(channel=numbers[m.channel])

    def decoder(self, number: int) -> Callable[[bytes], Any]:
        part, inside = self._home[number]
        return part.decoder(inside)
