"""Text tables: CSV and its relatives, read in blocks so that length costs no memory.

What programs write differs: delimiters (comma, semicolon, tab, spaces), decimal commas, lines of
comment, a row of units, names behind a `#`. `sniff` finds out and says what it assumed; cells and
lines that do not fit are left out, counted and named.
"""

from __future__ import annotations

import codecs
import csv
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TextIO

import numpy as np

from headway.errors import RecordingError
from headway.tools.score import units
from headway.types import Vec

BLOCK = 20_000  # lines read at a time
COMMENTS = ("#", "%", "//")
MISSING = frozenset(("", "nan", "null", "none", "na", "n/a", "-", "--", "?"))
ODD = 0.1  # share of lines or of a column's cells that may not fit
_WORDS = {"true": 1.0, "false": 0.0}
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?")
_NAMES = {";": "semicolons", ",": "commas", "\t": "tabs", None: "spaces"}


@dataclass(frozen=True)
class Dialect:
    """How a text table is written; `skip` lines come before the first sample, `delimiter` None is
    white space."""

    encoding: str
    delimiter: str | None
    decimal_comma: bool
    names: tuple[str, ...]
    units: tuple[str | None, ...]  # by column, from a row of units or the names
    skip: int
    notes: tuple[str, ...]

    def split(self, line: str) -> list[str]:
        if self.delimiter is None:
            return line.split()
        return [c.strip() for c in next(csv.reader([line], delimiter=self.delimiter), [])]

    def number(self, cell: str) -> float:
        """Raises ValueError for what is neither a number nor a word for a missing one."""
        word = cell.lower()
        if word in MISSING:
            return np.nan
        if word in _WORDS:
            return _WORDS[word]
        return float(cell.replace(",", ".") if self.decimal_comma else cell)


@dataclass
class Odd:
    """What did not fit: `example` is the first such place."""

    lines: int = 0
    cells: dict[str, int] = field(default_factory=dict)
    example: str = ""

    def line(self, text: str) -> None:
        self.lines += 1
        self.example = self.example or text

    def cell(self, name: str, text: str) -> None:
        self.cells[name] = self.cells.get(name, 0) + 1
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
        return self.dialect.units[self.names.index(name)]

    def blocks(
        self, numbers: Sequence[str], words: Sequence[str] = ()
    ) -> Iterator[tuple[Vec, dict[str, list[str]]]]:
        """(m, len(numbers)) and the cells of each column of words, block by block."""
        at = [self.names.index(n) for n in numbers]
        text_at = {n: self.names.index(n) for n in words}
        odd, rows = Odd(), 0
        try:
            with _open(self.path, self.dialect.encoding) as file:
                first = self.dialect.skip + 1
                for _ in islice(file, self.dialect.skip):
                    pass
                while lines := list(islice(file, BLOCK)):
                    x, cells = self._parse(lines, first, at, text_at, odd)
                    first += len(lines)
                    rows += len(x)
                    if len(x):
                        yield x, cells
        except (OSError, UnicodeDecodeError) as e:
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
            raise RecordingError(
                f"{self.path}: wanted numbers in `{worst}`, found {odd.example} ({bad_cells} of "
                f"{rows} cells are so): check the key, or write the file again"
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


def _open(path: Path, encoding: str) -> TextIO:
    return path.open(newline=None, encoding=encoding)


def _encoding(raw: bytes) -> str:
    for bom, name in ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"),
                      (codecs.BOM_UTF16_BE, "utf-16")):  # fmt: skip
        if raw.startswith(bom):
            return name
    return "utf-8"


def sniff(path: Path, head_bytes: int = 1 << 18) -> Dialect:
    """How the table at `path` is written, from its first lines. Raises RecordingError."""
    try:
        with path.open("rb") as f:
            raw = f.read(head_bytes)
        encoding = _encoding(raw)
        with _open(path, encoding) as file:
            lines = [line.rstrip("\n") for line in islice(file, 60)]
    except FileNotFoundError:
        raise RecordingError(
            f"wanted telemetry at {path}, found none (No such file): check the path"
        ) from None
    except (OSError, UnicodeDecodeError) as e:
        raise RecordingError(f"{path}: wanted a CSV text file with a header line: {e}") from None
    if "\0" in "".join(lines):
        raise RecordingError(
            f"{path}: wanted a CSV text file with a header line, found binary data"
        )
    return _sniff(path, encoding, lines)


