"""Bags of ROS 1 (`.bag`) and of ROS 2 (`.db3`, and folders with a `metadata.yaml`) as logs."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from headway.errors import RecordingError
from headway.mcaplog import ChannelInfo, Message
from headway.tools.score.extra import wanted_by
from headway.tools.score.log import METADATA, Log, SplitLog

SUFFIXES = (".bag", ".db3")


def open_bag(path: Path) -> Log:
    """The bag at `path`: a file of one of `SUFFIXES`, or a folder of rosbag2. Raises RecordingError
    for what cannot be read, Missing."""
    if path.is_dir():
        files = _files_of(path)
        if all(f.suffix == ".mcap" for f in files):
            return SplitLog(path, files)
    return RosbagLog(path)


def _files_of(folder: Path) -> list[Path]:
    """The files of a rosbag2 folder, in the order of its metadata."""
    with wanted_by("split bags"):
        from ruamel.yaml import YAML
    try:
        about = YAML(typ="safe").load((folder / METADATA).read_text(encoding="utf-8"))
        names = about["rosbag2_bagfile_information"]["relative_file_paths"]
        files = [folder / Path(str(n)).name for n in names]
    except Exception as e:  # whatever a parser makes of a damaged file
        raise RecordingError(
            f"{folder / METADATA}: wanted the metadata of a rosbag2 folder, found none that can be "
            f"read ({type(e).__name__}: {e}): `ros2 bag reindex` writes it anew"
        ) from None
    if not files:
        raise RecordingError(f"{folder}: wanted files of messages in its metadata, found none")
    return files


class RosbagLog:
    """A bag, by the library rosbags. Messages are objects with attributes; those of ROS 1 have the
    names of types and fields that ROS 2 has (`sensor_msgs/msg/JointState`, `header.stamp.sec`)."""

    def __init__(self, path: Path) -> None:
        """Raises RecordingError for a bag that cannot be read, Missing."""
        with wanted_by("ROS bags"):
            from rosbags.highlevel import AnyReader
            from rosbags.typesys import Stores, get_typestore
        self.path = path
        self.metadata: dict[str, str] = {}
        self.damage: list[str] = []
        if not path.exists():
            raise RecordingError(f"wanted a bag at {path}, found none: check the path")
        try:
            # Bags without definitions of their types were written by ROS 2 Humble or before it.
            usual = None if path.suffix == ".bag" else get_typestore(Stores.ROS2_HUMBLE)
            self._reader = AnyReader([path], default_typestore=usual)
            self._reader.open()
        except Exception as e:  # whatever a parser makes of damaged bytes
            raise RecordingError(
                f"{path}: wanted a ROS bag, found one that cannot be read ({type(e).__name__}: {e})"
                ": copy it again; `rosbag reindex` and `ros2 bag reindex` mend a bag that was not "
                "closed, `sqlite3 FILE .recover` a damaged .db3"
            ) from None
        weakref.finalize(self, self._reader.close)
        self._known = {c.id: c for c in self._reader.connections}

    @property
    def topics(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(c.topic for c in self._known.values()))

    @property
    def notes(self) -> list[str]:
        return list(self.damage)

    @property
    def truncated(self) -> bool:
        return False  # an index at the end says where messages are: without it nothing can be read

    def channels(self, topic: str) -> list[ChannelInfo]:
        return [ChannelInfo(i, c.msgtype) for i, c in self._known.items() if c.topic == topic]

    def messages(self, topic: str) -> Iterator[Message]:
        wanted = [c for c in self._known.values() if c.topic == topic]
        done = 0
        try:
            for connection, t_ns, data in self._reader.messages(wanted) if wanted else ():
                yield Message(t_ns, done, data, connection.id)
                done += 1
        except Exception as e:  # whatever a parser makes of damaged bytes
            total = sum(c.msgcount for c in wanted)
            text = (
                f"{topic}: {total - done} of {total} messages cannot be read since the bag is "
                f"damaged ({type(e).__name__}: {e}): copy it again from where it was made"
            )
            if text not in self.damage:
                self.damage.append(text)

    def decoder(self, number: int) -> Callable[[bytes], Any]:
        connection, types = self._known[number], self._reader.typestore.fielddefs
        if connection.msgtype not in types:
            raise RecordingError(
                f"{self.path}: {connection.topic}: wanted the definition of {connection.msgtype}, "
                "found none in the bag: convert it to MCAP with `ros2 bag convert` where the type "
                "is installed"
            )
        deserialize, msgtype = self._reader.deserialize, connection.msgtype
        return lambda data: deserialize(data, msgtype)
