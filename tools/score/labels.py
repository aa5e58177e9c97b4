"""Phases, events and the outcome of a mapped file."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headway.clock import NS
from headway.errors import RecordingError
from headway.tools.score.mapping import Mapping
from headway.tools.score.source import NoSuchKeyError, Source


def phases_of(
    source: Source, mapping: Mapping, origin: int, notes: list[str]
) -> tuple[NDArray[np.int64] | None, list[tuple[float, str]]]:
    """When the phases began [ns], None where nothing says, and as events. Raises RecordingError for
    starts that are not in order."""
    p = mapping.phase
    if p is None:
        return None, []
    try:
        starts = source.times(p.starts, p.topic)
    except NoSuchKeyError as e:
        if not p.optional:
            raise
        notes.append(f"phase: no {e.what} `{e.key}` in this file")
        return None, []
    if (np.diff(starts) < 0).any():
        raise RecordingError(
            f"{source.path}: wanted phase starts in order in `{p.starts}`, found {starts / NS} s: "
            "sort them"
        )
    names = [p.names[i] if i < len(p.names) else f"phase {i}" for i in range(len(starts))]
    events = [((int(t) - origin) / NS, n) for t, n in zip(starts, names, strict=True)]
    return starts, events


def events_of(
    source: Source, mapping: Mapping, origin: int, notes: list[str]
) -> list[tuple[float, str]]:
    """(t [s] after `origin`, text). Raises RecordingError for labels that do not fit the times."""
    e = mapping.events
    if e is None:
        return []
    try:
        if e.times is not None:
            times = source.times(e.times, e.topic)
            words = [w for _, w in source.words(e.labels, e.topic)] if e.labels else []
            if e.labels and len(words) != len(times):
                raise RecordingError(
                    f"{source.path}: wanted one label for each of {len(times)} event times, found "
                    f"{len(words)} in `{e.labels}`"
                )
            words = words or ["event"] * len(times)
            return [((int(t) - origin) / NS, w) for t, w in zip(times, words, strict=True)]
        out, before = [], ""
        for stamp, word in source.words(e.text or "", e.topic):
            if stamp is not None and word not in (before, "", "nan"):
                out.append(((stamp - origin) / NS, word))
            before = word
        return out
    except NoSuchKeyError as error:
        if not e.optional:
            raise
        notes.append(f"events: no {error.what} `{error.key}` in this file")
        return []


def outcome_of(source: Source, mapping: Mapping, notes: list[str]) -> bool | None:
    """Whether the last word that says something is a success; None where none does."""
    o = mapping.outcome
    if o is None:
        return None
    last: str | None = None
    try:
        for _, word in source.words(o.key, o.topic):
            if word.strip().lower() not in ("", "nan"):  # cells that say nothing
                last = word
    except NoSuchKeyError as e:
        if not o.optional:
            raise
        notes.append(f"outcome: no {e.what} `{e.key}` in this file")
        return None
    return None if last is None else any(_same(last, s) for s in o.success)


def _same(word: str, wanted: str | float | bool) -> bool:
    """`1`, `1.0` and `true` are what a file may write for the same."""
    try:
        return float(word) == float(wanted)
    except ValueError:
        return word.strip().lower() == str(wanted).lower()
