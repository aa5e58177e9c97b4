"""headway.drivers.codecs.rtde: the bytes of the RTDE guide, and what becomes of damaged ones."""

from __future__ import annotations

import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.drivers.codecs import rtde
from headway.drivers.codecs.rtde import Recipe, RtdeDecoder
from headway.errors import BadMessage

STATE = Recipe(1, ("timestamp", "actual_q", "robot_mode"), ("DOUBLE", "VECTOR6D", "INT32"))


def frame(i, q=0.25):
    """State number `i`, as a controller would send it."""
    return struct.pack(">HBB7di", 64, 85, 1, float(i), *[q] * 6, 7)


def decoder():
    made = RtdeDecoder()
    made.expect(STATE)
    return made


def times(packages):
    return [STATE.unpack(p.payload)[0] for p in packages if p.kind == rtde.DATA]


def test_requests_are_those_of_the_guide():
    assert rtde.request_version() == bytes.fromhex("00 05 56 00 02")
    assert rtde.ask_controller_version() == bytes.fromhex("00 03 76")
    assert rtde.start() == bytes.fromhex("00 03 53")
    asked = rtde.setup_outputs(500.0, ("timestamp", "actual_q"))
    assert asked == bytes.fromhex("00 1d 4f 40 7f 40 00 00 00 00 00") + b"timestamp,actual_q"
    assert rtde.setup_inputs(("input_int_register_0",)) == b"\x00\x17Iinput_int_register_0"


def test_a_package_of_inputs():
    recipe = Recipe(3, ("a", "b", "c"), ("INT32", "DOUBLE", "UINT8"))
    assert recipe.pack(-2, 1.5, 255) == bytes.fromhex(
        "00 11 55 03 ff ff ff fe 3f f8 00 00 00 00 00 00 ff"
    )
    with pytest.raises(ValueError, match="values for a, b, c"):
        recipe.pack(1, 2.0)
    with pytest.raises(ValueError, match="values for a, b, c"):
        recipe.pack(1, 2.0, 256)


def test_answers():
    assert rtde.accepted(b"\1") is True
    assert rtde.accepted(b"\0") is False
    assert rtde.controller_version(struct.pack(">4I", 5, 12, 0, 31)) == (5, 12, 0, 31)
    assert rtde.setup_answer(b"\2DOUBLE,IN_USE") == (2, ("DOUBLE", "IN_USE"))
    said = rtde.text(b"\5hello\4RTDE\2")
    assert (said.text, said.source, said.level) == ("hello", "RTDE", 2)


@pytest.mark.parametrize(
    ("call", "payload"),
    [
        (rtde.accepted, b""), (rtde.accepted, b"\1\1"), (rtde.controller_version, b"\0" * 15),
        (rtde.setup_answer, b""), (rtde.setup_answer, b"\1\xff"), (rtde.text, b"\5hello"),
        (rtde.text, b""), (STATE.unpack, b""), (STATE.unpack, b"\2" + b"\0" * 60),
    ],
)  # fmt: skip
def test_answers_that_are_none_are_refused(call, payload):
    with pytest.raises(BadMessage, match="RTDE: wanted"):
        call(payload)


def test_a_recipe_with_a_type_that_is_none_is_refused():
    with pytest.raises(BadMessage, match="wanted a type of the field q, found 'NOT_FOUND'"):
        Recipe(1, ("q",), ("NOT_FOUND",))
    with pytest.raises(BadMessage, match="wanted types of 2 fields, found 1"):
        Recipe(1, ("q", "p"), ("DOUBLE",))


def test_values_come_by_name():
    values = STATE.unpack(frame(3)[3:])
    first, count = STATE.at["actual_q"]
    assert values[first : first + count] == (0.25,) * 6
    assert values[STATE.at["robot_mode"][0]] == 7


@given(st.lists(st.integers(0, 200), max_size=20))
def test_pieces_of_any_size_are_put_together(cuts):
    data = b"".join(frame(i) for i in range(4)) + rtde.package(rtde.MESSAGE, b"\2hi\1x\3")
    made, out, begun = decoder(), [], 0
    for cut in [*sorted(cuts), len(data)]:
        out += made.feed(data[begun:cut])
        begun = max(begun, cut)
    assert times(out) == [0, 1, 2, 3]
    assert out[-1].kind == rtde.MESSAGE
    assert (made.errors, made.skipped) == (0, 0)


