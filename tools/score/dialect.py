"""How a text table is written, found out from its first lines; what was assumed is said."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TextIO

import numpy as np

from headway.errors import RecordingError
from headway.tools.score import units

COMMENTS = ("#", "%", "//")
MISSING = frozenset(("", "nan", "null", "none", "na", "n/a", "-", "--", "?"))
TITLES = 20  # lines above the header that may be text
_NO_UNIT = MISSING | {"1"}
_WORDS = {"true": 1.0, "false": 0.0}
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?")
_NAMES = {";": "semicolons", ",": "commas", "\t": "tabs", None: "spaces"}
_SHOWN = 20  # lines that a delimiter is tried on
_READ = 1 << 20  # bytes at a time


@dataclass(frozen=True)
class Dialect:
    """`skip` lines come before the first sample, `delimiter` None is white space. `trailing`: the
    first lines end with a delimiter, behind which there is nothing."""

    encoding: str = "utf-8"
    delimiter: str | None = ","
    decimal_comma: bool = False
    trailing: bool = False
    names: tuple[str, ...] = ()
    units: tuple[str | None, ...] = ()  # by column, from a row of units or the names
    unknown: Mapping[str, str] = field(default_factory=dict)  # column -> its unit, which is none
    units_line: int = 0  # that holds them, counted from 1; 0: none
    skip: int = 0
    notes: tuple[str, ...] = ()

    def trim(self, line: str) -> str:
        """Without a delimiter at its end that is one more than the header has."""
        cut = line.rstrip(" \r\n")
        if (
            self.delimiter is not None
            and cut.endswith(self.delimiter)
            and cut.count(self.delimiter) >= len(self.names)
        ):
            return cut[: -len(self.delimiter)]
        return line

    def split(self, line: str) -> list[str]:
        return _split(self.trim(line), self.delimiter)

    def number(self, cell: str) -> float:
        """Raises ValueError for what is neither a number nor a word for a missing one."""
        word = cell.lower()
        if word in MISSING:
            return np.nan
        if word in _WORDS:
            return _WORDS[word]
        return float(cell.replace(",", ".") if self.decimal_comma else cell)


def open_text(path: Path, encoding: str) -> TextIO:
    """A byte that is no UTF-8 makes its cell one that is no number; in UTF-16 all behind it is
    lost, so that raises UnicodeError."""
    errors = "strict" if encoding == "utf-16" else "replace"
    return path.open(newline=None, encoding=encoding, errors=errors)


def sniff(path: Path) -> Dialect:
    """How the table at `path` is written. Raises RecordingError."""
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
    """UTF-16 by its mark; Latin-1 where the first byte beyond ASCII is none of UTF-8, since a text
    that was UTF-8 up to there is one of which a byte was damaged."""
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
    comments = [i for i, x in enumerate(lines) if not x.strip() or x.lstrip().startswith(COMMENTS)]
    body = [i for i in range(len(lines)) if i not in set(comments)]
    if not body:
        raise _empty(path, 0)
    behind = [i for i in comments if i < body[0] and lines[i].strip()]
    if _all_numbers(lines[body[0]]):  # numpy.savetxt writes the names behind a `#`
        if not behind:
            raise RecordingError(
                f"{path}: wanted distinct column names in the first line, found "
                f"{', '.join(_cells(lines[body[0]])[:8])}: write a header line"
            )
        header = lines[behind[-1]].lstrip().lstrip("#%/ ").strip()
        at = body
        behind = behind[:-1]
        notes.append(f"names taken from the comment line `{header:.60}`")
    else:
        titles = _titles([lines[i] for i in body])
        if titles:
            notes.append(
                f"lines of text above the header skipped: {titles}, the first: "
                f"`{lines[body[0]].strip():.60}`"
            )
        header, at = lines[body[titles]], body[titles + 1 :]
    if behind:
        notes.append(f"lines of comment before the header skipped: {len(behind)}")
    samples = [lines[i] for i in at]
    delimiter = _agreed(header, samples) or _Found(max(",;\t", key=header.count))
    if delimiter.word not in (",", "\t"):
        notes.append(f"columns are taken as separated by {_NAMES[delimiter.word]}")
    names, trailing = _split(header, delimiter.word), delimiter.trailing
    if len(names) > 1 and not names[-1] and _ends_empty(samples, len(names), delimiter.word):
        names, trailing = names[:-1], True
    if trailing:
        notes.append(f"the empty column behind the last of {_NAMES[delimiter.word]} is left out")
    names = _distinct(path, names, notes)
    rows = Dialect(encoding, delimiter.word, trailing=trailing, names=tuple(names))
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
        units_line = at[0] + 1
        at, samples = at[1:], samples[1:]
        notes.append(f"the row below the names is taken as units: {', '.join(filter(None, row))}")
        if unknown:
            shown = ", ".join(f"{word} (`{name}`)" for name, word in unknown.items())
            notes.append(f"units in that row that are not known, of columns not used: {shown}")
    if not samples:
        raise _empty(path, len(names))
    comma = delimiter.word != "," and any(
        _DECIMAL_COMMA.fullmatch(c) for line in samples[:_SHOWN] for c in rows.split(line)
    )
    if comma:
        notes.append("decimal commas: `1,5` is read as 1.5")
    return Dialect(
        encoding, delimiter.word, comma, trailing, tuple(names), tuple(by_column), unknown,
        units_line, at[0], tuple(notes),
    )  # fmt: skip


def _empty(path: Path, names: int) -> RecordingError:
    return RecordingError(
        f"{path}: wanted a header line and samples, found {names} names and 0 lines: is the file "
        "empty?"
    )


def _split(line: str, delimiter: str | None) -> list[str]:
    if delimiter is None:
        return line.split()
    return [c.strip() for c in next(csv.reader([line], delimiter=delimiter), [])]


def _cells(line: str) -> list[str]:
    return [c for word in re.split(r"[,;\t]|\s+", line) if (c := word.strip().strip('"'))]


def _all_numbers(line: str) -> bool:
    cells = _cells(line)
    return bool(cells) and all(_is_number(c) for c in cells)


def _is_number(cell: str) -> bool:
    try:
        float(cell.replace(",", "."))
    except ValueError:
        return False
    return True


@dataclass(frozen=True)
class _Found:
    """A delimiter, and whether samples end with one that the header has not."""

    word: str | None
    trailing: bool = False


def _agreed(header: str, samples: list[str]) -> _Found | None:
    """What cuts the header and the samples into the same number of cells, None for nothing."""
    shown = samples[:_SHOWN]
    candidates: tuple[str | None, ...] = ("\t", ";", ",", None)
    for d in candidates:
        n = len(_split(header, d))
        cells = [_split(line, d) for line in shown]
        behind = sum(len(c) == n + 1 and not c[-1] for c in cells)
        if n > 1 and sum(len(c) == n for c in cells) + behind > 0.8 * len(shown):
            return _Found(d, behind > 0)
    return None


def _ends_empty(samples: list[str], width: int, delimiter: str | None) -> bool:
    """Whether nothing is in the last column."""
    rows = [_split(line, delimiter) for line in samples[:_SHOWN]]
    return bool(rows) and not any(c[-1] for c in rows if len(c) == width)


def _titles(body: list[str]) -> int:
    """How many lines come before the header: those that have not as many cells as the samples, or
    text above what is a header itself."""
    for skipped in range(min(TITLES + 1, len(body) - 1)):
        if _all_numbers(body[skipped]):
            break
        if (found := _agreed(body[skipped], body[skipped + 1 :])) is not None:
            rows = [_split(line, found.word) for line in body[skipped : TITLES + 2]]
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
    """The names, with one for each column that has none or another's."""
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
    """Whether a row holds units: no number, at least one that is known, and numbers below."""
    if len(cells) != len(rows.names) or not any(units.spelled(c) for c in cells if c != "1"):
        return False
    if any(_is_number(c) for c in cells if c != "1"):
        return False
    return not after or any(_is_number(c) for c in rows.split(after[0]))
