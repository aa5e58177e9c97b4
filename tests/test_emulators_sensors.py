"""Emulators of force/torque sensors speak the manuals' bytes, and have the faults they list."""

from __future__ import annotations

import binascii
import itertools
import math
import socket
import struct
import urllib.request
from urllib.parse import urlsplit

import pytest
from emulator_rig import PATIENCE_S, Steady, ask, line, served, until

WRENCH = (1.0, -2.5, 12.34, 0.01, -0.02, 0.03)
FRAME = bytes.fromhex("204e640006ffd2040a00ecff1e0072e4")


def modbus_crc(data):
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0xA001 if crc & 1 else crc >> 1
    return struct.pack("<H", crc)


def framed(text):
    body = bytes.fromhex(text)
    return body + modbus_crc(body)


def test_ft300_answers_the_manuals_requests_and_streams_the_manuals_frame(tmp_path):
    with served("ft300", tmp_path, Steady(WRENCH)) as device, line(device, 19200) as port:
        answer = ask(port, bytes.fromhex("090300B4000684A6"), 17)
        assert answer == framed("09030c0064ff0604d2000affec001e")
        assert ask(port, bytes.fromhex("090300B40001C564"), 7) == framed("0903020064")
        assert ask(port, framed("090301f40003"), 11)[3:4] == b"F"
        assert ask(port, framed("0910019a0001020200"), 8) == framed("0910019a0001")
        assert port.read(48) == FRAME * 3
        port.write(b"\xff" * 50)
        device.wait_for("stopped")
        port.reset_input_buffer()
        assert ask(port, bytes.fromhex("090300B40001C564"), 7) == framed("0903020064")


def test_ft300_that_streams_already_says_nothing_but_its_stream(tmp_path):
    with (
        served("ft300", tmp_path, Steady(WRENCH), streams=True) as device,
        line(device, 19200) as port,
    ):
        port.write(framed("090301f40003"))
        data = port.read(160)
    assert FRAME * 8 in data
    assert set(data.split(FRAME)[1:-1]) == {b""}


def test_ft300_at_another_speed_is_garbage(tmp_path):
    with (
        served("ft300", tmp_path, Steady(WRENCH), streams=True) as device,
        line(device, 115200) as port,
    ):
        assert FRAME[:2] not in port.read(64)


@pytest.mark.parametrize(
    ("kind", "values"),
    [("overrange", (32767, -32767, 32767, 32767, -32767, 32767)), ("stuck", (0,) * 6)],
)
def test_ft300_with_a_fault_sends_what_the_fault_makes_of_the_values(tmp_path, kind, values):
    fault = {"at_s": 0.0, "kind": kind}
    plant = Steady(WRENCH)
    with (
        served("ft300", tmp_path, plant, streams=True, faults=[fault]) as device,
        line(device, 19200) as port,
    ):
        device.wait_for("fault", kind)
        port.reset_input_buffer()
        body = b"\x20\x4e" + struct.pack("<6h", *values)
        frame = body + modbus_crc(body)
        if kind == "stuck":  # with whatever it had last
            plant.wrench = plant.wrench * 2.0
            before = port.read(160)
            start = before.index(b"\x20\x4e")
            frame = before[start : start + 16]
        assert frame in until(lambda: port.read(48))


def request(command, count=0):
    return struct.pack(">HHI", 0x1234, command, count)


def records(data):
    return [struct.unpack_from(">3I6i", data, n) for n in range(0, len(data), 36)]


@pytest.fixture
def udp():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.settimeout(PATIENCE_S)
        yield made


def test_rdt_sends_as_many_records_as_were_asked_for(tmp_path, udp):
    with served("rdt", tmp_path, Steady(WRENCH)) as device:
        to = urlsplit(device.uri)
        udp.connect((to.hostname, to.port))
        udp.send(b"\x12\x35" + bytes(6))  # not the magic number: nothing comes
        udp.send(request(2, 5))
        found = [records(udp.recv(2048)) for _ in range(5)]
        assert [one[0][0] for one in found] == [1, 2, 3, 4, 5]
        assert {one[0][2:] for one in found} == {
            (0, 1000000, -2500000, 12340000, 10000, -20000, 30000)
        }
        udp.send(request(1))
        (block,) = [records(udp.recv(2048)) for _ in range(1)]
        assert block[0][0] == 1
        assert block[0][1] == 6
        udp.send(request(0x42))
        udp.send(request(2, 1))
        udp.settimeout(PATIENCE_S)
        until(lambda: records(udp.recv(2048))[-1][3:] == (0,) * 6)
        page = urllib.request.urlopen(f"http://{to.hostname}:{to.query[5:]}/netftapi2.xml").read()
        assert b"<cfgcpf>1000000</cfgcpf>" in page
        assert b"<scfgfu>N</scfgfu>" in page


