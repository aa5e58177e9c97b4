"""Read the events, the result and the names of phases and joints of the episode in a recording, and
tell whether it is one.

Recordings of version 0.1 have neither /event nor /result; for them, both are derived from the lines
of /log, in the form in which that version wrote them. Nor do they name their phases.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import msgspec

from headway.edge.control.events import Event, EventKind
from headway.edge.control.result import Result, success_of
from headway.edge.control.tasks.pick_place import PHASES
from headway.errors import RecordingError
from headway.mcaplog import LogLine, Recording
from headway.tools.flags import as_events, flags_of

_KINDS = [kind.value for kind in EventKind]
_RESULT = "result "  # starts the line of version 0.1 that has the result as JSON
_TEXTS = {
    "item held": EventKind.ITEM_HELD,
    "item lost": EventKind.ITEM_LOST,
    "closed on nothing": EventKind.CLOSED_ON_NOTHING,
    "released over the target": EventKind.RELEASED_AT_TARGET,
    "released outside the target": EventKind.RELEASED_ELSEWHERE,
    "done": EventKind.TASK_DONE,
}
_PREFIXES = {
    "guard": EventKind.GUARD,
    "chunk": EventKind.CHUNK,
    "risk": EventKind.SPEED,
    "inject": EventKind.INJECTED,
    "follow": EventKind.MODE,
    "stop": EventKind.MODE,
    "hold": EventKind.MODE,
}


def check_rows(recording: Recording) -> None:
    """Raises RecordingError unless there is /telemetry in the recording: it is of another program,
    or ends before its first rows."""
    if "/telemetry" not in recording.topics:
        raise RecordingError(
            f"{recording.path}: wanted a recording of `headway run` with /telemetry, found "
            f"{', '.join(recording.topics) or 'no topics'}"
            + ("; it ends before the first rows" if recording.truncated else "")
            + ": telemetry of other robots is read by `headway score`"
        )


def phases_of(recording: Recording) -> tuple[str, ...]:
    """Names of the phases that the column `phase` of /telemetry counts, () where there are none.
    Recordings of version 0.1, which had one kind of task, do not name them. Raises RecordingError
    for a list of names that is none."""
    return _names(recording, "phases", PHASES)


def joints_of(recording: Recording) -> tuple[str, ...]:
    """Names of the arm's joints, () where the recording does not name them. Raises RecordingError
    for a list of names that is none."""
    return _names(recording, "joints", ())


def _names(recording: Recording, key: str, unknown: tuple[str, ...]) -> tuple[str, ...]:
    text = recording.metadata.get(key)
    if text is None:
        return unknown
    try:
        return msgspec.json.decode(text, type=tuple[str, ...])
    except msgspec.DecodeError:
        raise RecordingError(
            f"{recording.path}: wanted `{key}` in the metadata as a JSON list of names, found "
            f"{text[:60]!r}: record it with `headway run`"
        ) from None


def phase_name(phases: tuple[str, ...], code: float) -> str:
    """The phase `code` (a whole number) for people, by its name in `phases` where it has one."""
    known = 0 <= code < len(phases)
    return phases[int(code)].replace("_", " ") if known else f"phase {code:.0f}"


def events_of(recording: Recording) -> list[Event]:
    """The events in the order of the file; none if none were recorded. Failures that a person has
    flagged since (`headway.tools.flags`) are among them, in the order of time. Raises
    RecordingError for an /event topic that another program wrote, and as `flags_of`."""
    if "/event" in recording.topics:
        found = [_typed(recording, _known(m), Event) for _, m in recording.decoded("/event")]
    else:
        lines = recording.logs()
        found = [_from_log(line) for line in lines if not line.text.startswith(_RESULT)]
    flags = flags_of(recording.path)
    if not flags:
        return found
    t0_ns = int(recording.rows("/telemetry")["t_ns"][0])
    return sorted([*found, *as_events(flags, t0_ns)], key=lambda e: e.t_ns)


def result_of(recording: Recording) -> Result | None:
    """The result, with `success` as `success_of` gives it; None for a recording that ends before
    the result. Raises RecordingError for a /result topic that another program wrote."""
    found: Result | None = None
    for plain in _results(recording):
        # JSON has no NaN, so it was written as null.
        known = {k: math.nan if v is None and k != "success" else v for k, v in plain.items()}
        found = _typed(recording, known, Result)
    if found is None:
        return None
    # Older versions recorded the station's verdict for interrupted episodes, too.
    return msgspec.structs.replace(found, success=success_of(found.end, found.success))


def _results(recording: Recording) -> Iterator[dict[str, Any]]:
    if "/result" in recording.topics:
        yield from (m for _, m in recording.decoded("/result"))
        return
    for line in recording.logs():
        if line.text.startswith(_RESULT):
            try:
                plain = json.loads(line.text[len(_RESULT) :])
            except ValueError:  # a line of another program that begins like ours
                continue
            if isinstance(plain, dict):
                yield plain


def _known(plain: Any) -> Any:
    """An event as it was decoded; a kind of a later version becomes OTHER."""
    if isinstance(plain, dict) and "kind" in plain and plain["kind"] not in _KINDS:
        return plain | {"kind": EventKind.OTHER.value}
    return plain


def _typed(recording: Recording, plain: Any, kind: type[Any]) -> Any:
    try:
        return msgspec.convert(plain, kind)
    except msgspec.ValidationError as e:
        raise RecordingError(
            f"{recording.path}: wanted {kind.__name__.lower()}s as `headway run` records them, "
            f"found one that is none ({e}): record it again"
        ) from None


def _from_log(line: LogLine) -> Event:
    kind, subject = _TEXTS.get(line.text, EventKind.OTHER), ""
    prefix, _, rest = line.text.partition(": ")
    if kind is EventKind.OTHER and rest and prefix in _PREFIXES:
        kind = _PREFIXES[prefix]
        if kind in (EventKind.GUARD, EventKind.CHUNK):
            subject = rest.partition(":")[0]
        elif kind is EventKind.MODE:
            subject = prefix
    level: Any = line.level if line.level != "unknown" else "info"
    return Event(t_ns=line.t_ns, kind=kind, level=level, text=line.text, subject=subject)
