"""Values in messages, found by names: of fields, of joints, of keyed items.

A key is a dotted path such as `wrench.force`, `data.3` or `motors.elbow.position`. Each part is a
field, a place in a list, or the name of an item in a list of items that have names. A list that
stands beside a list of names of the same length is labelled by these, as a JointState's `position`
is by its `name`: its values belong to those names, whatever their order.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

# The fields of messages that stand for several numbers, in the order of the numbers.
NESTED = (
    ("x", "y", "z", "w"),
    ("x", "y", "z"),
    ("force", "torque"),
    ("linear", "angular"),
    ("position", "orientation"),
    ("translation", "rotation"),
)
STAMPS = (("sec", "nanosec"), ("seconds", "nanos"), ("sec", "nsec"), ("secs", "nsecs"))
LABELS = ("name", "names", "joint_names")  # fields with the names of the values beside them
ITEM_NAMES = ("name", "key", "id", "joint_name", "joint")  # fields with the name of a list's item


class Found(NamedTuple):
    """The value at a key; `labels` where its elements have names."""

    value: Any
    labels: tuple[str, ...] | None


def at(message: Any, key: str) -> Found:
    """The value at the path `key`. Raises NoFieldError."""
    value, way = message, [message]
    for part in key.split("."):
        value = _step(value, part)
        way.append(value)
    return Found(value, _labels(way[:-1], value))


class NoFieldError(Exception):
    """A message has no such field; `have` are the fields that it has in that place."""

    def __init__(self, have: list[str]) -> None:
        super().__init__()
        self.have = have


def _step(value: Any, part: str) -> Any:
    """The value at one part of a path. Raises NoFieldError."""
    items = as_list(value)
    if items is not None:
        if part.isdigit() and int(part) < len(items):
            return items[int(part)]
        named = {str(get(i, n)): i for i in items for n in ITEM_NAMES if has(i, n)}
        if part in named:
            return named[part]
        raise NoFieldError(list(named) or [f"0..{len(items) - 1}"])
    if not has(value, part):
        raise NoFieldError(fields(value))
    return get(value, part)


def _labels(way: Sequence[Any], value: Any) -> tuple[str, ...] | None:
    """The names for the elements of `value`, from the nearest of the messages around it that has
    some; `way` are these messages, the outermost first."""
    items = as_list(value)
    if not items:
        return None
    for around in reversed(way):
        for field in LABELS:
            if has(around, field):
                names = as_list(get(around, field))
                if not names or len(names) != len(items):
                    continue
                if all(isinstance(n, str) for n in names):
                    return tuple(names)
    return None


def as_list(value: Any) -> list[Any] | None:
    """The items of a list or an array, None for a message or a single value."""
    if isinstance(value, (str, bytes, dict)) or hasattr(value, "__slots__"):
        return None
    try:
        return list(value)
    except TypeError:
        return None


def get(value: Any, name: str) -> Any:
    return value[name] if isinstance(value, dict) else getattr(value, name)


def has(value: Any, name: str) -> bool:
    return name in value if isinstance(value, dict) else hasattr(value, name)


def fields(value: Any) -> list[str]:
    """The fields of a message: JSON, protobuf or ROS."""
    if isinstance(value, dict):
        return list(value)
    if dataclasses.is_dataclass(value):
        return [f.name for f in dataclasses.fields(value) if not f.name.startswith("_")]
    if hasattr(value, "DESCRIPTOR"):
        return [f.name for f in value.DESCRIPTOR.fields]
    if isinstance(value, (list, tuple)) or not hasattr(value, "__slots__"):
        return []
    return [n for n in value.__slots__ if not n.startswith("_")]


def numbers(value: Any) -> list[Any]:
    """The numbers of a field: the field itself, its elements, or its x, y, z, w and the like."""
    if isinstance(value, (int, float, bool, str)):
        return [value]
    for names in NESTED:
        if all(has(value, n) for n in names):
            return [x for n in names for x in numbers(get(value, n))]
    items = as_list(value)
    return [value] if items is None else items
