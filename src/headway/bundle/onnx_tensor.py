"""Tensors in ONNX files: whether the bytes are there that their shape wants."""

from __future__ import annotations

import bisect
import math
import os
import stat
from pathlib import Path, PurePosixPath

from headway.bundle.protobuf import FormatError, Reader, Value, bytes_of, count, int_of, text_of

# Bits of an element by data type (onnx.proto, TensorProto.DataType); 8 is text.
BITS = {
    1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 14: 64,
    15: 128, 16: 16, 17: 8, 18: 8, 19: 8, 20: 8, 21: 4, 22: 4, 23: 4, 24: 8, 25: 2, 26: 2,
    27: 6, 28: 6,
}  # fmt: skip
TEXT, INT64, COMPLEX = 8, 7, (14, 15)
FLOAT8 = frozenset((17, 18, 19, 20))
MOST_AXES = 64
LARGEST = 16 << 30  # bytes of a tensor
_SHORT = 64  # elements of a constant that may be a shape


class External:
    """The files in `folder` that hold data of tensors; `used` and `there` are bytes: of all
    tensors, and of the files. `kinds`: the data types of all tensors, also of those that hold their
    data themselves."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.files: dict[str, int] = {}
        self.used = 0
        self.kinds: set[int] = set()
        self._ranges: dict[str, list[tuple[int, int]]] = {}

    @property
    def there(self) -> int:
        return sum(self.files.values())

    def take(self, name: str, location: str, offset: int, size: int) -> None:
        """The tensor `name` has `size` bytes from `offset` on in the file `location`. Raises
        FormatError for a file outside the folder, too short a one, and where tensors overlap."""
        said, location = location, str(PurePosixPath(location))  # "./a" and "a" are one file
        if location not in self.files:
            self.files[location] = self._size(name, said)
        end = offset + size
        if end > self.files[location]:
            raise FormatError(
                f"tensor {name!r} wants the bytes {offset} to {end} of {location}, which has "
                f"{self.files[location]}"
            )
        self.used += size
        if size:
            self._apart(name, location, (offset, end))

    def _apart(self, name: str, location: str, new: tuple[int, int]) -> None:
        ranges = self._ranges.setdefault(location, [])
        at = bisect.bisect_left(ranges, new)
        if at < len(ranges) and ranges[at] == new:
            return  # tensors with the same content may share it
        beside = ranges[max(at - 1, 0) : at + 1]
        for begin, end in beside:
            if begin < new[1] and new[0] < end:
                raise FormatError(
                    f"tensor {name!r} has the bytes {new[0]} to {new[1]} of {location}, which "
                    f"overlap those of another, {begin} to {end}"
                )
        ranges.insert(at, new)

    def _size(self, name: str, location: str) -> int:
        pure = PurePosixPath(location)
        odd = not location or any(c in location for c in "\\\0:") or ".." in pure.parts
        if odd or pure.is_absolute() or pure == PurePosixPath("."):
            raise FormatError(
                f"tensor {name!r} has its data in {location!r}: wanted a file in the model's folder"
            )
        file = self._folder
        try:
            for part in pure.parts:
                file = file / part
                if file.is_symlink():
                    raise FormatError(
                        f"tensor {name!r} has its data in {location}, which goes through a "
                        "symbolic link: copy the file"
                    )
            found = os.stat(file)
        except (OSError, ValueError):
            raise FormatError(
                f"tensor {name!r} has its data in {location}, and there is no such file"
            ) from None
        if not stat.S_ISREG(found.st_mode):
            raise FormatError(f"tensor {name!r} has its data in {location}, which is no plain file")
        return found.st_size


def tensor(data: memoryview, reader: Reader, external: External) -> tuple[str, list[int] | None]:
    """Check the TensorProto `data`. Returns its name, and its numbers where it is a short one of
    int64 that holds them itself, as shapes are. Raises FormatError."""
    dims: list[int] = []
    kind = location = 0
    name, raw = "", None
    entries: dict[str, str] = {}
    rows: dict[int, list[Value]] = {}
    seen: set[int] = set()
    for number, value in reader.fields(data):
        if number in (2, 8, 9, 14) and number in seen:
            raise FormatError(f"tensor {name!r} has two of its field {number}")
        seen.add(number)
        if number == 1:
            dims += reader.numbers(value)
        elif number == 2:
            kind = int_of(value)
        elif number == 3:
            raise FormatError("it has a tensor in segments, which nothing reads")
        elif number in (4, 5, 6, 7, 10, 11):
            rows.setdefault(number, []).append(value)
        elif number == 8:
            name = text_of(value)
        elif number == 9:
            raw = bytes_of(value)
        elif number == 13:
            _entry(bytes_of(value), reader, entries, name)
        elif number == 14:
            location = int_of(value)
    elements = shape_size(f"tensor {name!r}", dims)
    if kind == TEXT:
        found = len(rows.get(6, ()))
        if location or raw is not None or found != elements:
            raise FormatError(f"tensor {name!r} of {dims} wants {elements} texts, found {found}")
        return name, None
    if kind not in BITS:
        raise FormatError(f"tensor {name!r} has the data type {kind}, which is not known here")
    external.kinds.add(kind)
    size = (elements * BITS[kind] + 7) // 8
    if size > LARGEST:
        raise FormatError(f"tensor {name!r} of {dims} takes {size} bytes, {LARGEST} at most can be")
    if location == 1:
        if raw is not None or rows:
            raise FormatError(f"tensor {name!r} has data of its own and external data")
        _outside(name, size, entries, external)
        return name, None
    if location or entries:
        raise FormatError(f"tensor {name!r} says two things of where its data are")
    if raw is not None:
        if rows or len(raw) != size:
            raise FormatError(f"tensor {name!r} of {dims} wants {size} bytes, found {len(raw)}")
        short = kind == INT64 and elements <= _SHORT
        return name, [_int64(raw, k) for k in range(elements)] if short else None
    _rows(name, dims, kind, elements, rows)
    if kind != INT64 or elements > _SHORT:
        return name, None
    return name, [x for value in rows.get(7, ()) for x in reader.numbers(value)]


def shape_size(what: str, dims: list[int]) -> int:
    """How many elements a tensor of the shape `dims` has; `what` names it in errors. Raises
    FormatError for no shape."""
    if len(dims) > MOST_AXES:
        raise FormatError(f"{what} has {len(dims)} axes, {MOST_AXES} at most can be")
    if any(d < 0 for d in dims):
        raise FormatError(f"{what} has the shape {dims}")
    if any(d > LARGEST for d in dims) or math.prod(max(d, 1) for d in dims) > LARGEST:
        raise FormatError(f"{what} has the absurd shape {dims}")
    return math.prod(dims)


def _entry(data: memoryview, reader: Reader, entries: dict[str, str], name: str) -> None:
    both: dict[int, str] = {}
    for number, value in reader.fields(data):
        if number in (1, 2):
            both[number] = text_of(value)
    key = both.get(1, "")
    if key in entries:
        raise FormatError(f"tensor {name!r} says twice what its {key!r} is")
    entries[key] = both.get(2, "")


def _outside(name: str, size: int, entries: dict[str, str], external: External) -> None:
    numbers = {}
    for key in ("offset", "length"):
        text = entries.get(key, "0" if key == "offset" else str(size))
        if not (text.isascii() and text.isdigit() and len(text) <= 19):
            raise FormatError(f"tensor {name!r} has external data with the {key} {text[:40]!r}")
        numbers[key] = int(text)
    if numbers["length"] != size:
        raise FormatError(
            f"tensor {name!r} wants {size} bytes by its shape, and has {numbers['length']} outside"
        )
    external.take(name, entries.get("location", ""), numbers["offset"], size)


def _rows(
    name: str, dims: list[int], kind: int, elements: int, rows: dict[int, list[Value]]
) -> None:
    """Raises FormatError where the numbers of a tensor, not in raw bytes, are others than its shape
    wants; `rows` are its fields of numbers."""
    if not rows and elements == 0:
        return
    found = 0
    for number, values in rows.items():
        for value in values:
            if number in (4, 10) and not isinstance(value, int):
                width = 4 if number == 4 else 8
                if len(value) % width:
                    raise FormatError(f"tensor {name!r} ends in the middle of a number")
                found += len(value) // width
            else:
                found += count(value)
    wanted = 2 * elements if kind in COMPLEX else elements
    packed = (elements * BITS[kind] + 7) // 8  # 4-bit numbers may lie two in one
    if len(rows) > 1 or found not in ({wanted, packed} if BITS[kind] < 8 else {wanted}):
        raise FormatError(f"tensor {name!r} of {dims} wants {wanted} numbers, found {found}")


def _int64(raw: memoryview, k: int) -> int:
    return int.from_bytes(raw[8 * k : 8 * k + 8], "little", signed=True)
