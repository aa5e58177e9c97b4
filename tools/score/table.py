"""Tables as sources: named columns that share one time base.

Here is what text tables and .npz files have in common: which columns hold the stamps, and how
columns become channels. Text tables are read in `text`, .npz files in `arrays`, HDF5 files in
`hdf5`, LeRobotDatasets in `lerobot`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headway.clock import NS
from headway.errors import ConfigError, RecordingError
from headway.kernels.telemetry import Scale
from headway.tools.score import units
from headway.tools.score.grid import CUBIC
from headway.tools.score.mapping import Channel, Time
from headway.tools.score.samples import Series
from headway.tools.score.source import NoSuchKeyError, Raw, if_there, no_key
from headway.tools.score.stamps import NUMBERS, Times, times_ns
from headway.types import Vec

# Names of columns that are taken for stamps where the mapping names none, in order of preference,
# and their units.
STAMPS = {
    "t_ns": "ns", "t": "s", "time": "s", "t_s": "s", "timestamp": "s", "stamp": "s", "time_s": "s",
    "t_ms": "ms", "time_ms": "ms", "t_us": "us", "time_us": "us", "time_ns": "ns",
    "timestamp_ns": "ns", "timestamp_ms": "ms",
}  # fmt: skip


class Stamps(NamedTuple):
    """Where the times of a table are: in one column of numbers in `unit` or of dates, in two
    columns of seconds and nanoseconds, or in none, where samples come at `rate_hz`."""

    keys: tuple[str, ...]
    unit: str
    rate_hz: float | None
    unknown: str = ""  # what the name of the column gives for a unit, where that is none of time

    def of(self, columns: Sequence[NDArray[np.generic]], path: Path) -> Times:
        """The times (n,) [ns] from the one or two `columns` that `keys` name, each (n,). Raises
        RecordingError for times that are none, and ConfigError for numbers in a unit that is not
        known, and for seconds with fractions beside nanoseconds, which would count twice."""
        if self.unknown and columns[0].dtype.kind in NUMBERS:  # dates need no unit
            raise ConfigError(
                f"{path}: wanted a unit of time in the name of the column `{self.keys[0]}`, found "
                f"{self.unknown!r}, valid: {', '.join(units.TIME)}: give `time.unit`"
            )
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


def _all_keys(channel: Channel) -> list[str]:
    """The columns that a channel needs."""
    return [*channel.keys, *([channel.time] if channel.time is not None else [])]


class Table(ABC):
    """Columns with names. What is worth saying about the file is added to `notes`, and how many
    lines, cells and samples had to be left out to `odd`."""

    episode = ""
    has_own_times = False  # whether columns may have stamps of their own

    def __init__(self, path: Path, names: Sequence[str], notes: Sequence[str], time: Time) -> None:
        """`names` of the columns; `time`: what the mapping says about the stamps. Raises
        ConfigError where nothing says when a sample was."""
        self.path, self.names, self.notes, self.odd = path, list(names), list(notes), 0
        self.stamps = self._find_stamps(time)

    @abstractmethod
    def unit(self, name: str) -> str | None:
        """The unit that a column carries. Raises RecordingError where that cannot be told."""

    @abstractmethod
    def read(
        self, keys: Sequence[str], time: str | None = None
    ) -> tuple[Sequence[str], Iterator[tuple[Times, Vec]]]:
        """The key of each column of values, since a key may have several columns, and block by
        block the times (m,) [ns] and the values (m, k). `time`: the key of their own stamps; None:
        those of the table. Raises RecordingError, ConfigError."""

    def keys(self) -> list[str]:
        return self.names

    def bare(self, name: str) -> str:
        """The name of a column without the path to it, by which stamps are found."""
        return name

    def labels(self, key: str) -> tuple[str, ...] | None:
        """The names of the values of a column, such as joints; None where they have none."""
        return None

    def scale(self) -> Scale | None:
        return None

    def require(self, key: str) -> None:
        """Raises NoSuchKeyError where no column has this name."""
        if not self.has(key):
            raise no_key(self.path, key, self.keys())

    def has(self, key: str) -> bool:
        return key in self.names

    def channels(self, wanted: Mapping[str, Channel]) -> dict[str, Raw]:
        self._refuse_messages(wanted)
        by_time: dict[str | None, dict[str, Channel]] = {}
        for name, channel in wanted.items():
            if all(self.has(k) for k in _all_keys(channel)):
                by_time.setdefault(channel.time, {})[name] = channel
        found: dict[str, Raw] = {}
        for time, there in by_time.items():
            found |= self._channels(there, time)
        for name, channel in wanted.items():
            with if_there(name, channel.optional, self.notes):
                for key in _all_keys(channel):
                    self.require(key)
        return {name: found[name] for name in wanted if name in found}

    def _channels(self, wanted: Mapping[str, Channel], time: str | None) -> dict[str, Raw]:
        """Channels that are there and have their stamps in `time`, in one pass over the file."""
        keys = list(dict.fromkeys(k for c in wanted.values() for k in c.keys))
        key_of, blocks = self.read(keys, time)
        series = Series()
        for t, x in blocks:
            series.append(t, x)
        if not len(series):
            raise RecordingError(f"{self.path}: wanted samples, found an empty file")
        columns: dict[str, list[int]] = {}
        labels: dict[str, tuple[str, ...] | None] = {}
        for name, channel in wanted.items():
            places = {key: [i for i, of in enumerate(key_of) if of == key] for key in channel.keys}
            with if_there(name, channel.optional, self.notes):
                columns[name], labels[name] = self._chosen(channel, places)
        smooth = sorted({i for name, which in columns.items() if name in CUBIC for i in which})
        samples, made = series.cleaned(str(self.path), smooth=smooth)
        self.notes += made.notes
        self.odd += made.odd
        unit = {key: self.unit(key) for key in key_of}
        out: dict[str, Raw] = {}
        for name, which in columns.items():
            named = tuple((key_of[i], unit[key_of[i]]) for i in which)
            out[name] = Raw(samples.of(which), named, made.rate_hz, labels[name])
        return out

    def _chosen(
        self, channel: Channel, places: Mapping[str, list[int]]
    ) -> tuple[list[int], tuple[str, ...] | None]:
        """Where the values of a channel are among those that were read, whose places are given by
        key, and their names where they have some. Raises NoSuchKeyError for a name that is not
        among them."""
        whole = [i for key in channel.keys for i in places[key]]
        found = [self.labels(key) for key in channel.keys]
        known = [label for labels in found for label in labels or ()]
        if None in found or len(known) != len(whole) or len(set(known)) != len(known):
            return whole, None
        if channel.names is None:
            return whole, tuple(known)
        for label in channel.names:
            if label not in known:
                raise no_key(self.path, label, known, f"name in `{', '.join(channel.keys)}`")
        return [whole[known.index(label)] for label in channel.names], tuple(channel.names)

    def _refuse_messages(self, wanted: Mapping[str, Channel]) -> None:
        """Raises ConfigError for what chooses messages: a table has none; and for stamps of their
        own where all columns have the same."""
        for name, c in wanted.items():
            if c.time is not None and not self.has_own_times:
                raise ConfigError(
                    f"{self.path}: [channels.{name}] `time` is for arrays of different lengths "
                    "(.npz, HDF5), found a table with one time for all columns: leave it out"
                )
            given = {"topic": c.topic, "schema": c.schema, "publisher": c.publisher}
            for key, value in (given | {"where": c.where or None}).items():
                if value is not None:
                    raise ConfigError(
                        f"{self.path}: [channels.{name}] `{key}` chooses messages of a log, "
                        "found a table, whose columns `key` names: leave it out"
                    )

    def _find_stamps(self, time: Time) -> Stamps:
        """The stamps that the mapping names, or else a column with the name of one."""
        keys = time.keys
        if len(keys) == 2 and time.unit is not None:
            raise ConfigError(
                f"{self.path}: `time.unit` is for one column of stamps; of two the first are "
                "seconds and the second nanoseconds: leave it out"
            )
        if not keys:
            by_name: dict[str, str] = {}
            for n in self.names:
                by_name.setdefault(self.bare(n), n)
            guesses = [by_name[n] for n in STAMPS if n in by_name]
            guesses += [
                n
                for b, n in by_name.items()
                if units.of_name(b) in units.TIME and b[:1] in ("t", "T")
            ]
            if not guesses and time.rate_hz is not None:
                return Stamps((), "s", time.rate_hz)
            if not guesses:
                e = no_key(self.path, "t", self.names)
                raise NoSuchKeyError(
                    f"{e}; give `time.key`, or `time.rate_hz` where samples come at a steady rate",
                    e.key, e.what,
                )  # fmt: skip
            keys = guesses[:1]
            self.notes.append(f"stamps are taken from the column `{keys[0]}`, by its name")
        for key in keys:
            self.require(key)
        carried = self.unit(keys[0]) if len(keys) == 1 else None
        unknown = (carried or "") if time.unit is None and carried not in units.TIME else ""
        carried = carried if carried in units.TIME else None
        if carried and time.unit and carried != time.unit:
            raise ConfigError(
                f"{self.path}: the mapping gives `time.unit = {time.unit}`, the column "
                f"`{keys[0]}` says {carried}: correct it, or leave it out"
            )
        named = STAMPS.get(self.bare(keys[0]), "s") if time.key is None else "s"
        return Stamps(tuple(keys), time.unit or carried or named, None, unknown)
