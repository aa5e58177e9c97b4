"""What a LeRobotDataset says about itself: features, episodes and tasks (v2.0, v2.1 and v3.0)."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from headway.errors import ConfigError, RecordingError
from headway.tools.score.extra import wanted_by

INFO = Path("meta", "info.json")
VERSIONS = (2, 3)
# Columns of the table of episodes that are about the table itself, and statistics.
_BOOKKEEPING = ("stats/", "meta/")
_DATA_PATH = {
    2: "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
    3: "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
}


def is_data_set(path: Path) -> bool:
    """Whether the folder `path` is a LeRobotDataset."""
    return os.path.isfile(path / INFO)


def name_of(index: int) -> str:
    """The name of the episode `index`, as files of v2 are called."""
    return f"episode_{index:06d}"


@dataclass(frozen=True)
class DataSet:
    """The metadata of a data set."""

    path: Path
    major: int  # of the format's version
    info: dict[str, Any]
    episodes: dict[str, dict[str, Any]]  # by name, in their order: what is known of each
    tasks: dict[int, str]  # texts by `task_index`

    def file_of(self, name: str) -> Path:
        """The file that holds the samples of an episode. Raises RecordingError."""
        row = self.episodes[name]
        pattern = self.info.get("data_path") or _DATA_PATH[self.major]
        try:
            index = int(row["episode_index"])
            numbers = {
                "episode_index": index,
                "episode_chunk": index // int(self.info.get("chunks_size") or 1000),
                "chunk_index": row.get("data/chunk_index"),
                "file_index": row.get("data/file_index"),
            }
            return self.path / str(pattern).format(**numbers)
        except (KeyError, ValueError, TypeError, IndexError) as e:
            raise RecordingError(
                f"{self.path}: wanted the place of {name} by the pattern {pattern!r}, found no "
                f"such numbers in the metadata ({e}): copy the data set again"
            ) from None

    def labels(self, feature: str) -> tuple[str, ...] | None:
        """The names of a feature's values; None where the data set gives none."""
        found = (self.info.get("features") or {}).get(feature)
        names: Any = found.get("names") if isinstance(found, dict) else None
        if isinstance(names, dict):  # {"motors": [...]} as recorders of v2 write it
            names = [n for part in names.values() for n in (part if isinstance(part, list) else [])]
        while isinstance(names, list) and len(names) == 1 and isinstance(names[0], list):
            names = names[0]
        if not names or not isinstance(names, list) or not all(isinstance(n, str) for n in names):
            return None
        return tuple(names)


def read(path: Path) -> DataSet:
    """The metadata of the data set in the folder `path`. Raises RecordingError for what cannot be
    read, ConfigError for a version that is not known, Missing."""
    stamp = (path / INFO).stat()
    return _read(path.resolve(), path, stamp.st_mtime_ns, stamp.st_size)


@lru_cache(maxsize=8)  # each episode of a data set asks for it
def _read(whole: Path, path: Path, *_: int) -> DataSet:
    info = _json(path / INFO)
    if not isinstance(info, dict):
        raise RecordingError(f"{path / INFO}: wanted a JSON object, found {type(info).__name__}")
    version = str(info.get("codebase_version", ""))
    number = re.match(r"v?(\d+)", version)
    major = int(number[1]) if number else 0
    if major not in VERSIONS:
        raise ConfigError(
            f"{path}: wanted a LeRobotDataset of version 2 or 3, found {version or 'no version'}: "
            "convert it with the scripts that come with LeRobot"
        )
    rows = _rows(path, "episodes", major)
    episodes: dict[str, dict[str, Any]] = {}
    try:
        for row in sorted(rows, key=lambda r: int(r["episode_index"])):
            episodes[name_of(int(row["episode_index"]))] = {
                k: v for k, v in row.items() if not k.startswith(_BOOKKEEPING)
            }
        tasks = {int(row["task_index"]): _text(row) for row in _rows(path, "tasks", major)}
    except (KeyError, TypeError, ValueError) as e:
        raise RecordingError(
            f"{path}: wanted `episode_index` and `task_index` in the metadata, found rows without "
            f"({type(e).__name__}: {e}): copy the data set again"
        ) from None
    if not episodes:
        raise RecordingError(f"{path}: wanted episodes in the metadata, found none")
    return DataSet(path, major, info, episodes, tasks)


def _text(row: dict[str, Any]) -> str:
    """The text of a task, which v3 gives as the index of a table, by whatever name."""
    return str(row.get("task") or next((v for v in row.values() if isinstance(v, str)), ""))


def _rows(path: Path, what: str, major: int) -> list[dict[str, Any]]:
    """The rows of the table of episodes or tasks; none where there is no such table of tasks."""
    folder = path / "meta"
    if major == 2:
        file = folder / f"{what}.jsonl"
        if what == "tasks" and not file.is_file():
            return []
        try:
            lines = file.read_text(encoding="utf-8").split("\n")  # a text may hold other line ends
        except (OSError, UnicodeDecodeError) as e:
            raise RecordingError(f"{file}: wanted the {what} of a data set, {e}") from None
        return [_parsed(file, line) for line in lines if line.strip()]
    files = [folder / "tasks.parquet"]
    if what == "episodes":
        files = sorted((folder / "episodes").glob("*/*.parquet"))
    elif not files[0].is_file():
        return []
    if not files:
        raise RecordingError(f"{folder}: wanted episodes/*/*.parquet, found none: copy it again")
    with wanted_by("LeRobotDatasets"):
        from pyarrow import parquet
    rows: list[dict[str, Any]] = []
    for file in files:
        try:
            table = parquet.ParquetFile(file)
            names = [n for n in table.schema_arrow.names if not n.startswith(_BOOKKEEPING)]
            found: list[dict[str, Any]] = table.read(columns=names).to_pylist()
        except (OSError, ValueError) as e:  # ArrowInvalid is a ValueError
            raise RecordingError(
                f"{file}: wanted a Parquet file, found one that cannot be read ({e}): copy it again"
            ) from None
        rows += found
    return rows


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise RecordingError(f"{file}: wanted JSON, found none that can be read ({e})") from None


def _parsed(file: Path, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as e:
        raise RecordingError(
            f"{file}: wanted a JSON object a line, found {line[:60]!r} ({e})"
        ) from None
    if not isinstance(row, dict):
        raise RecordingError(f"{file}: wanted a JSON object a line, found {line[:60]!r}")
    return row
