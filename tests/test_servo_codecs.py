"""Answers of servos, damaged on their way by the thousands, and with `make test-slow` by the
million: nothing that a servo did not say gets through, beyond what a checksum of its length lets
through."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest
from test_dynamixel import answer as dynamixel_answer
from test_feetech_codec import answer as feetech_answer

from headway.drivers.codecs import dynamixel, feetech

# The registers that a loop reads of each servo. Dynamixel's have their header inside, which is
# stuffed. Feetech's protocol stuffs nothing, but no register that is read is FF FF: their high
# bytes are a sign and at most four bits.
DYNAMIXEL_ROW = bytes.fromhex("ff ff fd 00 01 ff ff fd fd ff ff 07 00 ff ff ff 7f 00 00 79 28")
FEETECH_ROW = bytes.fromhex("ff 8f ff 81 ff 04 4a 1e 00 00 00 01 00 ff 81")
DYNAMIXEL = SimpleNamespace(
    decoder=lambda: dynamixel.StatusDecoder(len(DYNAMIXEL_ROW)),
    good=dynamixel_answer(7, 0, DYNAMIXEL_ROW),
    said=dynamixel.Status(7, 0, DYNAMIXEL_ROW),
    bits=16,
    blind=None,
)
FEETECH = SimpleNamespace(
    decoder=lambda: feetech.StatusDecoder(len(FEETECH_ROW)),
    good=feetech_answer(7, FEETECH_ROW),
    said=feetech.Status(7, 0, FEETECH_ROW),
    bits=8,
    blind=0xFF,  # the byte whose loss the sum does not see, see the last test
)
KINDS = pytest.mark.parametrize("kind", [DYNAMIXEL, FEETECH], ids=["dynamixel", "feetech"])


def damaged(kind, rng):
    """A good answer with one bit flipped, or with a byte lost, or some put in."""
    bad, how = bytearray(kind.good), rng.randrange(3)
    at = rng.randrange(len(bad))
    if how == 0:
        bad[at] ^= 1 << rng.randrange(8)
    elif how == 1:
        while bad[at] == kind.blind:
            at = rng.randrange(len(bad))
        del bad[at]
    else:
        bad[at:at] = rng.randbytes(rng.randint(1, 3))
    return bytes(bad)


def false_answers(kind, count, seed):
    """How many answers come of `count` damaged ones that nobody gave. The second whole one after
    each always comes."""
    rng, decoder, false = random.Random(seed), kind.decoder(), 0
    for _ in range(count):
        found = decoder.feed(damaged(kind, rng) + kind.good + kind.good)
        assert found[-1] == kind.said
        false += sum(f != kind.said for f in found)
        decoder.reset()
    return false


def most(kind, count):
    """What a checksum lets through at most, where every damaged answer had one chance."""
    return 3 + 2 * count / 2**kind.bits


@KINDS
def test_damaged_answers_give_nothing_that_nobody_said(kind):
    assert false_answers(kind, 3000, 1) <= most(kind, 3000)


@pytest.mark.slow
@KINDS
def test_a_million_damaged_answers(kind):
    assert false_answers(kind, 1_000_000, 2) <= most(kind, 1_000_000)


@KINDS
def test_a_flipped_bit_of_the_data_never_passes(kind):
    start = len(kind.good) - len(kind.said.data) - kind.bits // 8
    for bit in range(8 * start, 8 * len(kind.good)):
        bad = bytearray(kind.good)
        bad[bit // 8] ^= 1 << bit % 8
        found = kind.decoder().feed(bytes(bad) + kind.good + kind.good)
        assert set(found) == {kind.said}
        assert len(found) >= 1


def test_where_feetechs_sum_is_blind_the_next_servo_goes_missing():
    """A lost FF, with the FF of the next answer's header in the place of the sum, gives a wrong
    value. But then that answer has lost its header: an exchange that lacks a servo is not used."""
    lost = FEETECH.good[:5] + FEETECH.good[6:]
    assert FEETECH.good[5] == 0xFF
    following = [feetech_answer(servo, FEETECH_ROW) for servo in (8, 9)]
    found = FEETECH.decoder().feed(lost + b"".join(following))
    assert [f.id for f in found] == [7, 9]
    assert found[0] != FEETECH.said
    assert FEETECH.decoder().feed(lost) == []  # of the last servo nothing follows
