"""Things that belong together in a table: the columns q1 to q6, or fx, fy and fz."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from headway.tools.map.survey import Entry

_UNIT = re.compile(r"\s*(\[.*\]|\(.*\)|,\s*\S+)\s*$")  # a unit at the end of a name
_NUMBERED = re.compile(r"^(.*?)(\d+)([^\d]*)$")
_AXIS = re.compile(
    r"^(?P<pre>.*?)(?P<what>force|torque|moment|roll|pitch|yaw|pos(?:ition)?|quat|rot|[ftmrq])?"
    r"[_. ]?(?P<axis>[xyzw])?$",
    re.IGNORECASE,
)
_QUANTITY = {
    "force": "f", "torque": "t", "moment": "t", "m": "t", "pos": "", "position": "", "quat": "q",
    "rot": "r",
}  # fmt: skip


@dataclass(frozen=True)
class Group:
    """One entry, or several that are read as one."""

    entries: tuple[Entry, ...]
    name: str  # by which it is recognised: the key, without what differs between the entries
    parts: str = ""  # which quantities the columns are, such as "fxyz txyz"

    @property
    def first(self) -> Entry:
        return self.entries[0]

    @property
    def keys(self) -> list[str]:
        return [e.key for e in self.entries]

    @property
    def topic(self) -> str | None:
        return self.first.topic

    @property
    def width(self) -> int:
        return sum(e.width for e in self.entries)

    @property
    def low(self) -> float:
        return min(e.low for e in self.entries)

    @property
    def high(self) -> float:
        return max(e.high for e in self.entries)

    @property
    def largest(self) -> float:
        return max(e.largest for e in self.entries)

    @property
    def unit(self) -> str | None:
        return self.first.unit

    @property
    def labels(self) -> tuple[str, ...] | None:
        return self.first.labels if len(self.entries) == 1 else None

    @property
    def words(self) -> tuple[str, ...]:
        """The words of the name and of the topic, in lower case."""
        text = re.sub(r"([a-z])([A-Z])", r"\1 \2", f"{self.topic or ''} {self.name}")
        return tuple(w for w in re.split(r"[^a-z0-9]+", text.lower()) if w)


def groups(entries: Sequence[Entry]) -> list[Group]:
    """All entries with numbers: columns of one value that belong together as one group, and every
    entry on its own."""
    numbers = [e for e in entries if e.width and not e.problem]
    columns = [e for e in numbers if e.width == 1 and e.topic is None]
    alone = (Group((e,), bare(e.key)) for e in numbers)
    return [*_axes(columns), *_numbered(columns), *_pairs(numbers), *alone]


def bare(key: str) -> str:
    """A key without a unit at its end."""
    return _UNIT.sub("", key)


def _numbered(columns: Sequence[Entry]) -> list[Group]:
    """Columns whose names differ in a number: joints."""
    found: dict[tuple[str, str, str | None], list[tuple[int, Entry]]] = {}
    for e in columns:
        if match := _NUMBERED.match(bare(e.key)):
            found.setdefault((match[1], match[3], e.unit), []).append((int(match[2]), e))
    out = []
    for (before, after, _), members in found.items():
        members.sort(key=lambda m: m[0])
        places = [i for i, _ in members]
        if len(members) > 1 and places == list(range(places[0], places[0] + len(places))):
            out.append(Group(tuple(e for _, e in members), f"{before}{after}", "joints"))
    return out


def _pairs(numbers: Sequence[Entry]) -> list[Group]:
    """Positions and quaternions that lie in two arrays, as those of robomimic do."""
    by_key = {e.key: e for e in numbers if e.topic is None}
    out = []
    for key, e in by_key.items():
        turn = by_key.get(f"{key[:-3]}quat") if key.endswith("pos") else None
        if turn is not None and (e.width, turn.width) == (3, 4):
            out.append(Group((e, turn), f"{key[:-3]}pose", "pos quat"))
    return out


def _axes(scalars: Sequence[Entry]) -> list[Group]:
    """Columns whose names differ in an axis: forces with torques, positions with orientations."""
    found: dict[str, dict[str, Entry]] = {}  # what stands before -> quantity and axis -> column
    for e in scalars:
        match = _AXIS.match(bare(e.key))
        if match is None:
            continue
        what, axis = (match["what"] or "").lower(), (match["axis"] or "").lower()
        before = match["pre"].rstrip("_. ")
        if what in ("roll", "pitch", "yaw") and not axis:
            found.setdefault(before, {})[what] = e
        elif axis:
            quantity = _QUANTITY.get(what, what)
            found.setdefault(before, {})[quantity + axis] = e
    out = []
    for before, members in found.items():
        for parts in (
            ("fx", "fy", "fz", "tx", "ty", "tz"),
            ("x", "y", "z", "qx", "qy", "qz", "qw"),
            ("x", "y", "z", "roll", "pitch", "yaw"),
            ("x", "y", "z", "rx", "ry", "rz"),
            ("fx", "fy", "fz"),
        ):
            if all(p in members for p in parts):
                columns = tuple(members[p] for p in parts)
                out.append(Group(columns, before, " ".join(parts)))
    return out
