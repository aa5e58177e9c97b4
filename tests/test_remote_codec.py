"""Messages from anybody: read exactly, or refused; never more memory than said."""

from __future__ import annotations

import contextlib
import struct
import tracemalloc

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from headway.edge.policy.remote import codec
from headway.edge.policy.remote.codec import DEPTH, DTYPES, ITEMS, OVERHEAD, TEXT, decode, encode
from headway.errors import BadMessage

arrays = hnp.arrays(
    st.sampled_from(sorted({d.str for d in DTYPES.values()})),
    hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=20)
    | st.floats(allow_nan=False) | st.binary(max_size=50),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


def array(**changes):
    """An array's map, altered."""
    usual = {
        b"__ndarray__": True,
        b"data": bytes(12),
        b"dtype": "<f4",
        b"shape": [3],
    }
    return msgpack.packb({k: v for k, v in {**usual, **_keys(changes)}.items() if v is not ...})


def sound(value, depth=DEPTH + 1):
    """Nothing but plain data and numbers, and not deep."""
    assert depth >= 0
    if isinstance(value, dict):
        for key, item in value.items():
            assert isinstance(key, (str, bytes))
            sound(item, depth - 1)
    elif isinstance(value, list):
        for item in value:
            sound(item, depth - 1)
    elif isinstance(value, (np.ndarray, np.generic)):
        assert value.dtype.kind in "biuf"
    else:
        assert value is None or type(value) in (bool, int, float, str, bytes)


def _keys(changes):
    return {k.encode(): v for k, v in changes.items()}


@given(arrays)
def test_an_array_comes_back_bit_for_bit(value):
    found = decode(encode({"a": value}))["a"]
    assert (found.dtype, found.shape) == (value.dtype, value.shape)
    assert found.tobytes() == value.tobytes()
    assert not found.flags.writeable


@given(st.dictionaries(st.text(max_size=8), plain, max_size=4))
def test_plain_data_comes_back(value):
    assert decode(encode(value)) == value


def test_arrays_in_any_order_of_memory():
    value = np.arange(24, dtype=np.int16).reshape(4, 6)
    for view in (value.T, value[::2, 1:], value[::-1], np.asfortranarray(value)):
        np.testing.assert_array_equal(decode(encode(view)), view)


@pytest.mark.parametrize("value", [np.float32(1.5), np.int64(-3), np.bool_(True), np.uint8(200)])
def test_numpy_scalars(value):
    found = decode(encode([value]))[0]
    assert found == value
    assert type(found) is type(value)


def test_a_numpy_string_is_text():
    packed = msgpack.packb({b"__npgeneric__": True, b"data": "pick", b"dtype": "<U4"})
    assert decode(packed) == "pick"
    assert decode(encode(np.str_("pick"))) == "pick"


@given(st.binary(max_size=300))
def test_random_bytes_are_data_or_refused(data):
    with contextlib.suppress(BadMessage):
        sound(decode(data))


@given(
    st.dictionaries(st.text(max_size=5), arrays | plain, min_size=1, max_size=3),
    st.data(),
)
def test_altered_messages_are_data_or_refused(value, data):
    packed = bytearray(encode(value))
    for _ in range(data.draw(st.integers(1, 4))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(BadMessage):
        sound(decode(bytes(packed)))


@given(arrays, st.data())
def test_a_truncated_message_is_refused(value, data):
    packed = encode({"a": value, "b": "text"})
    cut = data.draw(st.integers(0, len(packed) - 1))
    with pytest.raises(BadMessage, match="wanted one msgpack message"):
        decode(packed[:cut])


def test_two_messages_in_one_are_refused():
    with pytest.raises(BadMessage, match="ExtraData"):
        decode(encode(1) + encode(2))


@pytest.mark.parametrize(
    "dtype",
    ["|O", "O", "|V8", "V", "<c8", "<M8[s]", "<m8", "<U3", "|S3", "f4,f4", "<f16", "", "x" * 500,
     "int", 7, None, b"<f4", ["<f4"]],
)  # fmt: skip
def test_dtypes_that_are_no_numbers(dtype):
    with pytest.raises(BadMessage, match="numbers or bools"):
        decode(array(dtype=dtype))
    scalar = {b"__npgeneric__": True, b"data": 1, b"dtype": dtype}
    with pytest.raises(BadMessage, match="numbers or bools"):
        decode(msgpack.packb(scalar))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"shape": [4]}, "wanted 16 bytes"),
        ({"shape": [2]}, "wanted 8 bytes"),
        ({"shape": []}, "wanted 4 bytes"),
        ({"shape": [1 << 24] * 8}, "bytes for an array"),
        ({"shape": [-3]}, "sizes from 0"),
        ({"shape": [-1, -3]}, "sizes from 0"),
        ({"shape": [1 << 62]}, "sizes from 0"),
        ({"shape": [3.0]}, "sizes from 0"),
        ({"shape": [True, 3]}, "sizes from 0"),
        ({"shape": [1] * 9 + [3]}, "at most 8 sizes"),
        ({"shape": 3}, "shape as a list"),
        ({"shape": ...}, "shape as a list"),
        ({"shape": [0] + [1 << 24] * 7, "data": b""}, "cannot be"),
        ({"data": "x" * 12}, "data as bytes"),
        ({"data": ...}, "data as bytes"),
        ({"data": [0] * 12}, "data as bytes"),
        ({"dtype": ...}, "numbers or bools"),
    ],
)
def test_arrays_that_lie(changes, says):
    with pytest.raises(BadMessage, match=says):
        decode(array(**changes))


