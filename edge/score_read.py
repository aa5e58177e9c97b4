"""Reading telemetry of other programs: .npz, CSV and MCAP as named series over time.

A source has `series(key, topic)`, numbers over time, and `text(key, topic)`, words over time; what
the keys mean is said by a mapping (`score_input.py`). Nothing here knows any data set.
"""

from __future__ import annotations

import csv
import difflib
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from headway.clock import NS
from headway.errors import ConfigError, RecordingError
from headway.mcaplog import open_recording
from headway.types import Vec

UNITS_NS = {"s": NS, "ms": 1_000_000, "us": 1_000, "ns": 1}
# What a nested message holds, in the order of its numbers.
NESTED = (
    ("x", "y", "z", "w"),
    ("x", "y", "z"),
    ("force", "torque"),
    ("linear", "angular"),
    ("position", "orientation"),
    ("translation", "rotation"),
)
STAMPS = (("sec", "nanosec"), ("seconds", "nanos"), ("sec", "nsec"), ("secs", "nsecs"))


class NoSuchKeyError(RecordingError):
    """The file has no such key; an optional channel may do without."""

    def __init__(self, message: str, key: str, what: str) -> None:
        super().__init__(message)
        self.key, self.what = key, what


class Series(NamedTuple):
    """`x` (n, k) at the times `t` (n,) [ns, the file's own clock]."""

    t: NDArray[np.int64]
    x: Vec


class Source(Protocol):
    path: Path
    note: str  # what is worth saying about the file itself

    def keys(self) -> list[str]: ...
    def series(self, key: str, topic: str | None) -> Series:
        """Numbers over time. Raises NoSuchKeyError, RecordingError."""

    def times(self, key: str, topic: str | None) -> NDArray[np.int64]:
        """A list of moments [ns]. Raises NoSuchKeyError, RecordingError."""

    def text(self, key: str, topic: str | None) -> list[tuple[int | None, str]]:
        """(time [ns] or None, words). Raises NoSuchKeyError, RecordingError."""


def no_key(path: Path, key: str, have: Iterable[str], what: str = "key") -> NoSuchKeyError:
    have = list(have)
    near = difflib.get_close_matches(key, have, n=1, cutoff=0.5)
    hint = f"; did you mean `{near[0]}`?" if near else ""
    shown = ", ".join(have[:40]) + (", ..." if len(have) > 40 else "")
    message = f"{path}: wanted the {what} `{key}`, found {shown or 'none'}{hint}"
    return NoSuchKeyError(message, key, what)


class Table:
    """Named columns that share one time base: an .npz or a CSV file."""

    note = ""

    def __init__(
        self,
        path: Path,
        columns: dict[str, NDArray[Any]],
        time_key: str | None,
        unit: str,
        rate_hz: float | None,
    ) -> None:
        self.path, self.columns, self._unit = path, columns, UNITS_NS[unit]
        self._time_key, self._rate, self._t = time_key, rate_hz, None
        if time_key is None and rate_hz is None:
            raise ConfigError(
                f"{path}: wanted `time.key` (the column of time stamps) or `time.rate_hz` in the "
                f"mapping, found neither; the file has {', '.join(columns)}"
            )
        if time_key is not None:
            self._t = self.times(time_key, None)
            if not len(self._t):
                raise RecordingError(f"{path}: wanted samples, found an empty file")

    def keys(self) -> list[str]:
        return list(self.columns)

    def _column(self, key: str) -> NDArray[Any]:
        if key not in self.columns:
            raise no_key(self.path, key, self.columns)
        return self.columns[key]

    def _numbers(self, key: str) -> Vec:
        a = self._column(key)
        if a.dtype.kind not in "fiub":
            raise RecordingError(
                f"{self.path}: wanted numbers in `{key}`, found {a.dtype} such as "
                f"{a.reshape(-1)[:1]}"
            )
        return a.astype(np.float64)

    def series(self, key: str, topic: str | None) -> Series:
        x = self._numbers(key)
        if x.ndim not in (1, 2):
            raise RecordingError(
                f"{self.path}: wanted `{key}` of shape (n,) or (n, k), found {x.shape}"
            )
        x = x.reshape(len(x), -1)
        if not len(x):
            raise RecordingError(f"{self.path}: wanted samples in `{key}`, found none")
        if self._t is not None:
            if len(self._t) != len(x):
                raise RecordingError(
                    f"{self.path}: wanted {len(self._t)} samples of `{key}`, one for each of "
                    f"`{self._time_key}`, found shape {x.shape}: check the key, or transpose it"
                )
            return Series(self._t, x)
        assert self._rate is not None
        return Series(np.rint(np.arange(len(x)) * (NS / self._rate)).astype(np.int64), x)

    def times(self, key: str, topic: str | None) -> NDArray[np.int64]:
        x = self._column(key)
        if x.dtype.kind in "iu":
            return x.reshape(-1).astype(np.int64) * self._unit
        x = self._numbers(key).reshape(-1)
        bad = np.flatnonzero(~np.isfinite(x))
        if len(bad):
            raise RecordingError(
                f"{self.path}: wanted finite times in `{key}`, found {x[bad[0]]} at sample "
                f"{bad[0]} ({len(bad)} of {len(x)}): cut those rows out"
            )
        if (np.abs(x) * self._unit > 9e18).any():
            raise ConfigError(
                f"{self.path}: `{key}` up to {x.max():g} does not fit 64-bit nanoseconds: check "
                "`time.unit`"
            )
        return np.rint(x * self._unit).astype(np.int64)

    def text(self, key: str, topic: str | None) -> list[tuple[int | None, str]]:
        words = [str(w) for w in self._column(key).reshape(-1).tolist()]
        if self._t is not None and len(words) == len(self._t) > 1:
            return list(zip(self._t.tolist(), words, strict=True))
        return [(None, w) for w in words]


