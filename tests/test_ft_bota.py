"""The driver of Bota's serial sensors, against a device made of the manual's facts at a real
pseudo-terminal."""

from __future__ import annotations

import math
import threading
from itertools import pairwise
from typing import get_args, get_type_hints

import pytest
from device_rig import GENEROUS, SerialDevice, bota_frame, reads, until

from headway.clock import WallClock
from headway.drivers import Context, open_device
from headway.drivers.codecs.bota import SPEEDS
from headway.drivers.ft.bota import Config
from headway.drivers.latest import Latest
from headway.errors import ConfigError, DeviceError

WRENCH = (1.0, -2.0, 3.5, 0.25, -0.5, 0.125)
PERIOD_US = 996  # 51 x 19.53


class Sensor(SerialDevice):
    """`boots`: it starts anew at first, and prints the banner. `script`: (wrench, microseconds
    since the last sample, status) of its first samples."""

    def __init__(self, boots: bool = True, streams: bool = False, script=()) -> None:
        super().__init__()
        self.boots, self.script = boots, list(script)
        self.streams = threading.Event()
        if streams:
            self.streams.set()
        self.commands: list[bytes] = []
        self.fails: dict[bytes, int] = {}  # command: error
        self.deaf = 0  # commands that it does not hear
        self.t_us = 2**32 - 5 * PERIOD_US  # its clock is about to start over
        self._got = b""

    def heard(self, data: bytes) -> None:
        self._got += data
        while b"\n" in self._got:
            command, self._got = self._got.split(b"\n", 1)
            if self.deaf:
                self.deaf -= 1
                continue
            self.commands.append(command)
            name = command[:1]
            self.say(b"r,0,%c,%d\r\n" % (name[0], self.fails.get(name, 0)))
            if name == b"C":
                self.streams.clear()
            elif name == b"R":
                self.streams.set()

    def idle(self) -> None:
        if self.boots:
            self.boots = False
            self.say(b"Rokubi\r\nApp Init\r\n")
        if self.streams.is_set() and self.may_stream():
            wrench, step, status = self.script.pop(0) if self.script else (WRENCH, PERIOD_US, 0)
            self.t_us = (self.t_us + step) % 2**32
            self.say(bota_frame(wrench, self.t_us, status))


def sensor_of(device, **table):
    return open_device(
        "ft", "bota", {"port": device.path, "boot_s": 1.0, **table}, Context(WallClock(0))
    )


@pytest.fixture
def opened():
    """Opens the driver on a sensor with the `script`."""
    ends = []

    def make(*script, **table):
        device = Sensor(script=script)
        device.gate = threading.Semaphore(0)
        device.__enter__()
        sensor = sensor_of(device, **table)
        sensor.open(GENEROUS)
        ends.extend([sensor.close, device.unplug])
        return device, sensor

    yield make
    for end in ends:
        end()


@pytest.mark.parametrize(
    ("boots", "streams"), [(True, False), (False, True), (False, False)],
    ids=["starts anew", "streams", "is silent"],
)  # fmt: skip
def test_it_opens_in_whatever_state_the_sensor_is(boots, streams):
    with Sensor(boots, streams) as device:
        sensor = sensor_of(device)
        sensor.open(GENEROUS)
        sample = sensor.read(GENEROUS)
        assert (*sample.value.force, *sample.value.torque) == WRENCH
        assert sample.valid
        assert device.commands == [b"C", b"c,0,1,0,4", b"f,51,0,0,1", b"R"]
        sensor.close()


def test_settings_are_sent_and_saved_only_when_asked(opened):
    device, _ = opened(
        sinc_length=512, chop=True, fir=True, temperature_compensation=True, save=True
    )
    assert device.commands == [b"C", b"c,1,1,0,4", b"f,512,1,0,0", b"s", b"R"]


@pytest.mark.parametrize(("baud", "code"), SPEEDS.items())
def test_the_speed_of_the_line_is_the_one_that_the_sensor_is_told(opened, baud, code):
    device, _ = opened(baud=baud)
    assert device.commands[1] == b"c,0,1,0,%d" % code


def test_a_speed_that_the_sensor_does_not_know_is_refused():
    wanted = "`baud` wants one of 9600, 57600, 115200, 230400, 460800, found 38400"
    with SerialDevice() as device, pytest.raises(ConfigError, match=wanted):
        sensor_of(device, baud=38_400)
    assert get_args(get_type_hints(Config)["baud"]) == tuple(SPEEDS)


