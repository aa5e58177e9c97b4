"""Emulators of servo buses speak the bytes of the manuals and keep the devices' promises."""

from __future__ import annotations

import math
import random

import pytest
from emulator_rig import ask, line, served, until

from headway.hil.emulators.dynamixel import crc, stuffed, unstuffed
from headway.hil.plant import ServoConfig, ServoPlant

BAUD = 1_000_000


def so101():
    return ServoPlant(ServoConfig(model="so101", q=(0.1, 0.0, 0.0, 0.0, 0.0)))


def sts(id_, instruction, *params):
    body = bytes([id_, len(params) + 2, instruction, *params])
    return b"\xff\xff" + body + bytes([~sum(body) & 0xFF])


def sts_answer(port, packet, size):
    """Error and values of the status that answers `packet`."""
    answer = ask(port, packet, 6 + size)
    assert answer[:3] == b"\xff\xff" + packet[2:3]
    assert answer[-1] == ~sum(answer[2:-1]) & 0xFF
    return answer[4], answer[5:-1]


def sts_word(port, id_, address):
    error, values = sts_answer(port, sts(id_, 2, address, 2), 2)
    return error, int.from_bytes(values, "little")


def sts_write(port, id_, address, *values):
    return sts_answer(port, sts(id_, 3, address, *values), 0)[0]


def goal(position):
    return tuple(position.to_bytes(2, "little"))


@pytest.fixture
def feetech(tmp_path):
    with served("feetech", tmp_path, so101()) as device, line(device, BAUD) as port:
        yield device, port


def test_feetech_answers_the_known_packets(feetech):
    _, port = feetech
    assert ask(port, bytes.fromhex("ffff010201fb"), 6) == bytes.fromhex("ffff010200fc")
    assert sts_word(port, 1, 3) == (0, 777)
    data = ask(port, bytes.fromhex("fffffe0a82380401020304050624"), 60)
    assert [data[n + 2] for n in range(0, 60, 10)] == [1, 2, 3, 4, 5, 6]
    first = int.from_bytes(data[5:7], "little")
    assert first == 2048 + round(0.1 * 4096 / math.tau)
    assert ask(port, sts(0xFE, 1), 36)[2::6] == bytes([1, 2, 3, 4, 5, 6])
    assert ask(port, b"\xff\xff\xff" + sts(1, 1)[2:], 6)[2] == 1  # one FF too many
    damaged = bytearray(sts(1, 1))
    damaged[-1] ^= 1
    assert ask(port, bytes(damaged) + sts(2, 1), 6)[2] == 2


def test_a_feetech_servo_goes_to_its_old_goal_when_its_torque_comes(feetech):
    _, port = feetech
    (_, start) = sts_word(port, 1, 56)
    sts_write(port, 1, 42, *goal(start + 50))
    assert sts_word(port, 1, 56) == (0, start)
    sts_write(port, 1, 40, 1)
    until(lambda: abs(sts_word(port, 1, 56)[1] - start - 50) <= 1)


def test_feetech_keeps_the_limits_the_speed_and_the_centre(feetech):
    _, port = feetech
    (_, start) = sts_word(port, 1, 56)
    sts_write(port, 1, 55, 0)
    sts_write(port, 1, 9, *goal(start - 20), *goal(start + 20))
    sts_write(port, 1, 46, *goal(1000))
    sts_write(port, 1, 40, 1)
    sts_write(port, 1, 42, *goal(start + 500))
    until(lambda: abs(sts_word(port, 1, 56)[1] - start - 20) <= 1)
    until(lambda: sts_word(port, 1, 58)[1] == 0)
    assert sts_word(port, 1, 56)[1] <= start + 21
    sts_write(port, 2, 40, 128)
    assert sts_word(port, 2, 56) == (0, 2048)
    assert ask(port, sts(1, 5) + sts(2, 1), 12)[4::6] == bytes([0, 0])
    sts_write(port, 3, 5, 9)  # a new id
    assert ask(port, sts(3, 1) + sts(9, 1), 6)[2] == 9


def test_a_feetech_servo_keeps_through_a_restart_what_was_written_without_its_lock(tmp_path):
    faults = [{"at_s": 1.0, "kind": "restart"}]
    with served("feetech", tmp_path, so101(), faults=faults) as device, line(device, BAUD) as port:
        sts_write(port, 1, 55, 0)
        sts_write(port, 1, 11, *goal(3000))
        sts_write(port, 2, 11, *goal(3000))  # its lock is on
        sts_write(port, 1, 3, 1, 1)  # the model is only read
        assert [sts_word(port, n, 11) for n in (1, 2)] == [(0, 3000), (0, 3000)]
        assert sts_answer(port, sts(1, 2, 55, 1), 1) == (0, b"\0")
        until(lambda: sts_answer(port, sts(1, 2, 55, 1), 1) == (0, b"\1"))  # on again
        assert [sts_word(port, n, 11) for n in (1, 2)] == [(0, 3000), (0, 4095)]
        assert sts_word(port, 1, 3) == (0, 777)


