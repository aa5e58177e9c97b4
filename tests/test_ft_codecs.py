"""Codecs of F/T sensors and of Modbus: vectors from the manuals, and bytes that were damaged on
their way."""

from __future__ import annotations

import random
import struct
from types import SimpleNamespace

import pytest
from device_rig import bota_frame, crc16, ft300_frame, modbus_crc, rdt_record
from hypothesis import assume, given
from hypothesis import strategies as st

from headway.drivers.codecs import bota, modbus_rtu, rdt, robotiq_2f
from headway.drivers.codecs.bota import BotaDecoder
from headway.drivers.codecs.modbus_rtu import AnswerDecoder
from headway.drivers.codecs.rdt import RecordDecoder
from headway.drivers.codecs.robotiq_stream import StreamDecoder

MUTATED = 1_000_000  # frames, of the slow test

FT300 = SimpleNamespace(
    decoder=StreamDecoder,
    # The header's bytes are in each payload.
    make=lambda i: ft300_frame(i % 30000, 0x4E20, 0x204E, -i % 30000, 0x2020, 0x4E4E),
    number=lambda frame: frame.counts[0],
    same=lambda frame, i: frame.counts == (i, 0x4E20, 0x204E, -i % 30000, 0x2020, 0x4E4E),
)
BOTA = SimpleNamespace(
    decoder=BotaDecoder,
    make=lambda i: bota_frame((i, -5.25, 0.5, 1.5, -2.5, 3.25), 0xAAAAAAAA, 0xAA),
    number=lambda frame: int(frame.wrench[0]),
    same=lambda frame, i: (
        frame.wrench == (i, -5.25, 0.5, 1.5, -2.5, 3.25)
        and (frame.t_us, frame.status) == (0xAAAAAAAA, 0xAA)
    ),
)
STREAMS = pytest.mark.parametrize("kind", [FT300, BOTA], ids=["ft300", "bota"])