def test_scalars_that_lie():
    for data, dtype in (
        ("1", "<f4"),
        (300, "|u1"),
        (-1, "|u1"),
        ([1], "<f4"),
        (float("inf"), "<i4"),
        (float("nan"), "<i4"),
    ):
        with pytest.raises(BadMessage, match="NumPy scalar"):
            decode(msgpack.packb({b"__npgeneric__": True, b"data": data, b"dtype": dtype}))


@pytest.mark.parametrize(
    "value",
    [np.array([object()]), np.zeros(2, "V4"), np.zeros(2, "c8"), np.array(["a"]), object(), {1, 2},
     2**70, np.datetime64(0, "s")],
)  # fmt: skip
def test_what_is_not_sent(value):
    with pytest.raises(BadMessage, match="to send"):
        encode({"a": value})


def test_extension_types_are_refused():
    for ext in (msgpack.ExtType(5, b"abc"), msgpack.Timestamp(1, 2), msgpack.ExtType(1, b"")):
        with pytest.raises(BadMessage):
            decode(msgpack.packb({"a": ext}))


def test_sizes_are_bounded():
    with pytest.raises(BadMessage, match="at most 100 bytes, found 113"):
        decode(encode(bytes(111)), max_bytes=100)
    with pytest.raises(BadMessage, match="raise max_bytes on both sides"):
        encode(bytes(111), max_bytes=100)
    decode(encode("x" * TEXT))
    with pytest.raises(BadMessage):
        decode(encode("x" * (TEXT + 1)))
    decode(encode([0] * ITEMS))
    with pytest.raises(BadMessage):
        decode(encode([0] * (ITEMS + 1)))
    with pytest.raises(BadMessage):
        decode(encode({str(i): i for i in range(ITEMS + 1)}))


def test_depth_is_bounded():
    def nested(levels, leaf):
        for _ in range(levels):
            leaf = {"a": leaf}
        return leaf

    decode(encode(nested(DEPTH, 1)))
    with pytest.raises(BadMessage, match="levels deep"):
        decode(encode(nested(DEPTH + 1, 1)))
    # an array's own map does not count, it is gone
    decode(encode(nested(DEPTH, np.zeros(3))))


def _bombs():
    full = struct.pack(">I", 0xFFFFFFFF)
    yield "claims four billion items", b"\xdd" + full
    yield "claims four billion pairs", b"\xdf" + full
    yield "claims four gigabytes", b"\xc6" + full
    yield "claims a long text", b"\xdb" + full
    yield "claims a long extension", b"\xc9" + full + b"\x01"
    yield "lists of one list, deep", b"\x91" * (1 << 20)
    yield "maps in keys, deep", b"\x81" * (1 << 20)
    yield "lists that each claim the most", (b"\xdc" + struct.pack(">H", ITEMS)) * 1020
    yield "deep, and the most of lists", (b"\xdc" + struct.pack(">H", ITEMS)) * 1023 + b"\x90" * 999
    inner = b"\xdc" + struct.pack(">H", ITEMS) + b"\x90" * ITEMS
    yield "many empty lists", b"\xdc" + struct.pack(">H", ITEMS) + inner * ITEMS
    floats = b"\xdc" + struct.pack(">H", ITEMS) + (b"\xca" + bytes(4)) * ITEMS
    yield "many floats", b"\xdc" + struct.pack(">H", ITEMS - 1) + floats * (ITEMS - 1)
    texts = b"\xdc" + struct.pack(">H", ITEMS) + b"\xa2\xc3\xa9" * ITEMS
    yield "many texts", b"\xdc" + struct.pack(">H", ITEMS - 1) + texts * (ITEMS - 1)
    # every list but for its last item, which is the next list
    deep = b"\xdc" + struct.pack(">H", ITEMS) + (b"\xca" + bytes(4)) * (ITEMS - 1)
    yield "deep and wide", deep * 1020
    wide = "\U0001f600" + "a" * (TEXT - 4)
    yield "wide text", msgpack.packb([wide] * ITEMS)


@pytest.mark.parametrize("bomb", [pytest.param(b, id=name) for name, b in _bombs()])
def test_a_bomb_needs_no_more_memory_than_said(bomb):
    tracemalloc.start()
    try:
        with contextlib.suppress(BadMessage):
            decode(bomb, max_bytes=len(bomb))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2 * len(bomb) + OVERHEAD


def test_there_is_no_pickle_in_it():
    assert "pickle" not in vars(codec)
    packed = array(dtype="|O", data=b"cposix\nsystem\n(S'true'\ntR.", shape=[1])
    with pytest.raises(BadMessage):
        decode(packed)
