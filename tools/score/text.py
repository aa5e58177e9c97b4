"""Text tables: CSV and its relatives, read in blocks so that length costs no memory.

What programs write differs: delimiters (comma, semicolon, tab, spaces), decimal commas, lines of
comment, a row of units, names behind a `#`. `dialect.sniff` finds out and says what it assumed;
cells and lines that do not fit are left out, counted and named.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from headway.errors import RecordingError
from headway.tools.score.dialect import COMMENTS, open_text, sniff
from headway.types import Vec
from headway.units import UNITS

BLOCK = 20_000  # lines read at a time
ODD = 0.1  # share of lines or of a column's cells that may not fit
_TIME = re.compile(r"\d{1,2}:\d\d|\d{1,4}[./-]\d{1,2}[./-]\d{1,4}")  # of the day, or a date


@dataclass
class Odd:
    """What did not fit: `example` is the first such place, `examples` that of each column."""

    lines: int = 0
    cells: dict[str, int] = field(default_factory=dict)
    example: str = ""
    examples: dict[str, str] = field(default_factory=dict)

    def line(self, text: str) -> None:
        self.lines += 1
        self.example = self.example or text

    def cell(self, name: str, text: str) -> None:
        self.cells[name] = self.cells.get(name, 0) + 1
        self.examples.setdefault(name, text)
        self.example = self.example or text


class TextColumns:
    """The columns of a text table. `blocks` reads the file anew each time."""

    def __init__(self, path: Path) -> None:
        """Raises RecordingError for a file that is no table with a header."""
        self.path = path
        self.dialect = sniff(path)
        self.names = self.dialect.names
        self.notes = list(self.dialect.notes)
        self.odd = 0  # lines and cells left out, for the exit code
        self._said: set[str] = set()

    def unit(self, name: str) -> str | None:
        """That the row of units or the name says. Raises RecordingError for a word in that row that
        is no unit."""
        if (word := self.dialect.unknown.get(name)) is not None:
            raise RecordingError(
                f"{self.path}: wanted a unit for the column `{name}` in line "
                f"{self.dialect.units_line}, found {word!r}, valid: {', '.join(UNITS)}: write one "
                "of these, or `-` and `scale` in the mapping"
            )
        return self.dialect.units[self.names.index(name)]

    def blocks(
        self, numbers: Sequence[str], words: Sequence[str] = ()
    ) -> Iterator[tuple[Vec, dict[str, list[str]]]]:
        """(m, len(numbers)) and the cells of each column of words, block by block."""
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
        self,
        lines: list[str],
        first: int,
        at: list[int],
        text_at: dict[str, int],
        odd: Odd,
    ) -> tuple[Vec, dict[str, list[str]]]:
        if self.dialect.trailing:
            lines = [self.dialect.trim(line) for line in lines]
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
                odd.line(
                    f"wanted {len(names)} cells as in the header, found {len(found)} in line "
                    f"{number}"
                )
                continue
            row = []
            for i in at:
                try:
                    row.append(dialect.number(found[i]))
                except ValueError:  # noqa: PERF203 - this is the path of tables that are not clean
                    odd.cell(names[i], f"line {number}, `{names[i]}`: {found[i]!r}")
                    row.append(np.nan)
            rows.append(row)
            for name, i in text_at.items():
                cells[name].append(found[i])
        return np.array(rows, np.float64).reshape(len(rows), len(at)), cells

    def _fast(self, lines: list[str], at: list[int]) -> Vec | None:
        """By NumPy's own reader, None for a block that it does not take."""
        whole = "".join(lines)
        if not at or self.dialect.decimal_comma or any(c in whole for c in "#%/"):
            return None
        width = len(self.names)
        if self.dialect.delimiter is not None and any(
            line.count(self.dialect.delimiter) != width - 1 for line in lines
        ):
            return None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a block of blank lines
                x = np.loadtxt(
                    lines, delimiter=self.dialect.delimiter, comments=None, ndmin=2,
                    usecols=None if self.dialect.delimiter is None else at,
                )  # fmt: skip
        except ValueError:
            return None
        if self.dialect.delimiter is None:
            return np.asarray(x[:, at]) if x.shape[1] == width else None
        return np.asarray(x, np.float64)

    def _say(self, odd: Odd, rows: int) -> None:
        total = rows + odd.lines
        worst = max(odd.cells, key=lambda n: odd.cells[n], default=None)
        bad_cells = odd.cells[worst] if worst is not None else 0
        if odd.lines > ODD * total:
            raise RecordingError(
                f"{self.path}: {odd.example} ({odd.lines} of {total} lines are so): cut those "
                "lines, or write the file again"
            )
        if bad_cells > ODD * rows:
            example = odd.examples[str(worst)]
            step = "check the key, or write the file again"
            if _TIME.search(example.partition(": ")[2]):
                step = (
                    "write times as numbers, or as dates of ISO 8601 such as "
                    "2026-11-28T12:00:00.123"
                )
            raise RecordingError(
                f"{self.path}: wanted numbers in `{worst}`, found {example} ({bad_cells} of "
                f"{rows} cells are so): {step}"
            )
        for count, what in (
            (odd.lines, "lines with another number of cells: left out"),
            (sum(odd.cells.values()), "cells that are no numbers: masked"),
        ):
            note = f"{count} {what}, the first: {odd.example}"
            if count and note not in self._said:
                self._said.add(note)
                self.notes.append(note)
                self.odd += count
