"""Writes a LeRobotDataset of version 3.0, episode by episode: one is in memory at a time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.tools.dataset import layout, stats
from headway.tools.dataset.layout import Feature
from headway.tools.dataset.packages import need
from headway.tools.dataset.video import Image, VideoWriter

_ROWS = 100  # of the episodes' table that are written at once


class _Tables:
    """Parquet files of one table: the next one begins where one is full."""

    def __init__(self, folder: Path, pattern: str) -> None:
        self._folder, self._pattern = folder, pattern
        self._writer: Any = None
        self.place = (0, 0)  # chunk and file that the next rows go to, see `ready`

    @property
    def path(self) -> Path:
        chunk, file = self.place
        return self._folder / self._pattern.format(chunk_index=chunk, file_index=file)

    def ready(self) -> tuple[int, int]:
        """`place`, after a file that is full was closed."""
        if self._writer is not None and self.path.stat().st_size >= layout.DATA_MB << 20:
            self.close()
            self.place = layout.next_file(*self.place)
        return self.place

    def write(self, table: Any) -> None:
        if self._writer is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = need("pyarrow.parquet").ParquetWriter(self.path, table.schema)
        self._writer.write_table(table)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer = None


class _Videos:
    """The MP4 files of one camera."""

    def __init__(self, folder: Path, key: str, feature: Feature, fps: int) -> None:
        self._folder, self._key, self._fps = folder, key, fps
        self._size = feature.shape[:2]
        self._place, self._writer = (0, 0), self._open((0, 0))
        self.about = self._writer.about

    def _open(self, place: tuple[int, int]) -> VideoWriter:
        name = layout.VIDEO.format(video_key=self._key, chunk_index=place[0], file_index=place[1])
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return VideoWriter(path, self._fps, *self._size)

    def add(self, images: Iterable[Image], n: int) -> tuple[dict[str, Any], stats.Stats]:
        """Write the `n` frames of an episode. Returns where they are, as columns of the episodes'
        table, and their statistics."""
        if self._writer.full:
            self._writer.close()
            self._place = layout.next_file(*self._place)
            self._writer = self._open(self._place)
        first, looked_at, seen = self._writer.frames, stats.sampled(n), stats.OfImages()
        for k, image in enumerate(images):
            self._writer.add(image)
            if k in looked_at:
                seen.add(image)
        where = {
            "chunk_index": self._place[0],
            "file_index": self._place[1],
            "from_timestamp": first / self._fps,
            "to_timestamp": (first + n) / self._fps,
        }
        return {f"videos/{self._key}/{k}": v for k, v in where.items()}, seen.result()

    def close(self) -> None:
        self._writer.close()

    def abandon(self) -> None:
        self._writer.abandon()


class DatasetWriter:
    """Writes the data set in `folder`, which is to be empty. Call `add` for each episode and then
    `finish`; or `abandon`, to close the files as they are. All raise OSError for a full disk."""

    def __init__(self, folder: Path, features: Mapping[str, Feature], fps: int, robot: str) -> None:
        """`features` as in meta/info.json, without `layout.DEFAULTS`. `robot`: its name. Raises
        Missing."""
        self._folder, self._fps, self._robot = folder, fps, robot
        self._own = dict(features)
        self._features = self._own | layout.default_features()
        self._data = _Tables(folder, layout.DATA)
        self._about = _Tables(folder, layout.EPISODES)
        self._pending: list[dict[str, Any]] = []
        self._tasks: dict[str, int] = {}
        self._totals: dict[str, stats.Total] = {}
        self.episodes = self.frames = 0  # so far
        self._videos = {
            key: _Videos(folder, key, f, fps) for key, f in self._own.items() if f.dtype == "video"
        }

    def add(
        self,
        columns: Mapping[str, NDArray[Any]],
        tasks: list[str],
        images: Mapping[str, Iterable[Image]],
        success: bool | None,
        about: Mapping[str, str],
    ) -> None:
        """Append an episode of n frames. `columns`: the values (n,) or (n, k) of each feature;
        `tasks` (n,): what was to be done in each frame; `images`: n for each feature of video;
        `success`: how it ended, None where that is not known; `about`: further columns of the
        episodes' table."""
        n = len(tasks)
        for task in tasks:
            self._tasks.setdefault(task, len(self._tasks))
        k = np.arange(n)
        values = dict(columns) | {
            "timestamp": (k / self._fps).astype(np.float32),
            "frame_index": k,
            "episode_index": np.full(n, self.episodes),
            "index": self.frames + k,
            "task_index": np.array([self._tasks[task] for task in tasks]),
        }
        data_chunk, data_file = self._data.ready()
        row: dict[str, Any] = {
            "episode_index": self.episodes,
            "tasks": list(dict.fromkeys(tasks)),
            "length": n,
            layout.OUTCOME: success,
            "data/chunk_index": data_chunk,
            "data/file_index": data_file,
            "dataset_from_index": self.frames,
            "dataset_to_index": self.frames + n,
        }
        found = {name: stats.of_numbers(x) for name, x in values.items()}
        for key, videos in self._videos.items():
            where, found[key] = videos.add(images[key], n)
            row |= where
        for name, one in found.items():
            self._totals.setdefault(name, stats.Total()).add(one)
            row |= {f"stats/{name}/{k}": v.tolist() for k, v in one.items()}
        self._data.write(self._table(values))
        self._pending.append(row | dict(about))
        self.episodes += 1
        self.frames += n
        if len(self._pending) >= _ROWS:
            self._flush()

    def _table(self, values: Mapping[str, NDArray[Any]]) -> Any:
        pa = need("pyarrow")
        arrays = {}
        for name, feature in self._features.items():
            if feature.dtype == "video":
                continue
            kind = {"float32": pa.float32(), "int64": pa.int64(), "bool": pa.bool_()}[feature.dtype]
            flat = pa.array(values[name].ravel(), kind)
            size = feature.shape[0]
            arrays[name] = flat if size == 1 else pa.FixedSizeListArray.from_arrays(flat, size)
        return pa.table(arrays)

    def _flush(self) -> None:
        if not self._pending:
            return
        pa = need("pyarrow")
        chunk, file = self._about.ready()
        place = {"meta/episodes/chunk_index": chunk, "meta/episodes/file_index": file}
        table = pa.Table.from_pylist([r | place for r in self._pending])
        at = table.column_names.index(layout.OUTCOME)  # perhaps all null, which has no type
        known = table.column(at).cast(pa.bool_())
        self._about.write(table.set_column(at, layout.OUTCOME, known))
        self._pending.clear()

    def finish(self) -> None:
        """Write what belongs to all episodes, and close the files."""
        self._flush()
        self._data.close()
        self._about.close()
        for videos in self._videos.values():
            videos.close()
        self._write_tasks()
        total = {
            name: {k: v.tolist() for k, v in one.result().items()}
            for name, one in self._totals.items()
        }
        self._write_json(layout.STATS, total)
        said = layout.info(
            self._features, {key: v.about for key, v in self._videos.items()}, fps=self._fps,
            robot=self._robot, episodes=self.episodes, frames=self.frames, tasks=len(self._tasks),
        )  # fmt: skip
        self._write_json(layout.INFO, said)

    def abandon(self) -> None:
        """Close the files; the data set is of no use then."""
        for videos in self._videos.values():
            videos.abandon()
        self._data.close()
        self._about.close()

    def _write_tasks(self) -> None:
        """The table of tasks. Pandas, by which LeRobot reads it, is told that `task` is its
        index."""
        pa = need("pyarrow")
        table = pa.table({"task_index": list(self._tasks.values()), "task": list(self._tasks)})
        about = {
            "index_columns": ["task"],
            "column_indexes": [],
            "columns": [
                {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": numpy,
                 "metadata": None}
                for name, kind, numpy in (
                    ("task_index", "int64", "int64"), ("task", "unicode", "object"),
                )
            ],
            "pandas_version": "2.0.0",
        }  # fmt: skip
        table = table.replace_schema_metadata({"pandas": json.dumps(about)})
        need("pyarrow.parquet").write_table(table, self._folder / layout.TASKS)

    def _write_json(self, name: str, value: Any) -> None:
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value, indent=4, ensure_ascii=False), encoding="utf-8")