class Mcap:
    """An MCAP file; a key is a dotted path into the messages of `topic`, such as
    `wrench.force` or `data.3`. Times are those of the log unless `stamp` is the path of a stamp."""

    def __init__(self, path: Path, stamp: str | None, unit: str, default_topic: str | None) -> None:
        self.path, self._stamp, self._unit = path, stamp, UNITS_NS[unit]
        self._recording = open_recording(path)
        self.note = self._recording.note
        self._default = default_topic
        self._decoded: dict[str, tuple[NDArray[np.int64], list[Any]]] = {}
        if not self._recording.topics:
            raise RecordingError(f"{path}: wanted messages, found an empty recording")

    def keys(self) -> list[str]:
        if self._default in self._recording.topics:
            _, messages = self._messages(self._default)
            return _names(messages[0]) if messages else []
        return list(self._recording.topics)

    def _messages(self, topic: str | None) -> tuple[NDArray[np.int64], list[Any]]:
        topic = topic or self._default
        if topic is None:
            raise ConfigError(
                f"{self.path}: an MCAP channel wants a key `topic`, one of "
                f"{', '.join(self._recording.topics)}"
            )
        if topic not in self._recording.topics:
            raise no_key(self.path, topic, self._recording.topics, "topic")
        if topic not in self._decoded:
            found = list(self._recording.decoded(topic))
            stamps = [t if self._stamp is None else self._stamped(topic, m) for t, m in found]
            self._decoded[topic] = np.array(stamps, np.int64), [m for _, m in found]
        return self._decoded[topic]

    def _stamped(self, topic: str, message: Any) -> int:
        assert self._stamp is not None
        value = self._at(topic, message, self._stamp)
        for sec, nano in STAMPS:
            if _has(value, sec) and _has(value, nano):
                return int(_get(value, sec)) * NS + int(_get(value, nano))
        if isinstance(value, (int, float)):
            return round(value * self._unit)
        raise RecordingError(
            f"{self.path}: {topic}: wanted a time stamp or a number at `{self._stamp}`, found "
            f"{type(value).__name__}"
        )

    def _at(self, topic: str, message: Any, key: str) -> Any:
        value = message
        for part in key.split("."):
            try:
                value = value[int(part)] if part.isdigit() else _get(value, part)
            except (KeyError, AttributeError, IndexError, TypeError, ValueError):  # noqa: PERF203
                raise no_key(self.path, key, _names(value), f"field of {topic}") from None
        return value

    def series(self, key: str, topic: str | None) -> Series:
        t, messages = self._messages(topic)
        name = topic or self._default or ""
        if not messages:
            raise RecordingError(f"{self.path}: wanted messages of {name}, found none")
        rows = [_flat(self._at(name, m, key)) for m in messages]
        widths = {len(r) for r in rows}
        if len(widths) != 1 or 0 in widths:
            raise RecordingError(
                f"{self.path}: {name}: wanted the same number of values in every `{key}`, found "
                f"{sorted(widths)}: name one that is a number or a fixed list"
            )
        try:
            return Series(t, np.array(rows, np.float64))
        except (TypeError, ValueError):
            raise RecordingError(
                f"{self.path}: {name}: wanted numbers at `{key}`, found {rows[0]!r:.80}"
            ) from None

    def times(self, key: str, topic: str | None) -> NDArray[np.int64]:
        x = self.series(key, topic).x.reshape(-1)
        return np.rint(x * self._unit).astype(np.int64)

    def text(self, key: str, topic: str | None) -> list[tuple[int | None, str]]:
        t, messages = self._messages(topic)
        name = topic or self._default or ""
        words = [str(self._at(name, m, key)) for m in messages]
        return list(zip(t.tolist(), words, strict=True))


