"""Text tables: named columns that share one time base."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from headway.clock import NS
from headway.errors import ConfigError, RecordingError
from headway.kernels.telemetry import Scale
from headway.tools.score import units
from headway.tools.score.grid import CUBIC
from headway.tools.score.mapping import Channel, Time
from headway.tools.score.samples import Samples, Store
from headway.tools.score.source import NoSuchKeyError, Raw, no_key
from headway.tools.score.stamps import Clean, Times, clean, date_ns, dates_ns, numbers_ns
from headway.tools.score.text import ODD, TextColumns
from headway.types import Vec

# Columns that are stamps by their names, in order of preference, with their unit.
STAMPS = {
    "t_ns": "ns", "t": "s", "time": "s", "t_s": "s", "timestamp": "s", "stamp": "s", "time_s": "s",
    "t_ms": "ms", "time_ms": "ms", "t_us": "us", "time_us": "us", "time_ns": "ns",
    "timestamp_ns": "ns", "timestamp_ms": "ms",
}  # fmt: skip


class Columns(Protocol):
    """Columns with names, and the units that these carry."""

    notes: list[str]

    @property
    def names(self) -> Sequence[str]: ...

    def unit(self, name: str) -> str | None: ...


class Table:
    """A text table. Raises ConfigError where nothing says when a sample was."""

    def __init__(self, columns: TextColumns, time: Time) -> None:
        self.path, self._columns = columns.path, columns
        self.notes = columns.notes
        self._keys, self._unit, self._rate = stamps_of(columns, time, self.path)
        self._no_time = 0  # lines, in this reading of the file
        self._odd = 0  # samples whose time cannot be
        self._dates = False
        if len(self._keys) == 1:
            first = next(iter(columns.blocks((), self._keys)), None)
            words = first[1][self._keys[0]] if first else []
            self._dates = bool(words) and date_ns(words[0]) is not None

    @property
    def odd(self) -> int:
        return self._columns.odd + self._odd

    def keys(self) -> list[str]:
        return list(self._columns.names)

    def scale(self) -> Scale | None:
        return None

    def _require(self, key: str) -> None:
        if key not in self._columns.names:
            raise no_key(self.path, key, self._columns.names)

    def channels(self, wanted: Mapping[str, Channel]) -> dict[str, Raw | NoSuchKeyError]:
        refuse_messages(self.path, wanted)
        out: dict[str, Raw | NoSuchKeyError] = {}
        for name, channel in wanted.items():
            try:
                for key in channel.keys:
                    self._require(key)
            except NoSuchKeyError as e:  # noqa: PERF203 - once per channel
                out[name] = e
        found = {n: c.keys for n, c in wanted.items() if n not in out}
        keys = list(dict.fromkeys(k for ks in found.values() for k in ks))
        if not keys:
            return out
        smooth = [k for n, ks in found.items() if n in CUBIC for k in ks]
        stamps, rows = self._read(keys, sorted({keys.index(k) for k in smooth}))
        samples = Samples(stamps.t, rows, stamps.pick)
        for name, ks in found.items():
            out[name] = Raw(
                samples.of([keys.index(k) for k in ks]),
                tuple((k, self._columns.unit(k)) for k in ks),
                stamps.rate_hz,
                stamps.missing,
            )
        return out

    def _read(self, keys: list[str], smooth: list[int]) -> tuple[Clean, Store]:
        """The stamps of all rows, and the columns `keys` of them; `smooth`: which of these are of
        what moves smoothly."""
        rows = Store(len(keys))
        times: list[Times] = []
        same: list[NDArray[np.bool_]] = []
        last: Vec = np.full((1, len(keys)), np.inf)
        self._no_time = 0
        for t, x, _ in self._timed(keys):
            if not len(t):
                continue
            before = np.vstack([last, x[:-1]])
            same.append(((x == before) | (np.isnan(x) & np.isnan(before))).all(axis=1))
            times.append(t)
            rows.append(x)
            last = x[-1:]
        found = sum(map(len, times))
        if self._no_time > ODD * (found + self._no_time):
            raise RecordingError(
                f"{self.path}: wanted finite times in `{self._keys[0]}`, found none in "
                f"{self._no_time} of {found + self._no_time} lines: check the key, or cut them out"
            )
        if self._no_time:
            self.notes.append(f"{self._no_time} lines without a time left out")
        if not found:
            raise RecordingError(f"{self.path}: wanted samples, found an empty file")
        values = (lambda lo, hi: rows.read(lo, hi)[:, smooth]) if smooth else None
        made = clean(np.concatenate(times), np.concatenate(same), str(self.path), values=values)
        self.notes += made.notes
        self._odd += made.odd
        return made, rows

    def _timed(
        self, keys: Sequence[str], words: Sequence[str] = ()
    ) -> Iterator[tuple[Times, Vec, dict[str, list[str]]]]:
        """Blocks of (stamps, the columns `keys`, the cells of `words`)."""
        done, k = 0, len(self._keys)
        if self._dates:
            for x, cells in self._columns.blocks(keys, (*self._keys, *words)):
                stamps = np.array(cells[self._keys[0]])
                yield dates_ns(stamps, self.path, self._keys[0]), x, cells
                done += len(x)
            return
        for x, cells in self._columns.blocks((*self._keys, *keys), words):
            x, cells = self._with_stamps(x, cells)
            if self._rate is not None:
                t = np.rint((done + np.arange(len(x))) * (NS / self._rate)).astype(np.int64)
            elif k == 2:  # seconds and nanoseconds
                t = seconds_and_rest(x[:, 0], x[:, 1], self.path, self._keys)
            else:
                t = numbers_ns(x[:, 0], self._unit, self.path, self._keys[0])
            done += len(x)
            yield t, x[:, k:], cells

    def _with_stamps(self, x: Vec, cells: dict[str, list[str]]) -> tuple[Vec, dict[str, list[str]]]:
        """Without the lines that have no time: nobody knows when they were."""
        known = np.isfinite(x[:, : len(self._keys)]).all(axis=1)
        if known.all():
            return x, cells
        self._no_time += int(np.count_nonzero(~known))
        kept = np.flatnonzero(known).tolist()
        return x[known], {n: [c[i] for i in kept] for n, c in cells.items()}

    def times(self, key: str, topic: str | None) -> Times:
        self._require(key)
        x = np.concatenate([b[:, 0] for b, _ in self._columns.blocks((key,))])
        return numbers_ns(x[np.isfinite(x)], self._unit, self.path, key)

    def words(self, key: str, topic: str | None) -> Iterator[tuple[int | None, str]]:
        self._require(key)
        for t, _, cells in self._timed((), (key,)):
            yield from zip(t.tolist(), cells[key], strict=True)


def stamps_of(
    columns: Columns, time: Time, path: Path
) -> tuple[tuple[str, ...], str, float | None]:
    """(columns of stamps, their unit, rate where there are none)."""
    names = list(columns.names)
    keys = (time.key,) if isinstance(time.key, str) else tuple(time.key or ())
    if len(keys) == 2 and time.unit is not None:
        raise ConfigError(
            f"{path}: `time.unit` is for one column of stamps; of two the first are seconds and "
            "the second nanoseconds: leave it out"
        )
    if not keys:
        bare = {n: units.of_name(n) for n in names}
        dated = (n for n, u in bare.items() if u in units.TIME and n.lower().startswith("t"))
        guess = next((n for n in STAMPS if n in names), None) or next(dated, None)
        if guess is not None:
            columns.notes.append(f"stamps are taken from the column `{guess}`, by its name")
            keys = (guess,)
        elif time.rate_hz is None:
            raise no_key(path, "t", names)
    for key in keys:
        if key not in names:
            raise no_key(path, key, names)
    if not keys:
        return (), "s", time.rate_hz
    carried = columns.unit(keys[0]) if len(keys) == 1 else None
    carried = carried if carried in units.TIME else None
    if carried and time.unit and carried != time.unit:
        raise ConfigError(
            f"{path}: the mapping gives `time.unit = {time.unit}`, the column `{keys[0]}` says "
            f"{carried}: correct it, or leave it out"
        )
    named = STAMPS.get(keys[0], "s") if time.key is None else "s"
    return keys, time.unit or carried or named, None


def seconds_and_rest(
    whole: NDArray[Any], rest: NDArray[Any], path: Path, keys: Sequence[str]
) -> Times:
    """Seconds and nanoseconds, (n,) each -> [ns]. Raises ConfigError for seconds with fractions:
    the nanoseconds would count twice."""
    if whole.dtype.kind == "f" and (whole != np.rint(whole)).any():
        raise ConfigError(
            f"{path}: wanted whole seconds in `{keys[0]}` beside the nanoseconds in `{keys[1]}`, "
            f'found {whole[whole != np.rint(whole)][0]!r}: give `time.key = "{keys[0]}"` alone'
        )
    return numbers_ns(whole, "s", path, keys[0]) + numbers_ns(rest, "ns", path, keys[1])


def refuse_messages(path: Path, wanted: Mapping[str, Channel]) -> None:
    """Raises ConfigError for what chooses messages: a table has none."""
    for name, c in wanted.items():
        given = {"topic": c.topic, "schema": c.schema, "publisher": c.publisher, "where": c.where}
        for key, value in given.items():
            if value not in (None, {}):
                raise ConfigError(
                    f"{path}: [channels.{name}] `{key}` chooses messages of an MCAP file, found a "
                    "table, whose columns `key` names: leave it out"
                )
