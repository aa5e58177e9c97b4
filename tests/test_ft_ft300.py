"""The driver of the Robotiq FT 300, against a device made of the manual's facts at a real
pseudo-terminal."""

from __future__ import annotations

import threading
from itertools import pairwise

import pytest
from device_rig import GENEROUS, ModbusDevice, SerialDevice, ft300_frame, reads, until

from headway.clock import WallClock
from headway.config import decode
from headway.drivers import Context, open_device
from headway.drivers.ft import ft300
from headway.drivers.latest import Latest
from headway.errors import Busy, ConfigError, DeviceError, Stale

WRENCH = (1.0, -2.5, 12.34, 0.01, -0.02, 0.03)
COUNTS = (100, -250, 1234, 10, -20, 30)


class Sensor(ModbusDevice):
    """Streams when register 410 says so, until it is jammed."""

    def __init__(self, streams: bool = False) -> None:
        super().__init__()
        self.streams = threading.Event()
        if streams:
            self.streams.set()
        self.jams = 0
        self.frames: list[bytes] = []
        self.registers.update(
            {500: 0x4654, 501: 0x5301, 502: 0x0203, 510: 0x4654, 511: 0x5300, 512: 42, 513: 0}
        )

    def written(self, address, values) -> None:
        if (address, values) == (410, (0x0200,)):
            self.streams.set()

    def stray(self, byte: int) -> None:
        self.jams += byte == 0xFF
        if self.jams >= 40:  # the last bytes may be the begin of a request
            self.jams = 0
            self.streams.clear()

    def idle(self) -> None:
        if self.streams.is_set() and self.may_stream():
            self.say(self.frames.pop(0) if self.frames else ft300_frame(*COUNTS))


def sensor_of(device, **table):
    ctx = Context(WallClock(0))
    return open_device("ft", "ft300", {"port": device.path, **table}, ctx)


@pytest.mark.parametrize("streams", [False, True])
def test_it_opens_whether_the_sensor_streams_or_not(streams):
    with Sensor(streams) as device:
        sensor = sensor_of(device, serial="FTS-0042", firmware=[1, 2])
        assert (sensor.info.kind, sensor.info.uri) == ("ft300", device.path)
        sensor.open(GENEROUS)
        sample = sensor.read(GENEROUS)
        assert (*sample.value.force, *sample.value.torque) == pytest.approx(WRENCH)
        assert sample.valid
        assert (sensor.info.serial, sensor.info.firmware) == ("FTS-0042", "FTS-1.2.3")
        stamps = [sensor.read(GENEROUS).stamp for _ in range(20)]
        pairs = [*pairwise(stamps)]
        assert all(a.seq < b.seq for a, b in pairs)
        assert all(a.t_ns <= b.t_ns <= b.arrival_ns for a, b in pairs)
        sensor.close()
        until(lambda: not device.streams.is_set(), "the end of the stream")
        assert sensor.health().crc_errors == 0


def test_axes_can_be_turned_and_flipped():
    with Sensor() as device:
        half = 0.5**0.5
        sensor = sensor_of(device, mount=[half, 0.0, 0.0, half], flip=True, frame_id="tool")
        sensor.open(GENEROUS)
        value = sensor.read(GENEROUS).value  # a quarter turn about z, x to y
        assert value.force == pytest.approx([-2.5, -1.0, -12.34])
        assert value.torque == pytest.approx([-0.02, -0.01, -0.03])
        assert value.frame_id == "tool"
        sensor.close()


@pytest.mark.parametrize(
    ("counts", "flags"),
    [((30001, 0, 0, 0, 0, 0), ("overrange",)), ((0, 0, 0, 0, -30001, 0), ("overrange",)),
     ((0, 0, 32767, 0, 0, 0), ("overrange", "saturated"))],
)  # fmt: skip
def test_a_reading_beyond_the_range_is_not_valid(counts, flags):
    with Sensor() as device:
        device.frames, device.gate = [ft300_frame(*counts)], threading.Semaphore(0)
        sensor = sensor_of(device)
        sensor.open(GENEROUS)
        sample = device.next(sensor)
        assert (sample.valid, sample.flags) == (False, flags)
        assert device.next(sensor).valid
        assert sensor.health().invalid == 1
        sensor.close()


