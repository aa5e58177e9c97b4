"""LeRobotDatasets as tables, an episode at a time.

Keys are features such as `observation.state`, whose values have the names that the data set gives
them (`names = ["shoulder_pan.pos"]`). For words there are also `task`, the text of the task, and
the columns of the data set's table of episodes, such as a `success` that somebody added.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.errors import RecordingError
from headway.tools.score import lerobot_meta, units
from headway.tools.score.extra import wanted_by
from headway.tools.score.mapping import Time
from headway.tools.score.samples import BLOCK
from headway.tools.score.stamps import Times, times_ns
from headway.tools.score.table import Table
from headway.types import Vec

TASK = "task"  # the key of the task's text
_INDEX = "episode_index"


def episodes(path: Path) -> list[str]:
    """The names of the episodes in the data set at `path`. Raises RecordingError, ConfigError."""
    return list(lerobot_meta.read(path).episodes)


class LeRobotTable(Table):
    """One episode of a LeRobotDataset. Its file is read in blocks."""

    def __init__(self, path: Path, time: Time, episode: str) -> None:
        """`episode`: one of `episodes`. Raises RecordingError, ConfigError, Missing."""
        with wanted_by("LeRobotDatasets"):
            import pyarrow
            from pyarrow import parquet
        self.episode = episode
        self._set = lerobot_meta.read(path)
        self._row = self._set.episodes[episode]
        self._data = self._set.file_of(episode)
        self._broken = (OSError, ValueError, pyarrow.ArrowException)
        try:
            self._file: Any = parquet.ParquetFile(self._data)
        except FileNotFoundError:
            raise RecordingError(
                f"{path}: wanted the samples of {episode} in {self._data}, found no such file: copy"
                " the data set again"
            ) from None
        except self._broken as e:
            raise self._unreadable(e) from None
        super().__init__(path, self._file.schema_arrow.names, (), time)

    def _unreadable(self, e: Exception) -> RecordingError:
        return RecordingError(
            f"{self._data}: wanted a Parquet file, found one that cannot be read ({e}): copy it "
            "again from where it was made"
        )

    def keys(self) -> list[str]:
        about = [key for key in self._row if not key.startswith(("data/", "videos/"))]
        return list(dict.fromkeys([*self.names, TASK, *about]))

    def unit(self, name: str) -> str | None:
        return units.of_name(name)

    def labels(self, key: str) -> tuple[str, ...] | None:
        return self._set.labels(key)

    def read(
        self, keys: Sequence[str], time: str | None = None
    ) -> tuple[Sequence[str], Iterator[tuple[Times, Vec]]]:
        blocks = self._numbers(keys)
        first = next(blocks, None)
        if first is None:
            raise RecordingError(
                f"{self.path}: wanted samples of {self.episode} in {self._data}, found none"
            )
        key_of = [key for key, x in zip(keys, first[1], strict=True) for _ in range(x.shape[1])]

        def checked() -> Iterator[tuple[Times, Vec]]:
            yield first[0], np.hstack(first[1])
            for t, parts in blocks:
                found = [key for key, x in zip(keys, parts, strict=True) for _ in range(x.shape[1])]
                if found != key_of:
                    raise RecordingError(
                        f"{self._data}: wanted the same number of values in every row, found rows "
                        f"that differ in one of {', '.join(keys)}"
                    )
                yield t, np.hstack(parts)

        return key_of, checked()

    def _numbers(self, keys: Sequence[str]) -> Iterator[tuple[Times, list[Vec]]]:
        """Block by block, the times (m,) [ns] and the values of each key, (m, k)."""
        done = 0
        for batch in self._batches([*self.stamps.keys, *keys]):
            parts = [self._column(batch, k).astype(np.float64) for k in keys]
            yield self._times(batch, done), parts
            done += batch.num_rows

    def _times(self, batch: Any, done: int) -> Times:
        """The times (m,) [ns] of the rows of `batch`, before which the episode has `done` rows."""
        if not self.stamps.keys:
            return self.stamps.regular(done, done + batch.num_rows)
        columns = [self._column(batch, k).reshape(-1) for k in self.stamps.keys]
        return self.stamps.of(columns, self.path)

    def _batches(self, keys: Sequence[str]) -> Iterator[Any]:
        """The rows of the episode with the columns `keys`, in parts that are not empty."""
        from pyarrow import compute

        index = int(self._row[_INDEX])
        wanted = list(dict.fromkeys([*keys, *([_INDEX] if _INDEX in self.names else [])]))
        try:
            for batch in self._file.iter_batches(BLOCK, self._groups(index), columns=wanted):
                part = batch
                if _INDEX in self.names:
                    part = batch.filter(compute.equal(batch.column(_INDEX), index))
                if part.num_rows:
                    yield part
        except self._broken as e:
            raise self._unreadable(e) from None

    def _groups(self, index: int) -> list[int]:
        """The groups of rows that may hold rows of the episode `index`."""
        about = self._file.metadata
        paths = [about.schema.column(i).path for i in range(about.num_columns)]
        if _INDEX not in paths:
            return list(range(about.num_row_groups))
        at, out = paths.index(_INDEX), []
        for i in range(about.num_row_groups):
            known = about.row_group(i).column(at).statistics
            if known is None or not known.has_min_max or known.min <= index <= known.max:
                out.append(i)
        return out

    def _column(self, batch: Any, key: str) -> NDArray[Any]:
        """The values of a column, (m, k). Raises RecordingError where they are no numbers."""
        from pyarrow import compute, types

        column, rows = batch.column(key), batch.num_rows
        kind = column.type
        while types.is_list(kind) or types.is_fixed_size_list(kind) or types.is_large_list(kind):
            if column.null_count:
                raise RecordingError(
                    f"{self._data}: wanted values in each row of `{key}`, found none"
                )
            if not types.is_fixed_size_list(kind) and len(column):
                sizes = compute.min_max(compute.list_value_length(column)).as_py()
                if sizes["min"] != sizes["max"]:
                    raise RecordingError(
                        f"{self._data}: wanted the same number of values in every row of `{key}`, "
                        f"found {sizes['min']} to {sizes['max']}"
                    )
            column = column.flatten()
            kind = column.type
        number = types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)
        if not (number or types.is_timestamp(kind)):
            raise RecordingError(
                f"{self._data}: wanted numbers in `{key}`, found {kind}: choose another key"
            )
        if column.null_count:
            column = column.cast("float64")
        x: NDArray[Any] = column.to_numpy(zero_copy_only=False)
        return x.reshape(rows, -1)

    def times(self, key: str, topic: str | None) -> Times:
        self.require(key)
        x = [self._column(batch, key).reshape(-1) for batch in self._batches([key])]
        return times_ns(np.concatenate(x), self.stamps.unit, self.path, key)

    def words(self, key: str, topic: str | None) -> Iterator[tuple[int | None, str]]:
        if key in self.names or (key == TASK and "task_index" in self.names and self._set.tasks):
            column = "task_index" if key == TASK else key
            done = 0
            for batch in self._batches([*self.stamps.keys, column]):
                t, values = self._times(batch, done).tolist(), batch.column(column).to_pylist()
                for t_ns, value in zip(t, values, strict=True):
                    yield t_ns, self._set.tasks.get(value, "") if key == TASK else _word(value)
                done += batch.num_rows
            return
        about = "tasks" if key == TASK else key
        if about not in self._row:
            self.require(key)
        inside = self._row.get(about)  # None where nothing is known of this episode
        for value in inside if isinstance(inside, list) else [inside]:
            yield None, _word(value)


def _word(value: Any) -> str:
    """A value as a word; "" where there is none."""
    if isinstance(value, list):
        return ", ".join(map(_word, value))
    return "" if value is None else str(value)