@given(st.binary(max_size=300))
def test_after_garbage_the_second_frame_is_given(garbage):
    made = decoder()
    made.feed(garbage)
    for i in range(1, 12):  # garbage may ask for a package of up to 516 bytes
        out = made.feed(frame(i))
    assert times(out)[-1] in (10, 11)


@pytest.mark.parametrize("bit", range(32))
def test_a_header_with_a_flipped_bit_is_dropped_and_the_second_frame_after_it_is_given(bit):
    """Every bit of size, kind and recipe: all that the protocol itself can tell."""
    made = decoder()
    bad = bytearray(frame(2))
    bad[bit // 8] ^= 1 << bit % 8
    assert times(made.feed(frame(1))) == [1]
    out = times(made.feed(bytes(bad)))
    assert out == []
    out = times(made.feed(frame(3)) + made.feed(frame(4)) + made.feed(frame(5)[:4]))
    assert out == [3, 4]
    assert made.errors == 1


def test_a_header_among_the_values_is_not_taken_for_one():
    """A connection that begins amid a frame whose values look like a header."""
    inside = bytearray(frame(1))
    inside[20:24] = frame(1)[:4]
    made = decoder()
    out = times(made.feed(bytes(inside[10:])) + made.feed(frame(2)) + made.feed(frame(3)))
    assert out == [2, 3]


def test_a_frame_that_was_cut_is_not_filled_up_with_the_next_one():
    for n in range(1, 64):
        made = decoder()
        out = made.feed(frame(1)[:n]) + made.feed(frame(2)) + made.feed(frame(3))
        out += made.feed(frame(4))
        assert set(times(out)) <= {2, 3, 4}, n
        assert {3} <= set(times(out)), n


def test_a_damaged_text_does_not_hold_up_the_data():
    made = decoder()
    text = bytearray(rtde.package(rtde.MESSAGE, b"\2hi\1x\3"))
    text[3] = 200  # the length of its first part
    out = times(made.feed(bytes(text) + frame(1) + frame(2) + frame(3)))
    assert out[-1] in (2, 3)
    assert made.errors == 1


def test_a_new_connection_begins_anew():
    made = decoder()
    made.feed(frame(1)[:30])
    made.reset()
    assert times(made.feed(frame(2))) == [2]


def test_before_a_recipe_is_known_answers_of_any_size_are_taken():
    made = RtdeDecoder()
    out = made.feed(rtde.package(rtde.OUTPUTS, b"\1DOUBLE") + frame(1))
    assert [p.kind for p in out] == [rtde.OUTPUTS, rtde.DATA]


def test_too_large_a_request_is_refused():
    with pytest.raises(ValueError, match="at most 4096"):
        rtde.setup_inputs(["input_double_register_0"] * 200)


def mutated(seed, rounds):
    """Damage frames at random: flips in the header, cuts, garbage before, none. What only a
    checksum could find, which is TCP's here, is not among it: flips in values, and two cuts that
    fit together. Returns how many came out whole, and the time of the last one."""
    rng, made, given, last, kind = random.Random(seed), decoder(), 0, -1.0, 3
    for i in range(rounds):
        good = bytearray(frame(i))
        kind = rng.randrange(4) if kind != 1 else 3
        if kind == 0:
            good[rng.randrange(4)] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del good[rng.randrange(len(good)) :]
        elif kind == 2:
            good[0:0] = rng.randbytes(rng.randrange(1, 20))
        for package in made.feed(bytes(good)):
            if package.kind == rtde.DATA:
                t, *q, mode = STATE.unpack(package.payload)
                assert (q, mode) == ([0.25] * 6, 7)
                assert last < t <= i
                assert t == int(t)
                given, last = given + 1, t
    out = []
    for k in range(12):
        out += made.feed(frame(rounds + k))
    return given, times(out)[-1]


def test_mutated_frames_give_nothing_wrong():
    given, last = mutated(1, 3000)
    assert given > 1000
    assert last in (3010, 3011)


@pytest.mark.slow
def test_a_million_mutated_frames_give_nothing_wrong():
    given, last = mutated(2, 1_000_000)
    assert given > 300_000
    assert last in (1_000_010, 1_000_011)
