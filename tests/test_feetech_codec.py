"""headway.drivers.codecs.feetech: vectors of the protocol, and damaged bytes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.drivers.codecs import feetech
from headway.drivers.codecs.feetech import Status, StatusDecoder

# Servo 3 at position 2050, turning backwards at 5, as an answer to a read of four registers.
ANSWER = bytes.fromhex("ff ff 03 06 00 02 08 05 80 67")


def answer(servo: int, data: bytes, error: int = 0) -> bytes:
    body = bytes((servo, len(data) + 2, error)) + data
    return b"\xff\xff" + body + bytes((~sum(body) & 0xFF,))


def test_requests_are_those_of_the_manual():
    assert feetech.packet(1, feetech.PING) == bytes.fromhex("ff ff 01 02 01 fb")
    wanted = "ff ff fe 0a 82 38 04 01 02 03 04 05 06 24"
    assert feetech.sync_read(56, 4, range(1, 7)) == bytes.fromhex(wanted)
    assert feetech.read(1, 56, 2) == bytes.fromhex("ff ff 01 04 02 38 02 be")
    assert feetech.write(1, 40, b"\x01") == bytes.fromhex("ff ff 01 04 03 28 01 ce")


def test_a_sync_write_has_a_row_for_each_servo():
    found = feetech.sync_write(42, {1: b"\x00\x08", 2: b"\x01\x08"})
    assert found[:7] == bytes.fromhex("ff ff fe 0a 83 2a 02")
    assert found[7:-1] == b"\x01\x00\x08\x02\x01\x08"
    assert (sum(found[2:]) & 0xFF) == 0xFF
    with pytest.raises(ValueError, match="as many bytes"):
        feetech.sync_write(42, {1: b"\x00", 2: b"\x01\x08"})


def test_signs_have_a_bit_of_their_own():
    assert feetech.signed(0x8005, 15) == -5
    assert feetech.signed(0x0805, 11) == -5
    for value in (-2047, -1, 0, 1, 2047):
        assert feetech.signed(feetech.unsigned(value, 11), 11) == value
    with pytest.raises(ValueError, match="11 bits"):
        feetech.unsigned(2048, 11)


def test_an_answer_is_read_from_pieces_of_any_size():
    for size in range(1, len(ANSWER) + 1):
        decoder = StatusDecoder()
        parts = [ANSWER[i : i + size] for i in range(0, len(ANSWER), size)]
        found = [s for part in parts for s in decoder.feed(part)]
        assert found == [Status(3, 0, bytes.fromhex("02 08 05 80"))]
        assert (decoder.errors, decoder.skipped) == (0, 0)


def test_errors_are_told_in_words():
    (found,) = StatusDecoder().feed(answer(1, b"", 0x24))
    assert found.errors() == "overheated, overload"


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=40), st.integers(0, len(ANSWER) * 8 - 1), st.lists(st.integers(1, 30)),
)  # fmt: skip
def test_damage_gives_no_wrong_value_and_passes_by(garbage, bit, cuts):
    """Garbage, an answer with a flipped bit, then whole ones: no wrong value is given out, and the
    second whole answer at the latest is."""
    damaged = bytearray(ANSWER)
    damaged[bit // 8] ^= 1 << bit % 8
    whole = [answer(i, bytes((i, 8, 0, 0))) for i in (1, 2, 3, 4)]
    stream = garbage + bytes(damaged) + b"".join(whole)
    decoder, found, at = StatusDecoder(most=4), [], 0
    for cut in [*cuts, len(stream)]:
        found += decoder.feed(stream[at : at + cut])
        at += cut
    right = [Status(i, 0, bytes((i, 8, 0, 0))) for i in (1, 2, 3, 4)]
    assert found[-2:] == right[-2:]
    # A checksum of eight bits lets one in 256 of random packets pass: garbage may be one.
    if b"\xff\xff" not in garbage + b"\xff":
        assert [s for s in found if s not in right] in ([], [Status(3, 0, bytes((2, 8, 5, 128)))])