def test_rdt_speaks_onrobots_dialect(tmp_path, udp):
    with served("rdt", tmp_path, Steady(WRENCH), dialect="onrobot") as device:
        to = urlsplit(device.uri)
        assert not to.query
        udp.connect((to.hostname, to.port))
        for command, count in ((0x82, 2), (0x81, 4), (2, 3)):
            udp.send(request(command, count))
        found = [records(udp.recv(2048))[0] for _ in range(3)]
        assert found[2] == (3, 3, 0, 10000, -25000, 123400, 1000, -2000, 3000)
        udp.send(request(0x42, 0xFF))
        udp.send(request(2, 1))
        assert records(udp.recv(2048))[0][3:] == (0,) * 6
        udp.send(request(0x42, 0))
        udp.send(request(2, 1))
        assert records(udp.recv(2048))[0][3] == 10000


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("overrange", 0xC0000000),
        ("supply", 0x80000002),
        ("temperature", 0x80000001),
        ("broken_gauge", 0x80000004),
        ("busy", 0x80000008),
    ],
)
def test_rdt_says_in_its_status_what_is_wrong(tmp_path, udp, kind, status):
    faults = [{"at_s": 0.0, "kind": kind}, {"at_s": 0.2, "kind": "restart"}]
    with served("rdt", tmp_path, Steady(WRENCH), faults=faults) as device:
        to = urlsplit(device.uri)
        udp.connect((to.hostname, to.port))
        udp.send(request(2))
        found = records(udp.recv(2048))[0]
        assert found[2] == status
        if kind == "overrange":
            assert found[3:5] == (500_000_000, -500_000_000)
        device.wait_for("stopped", "restart")


def x25(data):
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0x8408 if crc & 1 else crc >> 1
    return struct.pack("<H", crc ^ 0xFFFF)


def bota_frames(port, count):
    """The next whole frames of Bota's stream."""
    data = port.read(37 * (count + 4))  # it may begin with the words of its start
    start = next(
        n
        for n in range(len(data) - 37)
        if data[n] == 0xAA and x25(data[n + 1 : n + 35]) == data[n + 35 : n + 37]
    )
    found = [data[n : n + 37] for n in range(start, start + 37 * count, 37)]
    assert all(f[0] == 0xAA and x25(f[1:35]) == f[35:] for f in found)
    return [struct.unpack("<H6fIf", f[1:35]) for f in found]


def test_the_checksum_of_bota_is_that_of_the_catalogue():
    assert x25(b"123456789") == b"\x6e\x90"
    assert binascii.hexlify(modbus_crc(b"123456789")) == b"374b"


def test_bota_starts_anew_at_each_opening_and_obeys_its_lines(tmp_path):
    with served("bota", tmp_path, Steady(WRENCH), boot_s=0.1) as device:
        for steps in ((9999, 10000, 10001), (995, 996, 997)):  # as it was saved
            with line(device, 460800) as port:
                assert port.read_until(b"App Init\r\n").endswith(b"App Init\r\n")
                (first, second) = bota_frames(port, 2)
                assert first[1:7] == pytest.approx(WRENCH, abs=1e-5)
                assert first[0] == 0
                assert second[7] - first[7] in steps
                port.write(b"C\n")
                assert port.read_until(b"r,0,C,0\r\n").endswith(b"r,0,C,0\r\n")
                for sent, said in (
                    (b"c,0,1,0,4", b"r,0,c,0"),
                    (b"c,0,1,1,4", b"r,0,c,1"),
                    (b"f,51,0,1,1", b"r,0,f,0"),
                    (b"f,5,0,1,1", b"r,0,f,1"),
                    (b"s", b"r,0,s,0"),
                    (b"R", b"r,0,R,0"),
                ):
                    assert ask(port, sent + b"\n", len(said) + 2) == said + b"\r\n"
                (first, second) = bota_frames(port, 2)
                assert second[7] - first[7] in (995, 996, 997)


def test_botas_clock_wraps(tmp_path):
    with (
        served("bota", tmp_path, Steady(WRENCH), boot_s=0.0, clock_us=2**32 - 50_000) as device,
        line(device, 460800) as port,
    ):
        times = until(lambda: [f[7] for f in bota_frames(port, 20)])
    steps = {(b - a) % 2**32 for a, b in itertools.pairwise(times)}
    assert steps <= {9999, 10000, 10001}
    assert max(times) - min(times) > 2**31


@pytest.mark.parametrize(
    ("kind", "status"),
    [("overrange", 2), ("invalid", 4), ("throttled", 1), ("nan", 0), ("clock_back", 0)],
)
def test_bota_shows_its_faults(tmp_path, kind, status):
    fault = {"at_s": 0.0, "kind": kind}
    with (
        served(
            "bota", tmp_path, Steady(WRENCH), boot_s=0.0, clock_us=10**6, faults=[fault]
        ) as device,
        line(device, 460800) as port,
    ):
        device.wait_for("fault", kind)
        (frame, *_) = bota_frames(port, 2)
    assert frame[0] == status
    if kind == "overrange":
        assert frame[1:3] == (500.0, -500.0)
    if kind == "clock_back":
        assert 500_000 <= frame[7] < 1_000_000
    if kind == "nan":
        assert all(math.isnan(value) for value in frame[1:7])
