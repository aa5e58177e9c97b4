"""Which fields of configuration structs the code reads.

A field that is declared and that nobody reads is a promise that nobody keeps. `Reads` notes every
read of a field while code runs, by struct and not by the field's name alone. What a struct's own
`__post_init__` looks at does not count: to check a value is not to act on it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import msgspec

Field = tuple[type[msgspec.Struct], str]
_COMPREHENSIONS = ("<dictcomp>", "<genexpr>", "<listcomp>", "<setcomp>")


def nested(*roots: type[msgspec.Struct]) -> list[type[msgspec.Struct]]:
    """The structs themselves and those that their fields are made of."""
    found: list[type[msgspec.Struct]] = []
    todo: list[Any] = list(roots)
    while todo:
        kind = todo.pop(0)
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            if kind not in found:
                found.append(kind)
                todo += get_type_hints(kind).values()
        elif get_origin(kind) in (Annotated, Union, UnionType, tuple, list, dict):
            todo += get_args(kind)
    return found


def fields(structs: Iterable[type[msgspec.Struct]]) -> list[Field]:
    """Every field of every struct."""
    return [(s, f.name) for s in structs for f in msgspec.structs.fields(s)]


class Reads:
    """`with Reads(structs) as reads:` notes in `reads.seen` which fields are read in the block."""

    def __init__(self, structs: Iterable[type[msgspec.Struct]]) -> None:
        self.fields = fields(structs)
        self.seen: set[Field] = set()
        self._before: dict[Field, Any] = {}

    def __enter__(self) -> Reads:
        for struct, name in self.fields:
            owner = next(c for c in struct.__mro__ if name in vars(c))
            member = vars(owner)[name]
            if isinstance(member, _Noting):  # of a base class that is in the list too
                continue
            self._before[owner, name] = member
            setattr(owner, name, _Noting(member, name, self.seen))
        return self

    def __exit__(self, *_: object) -> None:
        for (owner, name), member in self._before.items():
            setattr(owner, name, member)


class _Noting:
    """In the place of a field's member descriptor: notes the read, then does it."""

    def __init__(self, member: Any, name: str, seen: set[Field]) -> None:
        self._member, self._name, self._seen = member, name, seen

    def __get__(self, struct: Any, kind: type) -> Any:
        if struct is None:
            return self
        frame = sys._getframe(1)
        while frame.f_back is not None and frame.f_code.co_name in _COMPREHENSIONS:
            frame = frame.f_back  # before Python 3.12 a comprehension has a frame of its own
        if frame.f_code.co_name != "__post_init__":
            self._seen.add((type(struct), self._name))
        return self._member.__get__(struct, kind)

    def __set__(self, struct: Any, value: Any) -> None:
        self._member.__set__(struct, value)


def check_all_read(reads: Reads, unread: Mapping[Field, str]) -> None:
    """Every field was read, but for those of `unread`, each with the reason why it needs no reader.
    An exception for a field that is read, or is none, fails as well."""
    silent = {f for f in reads.fields if f not in reads.seen}
    forgotten = silent - set(unread)
    assert not forgotten, f"declared, and read by nobody: {_names(forgotten)}"
    stale = set(unread) - silent
    assert not stale, f"exceptions that are none: {_names(stale)}"
    assert all(unread.values()), "an exception wants a reason"


def _names(some: Iterable[Field]) -> str:
    return ", ".join(
        sorted(f"{struct.__module__}.{struct.__name__}.{name}" for struct, name in some)
    )
