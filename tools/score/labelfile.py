"""The table of `[labels]`: outcomes, sessions and events of episodes whose files do not hold them.

A CSV file with a column `episode` and any of the others in `COLUMNS`. `episode` is the name of a
file, with or without its suffix and with as many of its folders as make it clear (`day2/run_1`), or
FILE:EPISODE where a file holds several. An episode has a row for each of its events. Times are
seconds after the first sample of the episode.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from headway.config import suggest
from headway.errors import ConfigError

NOTES = ("note", "comment")  # columns for people
COLUMNS = (
    "episode", "outcome", "success", "session", "failure_t", "failure", "retry_t", "retry", *NOTES
)  # fmt: skip
YES, NO = ("1", "true", "yes", "success"), ("0", "false", "no", "failure")


class Episode(NamedTuple):
    """One episode: the file or folder that it is in, and which one of those that are there, ""
    where the file is one episode."""

    path: Path
    name: str = ""

    def __str__(self) -> str:
        return f"{self.path}:{self.name}" if self.name else str(self.path)


@dataclass(frozen=True)
class Label:
    """What the table says about an episode; None and () where it says nothing."""

    success: bool | None = None
    outcome: str | None = None  # a word, which [outcome] of the mapping gives a meaning
    session: str | None = None
    failures: tuple[tuple[float, str], ...] = ()  # (t [s] after the first sample, text)
    retries: tuple[tuple[float, str], ...] = ()


class LabelFile:
    """The rows of the table, by what stands in the column `episode`."""

    def __init__(self, path: Path, rows: dict[str, Label]) -> None:
        self.path, self.rows = path, rows

    def of(self, episode: Episode) -> Label | None:
        """What the table says about an episode; None where no row names it. Raises ConfigError for
        rows that contradict each other, and for times in a row that names a file of several
        episodes as a whole."""
        found: Label | None = None
        for cell, whole in _cells(episode):
            label = self.rows.get(cell)
            if label is None:
                continue
            if whole and episode.name and (label.failures or label.retries):
                raise ConfigError(
                    f"{self.path}: wanted FILE:EPISODE beside a time, found `{cell}`, a file of "
                    f"several episodes: write `{cell}:{episode.name}`"
                )
            found = label if found is None else _merged(found, label, self.path, cell)
        return found

    def check(self, episodes: Sequence[Episode]) -> list[str]:
        """What is to be said about rows that name none of these `episodes`. Raises ConfigError
        where a row could mean two files."""
        files: dict[str, set[Path]] = {}
        for episode in episodes:
            for cell, _ in _cells(episode):
                if cell in self.rows:
                    files.setdefault(cell, set()).add(episode.path)
        for cell, paths in files.items():
            if len(paths) > 1:
                a, b = sorted(paths)[:2]
                raise ConfigError(
                    f"{self.path}: wanted one file for `{cell}`, found {a} and {b}: write the "
                    "folder too, as in `day2/run_1`"
                )
        lost = [cell for cell in self.rows if cell not in files]
        if not lost:
            return []
        few = ", ".join(f"`{c}`" for c in lost[:5]) + (", ..." if len(lost) > 5 else "")
        return [f"{self.path}: {len(lost)} of {len(self.rows)} names are no episode here: {few}"]


def is_labels(path: Path) -> bool:
    """Whether the file is a table of labels by its header, and so no telemetry."""
    try:
        with path.open(encoding="utf-8-sig") as f:
            names = [n.strip() for n in re.split("[,;]", f.readline())]
    except (OSError, UnicodeError):
        return False
    return "episode" in names and set(names) <= set(COLUMNS)


def read(path: Path) -> LabelFile:
    """Read the table. Raises ConfigError for a file that is missing or is no such table, for
    columns that are not known, and for cells that cannot be read."""
    try:
        about = path.stat()
    except OSError as e:
        raise ConfigError(f"wanted the labels at {path}, found none: {e.strerror}") from None
    return _read(path, about.st_mtime_ns, about.st_size)


@lru_cache(maxsize=8)  # each episode asks for it
def _read(path: Path, *_: int) -> LabelFile:
    rows: dict[str, Label] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as f:
            head = f.readline()
            f.seek(0)
            table = csv.DictReader(f, delimiter=";" if ";" in head and "," not in head else ",")
            names = [n.strip() for n in table.fieldnames or ()]
            _check_names(path, names)
            table.fieldnames = names
            for row in table:
                where = f"{path}: line {table.line_num}"
                if None in row or None in row.values():
                    raise ConfigError(f"{where}: wanted {len(names)} cells as in the header")
                cells = {k: v.strip() for k, v in row.items()}
                if not any(cells.values()):
                    continue
                if not cells["episode"]:
                    raise ConfigError(f"{where}: wanted a name in `episode`, found none")
                label, name = _label(cells, where), cells["episode"]
                rows[name] = _merged(rows[name], label, where, name) if name in rows else label
    except (OSError, UnicodeError, csv.Error) as e:
        raise ConfigError(f"{path}: wanted labels as CSV in UTF-8, cannot read them: {e}") from None
    return LabelFile(path, rows)


def _check_names(path: Path, names: Sequence[str]) -> None:
    for name in names:
        if name not in COLUMNS:
            raise ConfigError(
                f"{path}: unknown column `{name}`: {suggest(name, COLUMNS)} (what is for people "
                "goes into `note`)"
            )
    if "episode" not in names or not set(names) - {"episode", *NOTES}:
        raise ConfigError(
            f"{path}: wanted a column `episode` and at least one of {', '.join(COLUMNS[1:8])}, "
            f"found {', '.join(names) or 'an empty file'}"
        )


def _label(cells: dict[str, str], where: str) -> Label:
    """What one row says. Raises ConfigError."""
    success: bool | None = None
    if word := cells.get("success", "").lower():
        if word not in YES + NO:
            raise ConfigError(
                f"{where}: wanted `success` as one of {', '.join(YES + NO)}, found {word!r}; "
                "other words go into `outcome`"
            )
        success = word in YES
    events: dict[str, tuple[tuple[float, str], ...]] = {}
    for kind in ("failure", "retry"):
        time, text = cells.get(f"{kind}_t", ""), cells.get(kind, "")
        if not time:
            if text:
                raise ConfigError(
                    f"{where}: wanted a time [s] in `{kind}_t` beside `{kind}`, found none: give "
                    "it, or write the text into `note`"
                )
            events[kind] = ()
            continue
        try:
            t = float(time)
        except ValueError:
            t = math.nan
        if not math.isfinite(t):
            raise ConfigError(f"{where}: wanted seconds in `{kind}_t`, found {time!r}")
        events[kind] = ((t, text or kind),)
    return Label(
        success,
        cells.get("outcome") or None,
        cells.get("session") or None,
        events["failure"],
        events["retry"],
    )


def _merged(a: Label, b: Label, where: object, cell: str) -> Label:
    """What two rows say together. Raises ConfigError where they contradict each other."""
    for key in ("success", "outcome", "session"):
        x, y = getattr(a, key), getattr(b, key)
        if None not in (x, y) and x != y:
            raise ConfigError(
                f"{where}: wanted one `{key}` for `{cell}`, found {x} and {y} in its rows"
            )
        if x is None and y is not None:
            a = replace(a, **{key: y})
    events = {k: tuple(sorted((*getattr(a, k), *getattr(b, k)))) for k in ("failures", "retries")}
    return replace(a, failures=events["failures"], retries=events["retries"])


def _cells(episode: Episode) -> Iterator[tuple[str, bool]]:
    """All ways to write an episode, and whether each names the file as a whole."""
    *folders, name = episode.path.resolve().parts
    stem = name if episode.path.is_dir() else episode.path.stem
    number = re.search(r"(\d+)$", episode.name)
    inside = dict.fromkeys([episode.name, str(int(number[1])) if number else episode.name])
    for k in range(len(folders)):
        way = "/".join([*folders[len(folders) - k :], ""]) if k else ""
        for base in dict.fromkeys((name, stem)):
            yield f"{way}{base}", True
            if episode.name:
                yield from ((f"{way}{base}:{e}", False) for e in inside)
