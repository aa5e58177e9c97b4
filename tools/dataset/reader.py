"""Reads a LeRobotDataset of version 3.0, or of 2.0 and 2.1, episode by episode."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture

from headway.errors import RecordingError
from headway.tools.dataset import layout
from headway.tools.dataset.layout import Feature
from headway.tools.dataset.packages import need
from headway.tools.dataset.video import Image, frames_at

_CAMERAS = ("video", "image")
_V2_EPISODES, _V2_TASKS = "meta/episodes.jsonl", "meta/tasks.jsonl"


@dataclass(frozen=True)
class StoredEpisode:
    """Where an episode is. `row`: what the episodes' table says of it."""

    index: int
    data: Path
    row: dict[str, Any]


@dataclass(frozen=True)
class StoredFrames:
    """The n frames of an episode. `columns`: by feature, (n,) or (n, ...), without cameras;
    `times` (n,) [s] since the first frame; `tasks` (n,)."""

    columns: dict[str, NDArray[Any]]
    times: NDArray[np.float64]
    tasks: list[str]

    def __len__(self) -> int:
        return len(self.times)


class Dataset:
    """A data set in `folder`. `cameras`: the features of images, by name of the camera. Raises
    RecordingError for a folder that is none, or has another version, and for damage."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.info = self._load_info()
        self.fps = self._number("fps")
        self.robot = str(self.info.get("robot_type") or "")
        self.features: dict[str, Feature] = {}
        for name, f in self.info["features"].items():
            self.features[name] = Feature(f["dtype"], tuple(f["shape"]), _names(f.get("names")))
        self.cameras = {
            name.removeprefix(layout.IMAGES): name
            for name, f in self.features.items()
            if f.dtype in _CAMERAS
        }
        self._tasks = self._load_tasks()
        self.episodes = self._load_episodes()

    def _wrong(self, wanted: str, found: object, path: Path | None = None) -> RecordingError:
        return RecordingError(
            f"{path or self.folder}: wanted {wanted}, found {found}: give the folder of a "
            "LeRobotDataset of version 2.0, 2.1 or 3.0, and copy it again where it is damaged"
        )

    def _load_info(self) -> dict[str, Any]:
        path = self.folder / layout.INFO
        try:
            info: Any = json.loads(path.read_text(encoding="utf-8"))
            version = str(info["codebase_version"])
            for feature in info["features"].values():
                _ = feature["dtype"], tuple(feature["shape"])
            _ = str(info["data_path"])
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as e:
            raise self._wrong("a data set's description", f"none ({e!r})", path) from None
        if version not in ("v2.0", "v2.1", layout.VERSION):
            raise self._wrong("version v2.0, v2.1 or v3.0", version, path)
        self._v2 = version != layout.VERSION
        return dict(info)

    def _number(self, key: str) -> float:
        value = self.info.get(key)
        if not isinstance(value, (int, float)) or not value > 0:
            raise self._wrong(f"`{key}` above 0", repr(value), self.folder / layout.INFO)
        return float(value)

    def _lines(self, name: str) -> list[dict[str, Any]]:
        path = self.folder / name
        try:
            text = path.read_text(encoding="utf-8")
            return [json.loads(line) for line in text.splitlines() if line.strip()]
        except (OSError, ValueError) as e:
            raise self._wrong("lines of JSON", repr(e), path) from None

    def _read(self, path: Path, **options: Any) -> Any:
        """The Parquet file at `path` as a table, without columns of statistics."""
        pa, pq = need("pyarrow"), need("pyarrow.parquet")
        try:
            names = [n for n in pq.read_schema(path).names if not n.startswith("stats/")]
            return pq.read_table(path, **{"columns": names, **options})
        except (OSError, ValueError, KeyError, pa.ArrowException) as e:
            raise self._wrong("a Parquet file", f"none that can be read ({e})", path) from None

    def _load_tasks(self) -> dict[int, str]:
        if self._v2:
            return {int(t["task_index"]): str(t["task"]) for t in self._lines(_V2_TASKS)}
        table = self._read(self.folder / layout.TASKS)
        # The texts are pandas' index, whose column has a name of its own.
        texts = [n for n in table.column_names if n != "task_index"]
        if "task_index" not in table.column_names or len(texts) != 1:
            raise self._wrong("columns of tasks and numbers", table.column_names)
        numbers = table["task_index"].to_pylist()
        return dict(zip(numbers, map(str, table[texts[0]].to_pylist()), strict=True))

    def _load_episodes(self) -> list[StoredEpisode]:
        if self._v2:
            rows = self._lines(_V2_EPISODES)
            size = int(self._number("chunks_size"))
            for row in rows:
                row["episode_chunk"] = row["episode_index"] // size
        else:
            rows = []
            for path in sorted(self.folder.glob("meta/episodes/*/*.parquet")):
                rows += self._read(path).to_pylist()
        found = []
        for row in sorted(rows, key=lambda r: int(r["episode_index"])):
            try:
                name = self.info["data_path"].format(**_file(row, "data/"))
            except (KeyError, IndexError, ValueError) as e:
                raise self._wrong("where an episode's data are", f"no {e}") from None
            found.append(StoredEpisode(int(row["episode_index"]), self.folder / name, row))
        return found

    def frames(self, episode: StoredEpisode) -> StoredFrames:
        """The frames of `episode`, without what its cameras saw. Raises RecordingError."""
        table = self._read(episode.data, filters=[("episode_index", "=", episode.index)])
        for name in ("timestamp", "task_index"):
            if name not in table.column_names:
                raise self._wrong(f"the column {name}", table.column_names, episode.data)
        if not len(table):
            raise self._wrong(f"rows of episode {episode.index}", "none", episode.data)
        columns = {
            name: _array(table[name])
            for name, f in self.features.items()
            if f.dtype not in _CAMERAS and name in table.column_names
        }
        times = np.asarray(columns.pop("timestamp"), np.float64).reshape(-1)
        tasks = [self._tasks.get(int(i), "") for i in table["task_index"].to_pylist()]
        return StoredFrames(
            {n: x for n, x in columns.items() if n not in layout.DEFAULTS}, times - times[0], tasks
        )

    def images(self, episode: StoredEpisode, camera: str) -> Iterator[Image]:
        """What `camera` saw in each frame of `episode`, (h, w, 3). Raises RecordingError."""
        key = self.cameras[camera]
        if self.features[key].dtype == "image":
            yield from self._pictures(episode, key)
            return
        where = _file(episode.row, f"videos/{key}/")
        try:
            path = self.folder / self.info["video_path"].format(video_key=key, **where)
        except (KeyError, AttributeError, ValueError) as e:
            raise self._wrong(f"where the video of {key} is", f"no {e}") from None
        start = float(episode.row.get(f"videos/{key}/from_timestamp", 0.0))
        times = self._read(
            episode.data, columns=["timestamp"], filters=[("episode_index", "=", episode.index)]
        )["timestamp"]
        yield from frames_at(path, [start + t for t in times.to_pylist()], self.fps)

    def _pictures(self, episode: StoredEpisode, key: str) -> Iterator[Image]:
        table = self._read(
            episode.data, columns=[key], filters=[("episode_index", "=", episode.index)]
        )
        for value in table[key]:
            stored = value.as_py()
            try:
                with Picture.open(io.BytesIO(stored["bytes"])) as picture:
                    yield np.asarray(picture.convert("RGB"))
            except (OSError, TypeError, KeyError, Picture.DecompressionBombError) as e:
                raise self._wrong("pictures in the table", repr(e), episode.data) from None


def _names(value: Any) -> tuple[str, ...] | None:
    """Names of components: LeRobot writes a list, or a dictionary with one or several lists."""
    if isinstance(value, dict):
        parts = [v for v in value.values() if isinstance(v, list)]
        value = [n for part in parts for n in part]
    return tuple(map(str, value)) if isinstance(value, list) and value else None


def _file(row: dict[str, Any], prefix: str) -> dict[str, Any]:
    """What a path in meta/info.json is filled in with: version 2 counts episodes, version 3 has the
    numbers of files under `prefix`."""
    numbers = {
        "episode_index": row.get("episode_index"),
        "episode_chunk": row.get("episode_chunk"),
        "chunk_index": row.get(f"{prefix}chunk_index"),
        "file_index": row.get(f"{prefix}file_index"),
    }
    return {k: int(v) for k, v in numbers.items() if v is not None}


def _array(column: Any) -> NDArray[Any]:
    """A column of a table as (n,) or (n, ...)."""
    values = column.to_pylist()
    found = np.array(values)
    if found.dtype.kind == "O" and not any(isinstance(v, str) for v in values):
        return np.array(values, np.float64)  # None becomes NaN
    return found