def _get(value: Any, name: str) -> Any:
    return value[name] if isinstance(value, dict) else getattr(value, name)


def _has(value: Any, name: str) -> bool:
    return name in value if isinstance(value, dict) else hasattr(value, name)


def _names(value: Any) -> list[str]:
    """The fields of a message: JSON, protobuf or ROS 2."""
    if isinstance(value, dict):
        return list(value)
    if hasattr(value, "DESCRIPTOR"):
        return [f.name for f in value.DESCRIPTOR.fields]
    if isinstance(value, (list, tuple)) or not hasattr(value, "__slots__"):
        return []
    return [n for n in value.__slots__ if not n.startswith("_")]


def _flat(value: Any) -> list[Any]:
    """The numbers of a field: itself, its elements, or its x, y, z, w and the like."""
    if isinstance(value, (int, float, bool, str)):
        return [value]
    for names in NESTED:
        if all(_has(value, n) for n in names):
            return [x for n in names for x in _flat(_get(value, n))]
    try:
        return list(value)
    except TypeError:
        return [value]


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """Raises RecordingError for a file that is no .npz, or holds pickled objects."""
    try:
        with path.open("rb") as raw:
            if raw.read(4) != b"PK\x03\x04":
                raise ValueError("it is no zip archive")
            raw.seek(0)
            with np.load(raw, allow_pickle=False) as file:
                return {k: file[k] for k in file.files}
    except FileNotFoundError:
        raise RecordingError(f"wanted telemetry at {path}, found none: check the path") from None
    except (OSError, ValueError, EOFError, KeyError, TypeError, AttributeError) as e:
        found: Exception = e
    except (zipfile.BadZipFile, zlib.error, NotImplementedError) as e:
        found = e
    raise RecordingError(
        f"{path}: wanted an .npz of plain arrays, found one that NumPy cannot read ({found}): save "
        "it with np.savez, without objects"
    )


def read_csv(path: Path) -> dict[str, NDArray[Any]]:
    """Columns by their names in the first line; an empty cell is NaN. Raises RecordingError."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            head = file.readline()
            delimiter = max(",;\t", key=head.count)
            names = [n.strip() for n in next(csv.reader([head], delimiter=delimiter), [])]
            rows = [r for r in csv.reader(file, delimiter=delimiter) if r]
    except (OSError, UnicodeDecodeError, csv.Error) as e:
        raise RecordingError(f"{path}: wanted a CSV text file with a header line: {e}") from None
    if not names or not rows:
        raise RecordingError(
            f"{path}: wanted a header line and samples, found {len(names)} names and {len(rows)} "
            "lines: is the file empty?"
        )
    if len(set(names)) < len(names) or all(_number(n) for n in names):
        raise RecordingError(
            f"{path}: wanted distinct column names in the first line, found {', '.join(names[:8])}"
        )
    for i, row in enumerate(rows):
        if len(row) != len(names):
            raise RecordingError(
                f"{path}: wanted {len(names)} cells as in the header, found {len(row)} in data "
                f"line {i + 1}: cut the line, or write the file again"
            )
    return {n: _cells(c) for n, c in zip(names, zip(*rows, strict=True), strict=True)}


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _cells(cells: Sequence[str]) -> NDArray[Any]:
    try:
        return np.array(cells, np.float64)
    except ValueError:
        pass
    try:
        return np.array([float(c) if c.strip() else np.nan for c in cells])
    except ValueError:
        return np.array(cells)
