"""Read the wire format of Protocol Buffers, as far as ONNX uses it, without believing what it says.

Google's parser makes objects of everything first, which for a file of millions of empty messages
takes fifty times its size. This reader makes none: it hands out numbers, and views of the file's
own bytes, and stops after a number of fields. (protobuf.dev/programming-guides/encoding)
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

Value = int | memoryview


class FormatError(Exception):
    """What was read is no message, or one beyond what is allowed."""


class Reader:
    """Reads messages, of at most `most` fields altogether."""

    def __init__(self, most: int) -> None:
        self.most = self._left = most

    def fields(self, data: memoryview) -> Iterator[tuple[int, Value]]:
        """Number and value of each field of the message `data`: numbers as they are encoded, bytes,
        texts and messages as views of `data`. Raises FormatError."""
        at, end = 0, len(data)
        while at < end:
            self._left -= 1
            if self._left < 0:
                raise FormatError(f"it has more than {self.most} fields")
            tag = data[at]
            at += 1
            if tag >= 0x80:
                tag, at = _varint(data, at - 1, end)
            kind, number = tag & 7, tag >> 3
            if number == 0:
                raise FormatError("it has a field without a number")
            if kind == 2:
                size, at = _varint(data, at, end)
                if size > end - at:
                    raise FormatError(
                        f"it ends early: {size} bytes are announced, {end - at} follow"
                    )
                yield number, data[at : at + size]
                at += size
            elif kind == 0:
                value, at = _varint(data, at, end)
                yield number, value
            elif kind in (1, 5):
                size = 8 if kind == 1 else 4
                if size > end - at:
                    raise FormatError("it ends in the middle of a number")
                yield number, int.from_bytes(data[at : at + size], "little")
                at += size
            else:
                raise FormatError(f"it has a field of the kind {kind}, which ONNX does not have")

    def numbers(self, value: Value) -> list[int]:
        """The signed whole numbers of a repeated field: one, or a packed row of them."""
        if isinstance(value, int):
            return [_signed(value)]
        found, at = [], 0
        while at < len(value):
            self._left -= 1
            if self._left < 0:
                raise FormatError(f"it has more than {self.most} fields")
            one, at = _varint(value, at, len(value))
            found.append(_signed(one))
        return found


def bytes_of(value: Value) -> memoryview:
    """`value` as the bytes that it has to be. Raises FormatError."""
    if isinstance(value, int):
        raise FormatError("it has a number where bytes belong")
    return value


def text_of(value: Value) -> str:
    """`value` as a text. Raises FormatError where it is none in UTF-8."""
    try:
        return bytes(bytes_of(value)).decode()
    except UnicodeDecodeError:
        raise FormatError("it has a name that is not UTF-8") from None


def int_of(value: Value) -> int:
    """`value` as the signed number that it has to be. Raises FormatError."""
    if not isinstance(value, int):
        raise FormatError("it has bytes where a number belongs")
    return _signed(value)


def count(value: Value) -> int:
    """How many whole numbers a field of a packed row, or of one, holds."""
    if isinstance(value, int):
        return 1
    return int(np.count_nonzero(np.frombuffer(value, np.uint8) < 0x80))


def _varint(data: memoryview, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
        shift += 7
        if shift > 63:
            raise FormatError("it has a number of more than 64 bits")
    raise FormatError("it ends in the middle of a number")


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value