def _sniff(path: Path, encoding: str, lines: list[str]) -> Dialect:
    notes: list[str] = []
    comments = [i for i, x in enumerate(lines) if not x.strip() or x.lstrip().startswith(COMMENTS)]
    body = [i for i in range(len(lines)) if i not in set(comments)]
    if not body:
        raise RecordingError(
            f"{path}: wanted a header line and samples, found {len(body)} names and 0 lines: is "
            "the file empty?"
        )
    first = body[0]
    behind = [i for i in comments if i < first and lines[i].strip()]
    header, samples = lines[first], [lines[i] for i in body[1:]]
    start = first + 1
    if _all_numbers(header):  # numpy.savetxt writes the names behind a `#`
        if not behind:
            raise RecordingError(
                f"{path}: wanted distinct column names in the first line, found "
                f"{', '.join(_cells(header)[:8])}: write a header line"
            )
        header, samples = lines[behind[-1]].lstrip().lstrip("#%/ ").strip(), [header, *samples]
        start = first
        behind = behind[:-1]
        notes.append(f"names taken from the comment line `{header:.60}`")
    if behind:
        notes.append(f"lines of comment before the header skipped: {len(behind)}")
    delimiter = _delimiter(header, samples)
    if delimiter not in (",", "\t"):
        notes.append(f"columns are taken as separated by {_NAMES[delimiter]}")
    plain = Dialect(encoding, delimiter, False, (), (), 0, ())
    names = [n.strip() for n in plain.split(header)]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice or not all(names) or _all_numbers(header):
        what = f"`{'`, `'.join(twice)}` twice" if twice else ", ".join(names[:8])
        raise RecordingError(
            f"{path}: wanted distinct column names in the first line, found {what}: write a "
            "header line"
        )
    by_column: list[str | None] = [units.of_name(n) for n in names]
    if samples and (row := _units_row(plain.split(samples[0]), names)) is not None:
        by_column = [r or b for r, b in zip(row, by_column, strict=True)]
        samples, start = samples[1:], start + 1
        notes.append(f"the row below the names is taken as units: {', '.join(filter(None, row))}")
    if not samples:
        raise RecordingError(
            f"{path}: wanted a header line and samples, found {len(names)} names and 0 lines: is "
            "the file empty?"
        )
    comma = delimiter != "," and any(
        _DECIMAL_COMMA.fullmatch(c) for line in samples[:20] for c in plain.split(line)
    )
    if comma:
        notes.append("decimal commas: `1,5` is read as 1.5")
    return Dialect(encoding, delimiter, comma, tuple(names), tuple(by_column), start, tuple(notes))


def _cells(line: str) -> list[str]:
    return [c.strip() for c in re.split(r"[,;\t]|\s+", line.strip()) if c.strip()]


def _all_numbers(line: str) -> bool:
    cells = _cells(line)
    return bool(cells) and all(_is_number(c) for c in cells)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _delimiter(header: str, samples: list[str]) -> str | None:
    """The one that cuts the header and the samples into the same number of cells."""
    shown = samples[:20]
    candidates: tuple[str | None, ...] = ("\t", ";", ",", None)
    for d in candidates:
        plain = Dialect("", d, False, (), (), 0, ())
        n = len(plain.split(header))
        agree = sum(len(plain.split(line)) == n for line in shown)
        if n > 1 and agree > 0.8 * len(shown):
            return d
    return max(",;\t", key=header.count)


def _units_row(cells: list[str], names: list[str]) -> list[str | None] | None:
    """The units of a row that holds nothing else, None for a row of samples."""
    if len(cells) != len(names) or any(_is_number(c) for c in cells if c):
        return None
    found = [units.plain(c) for c in cells]
    known = sum(u is not None for u in found)
    return found if known >= max(1, sum(bool(c) for c in cells) // 2) else None
