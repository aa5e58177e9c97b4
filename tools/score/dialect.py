"""How a text table is written, found out from its first lines, and what was assumed for that."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TextIO

import numpy as np

from headway.errors import RecordingError
from headway.tools.score import units

COMMENTS = ("#", "%", "//")
MISSING = frozenset(("", "nan", "null", "none", "na", "n/a", "-", "--", "?"))
TITLES = 20  # how many lines above the header may be text
_NO_UNIT = MISSING | {"1"}
_WORDS = {"true": 1.0, "false": 0.0}
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?")
SPACES = " "  # a delimiter that stands for any white space between cells
# Delimiters in the order in which they are tried.
_NAMES = {"\t": "tabs", ";": "semicolons", ",": "commas", SPACES: "spaces"}
_SHOWN = 20  # how many lines a delimiter is tried on
_READ = 1 << 20  # bytes that are read at a time


@dataclass(frozen=True)
class Dialect:
    """How a text table is written."""

    encoding: str = "utf-8"
    delimiter: str = ","
    decimal_comma: bool = False
    names: tuple[str, ...] = ()
    units: tuple[str | None, ...] = ()  # of each column, from a row of units or from its name
    unknown: Mapping[str, str] = field(default_factory=dict)  # column -> a word that is no unit
    units_line: int = 0  # number of the line with the row of units, from 1; 0: there is none
    skip: int = 0  # lines before the first sample
    notes: tuple[str, ...] = ()

    def split(self, line: str) -> list[str]:
        """The cells of a line of samples."""
        return _split(line, self.delimiter, len(self.names))

    def number(self, cell: str) -> float:
        """The number in a cell, NaN for a missing one. Raises ValueError for other words."""
        word = cell.lower()
        if word in MISSING:
            return np.nan
        if word in _WORDS:
            return _WORDS[word]
        return float(cell.replace(",", ".") if self.decimal_comma else cell)


def open_text(path: Path, encoding: str) -> TextIO:
    """Open a text table. A byte that is damaged costs only its cell, except in UTF-16, where
    everything after it is lost: reading then raises UnicodeError."""
    errors = "strict" if encoding == "utf-16" else "replace"
    return path.open(newline=None, encoding=encoding, errors=errors)


def sniff(path: Path) -> Dialect:
    """Find out how the table at `path` is written. Raises RecordingError for a file that is no
    table with a header."""
    try:
        encoding = _encoding(path)
        with open_text(path, encoding) as file:
            lines = [line.rstrip("\n") for line in islice(file, 60)]
    except FileNotFoundError:
        raise RecordingError(
            f"wanted telemetry at {path}, found none (No such file): check the path"
        ) from None
    except (OSError, UnicodeError) as e:
        raise RecordingError(f"{path}: wanted a CSV text file with a header line: {e}") from None
    if "\0" in "".join(lines):
        raise RecordingError(
            f"{path}: wanted a CSV text file with a header line, found binary data"
        )
    return _sniff(path, encoding, lines)


def _encoding(path: Path) -> str:
    """UTF-16 is known by its mark. A file is Latin-1 where the first byte beyond ASCII cannot be
    UTF-8; where such a byte comes later, it is a damaged one in a file of UTF-8."""
    with path.open("rb") as file:
        raw = file.read(_READ)
        if raw.startswith(codecs.BOM_UTF8):
            return "utf-8-sig"
        if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return "utf-16"
        decoder = codecs.getincrementaldecoder("utf-8")()
        while raw:
            try:
                text = decoder.decode(raw)
            except UnicodeDecodeError as e:
                return "latin-1" if e.object[: e.start].isascii() else "utf-8"
            if not text.isascii():
                return "utf-8"
            raw = file.read(_READ)
    return "utf-8"


def _sniff(path: Path, encoding: str, lines: list[str]) -> Dialect:
    notes = ["read as Latin-1, since it is not UTF-8"] if encoding == "latin-1" else []
    written = [(i, line) for i, line in enumerate(lines) if line.strip()]
    body = [(i, line) for i, line in written if not line.lstrip().startswith(COMMENTS)]
    if not body:
        raise _empty(path, 0)
    comments = [line for i, line in written if i < body[0][0]]
    if comments and _all_numbers(body[0][1]):  # numpy.savetxt writes the names behind a `#`
        header = comments.pop().lstrip().lstrip("#%/ ").strip()
        notes.append(f"names taken from the comment line `{header:.60}`")
    else:
        titles = _titles([line for _, line in body])
        if titles:
            notes.append(
                f"lines of text above the header skipped: {titles}, the first: "
                f"`{body[0][1].strip():.60}`"
            )
        header, body = body[titles][1], body[titles + 1 :]
    if comments:
        notes.append(f"lines of comment before the header skipped: {len(comments)}")
    samples = [line for _, line in body]
    delimiter = _agreed(header, samples) or max(",;\t", key=header.count)
    if delimiter not in (",", "\t"):
        notes.append(f"columns are taken as separated by {_NAMES[delimiter]}")
    found = _split(header, delimiter)
    shown = [_split(line, delimiter) for line in samples[:_SHOWN]]
    trailing = any(len(cells) == len(found) + 1 and not cells[-1] for cells in shown)
    full = [cells for cells in shown if len(cells) == len(found)]
    if len(found) > 1 and not found[-1] and shown and not any(cells[-1] for cells in full):
        found, trailing = found[:-1], True
    if trailing:
        notes.append(f"the empty column behind the last of {_NAMES[delimiter]} is left out")
    names = _distinct(path, found, notes)
    rows = Dialect(encoding, delimiter, names=tuple(names))
    by_column: list[str | None] = [units.of_name(n) for n in names]
    unknown: dict[str, str] = {}
    units_line = 0
    if samples and _is_units_row(cells := rows.split(samples[0]), samples[1:], rows):
        row = [units.spelled(c) for c in cells]
        unknown = {
            n: c
            for n, c, u in zip(names, cells, row, strict=True)
            if u is None and c.strip("[]() ").lower() not in _NO_UNIT
        }
        by_column = [r or b for r, b in zip(row, by_column, strict=True)]
        units_line = body[0][0] + 1
        body, samples = body[1:], samples[1:]
        notes.append(f"the row below the names is taken as units: {', '.join(filter(None, row))}")
        if unknown:
            words = ", ".join(f"{word} (`{name}`)" for name, word in unknown.items())
            notes.append(f"units in that row that are not known, of columns not used: {words}")
    if not samples:
        raise _empty(path, len(names))
    comma = delimiter != "," and any(
        _DECIMAL_COMMA.fullmatch(c) for line in samples[:_SHOWN] for c in rows.split(line)
    )
    if comma:
        notes.append("decimal commas: `1,5` is read as 1.5")
    return replace(
        rows, decimal_comma=comma, units=tuple(by_column), unknown=unknown, units_line=units_line,
        skip=body[0][0], notes=tuple(notes),
    )  # fmt: skip


def _empty(path: Path, names: int) -> RecordingError:
    return RecordingError(
        f"{path}: wanted a header line and samples, found {names} names and 0 lines: is the file "
        "empty?"
    )


def _split(line: str, delimiter: str, width: int = 0) -> list[str]:
    """The cells of a line. Where the header has `width` names, an empty cell more than that, behind
    a delimiter at the end of the line, is left out."""
    if delimiter == SPACES:
        return line.split()
    cells = [c.strip() for c in next(csv.reader([line], delimiter=delimiter), [])]
    return cells[:-1] if len(cells) == width + 1 and not cells[-1] else cells


def _all_numbers(line: str) -> bool:
    cells = [c for word in re.split(r"[,;\t]|\s+", line) if (c := word.strip().strip('"'))]
    return bool(cells) and all(_is_number(c) for c in cells)


def _is_number(cell: str) -> bool:
    try:
        float(cell.replace(",", "."))
    except ValueError:
        return False
    return True


def _agreed(header: str, samples: list[str]) -> str | None:
    """The delimiter that cuts the header and most samples into the same number of cells."""
    shown = samples[:_SHOWN]
    for delimiter in _NAMES:
        n = len(_split(header, delimiter))
        fit = sum(len(_split(line, delimiter, n)) == n for line in shown)
        if n > 1 and fit > 0.8 * len(shown):
            return delimiter
    return None


def _titles(body: list[str]) -> int:
    """How many lines of text come before the header. A line is text where it has not as many cells
    as the samples below it, or where `_texts_above` says so."""
    for skipped in range(min(TITLES + 1, len(body) - 1)):
        if _all_numbers(body[skipped]):
            break
        if (delimiter := _agreed(body[skipped], body[skipped + 1 :])) is not None:
            rows = [_split(line, delimiter) for line in body[skipped : TITLES + 2]]
            return skipped + _texts_above(rows)
    return 0


def _texts_above(rows: list[list[str]]) -> int:
    """How many of the first rows are text: those above a row of names (no number, no empty cell, no
    name twice) that has only numbers below it, maybe with a row of units between. Each has an empty
    cell, or words with spaces between them where the names have none."""
    first = next((i for i, row in enumerate(rows) if i and any(_is_number(c) for c in row)), 0)
    if not first or not all(_is_number(c) for c in rows[first] if c):
        return 0
    header = first - 1
    if any(units.spelled(c) for c in rows[header]):
        header -= 1
    if header < 1:
        return 0
    names = rows[header]
    spaces = any(" " in c for c in names)
    if len(set(names)) == len(names) and not any(c.lower() in MISSING for c in names):
        above = rows[:header]
        if all("" in row or (not spaces and any(" " in c for c in row)) for row in above):
            return header
    return 0


def _distinct(path: Path, found: list[str], notes: list[str]) -> list[str]:
    """A name for each column: the `found` one, or another where there is none or an earlier column
    has the same, which is said in `notes`. Raises RecordingError for a line without names."""
    if not any(found) or all(_is_number(n) for n in found if n):
        empty = ", ".join(str(i) for i, n in enumerate(found, 1) if not n)
        shown = ", ".join(filter(None, found[:8])) or f"none in the columns {empty}"
        raise RecordingError(
            f"{path}: wanted distinct column names in the first line, found {shown}: write a "
            "header line"
        )
    out: list[str] = []
    for i, name in enumerate(found, 1):
        made = plain = name or f"column {i}"
        number = 2
        while made in out or (made != name and made in found):
            made = f"{plain} ({number})"
            number += 1
        if not name:
            notes.append(f"column {i} has no name: it is called `{made}`")
        elif made != name:
            notes.append(f"check the names: column {i} is the second `{name}`, called `{made}`")
        out.append(made)
    return out


def _is_units_row(cells: list[str], after: list[str], rows: Dialect) -> bool:
    """Whether the cells of a row are units: none is a number, at least one is a known unit, and
    there are numbers in the line `after` it."""
    if len(cells) != len(rows.names) or not any(units.spelled(c) for c in cells if c != "1"):
        return False
    if any(_is_number(c) for c in cells if c != "1"):
        return False
    return not after or any(_is_number(c) for c in rows.split(after[0]))
