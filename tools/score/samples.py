"""Samples over time that need not fit into memory: ten hours at 500 Hz are gigabytes.

A `Series` collects samples while a file is read. `Samples` are what comes out: values at rising
times. Both keep the values in a `Store`, which moves to a temporary file when it grows.
"""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.tools.score.stamps import Clean, Times, clean
from headway.types import Vec

IN_MEMORY = 8 << 20  # bytes of one store; what is more goes to a temporary file
BLOCK = 1 << 12  # rows read at a time


class Store:
    """Rows of numbers (n, width) of one dtype, appended in blocks and read in ranges. What is more
    than `IN_MEMORY` bytes lies in a temporary file."""

    def __init__(self, width: int, dtype: Any = np.float64) -> None:
        self.width, self.dtype = width, np.dtype(dtype)
        self._size = width * self.dtype.itemsize
        self._file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115
        self._rows = 0
        weakref.finalize(self, self._file.close)

    def __len__(self) -> int:
        return self._rows

    def append(self, block: NDArray[Any]) -> None:
        """Add the rows `block` (m, width) at the end."""
        data = np.ascontiguousarray(block, self.dtype)
        assert data.ndim == 2
        assert data.shape[1] == self.width
        self._file.seek(0, 2)
        self._file.write(data.tobytes())
        self._rows += len(data)

    def read(self, lo: int, hi: int) -> NDArray[Any]:
        """Rows lo..hi-1, (hi - lo, width), a copy."""
        self._file.seek(lo * self._size)
        data = self._file.read(max(hi - lo, 0) * self._size)
        rows: NDArray[Any] = np.frombuffer(data, self.dtype).reshape(-1, self.width).copy()
        return rows

    def blocks(self, size: int = BLOCK) -> Iterator[NDArray[Any]]:
        """All rows, `size` at a time, the last block may be shorter."""
        for lo in range(0, self._rows, size):
            yield self.read(lo, min(lo + size, self._rows))


class Series:
    """Collects the samples of a file as they are read, with the times that the file gives them."""

    def __init__(self) -> None:
        self._store: Store | None = None
        self._times: list[Times] = []
        self._repeats: list[NDArray[np.bool_]] = []
        self._last: Vec | None = None  # (1, k)

    def append(self, t: Times, x: Vec) -> None:
        """The next samples: their times `t` (m,) [ns, the file's own clock] and values `x` (m, k),
        k always the same."""
        if not len(t):
            return
        if self._store is None or self._last is None:
            self._store, self._last = Store(x.shape[1]), np.full((1, x.shape[1]), np.inf)
        before = np.vstack([self._last, x[:-1]])
        equal = (x == before) | (np.isnan(x) & np.isnan(before))
        self._repeats.append(equal.all(axis=1))
        self._times.append(t)
        self._store.append(x)
        self._last = x[-1:]

    def __len__(self) -> int:
        return 0 if self._store is None else len(self._store)

    def cleaned(
        self, where: str, *, smooth: Sequence[int] = (), arrival: bool = False
    ) -> tuple[Samples, Clean]:
        """The samples at times that can be used, and what was done to the times. There has to be
        at least one sample. `where` names the file in errors; `smooth` are the columns that move
        smoothly, by which stamps that jitter are judged; `arrival`: the times say when a sample
        was written, not when it was true. Raises RecordingError for a clock that was set back."""
        store = self._store
        assert store is not None
        values = (lambda lo, hi: store.read(lo, hi)[:, list(smooth)]) if smooth else None
        t, repeats = np.concatenate(self._times), np.concatenate(self._repeats)
        made = clean(t, repeats, where, arrival=arrival, values=values)
        return Samples(made.t, store, made.pick), made


@dataclass(frozen=True)
class Samples:
    """Values at rising times. Samples that were left out, put in order or split into channels still
    lie in one store as they were read: `pick` and `columns` say where the values are."""

    t: Times  # (n,) [ns], the file's own clock
    store: Store
    pick: NDArray[np.int64] | None = None  # (n,) sample i is row `pick[i]`; None: row i
    columns: tuple[int, ...] | None = None  # of the store that are the values; None: all

    @property
    def width(self) -> int:
        return self.store.width if self.columns is None else len(self.columns)

    def read(self, lo: int, hi: int) -> Vec:
        """The values of the samples lo..hi-1, (hi - lo, width)."""
        if hi <= lo:
            return np.zeros((0, self.width))
        if self.pick is None:
            x = self.store.read(lo, hi)
        else:  # neighbours in time are near each other in the file
            at = self.pick[lo:hi]
            first = int(at.min())
            x = self.store.read(first, int(at.max()) + 1)[at - first]
        return x if self.columns is None else x[:, list(self.columns)]

    def blocks(self, size: int = BLOCK) -> Iterator[tuple[int, Vec]]:
        """All values, block by block: (index of the block's first sample, values (m, width))."""
        for lo in range(0, len(self.t), size):
            yield lo, self.read(lo, min(lo + size, len(self.t)))

    def take(self, at: NDArray[np.int64]) -> Samples:
        """The samples `at` (m,), in this order."""
        return replace(self, t=self.t[at], pick=at if self.pick is None else self.pick[at])

    def thinned(self, every: int) -> Samples:
        """Each `every`-th sample alone, as a slower sensor would have given them."""
        return self.take(np.arange(0, len(self.t), every))

    def of(self, columns: Sequence[int]) -> Samples:
        """The samples with some of their values, in this order."""
        have = range(self.width) if self.columns is None else self.columns
        return replace(self, columns=tuple(have[i] for i in columns))
