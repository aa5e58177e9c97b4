"""Opening a file of telemetry by its kind, and finding the files of telemetry in folders."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec import structs

from headway.errors import ConfigError, RecordingError
from headway.mcaplog import open_recording
from headway.tools.score import hdf5, lerobot, lerobot_meta, rosbag
from headway.tools.score.arrays import ArrayTable
from headway.tools.score.bag import Bag
from headway.tools.score.labelfile import Episode as Episode
from headway.tools.score.labelfile import is_labels
from headway.tools.score.log import is_bag
from headway.tools.score.mapping import Mapping, Time, plain_mapping
from headway.tools.score.source import Source
from headway.tools.score.text import TextTable

SUFFIXES = (".npz", ".csv", ".tsv", ".txt", ".mcap", *hdf5.SUFFIXES, *rosbag.SUFFIXES)
WALKED = tuple(s for s in SUFFIXES if s != ".txt")  # in folders a .txt is usually a note
LEROBOT, ROSBAG2 = "LeRobotDataset", "rosbag2"  # kinds of folders that are data sets
RESULTS = (".features.npz", ".signals.csv")  # written by `headway score` itself
SUMMARY, SUMMARY_BEGINS = "summary.csv", b"name,source,episode,session,"  # so is this

KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def episodes_of(path: Path) -> list[str]:
    """The names of the episodes in a file or data set, in their order. Formats that hold several
    name them, also where there is one (`demo_0`); of a file that is one episode the only name is
    "". Raises RecordingError, ConfigError, Missing."""
    kind = _kind(path)
    if kind == LEROBOT:
        return lerobot.episodes(path)
    return hdf5.episodes(path) if kind in hdf5.SUFFIXES else [""]


def open_source(
    path: Path, mapping: Mapping | None, episode: str | None = None
) -> tuple[Source, Mapping]:
    """The opened file, and its mapping: where none is given, one of the channels that bear the
    names of telemetry fields and are in SI units. `episode`: one of `episodes_of`; None is for a
    file that has no other. Raises RecordingError, ConfigError, Missing."""
    kind, there = _kind(path), episodes_of(path)
    if episode is None and len(there) > 1:
        raise ConfigError(
            f"{path}: wanted one episode, found {len(there)} ({_few(there)}): name one of them"
        )
    if episode is not None and episode not in there:
        raise RecordingError(
            f"{path}: wanted the episode `{episode}`, found {_few(there) if any(there) else 'one'}"
        )
    name = there[0] if episode is None else episode
    time = mapping.time if mapping is not None else Time()
    source: Source
    facts: dict[str, str] = {}  # what a recording of ours says of itself
    topic = mapping.topic if mapping is not None else "/telemetry"
    if kind == ".mcap":
        recording = open_recording(path)
        source, facts = Bag(recording, time, topic), recording.metadata
    elif kind in (ROSBAG2, *rosbag.SUFFIXES):
        source = Bag(rosbag.open_bag(path), time, topic)
    elif kind == ".npz":
        source = ArrayTable(path, time)
    elif kind in hdf5.SUFFIXES:
        source = hdf5.Hdf5Table(path, time, name)
    elif kind == LEROBOT:
        source = lerobot.LeRobotTable(path, time, name)
    else:
        source = TextTable(path, time)
    if mapping is None:
        named = {key: facts.get(key, "") for key in ("robot", "task")}
        mapping = structs.replace(plain_mapping(path, source.keys()), **named)
    return source, mapping


def data_set(path: Path) -> str | None:
    """The kind of data set that the folder `path` is as a whole; None for other folders, whose
    files are read one by one."""
    if lerobot_meta.is_data_set(path):
        return LEROBOT
    return ROSBAG2 if is_bag(path) else None


def _kind(path: Path) -> str:
    """The kind of a file, one of `SUFFIXES`, or of a folder that is a data set. Raises ConfigError,
    RecordingError for what cannot be read."""
    if os.path.isdir(path) and (kind := data_set(path)) is not None:
        return kind
    _require_regular(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ConfigError(
            f"{path}: wanted telemetry as {', '.join(SUFFIXES)}, found {suffix or 'no suffix'}: "
            "convert it to one of them"
        )
    return suffix


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def _require_regular(path: Path) -> None:
    """Raises RecordingError for a pipe or a device, since reading them may wait for ever. A file
    that is not there is left to who opens it."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    except OSError as e:
        raise RecordingError(
            f"{path}: wanted a file, cannot look at it: {e.strerror}: check the path"
        ) from None
    if not stat.S_ISREG(mode):
        kind = next((word for test, word in KINDS if test(mode)), "something else")
        raise RecordingError(f"{path}: wanted a file, found {kind}: save its data to a file first")


def walk(files: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """The files and data sets to score, where other folders are replaced by the telemetry in them
    without what is hidden and without tables of labels; and why folders, or things in them, cannot
    be scored."""
    out: list[Path] = []
    wrong: list[str] = []
    for path in files:
        if not os.path.isdir(path) or data_set(path):
            out.append(path)
            continue
        before = len(wrong)
        found = sorted(_inside(path, wrong))
        if not found and len(wrong) == before:
            wrong.append(
                f"{path}: wanted telemetry ({', '.join(WALKED)}) in the folder, found none: name "
                "a folder that holds some"
            )
        out += found
    return list(dict.fromkeys(out)), list(dict.fromkeys(wrong))


def _inside(folder: Path, wrong: list[str]) -> Iterator[Path]:
    """The telemetry in a folder; what cannot be scored is added to `wrong`."""

    def refuse(e: OSError) -> None:
        wrong.append(f"{e.filename}: wanted a folder, cannot read it: {e.strerror}")

    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(n for n in folders if not n.startswith("."))
        sets = [n for n in folders if data_set(Path(parent, n))]
        folders[:] = [n for n in folders if n not in sets]
        yield from (Path(parent, n) for n in sets)
        for name in names:
            path = Path(parent, name)
            if name.startswith(".") or path.suffix.lower() not in WALKED or name.endswith(RESULTS):
                continue
            if name == SUMMARY and path.is_file() and _begins(path, SUMMARY_BEGINS):
                continue
            if path.is_symlink() and not os.path.exists(path):
                wrong.append(
                    f"{path}: wanted a file, found a link to {os.readlink(path)}, which is not "
                    "there: mend or remove the link"
                )
            elif not (path.suffix.lower() == ".csv" and path.is_file() and is_labels(path)):
                yield path


def _begins(path: Path, with_: bytes) -> bool:
    """Whether a file that can be read begins with these bytes."""
    try:
        with path.open("rb") as f:
            return f.read(len(with_)) == with_
    except OSError:
        return False
