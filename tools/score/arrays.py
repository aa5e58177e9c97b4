"""The arrays of an .npz as a table, whose columns may have several values each."""

from __future__ import annotations

import weakref
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.errors import RecordingError
from headway.tools.score import units
from headway.tools.score.mapping import Time
from headway.tools.score.samples import BLOCK
from headway.tools.score.stamps import NUMBERS, Times, times_ns
from headway.tools.score.table import Table
from headway.types import Vec

# What NumPy and zipfile raise for files that are damaged, or that are no .npz.
_UNREADABLE = (
    OSError, ValueError, EOFError, KeyError, TypeError, AttributeError, zipfile.BadZipFile,
    zlib.error, NotImplementedError,
)  # fmt: skip


class ArrayTable(Table):
    """The arrays of an .npz. Each is read when it is asked for, so that a damaged one does not cost
    the others."""

    def __init__(self, path: Path, time: Time) -> None:
        """Raises RecordingError for a file that is no .npz, ConfigError where nothing says when a
        sample was."""
        self.path = path
        try:
            raw = path.open("rb")
            weakref.finalize(self, raw.close)
            if raw.read(4) != b"PK\x03\x04":
                raise ValueError("it is no zip archive")
            raw.seek(0)
            self._file = np.load(raw, allow_pickle=False)
        except FileNotFoundError:
            raise RecordingError(
                f"wanted telemetry at {path}, found none: check the path"
            ) from None
        except _UNREADABLE as e:
            raise self._unreadable(e) from None
        super().__init__(path, self._file.files, (), time)
        self._t: Times | None = None  # (n,) [ns], None where samples come at a rate
        if self.stamps.keys:
            self._t = self.stamps.of([self._flat(k) for k in self.stamps.keys], path)
            if not len(self._t):
                raise RecordingError(f"{path}: wanted samples, found an empty file")

    def _unreadable(self, e: Exception, where: str = "") -> RecordingError:
        return RecordingError(
            f"{self.path}: wanted an .npz of plain arrays, found one that NumPy cannot read"
            f"{where} ({e}): save it with np.savez, without objects"
        )

    def _array(self, key: str) -> NDArray[Any]:
        self.require(key)
        try:
            array: NDArray[Any] = self._file[key]
        except _UNREADABLE as e:
            raise self._unreadable(e, f" in `{key}`") from None
        return array

    def _flat(self, key: str) -> NDArray[Any]:
        return self._array(key).reshape(-1)

    def unit(self, name: str) -> str | None:
        return units.of_name(name)

    def read(self, keys: Sequence[str]) -> tuple[Sequence[str], Iterator[tuple[Times, Vec]]]:
        arrays = {key: self._numbers(key) for key in keys}
        if self._t is not None:
            t, first = self._t, self.stamps.keys[0]
        else:
            t, first = self.stamps.regular(0, len(arrays[keys[0]])), keys[0]
        for key, x in arrays.items():
            if len(x) != len(t):
                raise RecordingError(
                    f"{self.path}: wanted {len(t)} samples of `{key}`, one for each of `{first}`, "
                    f"found shape {x.shape}: check the key, or transpose it"
                )
        key_of = [key for key, x in arrays.items() for _ in range(x.shape[1])]
        return key_of, (
            (t[lo : lo + BLOCK], np.hstack([x[lo : lo + BLOCK] for x in arrays.values()]))
            for lo in range(0, len(t), BLOCK)
        )

    def _numbers(self, key: str) -> Vec:
        """The array `key` as (n, k) numbers. Raises RecordingError where it is something else."""
        a = self._array(key)
        if a.dtype.kind not in NUMBERS:
            raise RecordingError(
                f"{self.path}: wanted numbers in `{key}`, found {a.dtype} such as "
                f"{a.reshape(-1)[:1]}"
            )
        if a.ndim not in (1, 2):
            raise RecordingError(
                f"{self.path}: wanted `{key}` of shape (n,) or (n, k), found {a.shape}"
            )
        x = a.astype(np.float64)
        return x if x.ndim == 2 else x[:, None]

    def times(self, key: str, topic: str | None) -> Times:
        return times_ns(self._flat(key), self.stamps.unit, self.path, key)

    def words(self, key: str, topic: str | None) -> Iterator[tuple[int | None, str]]:
        words = [str(w) for w in self._flat(key).tolist()]
        if self._t is not None and len(words) == len(self._t) > 1:
            yield from zip(self._t.tolist(), words, strict=True)
        else:
            yield from ((None, w) for w in words)
