"""msgpack with NumPy arrays, in the format of openpi-client. What is received is not trusted.

An array is the map `{b"__ndarray__": True, b"data": bytes, b"dtype": str, b"shape": [int, ...]}`,
a NumPy scalar `{b"__npgeneric__": True, b"data": value, b"dtype": str}`. Pickles, dtypes outside
`DTYPES` and extension types are refused. The limits of the msgpack package keep it from allocating
what a header only claims; `decode` also counts lists and maps, since a million empty lists fit into
a megabyte.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.edge.policy.remote import MAX_BYTES
from headway.errors import BadMessage, Missing

try:
    import msgpack
except ImportError:
    raise Missing(
        "remote policies want the package msgpack, found none: pip install 'headway[remote]'"
    ) from None

DEPTH = 8  # of nested lists and maps
ITEMS = 512  # in a list or map, and lists and maps in a message
TEXT = 4096  # bytes of a string
DIMENSIONS = 8  # of an array
OVERHEAD = 64 << 20  # bytes that decoding may need beyond twice the message

_SIZED = [f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)] + ["f2", "f4", "f8"]
DTYPES: dict[str, np.dtype[Any]] = {
    f"{order}{name}": np.dtype(f"{order}{name}") for name in [*_SIZED, "b1"] for order in "<>|="
}
_ARRAY, _SCALAR = b"__ndarray__", b"__npgeneric__"


class Encoder:
    """Encodes plain data with arrays as one message of at most `max_bytes`. It keeps its buffer for
    the next message, so two threads must not use one encoder at the same time."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._packer = msgpack.Packer(default=_pack)
        self._max_bytes = max_bytes

    def __call__(self, value: Any) -> bytes:
        """The message for `value`. Raises BadMessage for a value that `decode` would refuse because
        of its type or size."""
        try:
            data: bytes = self._packer.pack(value)
        except (TypeError, ValueError, OverflowError) as e:
            raise BadMessage(f"wanted plain data and numeric arrays to send, found {e}") from None
        if len(data) > self._max_bytes:
            raise BadMessage(
                f"wanted a message of at most {self._max_bytes} bytes, found {len(data)} to send: "
                "smaller images, or raise max_bytes on both sides"
            )
        return data


def encode(value: Any, max_bytes: int = MAX_BYTES) -> bytes:
    """One message, made by an `Encoder` of its own. Raises BadMessage."""
    return Encoder(max_bytes)(value)


def decode(data: bytes | bytearray | memoryview, max_bytes: int = MAX_BYTES) -> Any:
    """The content of one message; arrays are read-only. Whatever the message contains, this needs
    at most twice its size and `OVERHEAD` of memory. Raises BadMessage for more than `max_bytes`,
    for data that are no such message, and beyond one of the limits above."""
    if len(data) > max_bytes:
        raise BadMessage(f"wanted a message of at most {max_bytes} bytes, found {len(data)}")
    left = ITEMS

    def count(container: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise BadMessage(f"wanted at most {ITEMS} lists and maps in a message, found more")
        return container

    try:
        value = msgpack.unpackb(
            data,
            object_hook=lambda m: _unpack(count(m)),
            list_hook=count,
            ext_hook=_no_extension,
            max_str_len=TEXT,
            max_bin_len=max_bytes,
            max_array_len=ITEMS,
            max_map_len=ITEMS,
            max_ext_len=0,
        )
    except BadMessage:
        raise
    # It is truncated, over a limit, not UTF-8, has a list as a key, or nests too deeply.
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as e:
        raise BadMessage(
            f"wanted one msgpack message, found {len(data)} bytes that are none: "
            f"{type(e).__name__} {str(e)[:100]}"
        ) from None
    _shallow(value, DEPTH)
    return value


def _pack(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        if value.dtype.str not in DTYPES:
            raise TypeError(f"an array of {value.dtype}")
        data = value.data if value.flags.c_contiguous and value.size else value.tobytes()
        return {_ARRAY: True, b"data": data, b"dtype": value.dtype.str, b"shape": value.shape}
    if isinstance(value, np.generic):
        if value.dtype.str not in DTYPES:
            raise TypeError(f"a scalar of {value.dtype}")
        return {_SCALAR: True, b"data": value.item(), b"dtype": value.dtype.str}
    raise TypeError(f"a value of {type(value).__name__}")


def _unpack(found: dict[Any, Any]) -> Any:
    if _ARRAY in found:
        return _array(found)
    if _SCALAR not in found:
        return found
    name, data = found.get(b"dtype"), found.get(b"data")
    if isinstance(data, str) and isinstance(name, str) and name[1:2] == "U":
        return data
    dtype = _dtype(name)
    if not isinstance(data, (bool, int, float)):
        raise BadMessage(f"wanted a number in a NumPy scalar, found {type(data).__name__}")
    if dtype.kind in "iu" and not np.iinfo(dtype).min <= data <= np.iinfo(dtype).max:
        raise BadMessage(f"wanted a value of {dtype} in a NumPy scalar, found {data}")
    try:
        return dtype.type(data)
    except (OverflowError, ValueError) as e:
        raise BadMessage(f"wanted a value of {dtype} in a NumPy scalar: {e}") from None


def _array(found: dict[Any, Any]) -> NDArray[Any]:
    dtype = _dtype(found.get(b"dtype"))
    data, shape = found.get(b"data"), found.get(b"shape")
    if not isinstance(data, bytes):
        raise BadMessage(f"wanted an array's data as bytes, found {type(data).__name__}")
    if not isinstance(shape, list) or len(shape) > DIMENSIONS:
        raise BadMessage(f"wanted an array's shape as a list of at most {DIMENSIONS} sizes")
    if not all(type(n) is int and 0 <= n <= MAX_BYTES for n in shape):
        raise BadMessage(f"wanted sizes from 0 to {MAX_BYTES} in an array's shape, found others")
    want = math.prod(shape) * dtype.itemsize
    if want != len(data):
        raise BadMessage(
            f"wanted {want} bytes for an array {tuple(shape)} of {dtype}, found {len(data)}"
        )
    try:
        array: NDArray[Any] = np.ndarray(shape, dtype, buffer=data)
        return array
    except ValueError as e:  # sizes whose product overflows although one of them is 0
        raise BadMessage(f"wanted an array of shape {tuple(shape)}, which cannot be: {e}") from None


def _dtype(name: Any) -> np.dtype[Any]:
    if not isinstance(name, str) or name not in DTYPES:
        shown = name[:20] if isinstance(name, str) else type(name).__name__
        raise BadMessage(f"wanted an array of numbers or bools, found the dtype {shown!r}")
    return DTYPES[name]


def _no_extension(code: int, data: bytes) -> Any:
    raise BadMessage(f"wanted no msgpack extension types, found type {code}")


def _shallow(value: Any, depth: int) -> None:
    if not isinstance(value, (dict, list)):
        return
    if depth == 0:
        raise BadMessage(f"wanted a message at most {DEPTH} levels deep, found a deeper one")
    for item in value.values() if isinstance(value, dict) else value:
        _shallow(item, depth - 1)
