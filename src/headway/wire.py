"""Telemetry rows as protobuf messages of constant length, exact to the bit.

Every column becomes a protobuf field of fixed width (double, float, sfixed64, bool, ...), and an
array column a packed repeated field. All messages of a layout then differ only in the bytes of the
numbers, which are always in the same places. So encoding and decoding copy arrays: NaN payloads,
infinities and signed zeros survive, and a million rows decode in one step. Every protobuf library
can read the messages. Wire format: protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.void]

_LARGEST = 16 << 20  # bytes of a row
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
# numpy kind and size -> (FieldDescriptorProto.Type, wire type, numpy type on the wire)
_SCALARS: dict[str, tuple[int, int, str]] = {
    "f8": (1, _FIXED64, "<f8"),
    "f4": (2, _FIXED32, "<f4"),
    "u8": (6, _FIXED64, "<u8"),
    "u4": (7, _FIXED32, "<u4"),
    "u2": (7, _FIXED32, "<u4"),
    "u1": (7, _FIXED32, "<u4"),
    "b1": (8, _VARINT, "?"),
    "i4": (15, _FIXED32, "<i4"),
    "i2": (15, _FIXED32, "<i4"),
    "i1": (15, _FIXED32, "<i4"),
    "i8": (16, _FIXED64, "<i8"),
}


class Field(NamedTuple):
    """One column: the protobuf field `number` of type `type` (FieldDescriptorProto.Type)."""

    name: str
    number: int
    type: int
    shape: tuple[int, ...]


def dtype_to_json(dtype: np.dtype[np.void]) -> str:
    """`dtype` as the JSON text `[[name, type, shape], ...]`, which `dtype_from_json` turns back
    into the same dtype. Raises ValueError for a dtype that cannot be written."""
    return json.dumps([[name, base.str, list(shape)] for name, base, shape in _columns(dtype)])


def dtype_from_json(text: str) -> np.dtype[np.void]:
    """The dtype that `dtype_to_json` described. Raises ValueError when `text` does not describe
    rows that Headway can write."""
    try:
        columns = [(str(n), str(t), tuple(int(k) for k in s)) for n, t, s in json.loads(text)]
        dtype: np.dtype[np.void] = np.dtype(columns)
    except (TypeError, ValueError, SyntaxError, OverflowError, RecursionError) as e:
        raise ValueError(f"wanted [[name, type, shape], ...], found {text[:80]!r}: {e}") from None
    _columns(dtype)
    return dtype


def _columns(dtype: np.dtype[Any]) -> list[tuple[str, np.dtype[Any], tuple[int, ...]]]:
    """Name, element type and shape of every column. Raises ValueError, which names the column, when
    one cannot be written."""
    if not dtype.names or dtype.fields is None or not dtype.itemsize:
        raise ValueError(f"wanted a structured dtype with named columns, found {dtype}")
    if dtype.itemsize > _LARGEST:
        raise ValueError(f"wanted rows of {_LARGEST} bytes at most, found {dtype.itemsize}")
    out = []
    for name in dtype.names:
        base, shape = dtype.fields[name][0].base, dtype.fields[name][0].shape
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ValueError(f"column {name!r}: wanted letters, digits and _, as protobuf does")
        if f"{base.kind}{base.itemsize}" not in _SCALARS:
            raise ValueError(f"column {name!r}: wanted one of {', '.join(_SCALARS)}, found {base}")
        out.append((name, base, shape))
    if np.dtype([(n, b, s) for n, b, s in out]) != dtype:
        raise ValueError(f"wanted columns without padding, found {dtype}: make it with align=False")
    return out


def _varint(n: int) -> bytes:
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


class RowLayout:
    """Where the columns of rows of `dtype` lie in a protobuf message.

    `wire` is the message as a structured dtype: its columns `#k` hold the tag of field k, which is
    constant (see `template`), and the other columns hold the numbers. Raises ValueError for a dtype
    that cannot be written.
    """

    def __init__(self, dtype: np.dtype[np.void]) -> None:
        self.dtype = dtype
        self.fields: list[Field] = []
        wire: list[tuple[str, Any, tuple[int, ...]]] = []
        tags: dict[str, bytes] = {}
        same = True  # whether numbers have the same bytes in message and row
        for number, (name, base, shape) in enumerate(_columns(dtype), 1):
            kind, wire_type, on_wire = _SCALARS[f"{base.kind}{base.itemsize}"]
            self.fields.append(Field(name, number, kind, shape))
            n = int(np.prod(shape, dtype=np.int64))
            if n == 0:
                continue  # an empty repeated field takes no bytes
            same = same and base == np.dtype(on_wire)
            tag = _varint(number << 3 | (_BYTES if shape else wire_type))
            if shape:
                tag += _varint(n * np.dtype(on_wire).itemsize)
            tags[f"#{number}"] = tag
            wire += [(f"#{number}", np.uint8, (len(tag),)), (name, np.dtype(on_wire), shape)]
        self.wire: np.dtype[np.void] = np.dtype(wire)
        self.template = np.zeros((), self.wire)
        for key, tag in tags.items():
            self.template[key] = np.frombuffer(tag, np.uint8)
        self._tags = tuple(tags)
        self._names = tuple(n for n in self.wire.names or () if not n.startswith("#"))
        places: Mapping[str, tuple[Any, ...]] = self.wire.fields or {}
        spans = [np.arange(places[n][1], places[n][1] + self.wire[n].itemsize) for n in self._names]
        self._at = np.concatenate(spans) if same and spans else None
        self._bytes = self.template.reshape(1).view(np.uint8)

    def encode(self, row: Rows) -> bytes:
        """The message of one row (a scalar or 0-d array of `dtype`)."""
        return self.encode_bytes(row.tobytes())

    def encode_bytes(self, payload: bytes) -> bytes:
        """The message of one row, given as the row's bytes."""
        out = self.template
        if self._at is not None:
            self._bytes[self._at] = np.frombuffer(payload, np.uint8)
            return out.tobytes()
        row = np.frombuffer(payload, self.dtype, 1)[0]
        for name in self._names:
            out[name] = row[name]
        return out.tobytes()

    def decode(self, messages: Sequence[bytes]) -> Rows:
        """Rows (m,) of `dtype`, one per message. Raises ValueError when a message does not have
        this layout."""
        size = self.wire.itemsize
        if any(len(m) != size for m in messages):
            bad = next(i for i, m in enumerate(messages) if len(m) != size)
            raise ValueError(f"message {bad} has {len(messages[bad])} bytes, wanted {size}")
        out = np.zeros(len(messages), self.dtype)
        if size == 0:
            return out
        found = np.frombuffer(b"".join(messages), self.wire)
        for tag in self._tags:
            if not (found[tag] == self.template[tag]).all():
                raise ValueError(f"field {tag[1:]} is not where the row's layout puts it")
        for name in self._names:
            out[name] = found[name]
        return out
