"""RTDE, the Real-Time Data Exchange of Universal Robots' controllers, protocol version 2, after the
manufacturer's "Real-Time Data Exchange (RTDE) Guide".

A package is a header of 3 bytes, its size (u16, with the header) and its kind (u8), and a payload;
all numbers are big-endian. The host names the fields that it wants to read or to write, and gets
their types: a recipe. Then packages of the kind DATA hold the values of a recipe, nothing else.

RTDE has no checksum: that bytes are right is left to TCP. What can be checked here is checked: each
kind of package has one size or a layout that its size must agree with.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from headway.errors import BadMessage

VERSION = 2
# Kinds of packages.
REQUEST_VERSION, CONTROLLER_VERSION, MESSAGE = 86, 118, 77
OUTPUTS, INPUTS, START, PAUSE, DATA = 79, 73, 83, 80, 85

_HEADER = struct.Struct(">HB")
_SIZES = {REQUEST_VERSION: 4, CONTROLLER_VERSION: 19, START: 4, PAUSE: 4}  # of what one gets
_KINDS = frozenset({*_SIZES, MESSAGE, OUTPUTS, INPUTS, DATA})
_MOST = 4096  # bytes of a package; the guide allows 2048 for the names of fields
_MOST_TEXT = _HEADER.size + 3 + 2 * 255  # bytes of a MESSAGE
_VALUES = {
    "BOOL": "?", "UINT8": "B", "UINT32": "I", "UINT64": "Q", "INT32": "i", "DOUBLE": "d",
    "VECTOR3D": "ddd", "VECTOR6D": "dddddd", "VECTOR6INT32": "iiiiii", "VECTOR6UINT32": "IIIIII",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Package:
    """A whole package: its `kind` and `payload`."""

    kind: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Text:
    """A message of the controller for people. `level`: 0 exception, 1 error, 2 warning, 3 info."""

    text: str
    source: str
    level: int


@dataclass(frozen=True)
class Recipe:
    """The layout of the DATA packages number `number`: `names` of the fields and their `types`.
    `at` has for each name its first value's index and how many it has, in what `unpack` returns.
    Raises BadMessage for a type that RTDE does not have."""

    number: int
    names: tuple[str, ...]
    types: tuple[str, ...]
    at: dict[str, tuple[int, int]] = field(init=False, repr=False)
    _layout: struct.Struct = field(init=False, repr=False, compare=False)
    _whole: struct.Struct = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.names) != len(self.types):
            raise BadMessage(
                f"RTDE: wanted types of {len(self.names)} fields, found {len(self.types)}"
            )
        codes, at, n = "", {}, 0
        for name, kind in zip(self.names, self.types, strict=True):
            if kind not in _VALUES:
                raise BadMessage(f"RTDE: wanted a type of the field {name}, found {kind!r}")
            at[name] = (n, len(_VALUES[kind]))
            codes += _VALUES[kind]
            n += len(_VALUES[kind])
        object.__setattr__(self, "at", at)
        object.__setattr__(self, "_layout", struct.Struct(">" + codes))
        object.__setattr__(self, "_whole", struct.Struct(">HBB" + codes))

    @property
    def size(self) -> int:
        """Bytes of a whole package, with its header."""
        return self._whole.size

    def unpack(self, payload: bytes) -> tuple[float, ...]:
        """All values of a DATA payload of this recipe, one after the other. Raises BadMessage for
        one of another recipe or size."""
        if len(payload) != 1 + self._layout.size or payload[0] != self.number:
            raise BadMessage(
                f"RTDE: wanted {1 + self._layout.size} bytes of recipe {self.number}, found "
                f"{len(payload)} of recipe {payload[0] if payload else 'none'}"
            )
        return self._layout.unpack_from(payload, 1)

    def pack(self, *values: float) -> bytes:
        """A DATA package with `values`, one after the other. Raises ValueError for another count,
        or a value that its type cannot hold."""
        try:
            return self._whole.pack(self._whole.size, DATA, self.number, *values)
        except struct.error as e:
            raise ValueError(f"values for {', '.join(self.names)}: {e}") from None


def package(kind: int, payload: bytes = b"") -> bytes:
    """The bytes of a package. Raises ValueError for one that is too large."""
    size = _HEADER.size + len(payload)
    if size > _MOST:
        raise ValueError(f"an RTDE package has at most {_MOST} bytes, found {size}: ask for less")
    return _HEADER.pack(size, kind) + payload


def request_version() -> bytes:
    """Ask for protocol version 2; the answer is one byte, 1 for yes."""
    return package(REQUEST_VERSION, struct.pack(">H", VERSION))


def ask_controller_version() -> bytes:
    """Ask for the version of the controller's software; see `controller_version`."""
    return package(CONTROLLER_VERSION)


