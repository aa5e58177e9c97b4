"""Reads a LeRobotDataset of version 3.0, or of 2.0 and 2.1, episode by episode."""

from __future__ import annotations

import io
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
from headway.tools.score import lerobot_meta

_CAMERAS = ("video", "image")
_INDICES = tuple(layout.DEFAULTS)


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
    RecordingError for a folder that is none and for damage, ConfigError for another version."""

    def __init__(self, folder: Path) -> None:
        if not lerobot_meta.is_data_set(folder):
            raise self._wrong(folder, "a data set with meta/info.json", "none")
        self.folder = folder
        self._about = lerobot_meta.read(folder)
        self.info = self._about.info
        try:
            self.fps = float(self.info["fps"])
            self.features = {
                name: Feature(f["dtype"], tuple(f["shape"]), self._about.labels(name))
                for name, f in self.info["features"].items()
            }
        except (KeyError, TypeError, ValueError, AttributeError) as e:
            found = f"none that can be read ({e!r})"
            raise self._wrong(folder / layout.INFO, "`fps` and `features`", found) from None
        if not self.fps > 0:
            raise self._wrong(folder / layout.INFO, "`fps` above 0", self.fps)
        self.robot = str(self.info.get("robot_type") or "")
        self.cameras = {
            name.removeprefix(layout.IMAGES): name
            for name, f in self.features.items()
            if f.dtype in _CAMERAS
        }
        self.episodes = [
            StoredEpisode(int(row["episode_index"]), self._about.file_of(name), row)
            for name, row in self._about.episodes.items()
        ]

    def _wrong(self, path: Path, wanted: str, found: object) -> RecordingError:
        return RecordingError(
            f"{path}: wanted {wanted}, found {found}: give the folder of a LeRobotDataset, and "
            "copy it again where it is damaged"
        )

    def _read(self, path: Path, index: int, columns: list[str]) -> Any:
        """The rows of the episode `index` in the Parquet file at `path`, of those of `columns` that
        are there."""
        pa, pq = need("pyarrow"), need("pyarrow.parquet")
        try:
            names = [n for n in pq.read_schema(path).names if n in columns]
            table = pq.read_table(path, columns=names, filters=[("episode_index", "=", index)])
        except (OSError, ValueError, KeyError, pa.ArrowException) as e:
            raise self._wrong(path, "a Parquet file", f"none that can be read ({e})") from None
        if not len(table):
            raise self._wrong(path, f"rows of episode {index}", "none")
        return table

    def frames(self, episode: StoredEpisode) -> StoredFrames:
        """The frames of `episode`, without what its cameras saw. Raises RecordingError."""
        wanted = [n for n, f in self.features.items() if f.dtype not in _CAMERAS]
        table = self._read(episode.data, episode.index, [*wanted, *layout.DEFAULTS])
        for name in ("timestamp", "task_index"):
            if name not in table.column_names:
                raise self._wrong(episode.data, f"the column {name}", table.column_names)
        columns = {
            n: _array(table[n]) for n in wanted if n in table.column_names and n not in _INDICES
        }
        times = np.asarray(table["timestamp"].to_pylist(), np.float64)
        tasks = [self._about.tasks.get(int(i), "") for i in table["task_index"].to_pylist()]
        return StoredFrames(columns, times - times[0], tasks)

    def images(self, episode: StoredEpisode, camera: str) -> Iterator[Image]:
        """What `camera` saw in each frame of `episode`, (h, w, 3). Raises RecordingError."""
        key = self.cameras[camera]
        if self.features[key].dtype == "image":
            yield from self._pictures(episode, key)
            return
        prefix = f"videos/{key}/"
        own = {k.removeprefix(prefix): v for k, v in episode.row.items() if k.startswith(prefix)}
        chunk = episode.index // int(self.info.get("chunks_size") or layout.FILES_PER_CHUNK)
        numbers = {"video_key": key, "episode_index": episode.index, "episode_chunk": chunk}
        try:
            path = self.folder / str(self.info["video_path"]).format(**numbers, **own)
        except (KeyError, ValueError, IndexError) as e:
            raise self._wrong(self.folder, f"the place of the video {key}", f"no {e}") from None
        stamps = self._read(episode.data, episode.index, ["timestamp"])["timestamp"].to_pylist()
        start = float(own.get("from_timestamp") or 0.0)
        yield from frames_at(path, [start + t for t in stamps], self.fps)

    def _pictures(self, episode: StoredEpisode, key: str) -> Iterator[Image]:
        stored = self._read(episode.data, episode.index, [key])[key]
        try:
            for value in stored:
                with Picture.open(io.BytesIO(value.as_py()["bytes"])) as picture:
                    yield np.asarray(picture.convert("RGB"))
        except (OSError, TypeError, KeyError, Picture.DecompressionBombError) as e:
            raise self._wrong(episode.data, f"pictures of {key}", repr(e)) from None


def _array(column: Any) -> NDArray[Any]:
    """A column of a table as (n,) or (n, ...)."""
    values = column.to_pylist()
    found = np.array(values)
    if found.dtype.kind == "O" and not any(isinstance(v, str) for v in values):
        return np.array(values, np.float64)  # None becomes NaN
    return found
