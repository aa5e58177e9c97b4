"""The mapping file: what was guessed, each guess marked, and what only a person can tell as lines
that are commented out."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from headway.tools.map.guess import Guess
from headway.tools.map.survey import LIST, Entry, Survey

COLUMN = 40  # where comments begin
SUCCESS = ("success", "succeeded", "successful", "ok", "done", "pass", "true", "1", "1.0")
OUTCOMES = ("success", "is_success", "task_success", "outcome", "label", "result")
SESSIONS = ("session", "operator", "date", "day", "collector", "building", "env")
EVENTS = ("event", "events", "fault", "error", "status", "message", "data")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")  # what a comment in TOML may not have
TIMES = re.compile(r"time|start|stamp|_t$")  # names of times of events
# Fields that most files could have: what a person has to know to map them.
WANTS = {
    "q": ['key = "..."               # joint positions', 'unit = "rad"'],
    "wrench": [
        'key = "..."               # forces and torques: Fx, Fy, Fz, Mx, My, Mz',
        'frame = "tcp"             # the axes that they are along: tcp or base',
        'force = "on tool"         # whose sign they have: on tool or by tool',
        "# tare_s = 0.5            # where weight and bias are in them and nothing is touched then",
    ],
    "tcp": [
        'key = "..."               # the pose of the tool in the base frame',
        'layout = "xyz quat xyzw"  # or xyz quat wxyz, xyz rpy, xyz rotvec',
    ],
    "width": ['key = "..."               # the opening of the gripper', 'unit = "m"'],
}


def mapping_text(
    found: Survey, taken: Sequence[Guess], others: Sequence[Guess], refused: Mapping[str, str]
) -> str:
    """The mapping file for what was `found`: sections for the guesses `taken`, and as comments the
    `others` and the fields that were `refused`, each with the reason."""
    lines = [
        f"# A first mapping for {found.path.name}, made by `headway map`: read what is marked as a",
        "# guess, and uncomment what you know. docs/score.md explains every key.",
        'robot = ""',
        'task = ""',
        "",
        *_time(found, taken),
    ]
    for guess in taken:
        lines += ["", *_section(guess)]
        if guess.field == "wrench":
            lines.append(
                "# tare_s = 0.5  # where weight and bias are in it and nothing is touched at first"
            )
        rest = [g for g in others if g.field == guess.field]
        lines += [f"# or: {_place(g)}" for g in rest[:3]]
    for field, why in refused.items():
        lines += ["", f"# {field} cannot be used as guessed: {why}"]
        guess = next(g for g in others if g.field == field)
        lines += [f"# {line}" for line in _section(guess)]
    mapped = {g.field for g in taken} | set(refused)
    covered = {"wrench"} if "force_norm" in mapped else set()
    for field, wants in WANTS.items():
        if field not in mapped | covered:
            hint = _gripper(found.entries) if field == "width" else []
            lines += ["", f"# [channels.{field}]", *(f"# {w}" for w in hint or wants)]
    lines += ["", *_outcome(found.entries), *_session(found), *_events(found.entries)]
    lines += _left(found, taken)
    return "\n".join(map(_one_line, lines)).rstrip() + "\n"


def _one_line(text: str) -> str:
    """`text` as one line of TOML: names of files and keys may have characters that a comment may
    not have, which become spaces, or that are no text, which become escapes."""
    shown = _CONTROL.sub(" ", text)
    return shown.encode("utf-8", "backslashreplace").decode()


def _time(found: Survey, taken: Sequence[Guess]) -> list[str]:
    if found.is_bag:
        lacking = sorted({g.topic or "" for g in taken} & set(found.stampless))
        if found.stamp and not lacking:
            return ["[time]", _line("key", found.stamp, "")]
        why = f"{', '.join(lacking)} has none" if lacking else "messages have none"
        return [
            f"# [time]: the log's times are taken. Stamps in messages would be better, but {why}.",
            f'# key = "{found.stamp or "header.stamp"}"',
        ]
    if not found.stamp:
        why = "guess: no column has stamps; the rate of the samples"
        return ["[time]", _line("rate_hz", found.time.rate_hz, why)]
    lines = ["[time]", _line("key", found.stamp, "")]
    if found.time.unit is not None:
        lines.append(_line("unit", found.time.unit, "guess: so the rate is one of a robot"))
    return lines


def _section(guess: Guess) -> list[str]:
    keys = guess.group.keys
    lines = [f"[channels.{guess.field}]", _line("key", keys[0] if len(keys) == 1 else keys, "")]
    if guess.topic is not None:
        lines.append(_line("topic", guess.topic, ""))
    if guess.group.first.time is not None:
        lines.append(_line("time", guess.group.first.time, "guess: by its name and its length"))
    return lines + [_line(key, value, why) for key, (value, why) in guess.lines.items()]


def _place(guess: Guess) -> str:
    where = f" in {guess.topic}" if guess.topic is not None else ""
    return ", ".join(guess.group.keys) + where


def _line(key: str, value: Any, why: str) -> str:
    shown = json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # as TOML wants it
    text = f"{key} = {shown}"
    return f"{text:<{COLUMN}} # {why}" if why else text


def _outcome(entries: Iterable[Entry]) -> list[str]:
    """The section [outcome], where a key is called so."""
    named = [(_name(e), e) for e in entries if _name(e) in OUTCOMES and not e.problem]
    for name, e in sorted(named, key=lambda n: OUTCOMES.index(n[0])):
        flag = e.word in ("True", "False") or (e.width == 1 and 0 <= e.low <= e.high <= 1)
        if e.width > 1 or not (e.word or e.width):
            continue
        if flag and "success" in name:
            words: list[Any] = [True]
        elif e.word:
            words = [e.word if e.word.lower() in SUCCESS else "success"]
        else:
            continue
        lines = ["[outcome]", _line("key", e.key, "")]
        if e.topic is not None:
            lines.append(_line("topic", e.topic, ""))
        why = f"guess: the words of a success; found {e.word!r}" if e.word else "guess"
        return [*lines, _line("success", words, why), "optional = true", ""]
    return [
        "# [outcome]  # how the task ended: by a key, by the file's folder, or by [labels]",
        "# folder = true",
        '# success = ["success"]',
        "",
    ]


def _session(found: Survey) -> list[str]:
    """A hint for [session]."""
    e = next((e for e in found.entries if _name(e) in SESSIONS and e.word), None)
    where = "folder = true" if e is None else _line("key", e.key, f"such as {e.word!r}")
    return [
        "# [session]  # what belongs together, as the episodes of one day or cell",
        f"# {where}",
        "",
    ]


def _events(entries: Iterable[Entry]) -> list[str]:
    """A hint for [events]."""
    entries = list(entries)
    times = [e for e in entries if e.kind == LIST and TIMES.search(_name(e))]
    if times:
        near = [e.key for e in entries if e.kind == "words" and times[0].key.startswith(e.key)]
        return [
            "# [events]  # or [phase] with `starts`, where these are the times of phases",
            f"# {_line('times', times[0].key, '')}",
            f"# {_line('labels', near[0] if near else '...', '')}",
            '# failures = ["..."]  # the words of what PRO is to foresee',
            "",
        ]
    named = [e for e in entries if e.word and _name(e) in EVENTS]
    if not named:
        return [
            "# [labels]  # outcomes and events that the file does not hold",
            '# file = "labels.csv"',
            "",
        ]
    e = named[0]
    topic = [f"# {_line('topic', e.topic, '')}"] if e.topic is not None else []
    return [
        f"# [events]  # words over time, such as {e.word[:40]!r}",
        f"# {_line('text', e.key, '')}",
        *topic,
        '# failures = ["..."]  # the words of what PRO is to foresee',
        "",
    ]


def _gripper(entries: Iterable[Entry]) -> list[str]:
    """Where the opening of the gripper may be, in a unit that nobody can tell."""
    for e in entries:
        labels = [n for n in e.labels or () if "gripper" in n.lower()]
        scalar = e.width == 1 and "gripper" in e.key.lower()
        if e.problem or not e.width or not (len(labels) == 1 or scalar):
            continue
        lines = [_line("key", e.key, "")]
        lines += [_line("topic", e.topic, "")] if e.topic is not None else []
        lines += [_line("names", labels, "")] if labels else []
        return [*lines, 'scale = "..."             # metres for each unit of it, and `offset`']
    return []


def _left(found: Survey, taken: Sequence[Guess]) -> list[str]:
    """What is in the file and not mapped, as comments."""
    used = {(g.topic, key) for g in taken for key in g.group.keys}
    rest = [e for e in found.entries if (e.topic, e.key) not in used and e.width and not e.problem]
    if not rest:
        return []
    return ["# Not mapped:", *(f"#   {describe(e)}" for e in rest[:100])]


def describe(e: Entry) -> str:
    """An entry in a line of text."""
    where = f"{e.topic}: " if e.topic is not None else ""
    size = f", {e.width} values" if e.width > 1 else ""
    return f"{where}{e.key}{size}, {values(e)}"


def values(e: Entry) -> str:
    """The range of an entry's values, or an example of its words."""
    if not e.width:
        return repr(e.word[:30]) if e.word else ""
    return f"{e.low:.3g} .. {e.high:.3g}" if e.low <= e.high else "none finite"


def _name(e: Entry) -> str:
    """The last part of a key, without the sign of an attribute."""
    return e.key.lstrip("@").replace("/", ".").rpartition(".")[2].lower()


def is_shown(path: Path) -> str:
    """A path as in a command line."""
    return shlex.quote(str(path))
