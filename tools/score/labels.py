"""Phases, events and the outcome of a mapped file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headway.clock import NS
from headway.errors import RecordingError
from headway.tools.score.mapping import Events, Outcome, Phase, Session
from headway.tools.score.source import Source
from headway.tools.score.stamps import Times

OUTSIDE_S = 1.0  # an event may be noted this long before the first sample and after the last


def phases_of(
    source: Source, p: Phase, origin: int
) -> tuple[NDArray[np.int64], list[tuple[float, str]]]:
    """When the phases began: (n,) [ns], and as events (t [s] after `origin` [ns], text). Raises
    RecordingError for starts that are not in order, NoSuchKeyError."""
    starts = source.times(p.starts, p.topic)
    if (np.diff(starts) < 0).any():
        raise RecordingError(
            f"{source.path}: wanted phase starts in order in `{p.starts}`, found {starts / NS} s: "
            "sort them"
        )
    names = [p.names[i] if i < len(p.names) else f"phase {i}" for i in range(len(starts))]
    return starts, _events(starts, names, origin)


def events_of(source: Source, e: Events, origin: int) -> list[tuple[float, str]]:
    """(t [s] after `origin` [ns], text). Raises RecordingError for labels that do not fit the
    times, NoSuchKeyError."""
    if e.times is None:
        out, before = [], ""
        for t, word in source.words(e.text or "", e.topic):
            if t is not None and word not in (before, "", "nan"):
                out.append(((t - origin) / NS, word))
            before = word
        return out
    times = source.times(e.times, e.topic)
    if not e.labels:
        return _events(times, ["event"] * len(times), origin)
    words = [w for _, w in source.words(e.labels, e.topic)]
    if len(words) != len(times):
        raise RecordingError(
            f"{source.path}: wanted one label for each of {len(times)} event times, found "
            f"{len(words)} in `{e.labels}`"
        )
    return _events(times, words, origin)


class Marked(NamedTuple):
    """The events (t [s] after tick 0, text) that mean something, in the order of time, and the time
    [s] from which on an episode is neither learned nor judged."""

    failures: tuple[tuple[float, str], ...] = ()
    retries: tuple[tuple[float, str], ...] = ()
    end_s: float | None = None


def marked_by(
    meaning: Events, events: Sequence[tuple[float, str]], duration_s: float, where: str
) -> Marked:
    """What `events` (t [s], text) of an episode of `duration_s` mean. Raises RecordingError for a
    failure or retry that lies outside of it; `where` names the file."""
    of: dict[str, list[tuple[float, str]]] = {"failure": [], "retry": [], "ignore": [], "": []}
    for t, word in sorted(events):
        kind = meaning.kind_of(word)
        if kind and not -OUTSIDE_S <= t <= duration_s + OUTSIDE_S:
            raise RecordingError(
                f"{where}: wanted events between 0 and {duration_s:.2f} s, found `{word}` at "
                f"{t:.2f} s: check the unit and the clock of the event times"
            )
        of[kind].append((t, word))
    ends = [t for t, _ in (*of["failure"], *of["ignore"])]
    end = None
    if ends and meaning.end_after_s is not None:
        end = min(ends) + meaning.end_after_s
    return Marked(tuple(of["failure"]), tuple(of["retry"]), end)


def session_of(source: Source, s: Session) -> str:
    """The session that the file belongs to. Raises RecordingError where it says none,
    NoSuchKeyError."""
    if s.key is not None:
        for _, word in source.words(s.key, s.topic):
            if word.strip().lower() not in ("", "nan"):
                return word.strip()
        raise RecordingError(f"{source.path}: wanted a session in `{s.key}`, found no word there")
    if s.folder:
        return source.path.resolve().parent.name
    path = source.path.resolve().as_posix()
    found = re.search(s.pattern or "", path)
    if found is None:
        raise RecordingError(
            f"{source.path}: wanted a path in which session.pattern ({s.pattern}) finds the "
            "session, found none: mend the pattern"
        )
    return found[1]


def _events(times: Times, words: Sequence[str], origin: int) -> list[tuple[float, str]]:
    return [((t - origin) / NS, w) for t, w in zip(times.tolist(), words, strict=True)]


def outcome_of(source: Source, o: Outcome) -> bool | None:
    """Whether the task ended well: whether the last word that says something is one of a success.
    None where no word says anything. Raises NoSuchKeyError, RecordingError."""
    last: str | None = None
    for _, word in source.words(o.key, o.topic):
        if word.strip().lower() not in ("", "nan"):  # cells that say nothing
            last = word
    return None if last is None else any(_same(last, s) for s in o.success)


def _same(word: str, wanted: str | float | bool) -> bool:
    """Whether a word of the file is the value `wanted` of the mapping: files may write 1, 1.0 and
    true for the same."""
    try:
        return float(word) == float(wanted)
    except ValueError:
        return word.strip().lower() == str(wanted).lower()
