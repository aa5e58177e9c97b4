"""The arrays of an .npz as a table, whose columns may have several values each."""

from __future__ import annotations

import weakref
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.clock import NS
from headway.errors import RecordingError
from headway.kernels.telemetry import Scale
from headway.tools.score import units
from headway.tools.score.grid import CUBIC
from headway.tools.score.mapping import Channel, Time
from headway.tools.score.samples import Samples, Store
from headway.tools.score.source import NoSuchKeyError, Raw, no_key
from headway.tools.score.stamps import Clean, Times, clean, dates_ns, is_dates, numbers_ns
from headway.tools.score.table import refuse_messages, seconds_and_rest, stamps_of
from headway.types import Vec


class ArrayTable:
    """The arrays of an .npz, which may have several columns each."""

    def __init__(self, path: Path, arrays: Mapping[str, NDArray[Any]], time: Time) -> None:
        self.path, self._arrays = path, arrays
        self.names = list(arrays)
        self.notes: list[str] = []
        self.odd = 0
        self._clean: Clean | None = None
        self._keys, self._unit, self._rate = stamps_of(self, time, path)
        self._t = self._stamps() if self._keys else None
        if self._t is not None and not len(self._t):
            raise RecordingError(f"{path}: wanted samples, found an empty file")

    def unit(self, name: str) -> str | None:
        return units.of_name(name)

    def keys(self) -> list[str]:
        return list(self._arrays)

    def scale(self) -> Scale | None:
        return None

    def _stamps(self) -> Times:
        if len(self._keys) == 1:
            return self.times(self._keys[0], None)
        whole, rest = (self._column(k).reshape(-1) for k in self._keys)
        return seconds_and_rest(whole, rest, self.path, self._keys)

    def _column(self, key: str) -> NDArray[Any]:
        if key not in self._arrays:
            raise no_key(self.path, key, self._arrays)
        return self._arrays[key]

    def _numbers(self, key: str) -> Vec:
        a = self._column(key)
        if a.dtype.kind not in "fiub":
            raise RecordingError(
                f"{self.path}: wanted numbers in `{key}`, found {a.dtype} such as "
                f"{a.reshape(-1)[:1]}"
            )
        if a.ndim not in (1, 2):
            raise RecordingError(
                f"{self.path}: wanted `{key}` of shape (n,) or (n, k), found {a.shape}"
            )
        if not len(a):
            raise RecordingError(f"{self.path}: wanted samples in `{key}`, found none")
        x = a.astype(np.float64).reshape(len(a), -1)
        if self._t is not None and len(self._t) != len(x):
            raise RecordingError(
                f"{self.path}: wanted {len(self._t)} samples of `{key}`, one for each of "
                f"`{self._keys[0]}`, found shape {a.shape}: check the key, or transpose it"
            )
        return x

    def channels(self, wanted: Mapping[str, Channel]) -> dict[str, Raw | NoSuchKeyError]:
        refuse_messages(self.path, wanted)
        out: dict[str, Raw | NoSuchKeyError] = {}
        arrays: dict[str, Vec] = {}
        for name, channel in wanted.items():
            try:
                arrays[name] = self._joined(name, channel)
            except NoSuchKeyError as e:  # noqa: PERF203 - once per channel
                out[name] = e
        for name, x in arrays.items():
            t = self._t
            if t is None:
                assert self._rate is not None
                t = np.rint(np.arange(len(x)) * (NS / self._rate)).astype(np.int64)
            made = self._cleaned(t, {n: a for n, a in arrays.items() if len(a) == len(t)})
            store = Store(x.shape[1])
            store.append(x)
            keys = wanted[name].keys
            named = (
                [(keys[0], self.unit(keys[0]))] * x.shape[1]
                if len(keys) == 1
                else [(k, self.unit(k)) for k in keys]
            )
            out[name] = Raw(
                Samples(made.t, store, made.pick), tuple(named), made.rate_hz, made.missing
            )
        return out

    def _joined(self, name: str, channel: Channel) -> Vec:
        parts = [self._numbers(k) for k in channel.keys]
        if len({len(p) for p in parts}) > 1:
            shown = ", ".join(f"`{k}` {len(p)}" for k, p in zip(channel.keys, parts, strict=True))
            raise RecordingError(
                f"{self.path}: {name}: wanted as many samples of each key, found {shown}"
            )
        return np.hstack(parts)

    def _cleaned(self, t: Times, arrays: Mapping[str, Vec]) -> Clean:
        if self._t is not None and self._clean is not None:
            return self._clean
        same = np.ones(len(t), np.bool_)
        same[0] = False
        for x in arrays.values():
            equal = (x[1:] == x[:-1]) | (np.isnan(x[1:]) & np.isnan(x[:-1]))
            same[1:] &= equal.all(axis=1)
        smooth = [a for n, a in arrays.items() if n in CUBIC]
        columns = np.hstack(smooth) if smooth else np.zeros((len(t), 0))
        values = (lambda lo, hi: columns[lo:hi]) if smooth else None
        made = clean(t, same, str(self.path), values=values)
        self.odd += made.odd
        if self._t is not None:
            self._clean = made
            self.notes += made.notes
        return made

    def times(self, key: str, topic: str | None) -> Times:
        x = self._column(key)
        if is_dates(x):
            return dates_ns(x.reshape(-1), self.path, key)
        if x.dtype.kind not in "fiub":
            raise RecordingError(
                f"{self.path}: wanted times in `{key}`, found {x.dtype} such as {x.reshape(-1)[:1]}"
            )
        return numbers_ns(x.reshape(-1), self._unit, self.path, key)

    def words(self, key: str, topic: str | None) -> Iterator[tuple[int | None, str]]:
        words = [str(w) for w in self._column(key).reshape(-1).tolist()]
        if self._t is not None and len(words) == len(self._t) > 1:
            yield from zip(self._t.tolist(), words, strict=True)
        else:
            yield from ((None, w) for w in words)


class Npz(Mapping[str, NDArray[Any]]):
    """The arrays of an .npz, each read when it is asked for: damage to one is damage to one."""

    def __init__(self, path: Path) -> None:
        """Raises RecordingError for a file that is no .npz."""
        self._path = path
        try:
            raw = path.open("rb")
        except FileNotFoundError:
            raise RecordingError(
                f"wanted telemetry at {path}, found none: check the path"
            ) from None
        except OSError as e:
            raise self._error(e) from None
        try:
            if raw.read(4) != b"PK\x03\x04":
                raise ValueError("it is no zip archive")
            raw.seek(0)
            self._file = np.load(raw, allow_pickle=False)
        except _UNREADABLE as e:
            raw.close()
            raise self._error(e) from None
        weakref.finalize(self, raw.close)

    def __getitem__(self, key: str) -> NDArray[Any]:
        if key not in self._file.files:
            raise KeyError(key)
        try:
            array: NDArray[Any] = self._file[key]
        except _UNREADABLE as e:
            raise self._error(e, f" in `{key}`") from None
        return array

    def __iter__(self) -> Iterator[str]:
        return iter(self._file.files)

    def __len__(self) -> int:
        return len(self._file.files)

    def _error(self, e: Exception, where: str = "") -> RecordingError:
        return RecordingError(
            f"{self._path}: wanted an .npz of plain arrays, found one that NumPy cannot read"
            f"{where} ({e}): save it with np.savez, without objects"
        )


_UNREADABLE = (
    OSError, ValueError, EOFError, KeyError, TypeError, AttributeError, zipfile.BadZipFile,
    zlib.error, NotImplementedError,
)  # fmt: skip
