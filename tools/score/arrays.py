"""Tables whose columns are arrays, of one or several values a sample: `Arrays`, and .npz files."""

from __future__ import annotations

import weakref
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from headway.errors import RecordingError
from headway.files import DAMAGED_NPZ
from headway.tools.score import units
from headway.tools.score.mapping import Time
from headway.tools.score.samples import BLOCK
from headway.tools.score.stamps import NUMBERS, Times, times_ns
from headway.tools.score.table import Table
from headway.types import Vec


class Array(Protocol):
    """What an array can do whose values may still lie in a file."""

    @property
    def dtype(self) -> np.dtype[Any]: ...

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, at: Any, /) -> Any: ...


class Arrays(Table):
    """A table of arrays that have a row a sample. They are read in blocks."""

    has_own_times = True

    def __init__(self, path: Path, names: Sequence[str], time: Time) -> None:
        """Raises ConfigError where nothing says when a sample was, RecordingError for an empty
        file."""
        super().__init__(path, names, (), time)
        self._t: Times | None = None  # (n,) [ns], None where samples come at a rate
        if self.stamps.keys:
            self._t = self.stamps.of([self._flat(k) for k in self.stamps.keys], path)
            if not len(self._t):
                raise RecordingError(f"{path}: wanted samples, found an empty file")

    @abstractmethod
    def array(self, key: str) -> Array:
        """The array `key`. Raises NoSuchKeyError, RecordingError."""

    def _flat(self, key: str) -> NDArray[Any]:
        """All values of `key` in one row."""
        return np.asarray(self._part(self.array(key), key, ())).reshape(-1)

    def _part(self, array: Array, key: str, at: Any) -> NDArray[Any]:
        """The part `at` of an array. Raises RecordingError where it cannot be read."""
        return np.asarray(array[at])

    def unit(self, name: str) -> str | None:
        return units.of_name(name)

    def read(
        self, keys: Sequence[str], time: str | None = None
    ) -> tuple[Sequence[str], Iterator[tuple[Times, Vec]]]:
        arrays = {key: self._numbers(key) for key in keys}
        t = self._t if time is None else self.times(time, None)
        n = len(t) if t is not None else arrays[keys[0]].shape[0]
        first = time or (self.stamps.keys or keys)[0]
        for key, x in arrays.items():
            if x.shape[0] != n:
                raise RecordingError(
                    f"{self.path}: wanted {n} samples of `{key}`, one for each of `{first}`, "
                    f"found shape {x.shape}: check the key, transpose it, or name its own stamps "
                    "by `time`"
                )
        key_of = [
            k for k, x in arrays.items() for _ in range(x.shape[1] if len(x.shape) > 1 else 1)
        ]
        return key_of, self._blocks(arrays, n, t)

    def _blocks(
        self, arrays: dict[str, Array], n: int, times: Times | None
    ) -> Iterator[tuple[Times, Vec]]:
        for lo in range(0, n, BLOCK):
            hi = min(lo + BLOCK, n)
            t = times[lo:hi] if times is not None else self.stamps.regular(lo, hi)
            parts = [
                self._part(x, key, slice(lo, hi)).astype(np.float64).reshape(hi - lo, -1)
                for key, x in arrays.items()
            ]
            yield t, np.hstack(parts)

    def _numbers(self, key: str) -> Array:
        """The array `key`, of shape (n,) or (n, k). Raises RecordingError where it is something
        else."""
        a = self.array(key)
        if a.dtype.kind not in NUMBERS:
            found = self._part(a, key, (slice(0, 1),) if a.shape else ()).reshape(-1)[:1]
            raise RecordingError(
                f"{self.path}: wanted numbers in `{key}`, found {a.dtype} such as {found}"
            )
        if len(a.shape) not in (1, 2):
            raise RecordingError(
                f"{self.path}: wanted `{key}` of shape (n,) or (n, k), found {a.shape}"
            )
        return a

    def times(self, key: str, topic: str | None) -> Times:
        return times_ns(self._flat(key), self.stamps.unit, self.path, key)

    def words(self, key: str, topic: str | None) -> Iterator[tuple[int | None, str]]:
        words = [str(w) for w in self._flat(key).tolist()]
        if self._t is not None and len(words) == len(self._t) > 1:
            yield from zip(self._t.tolist(), words, strict=True)
        else:
            yield from ((None, w) for w in words)


class ArrayTable(Arrays):
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
        except DAMAGED_NPZ as e:
            raise self._unreadable(e) from None
        super().__init__(path, self._file.files, time)

    def _unreadable(self, e: Exception, where: str = "") -> RecordingError:
        return RecordingError(
            f"{self.path}: wanted an .npz of plain arrays, found one that NumPy cannot read"
            f"{where} ({e}): save it with np.savez, without objects"
        )

    def array(self, key: str) -> NDArray[Any]:
        self.require(key)
        try:
            array: NDArray[Any] = self._file[key]
        except DAMAGED_NPZ as e:
            raise self._unreadable(e, f" in `{key}`") from None
        return array