def test_a_command_that_was_lost_is_sent_again():
    with Sensor() as device:
        device.deaf = 2
        sensor = sensor_of(device)
        sensor.open(GENEROUS)
        assert device.commands[0] == b"C"
        sensor.close()


def test_the_clock_of_the_sensor_stamps_and_may_start_over(opened):
    device, sensor = opened()
    stamps = [device.next(sensor).stamp for _ in range(30)]
    times = [s.device_ns for s in stamps]
    assert min(times) < PERIOD_US * 30_000 < 4_000_000_000_000 < max(times)  # it did
    assert all(a.t_ns <= b.t_ns <= b.arrival_ns for a, b in pairwise(stamps))
    assert sensor.device_clock.resets == 0


def test_missing_samples_are_counted_by_their_times(opened):
    script = [(WRENCH, PERIOD_US, 0), (WRENCH, 4 * PERIOD_US, 0), (WRENCH, 0, 0)]
    device, sensor = opened(*script)
    seqs = [device.next(sensor, frames).stamp.seq for frames in (1, 1, 2)]
    assert seqs == [1, 5, 6]
    assert (sensor.health().lost, sensor.health().reordered) == (3, 1)


def test_a_clock_that_was_set_anew_is_flagged(opened):
    back = 2**32 - 3_000_000_000  # half an hour and more, backwards
    device, sensor = opened(*[(WRENCH, PERIOD_US, 0)] * 3, (WRENCH, back, 0))
    samples = [device.next(sensor) for _ in range(6)]
    flagged = [s for s in samples if "clock reset" in s.flags]
    assert len(flagged) == 1
    assert flagged[0].valid
    times = [s.stamp.t_ns for s in samples]
    assert times == sorted(times)
    assert sensor.health().lost == 0


@pytest.mark.parametrize(
    ("wrench", "status", "valid", "flags"),
    [
        (WRENCH, 1, True, ("throttled",)), (WRENCH, 2, False, ("overrange",)),
        (WRENCH, 4, False, ("invalid",)), (WRENCH, 8, False, ("raw",)),
        ((math.nan, *WRENCH[1:]), 0, False, ("not finite",)),
        ((*WRENCH[:5], math.inf), 2, False, ("not finite", "overrange")),
        ((900.0, *WRENCH[1:]), 0, False, ("overrange",)),
    ],
)  # fmt: skip
def test_readings_that_are_worth_nothing(opened, wrench, status, valid, flags):
    device, sensor = opened(
        (wrench, PERIOD_US, status), force_max=800.0, mount=[0.0, 1.0, 0.0, 0.0]
    )
    sample = device.next(sensor)
    assert (sample.valid, sample.flags) == (valid, flags)
    assert device.next(sensor).valid
    assert sensor.health().invalid == (not valid)


def test_errors_say_what_to_do():
    with Sensor() as device:
        device.fails[b"f"] = 3
        sensor = sensor_of(device)
        with pytest.raises(DeviceError, match="its error 3: check `sinc_length`"):
            sensor.open(GENEROUS)
    with SerialDevice() as silent, pytest.raises(DeviceError, match="no answer: is it powered"):
        sensor_of(silent, boot_s=0.1).open(0.3)

    class Noise(SerialDevice):
        def idle(self) -> None:
            self.say(b"\x00\xf8")

    with Noise() as noise, pytest.raises(DeviceError, match=r"another speed than 460800 bit/s"):
        sensor_of(noise, boot_s=0.1).open(0.3)


def test_a_sensor_that_was_unplugged_is_a_fault_at_once():
    with Sensor() as device:
        sensor = sensor_of(device)
        sensor.open(GENEROUS)
        sensor.read(GENEROUS)
        device.unplug()
        with pytest.raises(DeviceError, match="plugged in"):
            reads(sensor, 1.0)
        assert sensor.health().state == "fault"
        sensor.close()


def test_a_sensor_that_falls_silent_is_opened_again():
    with Sensor() as device:
        sensor = sensor_of(device, boot_s=0.2)
        latest = Latest(sensor, WallClock(0))
        latest.start(GENEROUS)
        device.streams.clear()
        until(lambda: sensor.health().reconnects == 1, "the second connection")
        received = sensor.health().received
        until(lambda: sensor.health().received > received + 3, "the stream")
        latest.close()