def setup_outputs(hz: float, names: Sequence[str]) -> bytes:
    """Ask to be sent the fields `names` at `hz` [Hz]; see `setup_answer`."""
    return package(OUTPUTS, struct.pack(">d", hz) + ",".join(names).encode("ascii"))


def setup_inputs(names: Sequence[str]) -> bytes:
    """Ask to write the fields `names`; see `setup_answer`."""
    return package(INPUTS, ",".join(names).encode("ascii"))


def start() -> bytes:
    """Ask to begin to send data; the answer is one byte, 1 for yes."""
    return package(START)


def accepted(payload: bytes) -> bool:
    """Whether an answer of one byte says yes. Raises BadMessage for another size."""
    if len(payload) != 1:
        raise BadMessage(f"RTDE: wanted an answer of 1 byte, found {len(payload)}")
    return payload[0] == 1


def controller_version(payload: bytes) -> tuple[int, int, int, int]:
    """Major, minor, bugfix and build number of the controller's software. Raises BadMessage."""
    if len(payload) != 16:
        raise BadMessage(f"RTDE: wanted a version of 16 bytes, found {len(payload)}")
    major, minor, bugfix, build = struct.unpack(">4I", payload)
    return major, minor, bugfix, build


def setup_answer(payload: bytes) -> tuple[int, tuple[str, ...]]:
    """Number of a recipe and the types of its fields, among which `NOT_FOUND` and, for inputs,
    `IN_USE` mean a refusal. Raises BadMessage."""
    if not payload:
        raise BadMessage("RTDE: wanted a recipe, found an empty answer")
    try:
        names = payload[1:].decode("ascii")
    except UnicodeDecodeError:
        raise BadMessage("RTDE: wanted the types of a recipe, found bytes that are none") from None
    return payload[0], tuple(names.split(",")) if names else ()


def text(payload: bytes) -> Text:
    """What a MESSAGE says. Raises BadMessage."""
    if not _is_text(payload):
        raise BadMessage(f"RTDE: wanted a text message, found {len(payload)} other bytes")
    n = payload[0]
    said, source = payload[1 : 1 + n], payload[2 + n : -1]
    return Text(said.decode(errors="replace"), source.decode(errors="replace"), payload[-1])


def _is_text(payload: bytes) -> bool:
    """Whether the lengths in a MESSAGE agree with its size."""
    if len(payload) < 3 or len(payload) < payload[0] + 3:
        return False
    return len(payload) == payload[0] + payload[1 + payload[0]] + 3


class RtdeDecoder:
    """Turns what a controller sends into packages. `expect` tells it the recipe of the data, so
    that it knows their size; answers to setups do not come any more then.

    Where a header cannot be right, or what lies behind its package is none, it goes on byte by byte
    until one is that the next header confirms, so bytes of values are not taken for a header. A
    package with nothing behind it yet is given at once."""

    def __init__(self) -> None:
        self.errors = 0
        self.skipped = 0
        self._bytes = bytearray()
        self._lost = False  # where a package begins is not known
        self._recipe: tuple[int, int] | None = None  # number and size of a whole package

    def expect(self, recipe: Recipe | None) -> None:
        """From now on, data of `recipe` come, and of no other; None: of any."""
        self._recipe = None if recipe is None else (recipe.number, recipe.size)

    def reset(self) -> None:
        self._bytes.clear()
        self._lost = False

    def feed(self, data: bytes) -> list[Package]:
        held, out, i = self._bytes, list[Package](), 0
        held += data
        while len(held) - i >= _HEADER.size:
            size = self._plausible(i)
            if size < 0:
                self._skip()
                i += 1
                continue
            end = i + size
            behind = len(held) - end
            if behind < 0 or (self._lost and behind <= _HEADER.size):
                break
            kind, payload = held[i + 2], bytes(held[i + _HEADER.size : end])
            confirmed = behind < _HEADER.size or self._plausible(end) >= 0
            if not confirmed or (kind == MESSAGE and not _is_text(payload)):
                self._skip()
                i += 1
                continue
            self._lost = False
            out.append(Package(kind, payload))
            i = end
        del held[:i]
        return out

    def _skip(self) -> None:
        """No package begins at this byte: count it as skipped."""
        self.errors += not self._lost
        self._lost = True
        self.skipped += 1

    def _plausible(self, i: int) -> int:
        """The size of the package that begins at `i`, -1 where none can."""
        held = self._bytes
        size, kind = held[i] << 8 | held[i + 1], held[i + 2]
        if kind not in _KINDS or not _HEADER.size < size <= _MOST:
            return -1
        if size != _SIZES.get(kind, size) or (kind == MESSAGE and size > _MOST_TEXT):
            return -1
        if self._recipe is None:
            return size
        if kind in (OUTPUTS, INPUTS):
            return -1
        if kind == DATA:
            number, wanted = self._recipe
            if size != wanted or (len(held) > i + 3 and held[i + 3] != number):
                return -1
        return size