def flip(piece: bytes, bits) -> bytes:
    made = bytearray(piece)
    for bit in bits:
        made[bit // 8] ^= 1 << bit % 8
    return bytes(made)


def fed(decoder, data: bytes, sizes) -> list:
    """The frames of `data`, fed in pieces of `sizes`, which are repeated."""
    frames, at, i = [], 0, 0
    while at < len(data):
        size = sizes[i % len(sizes)]
        frames += decoder.feed(data[at : at + size])
        at, i = at + size, i + 1
    return frames


def test_vector_of_the_ft300():
    raw = bytes.fromhex("204e640006ffd2040a00ecff1e0072e4")
    (frame,) = StreamDecoder().feed(raw)
    assert frame.wrench == (1.0, -2.5, 12.34, 0.01, -0.02, 0.03)
    assert not frame.saturated
    (frame,) = StreamDecoder().feed(ft300_frame(0, 0, -32768, 0, 0, 0))
    assert frame.saturated


def test_a_bota_frame_and_its_commands():
    (frame,) = BotaDecoder().feed(bota_frame((1, 2, 3, 4, 5, 6), 123456, 2))
    assert (frame.wrench, frame.t_us, frame.status) == ((1, 2, 3, 4, 5, 6), 123456, bota.OVERRANGE)
    assert frame.temperature == 30.0
    assert bota.configure(temperature_compensation=False, baud=460_800) == b"c,0,1,0,4\n"
    assert bota.configure(temperature_compensation=True, baud=115_200) == b"c,1,1,0,2\n"
    assert bota.filters(512, chop=False, fast=False, fir=False) == b"f,512,0,0,1\n"


@pytest.mark.parametrize(
    ("said", "result"),
    [
        (b"r,0,C,0\r\n", 0), (b"\xaa\x00r,0,C,0\n\xaa", 0), (b"r,0,C,12\n", 12),
        (b"r,0,C,0", None), (b"r,0,C,", None), (b"r,0,c,0\n", None), (b"", None), (b"C\n", None),
    ],
)  # fmt: skip
def test_answers_of_bota_are_found_between_frames(said, result):
    assert bota.answer(said, bota.CONFIGURE_MODE) == result


@STREAMS
@given(data=st.data())
def test_a_damaged_frame_is_dropped_and_its_neighbours_are_not(kind, data):
    n, hit = 6, data.draw(st.integers(1, 3))
    pieces = [kind.make(i) for i in range(n)]
    size = 8 * len(pieces[0])
    how = data.draw(st.sampled_from(["bits", "burst", "cut", "insert"]))
    if how == "bits":
        bits = data.draw(st.sets(st.integers(0, size - 1), min_size=1, max_size=3))
        pieces[hit] = flip(pieces[hit], bits)
    elif how == "burst":  # 16 bits in a row at most
        at = data.draw(st.integers(0, size - 16))
        mask = data.draw(st.integers(1, 0xFFFF))
        pieces[hit] = flip(pieces[hit], [at + k for k in range(16) if mask >> k & 1])
    elif how == "cut":
        pieces[hit] = pieces[hit][: data.draw(st.integers(0, size // 8 - 1))]
    else:
        at = data.draw(st.integers(1, size // 8 - 1))
        more = data.draw(st.binary(min_size=1, max_size=40))
        pieces[hit] = pieces[hit][:at] + more + pieces[hit][at:]
    sizes = data.draw(st.lists(st.integers(1, 60), min_size=1, max_size=5))
    decoder = kind.decoder()
    frames = fed(decoder, b"".join(pieces), sizes)
    numbers = [kind.number(f) for f in frames]
    assert all(kind.same(f, i) for f, i in zip(frames, numbers, strict=True))
    assert numbers == [i for i in range(n) if i != hit]
    if pieces[hit]:
        assert decoder.errors == 1


@STREAMS
@given(noise=st.binary(max_size=100), begin=st.integers(0, 36))
def test_noise_and_half_a_frame_before_the_stream_are_skipped(kind, noise, begin):
    decoder = kind.decoder()
    cut = min(begin, 15) + 1
    assume(not noise.endswith(kind.make(0)[:cut]))  # which would make the frame a whole one
    first = kind.make(0)[cut:]
    frames = decoder.feed(noise + first + kind.make(1) + kind.make(2))
    assert [kind.number(f) for f in frames] == [1, 2]
    assert decoder.errors == 0  # it was not in step yet


@STREAMS
def test_after_a_reset_half_a_frame_is_forgotten(kind):
    decoder = kind.decoder()
    decoder.feed(kind.make(1)[:10])
    decoder.reset()
    assert [kind.number(f) for f in decoder.feed(kind.make(2))] == [2]


@pytest.mark.slow
@STREAMS
def test_a_million_mutated_frames(kind):
    """Errors that a 16-bit checksum always finds: not one wrong value. Bytes lost or doubled, which
    move all that follows, pass it once in 65 536 times, and no more often."""
    rng = random.Random(5)
    wrong = passed = 0
    for shifts in (False, True):
        decoder, good = kind.decoder(), kind.make(7)
        for _ in range(MUTATED // 2):
            if shifts:
                at = rng.randrange(len(good))
                bad = good[:at] + rng.randbytes(2) * rng.randrange(2) + good[at + 1 :]
            else:
                bad = flip(good, rng.sample(range(8 * len(good)), rng.randint(1, 3)))
            frames = decoder.feed(bad + good + good)
            assert kind.same(frames[-1], 7)
            false = sum(not kind.same(f, 7) for f in frames)
            if shifts:
                passed += false
            else:
                wrong += false
    assert wrong == 0
    assert passed < 60


def test_records_are_taken_from_whole_datagrams():
    decoder = RecordDecoder()
    counts = (1, -2, 3, -4, 5, -(2**31))
    two = rdt_record(7, counts, 14, 1 << 31) + rdt_record(8, counts, 16)
    first, second = decoder.feed(two)
    assert (first.seq, first.ft_seq, first.status, first.counts) == (7, 14, 1 << 31, counts)
    assert second.seq == 8
    assert rdt.request(rdt.START) == bytes.fromhex("1234000200000000")
    for odd in (two[:-1], two + b"\0", b""):
        assert decoder.feed(odd) == []
    assert decoder.errors == 2


@given(st.binary(max_size=300))
def test_any_datagram_is_whole_records_or_nothing(data):
    decoder = RecordDecoder()
    records = decoder.feed(data)
    assert len(records) == (len(data) // 36 if len(data) % 36 == 0 else 0)
    assert decoder.errors == (len(data) % 36 != 0)


def page(**texts: str) -> bytes:
    return f"<netft>{''.join(f'<{k}>{v}</{k}>' for k, v in texts.items())}</netft>".encode()


@pytest.mark.parametrize(
    ("units", "force", "torque"),
    [
        (("N", "Nm"), 1000.0, 2000.0), (("kN", "N-mm"), 1.0, 2e6), (("N", "N-m"), 1000.0, 2000.0),
        (("lbf", "lbf-in"), 224.809, 17701.49), (("kgf", "kgf-cm"), 101.972, 20394.3),
    ],
)  # fmt: skip
def test_scales_are_per_newton_whatever_the_sensor_is_set_to(units, force, torque):
    found = rdt.scale(
        page(
            cfgcpf="1000", cfgcpt="2000", scfgfu=units[0], scfgtu=units[1], prodname="Axia80",
            setserial="FT123", setfwver="2.1",
        )
    )  # fmt: skip
    assert found.force == pytest.approx(force, rel=1e-5)
    assert found.torque == pytest.approx(torque, rel=1e-5)
    assert (found.model, found.serial, found.firmware) == ("Axia80", "FT123", "2.1")


@pytest.mark.parametrize(
    ("document", "says"),
    [
        (b"<html>", "no XML"), (b"", "no XML"), (page(cfgcpf="1"), "no <scfgfu>"),
        (page(cfgcpf="x", scfgfu="N"), "no number"), (page(cfgcpf="0", scfgfu="N"), "no sensor"),
        (page(cfgcpf="nan", scfgfu="N"), "no sensor"), (page(cfgcpf="1", scfgfu="dyn"), "unit"),
        (b'<!DOCTYPE x [<!ENTITY a "b">]><netft/>', "declarations"),
    ],
)  # fmt: skip
def test_a_page_that_does_not_say_the_scale_is_refused(document, says):
    with pytest.raises(ValueError, match=says):
        rdt.scale(document)


def test_vectors_of_modbus():
    assert modbus_rtu.read(9, 180, 1).data.hex() == "090300b40001c564"
    assert modbus_rtu.read(9, 180, 6).data.hex() == "090300b4000684a6"
    assert robotiq_2f.activate().data.hex() == "091003e8000306010000000000" + "72e1"
    assert robotiq_2f.ask().data.hex() == "090407d00003b1ce"
    decoder = AnswerDecoder()
    decoder.expect(robotiq_2f.activate())
    (done,) = decoder.feed(bytes.fromhex("091003e800030130"))
    assert (done.registers, done.refused) == ((), 0)


@pytest.mark.parametrize(
    ("answer", "gobj", "wanted", "position"),
    [("090406F90000000D0017AA", 3, 0, 0x0D), ("090406B90000FFBD005C9A", 2, 0xFF, 0xBD)],
)
def test_vectors_of_the_gripper(answer, gobj, wanted, position):
    decoder = AnswerDecoder()
    decoder.expect(robotiq_2f.ask())
    (said,) = decoder.feed(bytes.fromhex(answer))
    status = robotiq_2f.status(said.registers)
    assert (status.gobj, status.wanted, status.position) == (gobj, wanted, position)
    assert (status.active, status.going, status.fault, status.current) == (True, True, 0, 0.0)
    assert status.held == (gobj == 2)


@pytest.mark.parametrize("fault", range(16))
def test_every_fault_has_a_name_and_major_ones_end_the_activation(fault):
    status = robotiq_2f.status((0x3900, fault << 8, 0))
    assert status.fault == fault
    assert status.active == (fault < 0xA)


@given(data=st.data())
def test_the_right_answer_is_found_among_anything(data):
    """An echo of the request, the rest of a stream, another slave's answer."""
    request = modbus_rtu.read(9, 2000, 3, modbus_rtu.INPUT)
    registers = tuple(data.draw(st.lists(st.integers(0, 0xFFFF), min_size=3, max_size=3)))
    answer = modbus_crc(b"\x09\x04\x06" + struct.pack(">3H", *registers))
    before = data.draw(
        st.one_of(
            st.just(request.data),
            st.just(modbus_crc(b"\x0a\x04\x06" + bytes(6))),
            st.binary(max_size=30),
        )
    )
    sizes = data.draw(st.lists(st.integers(1, 20), min_size=1, max_size=4))
    decoder = AnswerDecoder()
    decoder.expect(request)
    answers = fed(decoder, before + answer, sizes)
    assert [a.registers for a in answers] == [registers]


@given(
    bits=st.sets(st.integers(0, 87), min_size=1, max_size=3),
    sizes=st.lists(st.integers(1, 11), min_size=1, max_size=4),
)
def test_a_damaged_answer_is_none(bits, sizes):
    decoder = AnswerDecoder()
    decoder.expect(robotiq_2f.ask())
    bad = flip(modbus_crc(b"\x09\x04\x06" + bytes.fromhex("F90000000D00")), bits)
    for answer in fed(decoder, bad, sizes):
        # Flipped bits may make the head of a refusal, whose five bytes do not pass the checksum.
        pytest.fail(f"took {bad.hex()} for {answer}")
    decoder.expect(robotiq_2f.ask())
    assert len(decoder.feed(modbus_crc(b"\x09\x04\x06" + bytes(6)))) == 1


def test_a_refusal_says_why():
    decoder = AnswerDecoder()
    decoder.expect(modbus_rtu.read(9, 1, 1))
    (answer,) = decoder.feed(modbus_crc(b"\x09\x83\x02"))
    assert (answer.refused, answer.why) == (2, "illegal data address")
    assert modbus_rtu.Answer(refused=99).why == "exception 99"


def test_without_a_request_there_is_no_answer():
    decoder = AnswerDecoder()
    assert decoder.feed(modbus_crc(b"\x09\x04\x06" + bytes(6))) == []
    assert decoder.skipped == 11


def test_the_rig_agrees_with_the_catalogue():
    assert crc16(b"123456789", 0xA001) == b"\x37\x4b"
    assert crc16(b"123456789", 0x8408, 0xFFFF) == b"\x6e\x90"