def test_a_flipped_bit_costs_one_frame():
    with Sensor() as device:
        good = ft300_frame(*COUNTS)
        device.frames = [good, good[:5] + bytes([good[5] ^ 4]) + good[6:], good]
        device.gate = threading.Semaphore(0)
        sensor = sensor_of(device)
        sensor.open(GENEROUS)
        for frames in (1, 2, 1):  # of the two, one is broken
            assert (*device.next(sensor, frames).value.force,) == pytest.approx(WRENCH[:3])
        assert sensor.health().crc_errors == 1
        sensor.close()


def test_silence_and_unplugging():
    with Sensor() as device:
        sensor = sensor_of(device)
        sensor.open(GENEROUS)
        sensor.read(GENEROUS)
        device.streams.clear()
        with pytest.raises(Stale):
            reads(sensor, 0.05)
        assert sensor.health().state == "stale"
        device.unplug()
        with pytest.raises(DeviceError, match="plugged in") as e:
            reads(sensor, 0.1)
        assert not isinstance(e.value, Stale)
        assert sensor.health().state == "fault"
        sensor.close()


def test_a_device_that_stops_streaming_is_opened_again():
    clock = WallClock(0)
    with Sensor() as device:
        sensor = sensor_of(device)
        latest = Latest(sensor, clock)
        latest.start(GENEROUS)
        device.streams.clear()  # nobody told it to
        until(lambda: sensor.health().reconnects == 1, "the second connection")
        received = sensor.health().received
        until(lambda: sensor.health().received > received + 3, "the stream")
        latest.close()
        assert sensor.health().state == "closed"


def refused(device, timeout_s: float = 3.0, **table) -> str:
    sensor = sensor_of(device, **table)
    with pytest.raises(DeviceError) as e:
        sensor.open(timeout_s)
    sensor.close()
    return str(e.value)


def test_what_is_not_this_sensor_is_refused_with_what_to_do():
    with Sensor() as device:
        assert "number FTS-0001" in refused(device, serial="FTS-0001")
        assert "firmware 9.0 or newer" in refused(device, firmware=[9, 0])
        device.registers[500] = 0x5858
        assert "whose firmware is XXS-1.2.3: name another port" in refused(device)
        device.refuse = 2
        assert "illegal data address: name another port" in refused(device)
        device.refuse, device.mute = 0, True
        assert "is it powered (24 V)" in refused(device)
    with pytest.raises(DeviceError, match="is it plugged in"):
        sensor_of(device).open(1.0)


def test_another_speed_or_device_is_told_apart_from_silence():
    class Noise(SerialDevice):
        said = b"\x00\xf8\x80\x07"

        def heard(self, data: bytes) -> None:
            self.say(self.said)

    class Chatter(Noise):
        def idle(self) -> None:
            self.say(self.said)

    with Chatter() as device:
        assert "another device" in refused(device, 1.0)


def test_a_port_in_use_is_busy():
    with Sensor() as device:
        first, second = sensor_of(device), sensor_of(device)
        first.open(GENEROUS)
        with pytest.raises(Busy, match="another process holds it"):
            second.open(1.0)
        first.close()


def test_the_configuration_is_checked():
    with pytest.raises(ConfigError, match="`port`"):
        decode({}, ft300.Config, "[ft]")
    with pytest.raises(ConfigError, match="unit quaternion"):
        open_device(
            "ft", "ft300", {"port": "x", "mount": [1.0, 1.0, 0.0, 0.0]}, Context(WallClock(0))
        )
    with pytest.raises(ConfigError, match="tcp://HOST:PORT"):
        open_device("ft", "ft300", {"port": "tcp://robot"}, Context(WallClock(0)))


def test_numbers_of_the_sensor_as_text():
    assert ft300.serial_text(b"FTS\0\x00\x01\x00\x02") == f"FTS-{0x00020001:04d}"
    assert ft300.serial_text(b"FT300123") == "FT300123"
    assert ft300.firmware_text(b"FTS\x01\x00\x07") == "FTS-1.0.7"