def test_feetech_servos_say_what_is_wrong_and_let_go(tmp_path):
    wrong = {"voltage": (1, 1), "angle": (2, 1), "heat": (4, 0), "current": (8, 0)}
    wrong["overload"] = (32, 0)  # bit of the status, and whether the torque stays
    faults = [
        {"at_s": 1.0, "kind": kind, "for_s": 0.3, "target": n} for n, kind in enumerate(wrong, 1)
    ]
    with served("feetech", tmp_path, so101(), faults=faults) as device, line(device, BAUD) as port:
        for id_ in range(1, 7):
            sts_write(port, id_, 40, 1)
        device.wait_for("fault", "overload")
        for id_, (bit, torque) in enumerate(wrong.values(), 1):
            until(lambda id_=id_: sts_answer(port, sts(id_, 1), 0)[0])
            assert sts_answer(port, sts(id_, 2, 40, 1), 1) == (bit, bytes([torque]))
        assert sts_answer(port, sts(6, 2, 40, 1), 1) == (0, b"\x01")
        for id_ in range(1, 6):
            until(lambda id_=id_: sts_write(port, id_, 40, 1) == 0)
            assert sts_answer(port, sts(id_, 2, 40, 1), 1) == (0, b"\x01")


def test_a_silent_feetech_servo_leaves_a_gap_and_a_dead_host_is_noted(tmp_path):
    faults = [{"at_s": 0.0, "kind": "silent", "target": 2}]
    with served("feetech", tmp_path, so101(), faults=faults) as device:
        with line(device, BAUD) as port:
            device.wait_for("fault", "silent")
            data = ask(port, bytes.fromhex("fffffe0a82380401020304050624"), 50)
            assert [data[n + 2] for n in range(0, 50, 10)] == [1, 3, 4, 5, 6]
            sts_write(port, 1, 40, 1)
        device.wait_for("held", "no watchdog")
        assert "disconnected" in [e.event for e in device.journal()]


def dxl(id_, instruction, *params):
    body = stuffed(bytes([instruction, *params]))
    packet = b"\xff\xff\xfd\x00" + bytes([id_]) + (len(body) + 2).to_bytes(2, "little") + body
    return packet + crc(packet)


def dxl_answer(port, packet, size):
    """Error and values of the status that answers `packet`."""
    answer = ask(port, packet, 11 + size)
    assert answer[:4] == b"\xff\xff\xfd\x00"
    assert answer[4] == packet[4]
    assert answer[7] == 0x55
    assert crc(answer[:-2]) == answer[-2:]
    return answer[8], answer[9:-2]


def dxl_read(port, id_, address, size=4):
    error, values = dxl_answer(port, dxl(id_, 2, address, 0, size, 0), size)
    return error, int.from_bytes(values, "little")


def dxl_write(port, id_, address, value, size=1):
    return dxl_answer(port, dxl(id_, 3, address, 0, *value.to_bytes(size, "little")), 0)[0]


def test_the_checksum_and_the_stuffing_of_protocol_2_are_those_of_the_manual():
    assert dxl(1, 1) == bytes.fromhex("fffffd00010300" + "01194e")
    assert crc(b"123456789") == b"\xe8\xfe"
    assert stuffed(b"\x03\xff\xff\xfd\x00") == b"\x03\xff\xff\xfd\xfd\x00"
    assert unstuffed(b"\x03\xff\xff\xfd\xfd\x00") == b"\x03\xff\xff\xfd\x00"


def test_dynamixel_answers_moves_and_stops_by_its_watchdog(tmp_path):
    plant = so101()
    with served("dynamixel", tmp_path, plant) as device, line(device, BAUD) as port:
        error, values = dxl_answer(port, dxl(1, 1), 3)
        assert error == 0
        assert values[:2] == b"\x24\x04"
        (_, start) = dxl_read(port, 1, 132)
        assert start == 2048 + round(0.1 * 4096 / math.tau)
        assert dxl_write(port, 1, 116, start + 300, 4) == 0
        assert dxl_write(port, 1, 64, 1) == 0
        assert dxl_read(port, 1, 116) == (0, start)  # the torque keeps its place
        assert dxl_write(port, 1, 112, 20, 4) == 0  # slowly
        assert dxl_write(port, 1, 116, start + 1000, 4) == 0
        assert dxl_write(port, 1, 98, 5) == 0
        device.wait_for("stopped", "bus watchdog")
        assert dxl_read(port, 1, 98, 1) == (0, 255)
        (_, there) = dxl_read(port, 1, 132)
        assert start - 5 < there < start + 900
        assert dxl_write(port, 1, 116, start, 4) == 4
        assert dxl_write(port, 1, 98, 0) == 0
        assert dxl_write(port, 1, 116, start, 4) == 0
        assert dxl_write(port, 1, 11, 3) == 7
        assert dxl_write(port, 1, 132, 0, 4) == 7
        assert dxl_answer(port, dxl(1, 0x77), 0)[0] == 2


