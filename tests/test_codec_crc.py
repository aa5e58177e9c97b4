"""headway.drivers.codecs.crc: the check values of the catalogue, and frames of manuals."""

from __future__ import annotations

import pytest

from headway.drivers.codecs import crc

CHECK = b"123456789"


@pytest.mark.parametrize(
    ("function", "value"), [(crc.modbus, 0x4B37), (crc.x25, 0x906E), (crc.dynamixel, 0xFEE8)]
)
def test_the_check_value_of_the_catalogue(function, value):
    assert function(CHECK) == value


@pytest.mark.parametrize(
    "frame",
    [
        "09 03 00 B4 00 01 C5 64",  # Robotiq FT 300: read register 180
        "09 10 03 E8 00 03 06 01 00 00 00 00 00 72 E1",  # Robotiq 2F-85: activate
        "20 4e 64 00 06 ff d2 04 0a 00 ec ff 1e 00 72 e4",  # Robotiq FT 300: a frame of its stream
    ],
)
def test_modbus_frames_of_the_manuals(frame):
    data = bytes.fromhex(frame)
    assert crc.modbus(data[:-2]).to_bytes(2, "little") == data[-2:]


def test_a_dynamixel_ping_of_the_manual():
    data = bytes.fromhex("ff ff fd 00 01 03 00 01 19 4e")
    assert crc.dynamixel(data[:-2]).to_bytes(2, "little") == data[-2:]


@pytest.mark.parametrize("function", [crc.modbus, crc.x25, crc.dynamixel])
def test_every_flipped_bit_is_seen(function):
    data = bytearray(range(40))
    right = function(bytes(data))
    for i in range(len(data) * 8):
        data[i // 8] ^= 1 << i % 8
        assert function(bytes(data)) != right
        data[i // 8] ^= 1 << i % 8
