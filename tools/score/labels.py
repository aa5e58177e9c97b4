"""Phases, events, outcome and session of an episode, from its file and from the table of labels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headway.clock import NS
from headway.errors import ConfigError, RecordingError
from headway.tools.flags import flags_of
from headway.tools.score import labelfile
from headway.tools.score.labelfile import NO, YES, Episode, Label
from headway.tools.score.mapping import Events, Mapping, Outcome, Phase, Session
from headway.tools.score.source import Source, if_there
from headway.tools.score.stamps import Times

OUTSIDE_S = 1.0  # an event may be noted this long before the first sample and after the last
USUAL = Outcome(success=list(YES), failure=list(NO))  # words of a table of labels alone


class Marked(NamedTuple):
    """The events (t [s] after tick 0, text) that mean something, in the order of time, and the time
    [s] from which on an episode is neither learned nor judged."""

    failures: tuple[tuple[float, str], ...] = ()
    retries: tuple[tuple[float, str], ...] = ()
    end_s: float | None = None


class Meaning(NamedTuple):
    """What a file, its mapping and its labels say about an episode as a whole."""

    phases: NDArray[np.int64] | None  # when each began [ns, the file's clock]; None: not known
    events: list[tuple[float, str]]  # (t [s] after tick 0, text)
    marked: Marked
    success: bool | None  # how the task ended, None where nothing says
    session: str  # "" where nothing says


def meaning_of(
    source: Source, mapping: Mapping, origin: int, duration_s: float, notes: list[str]
) -> Meaning:
    """What is known of the episode, whose tick 0 is at `origin` [ns] and which takes `duration_s`.
    Raises RecordingError, ConfigError, NoSuchKeyError for what is not there and not optional."""
    label, where = _label_of(source, mapping, notes), str(source.path)
    phases: NDArray[np.int64] | None = None
    events: list[tuple[float, str]] = []
    said: list[tuple[float, str]] = []
    if (phase := mapping.phase) is not None:
        with if_there("phase", phase.optional, notes):
            phases, events = phases_of(source, phase, origin)
    wanted = mapping.events
    if wanted is not None and not (wanted.times is None and wanted.text is None):
        with if_there("events", wanted.optional, notes):
            said = events_of(source, wanted, origin)
    marked = marked_by(wanted or Events(), said, label, duration_s, where)
    outcome = mapping.outcome
    success = outcome_of(source, outcome or USUAL, label, notes)
    session = label.session
    if session is None and mapping.session is not None:
        session = session_of(source, mapping.session)
    events += [*said, *label.failures, *label.retries]
    return Meaning(phases, sorted(events), marked, success, session or "")


def _label_of(source: Source, mapping: Mapping, notes: list[str]) -> Label:
    """What the table of labels says about the episode, and the failures that a person has flagged
    in a recording of Headway's."""
    label: Label | None = None
    if mapping.labels is not None:
        table = labelfile.read(Path(mapping.labels.file))
        label = table.of(Episode(source.path, source.episode))
        if label is None:
            notes.append(f"labels: {table.path} has no row for this episode")
    label = label or Label()
    flags = flags_of(source.path) if source.path.suffix == ".mcap" else ()
    flagged = tuple((f.t_s, f.words) for f in flags)
    return replace(label, failures=(*label.failures, *flagged)) if flagged else label


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


def marked_by(
    meaning: Events,
    events: Sequence[tuple[float, str]],
    label: Label,
    duration_s: float,
    where: str,
) -> Marked:
    """What `events` (t [s], text) of an episode of `duration_s` mean, together with those that the
    table of labels has. Raises RecordingError for a failure or retry that lies outside of it;
    `where` names the file."""
    of: dict[str, list[tuple[float, str]]] = {"failure": [], "retry": [], "ignore": [], "": []}
    found = [(t, word, meaning.kind_of(word)) for t, word in events]
    found += [(t, word, "failure") for t, word in label.failures]
    found += [(t, word, "retry") for t, word in label.retries]
    for t, word, kind in sorted(found):
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
    if s.folder:
        return source.path.resolve().parent.name
    where, text = "a path", source.path.resolve().as_posix()
    if s.key is not None:
        words = (word.strip() for _, word in source.words(s.key, s.topic))
        where, text = f"`{s.key}`", next((w for w in words if w.lower() not in ("", "nan")), "")
        if not text:
            raise RecordingError(
                f"{source.path}: wanted a session in `{s.key}`, found no word there"
            )
        if s.pattern is None:
            return text
    found = re.search(s.pattern or "", text)
    if found is None:
        raise RecordingError(
            f"{source.path}: wanted {where} in which session.pattern ({s.pattern}) finds the "
            f"session, found {text!r}: mend the pattern"
        )
    return found[1]


def _events(times: Times, words: Sequence[str], origin: int) -> list[tuple[float, str]]:
    return [((t - origin) / NS, w) for t, w in zip(times.tolist(), words, strict=True)]


def outcome_of(source: Source, o: Outcome, label: Label, notes: list[str]) -> bool | None:
    """Whether the task ended well; None where nothing says. What the table of labels says counts
    before what the file says. `notes` then say where the two differ. Raises NoSuchKeyError,
    RecordingError."""
    said: bool | None = None
    if o.folder:
        said = _meant(o, source.path.resolve().parent.name, "folder", notes)
    elif o.key is not None:
        last: str | None = None
        with if_there("outcome", o.optional, notes):
            for _, word in source.words(o.key, o.topic):
                if word.strip().lower() not in ("", "nan"):  # cells that say nothing
                    last = word
        said = None if last is None else _meant(o, last, "outcome", notes)
    known = label.success
    if label.outcome is not None:
        meant = _meant(o, label.outcome, "outcome", notes)
        if None not in (known, meant) and known != meant:
            raise ConfigError(
                f"{source.path}: the labels give the outcome `{label.outcome}` beside another in "
                "`success`: correct one of them"
            )
        known = meant if known is None else known
    if known is None:
        return said
    if said not in (None, known):
        words = {True: "a success", False: "a failure"}
        notes.append(
            f"outcome: the labels say {words[known]}, the file {words[not known]}: the labels count"
        )
    return known


def _meant(o: Outcome, word: str, what: str, notes: list[str]) -> bool | None:
    """What the word means, and a note where it means nothing."""
    meant = o.of(word)
    if meant is None:
        notes.append(
            f"the {what} `{word}` is none of `success` and `failure` of [outcome]: taken as unknown"
        )
    return meant
