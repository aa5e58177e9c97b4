"""The emulator of the 2F grippers speaks the manual's bytes and keeps the device's promises."""

from __future__ import annotations

import random

import pytest
from emulator_rig import ask, line, served, until
from test_emulators_sensors import framed

from headway.hil.plant import ServoConfig, ServoPlant

ACTIVATE = bytes.fromhex("091003E8000306010000000000" + "72E1")
STATUS = bytes.fromhex("090407D00003B1CE")
WRITTEN = bytes.fromhex("091003E800030130")


def status(port):
    """The six bytes: action, reserved, fault, echo, position, current."""
    answer = ask(port, STATUS, 11)
    assert answer[:3] == bytes.fromhex("090406")
    assert framed(answer[:-2].hex()) == answer
    return answer[3:9]


def write(port, action, position, speed=0xFF, force=0x80):
    body = f"091003E8000306{action:02x}0000{position:02x}{speed:02x}{force:02x}"
    assert ask(port, framed(body), 8) == WRITTEN


def activate(port):
    assert ask(port, ACTIVATE, 8) == WRITTEN
    return until(lambda: s if (s := status(port))[0] & 0x30 == 0x30 else None)


def settle(port, wanted):
    """The status once gOBJ is `wanted`."""
    return until(lambda: s if (s := status(port))[0] >> 6 == wanted else None)


def test_it_moves_only_after_an_activation_and_stops_at_an_object(tmp_path):
    plant = ServoPlant(ServoConfig(object_m=0.03))
    with (
        served("robotiq_2f", tmp_path, plant, activation_s=0.05) as device,
        line(device, 115200) as port,
    ):
        assert status(port)[0] == 0
        write(port, 0x08, 0xFF)
        assert status(port)[2] == 7  # activate first
        assert plant.state().width == 0.085
        assert activate(port)[2] == 0
        write(port, 0x09, 0xFF)
        closed = settle(port, 2)
        assert closed[0] & 0x39 == 0x39
        assert closed[3] == 0xFF  # the echo
        assert closed[4] == pytest.approx(141, abs=1)
        assert plant.state().force == pytest.approx(20 + 215 * 0x80 / 255)
        write(port, 0x09, 0x32)
        assert settle(port, 3)[4] == pytest.approx(0x32, abs=1)
        write(port, 0x09, 0xFF, speed=0x00)
        until(lambda: status(port)[4] > 0x35)
        write(port, 0x01, 0xFF)  # rGTO 0: it stops where it is
        first, second = status(port)[4], status(port)[4]
        assert first == pytest.approx(second, abs=1)
        write(port, 0x00, 0)
        assert status(port)[0] & 0x39 == 0
        events = [e.event for e in device.journal()]
    assert events[:3] == ["connected", "activated", "command"]


def test_without_frames_for_a_while_it_says_so_once(tmp_path):
    with (
        served("robotiq_2f", tmp_path, activation_s=0.0, comms_s=0.1) as device,
        line(device, 115200) as port,
    ):
        activate(port)
        device.wait_for("fault", "no communication")
        assert status(port)[2] == 9
        assert status(port)[2] == 0


@pytest.mark.parametrize(
    ("kind", "code"),
    [("undervoltage", 0xA), ("internal", 0xC), ("activation", 0xD), ("overcurrent", 0xE)],
)
def test_a_major_fault_needs_a_new_activation(tmp_path, kind, code):
    fault = {"at_s": 0.3, "kind": kind, "for_s": 0.1}
    with (
        served("robotiq_2f", tmp_path, activation_s=0.0, faults=[fault]) as device,
        line(device, 115200) as port,
    ):
        activate(port)
        device.wait_for("fault", kind)
        until(lambda: status(port)[2] == code)
        write(port, 0x09, 0xFF)
        assert status(port)[2] == code
        assert status(port)[4] == 3  # it has not moved
        assert ask(port, ACTIVATE, 8) == WRITTEN
        assert status(port)[2] == code  # it was not reset

        def again():
            write(port, 0x00, 0)
            return ask(port, ACTIVATE, 8) == WRITTEN and status(port)[2] == 0

        until(again)
        activate(port)
        write(port, 0x09, 0xFF)
        settle(port, 3)


def test_an_automatic_release_opens_and_ends_in_a_fault(tmp_path):
    with (
        served("robotiq_2f", tmp_path, activation_s=0.0) as device,
        line(device, 115200) as port,
    ):
        activate(port)
        write(port, 0x09, 0x80)
        settle(port, 3)
        write(port, 0x39, 0x80)
        until(lambda: status(port)[2] == 0xF)
        assert status(port)[4] == 3


def test_an_overheated_one_stands_still_and_a_silent_one_says_nothing(tmp_path):
    faults = [{"at_s": 0.0, "kind": "overheat"}, {"at_s": 0.5, "kind": "silent"}]
    with (
        served("robotiq_2f", tmp_path, activation_s=0.0, faults=faults) as device,
        line(device, 115200) as port,
    ):
        device.wait_for("fault", "overheat")
        write(port, 0x01, 0)
        assert status(port)[2] == 8
        write(port, 0x09, 0xFF)
        assert status(port)[4] == 3
        device.wait_for("fault", "silent")
        port.timeout = 0.1
        assert ask(port, STATUS, 11) == b""


def test_no_frame_ends_it(tmp_path):
    rng = random.Random(4)
    with served("robotiq_2f", tmp_path) as device, line(device, 115200) as port:
        for _ in range(200):
            register = rng.choice((1000, 1001, 1002, 2000, 2001, 3000)).to_bytes(2, "big")
            count = rng.randrange(4)
            head = bytes([9, rng.choice((3, 4, 6, 16))]) + register + bytes([0, count])
            if head[1] == 16:
                head += bytes([2 * count]) + rng.randbytes(2 * count)
            port.write(framed(head.hex()) + rng.randbytes(rng.randrange(3)))
        port.timeout = 0.2
        until(lambda: ask(port, STATUS, 4096)[-11:-8] == bytes.fromhex("090406"))
