"""Text tables: CSV and its relatives, read in blocks so that long files need no more memory.

Programs write tables in many ways: with different delimiters, decimal commas, lines of comment, a
row of units, or the names behind a `#`. `dialect.sniff` finds out how a file is written and says
what it assumed. Cells and lines that do not fit are left out and counted, and the first is named.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from headway.errors import RecordingError
from headway.tools.score.dialect import COMMENTS, SPACES, open_text, sniff
from headway.tools.score.mapping import Time
from headway.tools.score.source import ODD
from headway.tools.score.stamps import Times, date_ns, times_ns
from headway.tools.score.table import Table
from headway.types import Vec
from headway.units import UNITS

BLOCK = 20_000  # lines read at a time
_TIME = re.compile(r"\d{1,2}:\d\d|\d{1,4}[./-]\d{1,2}[./-]\d{1,4}")  # a time of day or a date
LINE = ""  # stands for a whole line where `Odd` counts by column


class Odd:
    """Counts what did not fit, by column."""

    def __init__(self) -> None:
        self.count: Counter[str] = Counter()
        self.first: dict[str, str] = {}  # where the first one was, and what was found there

    def add(self, column: str, text: str) -> None:
        self.count[column] += 1
        self.first.setdefault(column, text)


class TextTable(Table):
    """A text table. `blocks` reads the file anew each time."""

    def __init__(self, path: Path, time: Time) -> None:
        """Raises RecordingError for a file that is no table with a header, ConfigError where
        nothing says when a sample was."""
        self.dialect = sniff(path)
        super().__init__(path, self.dialect.names, self.dialect.notes, time)
        self._dates = False  # whether the stamps are dates
        if len(self.stamps.keys) == 1:
            _, cells = next(self.blocks((), self.stamps.keys), (None, {}))
            words = cells.get(self.stamps.keys[0], [""])
            self._dates = date_ns(words[0]) is not None

    def unit(self, name: str) -> str | None:
        """The unit that the row of units or the name of a column says. Raises RecordingError for a
        word in that row that is no unit."""
        if (word := self.dialect.unknown.get(name)) is not None:
            raise RecordingError(
                f"{self.path}: wanted a unit for the column `{name}` in line "
                f"{self.dialect.units_line}, found {word!r}, valid: {', '.join(UNITS)}: write one "
                "of these, or `-` and `scale` in the mapping"
            )
        return self.dialect.units[self.names.index(name)]

    def read(
        self, keys: Sequence[str], time: str | None = None
    ) -> tuple[Sequence[str], Iterator[tuple[Times, Vec]]]:
        return keys, ((t, x) for t, x, _ in self._timed(keys))

    def _timed(
        self, keys: Sequence[str], words: Sequence[str] = ()
    ) -> Iterator[tuple[Times, Vec, dict[str, list[str]]]]:
        """Block by block, the times (m,) [ns], the columns `keys` (m, k) and the cells of each of
        the columns `words`. Lines of which nobody knows when they were are left out. Raises
        RecordingError where these are too many."""
        stamps, n = self.stamps, len(self.stamps.keys)
        if self._dates:
            for x, cells in self.blocks(keys, (*stamps.keys, *words)):
                yield stamps.of([np.array(cells[stamps.keys[0]])], self.path), x, cells
            return
        found = lost = 0
        for x, cells in self.blocks((*stamps.keys, *keys), words):
            known = np.flatnonzero(np.isfinite(x[:, :n]).all(axis=1))
            lost, x = lost + len(x) - len(known), x[known]
            cells = {name: [c[i] for i in known.tolist()] for name, c in cells.items()}
            end = found + len(x)
            t = stamps.of(list(x[:, :n].T), self.path) if n else stamps.regular(found, end)
            yield t, x[:, n:], cells
            found = end
        if lost > ODD * (found + lost):
            raise RecordingError(
                f"{self.path}: wanted finite times in `{stamps.keys[0]}`, found none in {lost} of "
                f"{found + lost} lines: check the key, or cut them out"
            )
        if lost:
            self._note(0, f"{lost} lines without a time left out")

    def times(self, key: str, topic: str | None) -> Times:
        self.require(key)
        x = np.concatenate([b[:, 0] for b, _ in self.blocks((key,))])
        return times_ns(x[np.isfinite(x)], self.stamps.unit, self.path, key)

    def words(self, key: str, topic: str | None) -> Iterator[tuple[int | None, str]]:
        self.require(key)
        for t, _, cells in self._timed((), (key,)):
            yield from zip(t.tolist(), cells[key], strict=True)

    def blocks(
        self, numbers: Sequence[str], words: Sequence[str] = ()
    ) -> Iterator[tuple[Vec, dict[str, list[str]]]]:
        """Block by block, the columns `numbers` (m, k) and the cells of each of the columns
        `words`. Raises RecordingError for a file that cannot be read, or where too much does not
        fit."""
        at = [self.names.index(n) for n in numbers]
        text_at = {n: self.names.index(n) for n in words}
        odd, rows = Odd(), 0
        try:
            with open_text(self.path, self.dialect.encoding) as file:
                first = self.dialect.skip + 1
                for _ in islice(file, self.dialect.skip):
                    pass
                while lines := list(islice(file, BLOCK)):
                    x, cells = self._parse(lines, first, at, text_at, odd)
                    first += len(lines)
                    rows += len(x)
                    if len(x):
                        yield x, cells
        except (OSError, UnicodeError) as e:
            raise RecordingError(f"{self.path}: wanted a text table, cannot read it: {e}") from None
        self._say(odd, rows)

    def _parse(
        self, lines: list[str], first: int, at: list[int], text_at: dict[str, int], odd: Odd
    ) -> tuple[Vec, dict[str, list[str]]]:
        """Numbers (m, k) from the columns `at`, and the cells of the columns `text_at`, whose names
        are its keys. `first` is the number of the first of the `lines` in the file, counted from
        1."""
        if not text_at and (x := self._fast(lines, at)) is not None:
            return x, {}
        dialect, names = self.dialect, self.names
        rows: list[list[float]] = []
        cells: dict[str, list[str]] = {n: [] for n in text_at}
        for number, line in enumerate(lines, first):
            if not line.strip() or line.lstrip().startswith(COMMENTS):
                continue
            found = dialect.split(line)
            if len(found) != len(names):
                odd.add(
                    LINE,
                    f"wanted {len(names)} cells as in the header, found {len(found)} in line "
                    f"{number}",
                )
                continue
            row = []
            for i in at:
                try:
                    row.append(dialect.number(found[i]))
                except ValueError:  # noqa: PERF203 - this is the path of tables that are not clean
                    odd.add(names[i], f"line {number}, `{names[i]}`: {found[i]!r}")
                    row.append(np.nan)
            rows.append(row)
            for name, i in text_at.items():
                cells[name].append(found[i])
        return np.array(rows, np.float64).reshape(len(rows), len(at)), cells

    def _fast(self, lines: list[str], at: list[int]) -> Vec | None:
        """The numbers by NumPy's own reader, which is much faster; None for lines that it does not
        take as they are."""
        width, delimiter = len(self.names), self.dialect.delimiter
        whole = "".join(lines)
        if not at or self.dialect.decimal_comma or any(c in whole for c in "#%/"):
            return None
        if delimiter != SPACES and not all(
            line.count(delimiter) == width - 1
            or (line.count(delimiter) == width and line.rstrip(" \r\n").endswith(delimiter))
            for line in lines
        ):
            return None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a block of blank lines
                if delimiter != SPACES:
                    return np.loadtxt(
                        lines, delimiter=delimiter, comments=None, ndmin=2, usecols=at
                    )
                x = np.loadtxt(lines, comments=None, ndmin=2)  # each line has to have all cells
        except ValueError:
            return None
        return np.asarray(x[:, at]) if x.shape[1] == width else None

    def _say(self, odd: Odd, rows: int) -> None:
        """Notes on what did not fit. Raises RecordingError where that is too much."""
        lines = odd.count.pop(LINE, 0)
        if lines > ODD * (rows + lines):
            raise RecordingError(
                f"{self.path}: {odd.first[LINE]} ({lines} of {rows + lines} lines are so): cut "
                "those lines, or write the file again"
            )
        for column, count in odd.count.items():
            if count > ODD * rows:
                first = odd.first[column]
                step = "check the key, or write the file again"
                if _TIME.search(first.partition(": ")[2]):
                    step = (
                        "write times as numbers, or as dates of ISO 8601 such as "
                        "2026-11-28T12:00:00.123"
                    )
                raise RecordingError(
                    f"{self.path}: wanted numbers in `{column}`, found {first} ({count} of {rows} "
                    f"cells are so): {step}"
                )
        if lines:
            what = "lines with another number of cells: left out"
            self._note(lines, f"{lines} {what}, the first: {odd.first.pop(LINE)}")
        if cells := odd.count.total():
            first = next(iter(odd.first.values()))
            self._note(cells, f"{cells} cells that are no numbers: masked, the first: {first}")

    def _note(self, odd: int, text: str) -> None:
        """Say once what is found again at each reading of the file."""
        if text not in self.notes:
            self.notes.append(text)
            self.odd += odd
