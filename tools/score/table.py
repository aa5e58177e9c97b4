"""Tables as sources: named columns that share one time base.

What text tables and .npz files have in common is here: which columns hold the stamps, and how
columns become channels. `TextTable` is the source for text tables, `arrays.ArrayTable` the one for
.npz files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from headway.clock import NS
from headway.errors import ConfigError, RecordingError
from headway.kernels.telemetry import Scale
from headway.tools.score import units
from headway.tools.score.grid import CUBIC
from headway.tools.score.mapping import Channel, Time
from headway.tools.score.samples import Series
from headway.tools.score.source import NoSuchKeyError, Raw, no_key
from headway.tools.score.stamps import Times, date_ns, times_ns
from headway.tools.score.text import ODD, TextColumns
from headway.types import Vec

# Columns that are stamps by their names, in order of preference, with their unit.
STAMPS = {
    "t_ns": "ns", "t": "s", "time": "s", "t_s": "s", "timestamp": "s", "stamp": "s", "time_s": "s",
    "t_ms": "ms", "time_ms": "ms", "t_us": "us", "time_us": "us", "time_ns": "ns",
    "timestamp_ns": "ns", "timestamp_ms": "ms",
}  # fmt: skip


class Columns(Protocol):
    """Columns with names, and the units that these carry. What is said about the file is added to
    `notes`, the number of samples that had to be left out to `odd`."""

    path: Path
    notes: list[str]
    odd: int

    @property
    def names(self) -> Sequence[str]: ...

    def unit(self, name: str) -> str | None: ...


class Stamps(NamedTuple):
    """Where the times of a table are: in one column of numbers in `unit` or of dates, in two
    columns of seconds and nanoseconds, or in none, where samples come at `rate_hz`."""

    keys: tuple[str, ...]
    unit: str
    rate_hz: float | None

    def of(self, columns: Sequence[NDArray[np.generic]], path: Path) -> Times:
        """The times (n,) [ns] from the columns `keys`, each (n,). Raises RecordingError, and
        ConfigError for seconds with fractions: the nanoseconds would count twice."""
        if len(columns) == 1:
            return times_ns(columns[0], self.unit, path, self.keys[0])
        (seconds, rest), (key, other) = columns, self.keys
        if seconds.dtype.kind == "f" and (odd := seconds[seconds != np.rint(seconds)]).size:
            raise ConfigError(
                f"{path}: wanted whole seconds in `{key}` beside the nanoseconds in `{other}`, "
                f'found {odd[0]!r}: give `time.key = "{key}"` alone'
            )
        return times_ns(seconds, "s", path, key) + times_ns(rest, "ns", path, other)

    def regular(self, lo: int, hi: int) -> Times:
        """The times [ns] of the samples lo..hi-1 of a table without columns of stamps."""
        assert self.rate_hz is not None
        times: Times = np.rint(np.arange(lo, hi) * (NS / self.rate_hz)).astype(np.int64)
        return times


def find_stamps(columns: Columns, time: Time) -> Stamps:
    """The stamps that the mapping names, else those that name themselves. Raises ConfigError where
    nothing says when a sample was."""
    path, names, keys = columns.path, columns.names, time.keys
    if len(keys) == 2 and time.unit is not None:
        raise ConfigError(
            f"{path}: `time.unit` is for one column of stamps; of two the first are seconds and "
            "the second nanoseconds: leave it out"
        )
    if not keys:
        guesses = [n for n in STAMPS if n in names]
        guesses += [n for n in names if units.of_name(n) in units.TIME and n[:1] in ("t", "T")]
        if not guesses and time.rate_hz is not None:
            return Stamps((), "s", time.rate_hz)
        if not guesses:
            raise no_key(path, "t", names)
        columns.notes.append(f"stamps are taken from the column `{guesses[0]}`, by its name")
        keys = guesses[:1]
    for key in keys:
        if key not in names:
            raise no_key(path, key, names)
    carried = columns.unit(keys[0]) if len(keys) == 1 else None
    carried = carried if carried in units.TIME else None
    if carried and time.unit and carried != time.unit:
        raise ConfigError(
            f"{path}: the mapping gives `time.unit = {time.unit}`, the column `{keys[0]}` says "
            f"{carried}: correct it, or leave it out"
        )
    named = STAMPS.get(keys[0], "s") if time.key is None else "s"
    return Stamps(tuple(keys), time.unit or carried or named, None)


# Samples of a table: their times (m,) [ns] and their values (m, k).
Blocks = Iterator[tuple[Times, Vec]]


def channels_of(
    columns: Columns,
    wanted: Mapping[str, Channel],
    read: Callable[[Sequence[str]], tuple[Sequence[str], Blocks]],
) -> dict[str, Raw | NoSuchKeyError]:
    """The channels that a mapping wants, by telemetry field, as `Source.channels` gives them.
    `read(keys)` gives the key of each column of values, since a key may have several columns, and
    the samples block by block. Raises RecordingError, ConfigError."""
    _refuse_messages(columns.path, wanted)
    out: dict[str, Raw | NoSuchKeyError] = {}
    for name, channel in wanted.items():
        for key in channel.keys:
            if key not in columns.names:
                out[name] = no_key(columns.path, key, columns.names)
                break
    found = {name: c.keys for name, c in wanted.items() if name not in out}
    if not found:
        return out
    key_of, blocks = read(list(dict.fromkeys(k for keys in found.values() for k in keys)))
    series = Series()
    for t, x in blocks:
        series.append(t, x)
    if not len(series):
        raise RecordingError(f"{columns.path}: wanted samples, found an empty file")
    at = {
        n: [i for k in keys for i, key in enumerate(key_of) if key == k]
        for n, keys in found.items()
    }
    smooth = sorted({i for name in at if name in CUBIC for i in at[name]})
    samples, made = series.cleaned(str(columns.path), smooth=smooth)
    columns.notes += made.notes
    columns.odd += made.odd
    for name, places in at.items():
        named = tuple((key_of[i], columns.unit(key_of[i])) for i in places)
        out[name] = Raw(samples.of(places), named, made.rate_hz)
    return out


def _refuse_messages(path: Path, wanted: Mapping[str, Channel]) -> None:
    """Raises ConfigError for what chooses messages: a table has none."""
    for name, c in wanted.items():
        given = {"topic": c.topic, "schema": c.schema, "publisher": c.publisher, "where": c.where}
        for key, value in given.items():
            if value not in (None, {}):
                raise ConfigError(
                    f"{path}: [channels.{name}] `{key}` chooses messages of an MCAP file, found a "
                    "table, whose columns `key` names: leave it out"
                )


class TextTable:
    """A text table. Raises ConfigError where nothing says when a sample was."""

    def __init__(self, columns: TextColumns, time: Time) -> None:
        self.path, self.notes, self._columns = columns.path, columns.notes, columns
        self._stamps = find_stamps(columns, time)
        self._dates = False
        if len(self._stamps.keys) == 1:
            _, cells = next(columns.blocks((), self._stamps.keys), (None, {}))
            words = cells.get(self._stamps.keys[0], [""])
            self._dates = date_ns(words[0]) is not None

    @property
    def odd(self) -> int:
        return self._columns.odd

    def keys(self) -> list[str]:
        return list(self._columns.names)

    def scale(self) -> Scale | None:
        return None

    def channels(self, wanted: Mapping[str, Channel]) -> dict[str, Raw | NoSuchKeyError]:
        return channels_of(self._columns, wanted, lambda keys: (keys, self._blocks(keys)))

    def _blocks(self, keys: Sequence[str]) -> Blocks:
        """Those columns, block by block. Raises RecordingError where too many lines have no
        time."""
        found = lost = 0
        for t, x, _, no_time in self._timed(keys):
            found, lost = found + len(t), lost + no_time
            yield t, x
        if lost > ODD * (found + lost):
            raise RecordingError(
                f"{self.path}: wanted finite times in `{self._stamps.keys[0]}`, found none in "
                f"{lost} of {found + lost} lines: check the key, or cut them out"
            )
        if lost:
            self.notes.append(f"{lost} lines without a time left out")

    def _timed(
        self, keys: Sequence[str], words: Sequence[str] = ()
    ) -> Iterator[tuple[Times, Vec, dict[str, list[str]], int]]:
        """Blocks of (times (m,) [ns], the columns `keys` (m, k), the cells of each of `words`, how
        many lines were left out because nobody knows when they were)."""
        stamps, done = self._stamps, 0
        if self._dates:
            for x, cells in self._columns.blocks(keys, (*stamps.keys, *words)):
                yield stamps.of([np.array(cells[stamps.keys[0]])], self.path), x, cells, 0
            return
        n = len(stamps.keys)
        for x, cells in self._columns.blocks((*stamps.keys, *keys), words):
            known = np.flatnonzero(np.isfinite(x[:, :n]).all(axis=1))
            lost, x = len(x) - len(known), x[known]
            cells = {name: [c[i] for i in known.tolist()] for name, c in cells.items()}
            t = stamps.of(list(x[:, :n].T), self.path) if n else stamps.regular(done, done + len(x))
            done += len(x)
            yield t, x[:, n:], cells, lost

    def times(self, key: str, topic: str | None) -> Times:
        if key not in self._columns.names:
            raise no_key(self.path, key, self._columns.names)
        x = np.concatenate([b[:, 0] for b, _ in self._columns.blocks((key,))])
        return times_ns(x[np.isfinite(x)], self._stamps.unit, self.path, key)

    def words(self, key: str, topic: str | None) -> Iterator[tuple[int | None, str]]:
        if key not in self._columns.names:
            raise no_key(self.path, key, self._columns.names)
        for t, _, cells, _ in self._timed((), (key,)):
            yield from zip(t.tolist(), cells[key], strict=True)