def test_a_dynamixel_ignores_a_far_offset_in_mode_3_and_turns_the_other_way(tmp_path):
    plant = so101()
    with served("dynamixel", tmp_path, plant) as device, line(device, BAUD) as port:
        (_, start) = dxl_read(port, 1, 132)
        for mode, offset, added in ((3, 1024, 1024), (3, 1025, 0), (4, 1025, 1025)):
            assert dxl_write(port, 1, 11, mode) == 0
            assert dxl_write(port, 1, 20, offset, 4) == 0
            assert dxl_read(port, 1, 132) == (0, start + added)
        assert dxl_write(port, 1, 10, 1) == 0
        turned = 4096 - start + 1025  # the offset is not turned
        assert dxl_read(port, 1, 132) == (0, turned)
        before = plant.state().q[0]
        assert dxl_write(port, 1, 64, 1) == 0
        assert dxl_write(port, 1, 116, turned + 200, 4) == 0
        until(lambda: abs(dxl_read(port, 1, 132)[1] - turned - 200) <= 3)
        assert plant.state().q[0] == pytest.approx(before - 200 * math.tau / 4096, abs=0.01)


def test_dynamixels_alert_until_they_are_rebooted(tmp_path):
    wrong = {"voltage": (1, 1), "heat": (4, 0), "encoder": (8, 1), "shock": (0x10, 0)}
    wrong["overload"] = (0x20, 0)  # bit of register 70, and whether the torque stays
    faults = [
        {"at_s": 1.0, "kind": kind, "for_s": 0.3, "target": n} for n, kind in enumerate(wrong, 1)
    ]
    with (
        served("dynamixel", tmp_path, so101(), faults=faults) as device,
        line(device, BAUD) as port,
    ):
        for id_ in range(1, 7):
            dxl_write(port, id_, 64, 1)
        device.wait_for("fault", "overload")
        for id_, (bit, torque) in enumerate(wrong.values(), 1):
            until(lambda id_=id_: dxl_answer(port, dxl(id_, 1), 3)[0])
            assert dxl_read(port, id_, 70, 1) == (0x80, bit)
            assert dxl_read(port, id_, 64, 1) == (0x80, torque)
        assert dxl_read(port, 6, 64, 1) == (0, 1)
        for id_ in range(1, 6):
            until(lambda id_=id_: dxl_answer(port, dxl(id_, 8), 0)[0] == 0)
            assert dxl_read(port, id_, 70, 1) == (0, 0)


def test_dynamixels_refuse_what_is_only_read_and_values_out_of_range(tmp_path):
    faults = [{"at_s": 0.0, "kind": "encoder", "target": 2}]
    with (
        served("dynamixel", tmp_path, so101(), faults=faults) as device,
        line(device, BAUD) as port,
    ):
        device.wait_for("fault", "encoder")
        assert dxl_write(port, 2, 70, 0) == 0x80 | 7  # nobody clears an error by a write
        assert dxl_read(port, 2, 70, 1) == (0x80, 8)
        assert dxl_write(port, 1, 0, 1190, 2) == 7
        assert dxl_write(port, 1, 69, 1) == 7
        assert dxl_read(port, 1, 0, 2) == (0, 1060)
        assert dxl_write(port, 1, 64, 2) == 4
        assert dxl_read(port, 1, 64, 1) == (0, 0)
        assert dxl_write(port, 1, 7, 253) == 4
        assert dxl_answer(port, dxl(1, 1), 3)[0] == 0


def test_a_silent_dynamixel_leaves_a_gap(tmp_path):
    faults = [{"at_s": 0.0, "kind": "silent", "target": 3}]
    with (
        served("dynamixel", tmp_path, so101(), faults=faults) as device,
        line(device, BAUD) as port,
    ):
        device.wait_for("fault", "silent")
        data = ask(port, dxl(0xFE, 0x82, 132, 0, 4, 0, 2, 3, 4), 30)
        assert [data[4], data[19]] == [2, 4]


@pytest.mark.parametrize(("kind", "packet"), [("feetech", sts), ("dynamixel", dxl)])
def test_no_packet_ends_a_bus(tmp_path, kind, packet):
    """Whole packets with any content, and no packets at all."""
    rng = random.Random(4)
    instructions = (1, 2, 3, 4, 5, 6, 8, 0x10, 0x82, 0x83, 0x8A, 0x92, 0x93, 0x9A)
    with served(kind, tmp_path, so101()) as device, line(device, BAUD) as port:
        for _ in range(300):
            body = rng.choices(range(120 if rng.random() < 0.5 else 256), k=rng.randrange(24))
            port.write(packet(rng.choice((1, 2, 0xFE)), rng.choice(instructions), *body))
            port.write(rng.randbytes(rng.randrange(5)))
        port.timeout = 0.2  # what is not ended is forgotten
        until(lambda: ask(port, packet(6, 1), 4096)[-14:].count(b"\xff\xff"))
        assert next(e.event for e in device.journal()) == "connected"
