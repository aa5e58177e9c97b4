"""The settings of a RealSense, on stand-ins for its sensors: no real camera was asked."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from headway import config
from headway.drivers.cameras import realsense
from headway.errors import ConfigError, DeviceError


@pytest.fixture
def rs():
    """The names that are used of pyrealsense2."""
    option = (
        "global_time_enabled emitter_enabled enable_auto_exposure enable_auto_white_balance "
        "exposure gain white_balance"
    )
    about = "name serial_number firmware_version usb_type_descriptor product_id physical_port"
    return SimpleNamespace(
        option=SimpleNamespace(**{name: f"option.{name}" for name in option.split()}),
        camera_info=SimpleNamespace(**{name: name for name in about.split()}),
    )


class Camera:
    """The part of a librealsense device that settings need."""

    def __init__(self, rs, sensors):
        kind = rs.camera_info
        self.says = {kind.name: "D405", kind.serial_number: "A", kind.firmware_version: "5.15.1"}
        self.sensors = sensors

    def supports(self, what):
        return what in self.says

    def get_info(self, what):
        return self.says[what]

    def query_sensors(self):
        return self.sensors


class Sensor:
    """A part of a camera that has the settings `has`."""

    def __init__(self, kind, *has):
        self.kind, self.has, self.values = kind, has, {}

    def is_color_sensor(self):
        return self.kind == "colour"

    def is_depth_sensor(self):
        return self.kind == "depth"

    def supports(self, what):
        return what in self.has

    def set_option(self, what, value):
        self.values[what] = value


def applied(rs, *sensors, **keys):
    realsense.apply(realsense.Config(**keys), rs, Camera(rs, sensors))


def test_those_of_colour_go_to_the_colour_sensor(rs):
    o = rs.option
    depth = Sensor("depth", o.emitter_enabled, o.exposure, o.enable_auto_exposure)
    colour = Sensor("colour", o.exposure, o.gain, o.enable_auto_exposure)
    applied(rs, depth, colour, exposure_us=8000, gain=64)
    assert depth.values == {o.emitter_enabled: 1.0}
    assert colour.values == {o.exposure: 80.0, o.gain: 64.0, o.enable_auto_exposure: 0.0}


def test_a_gain_that_would_not_be_set_is_refused():
    with pytest.raises(ConfigError, match=r"gain = 64 .* found exposure_us = 0.*leave gain out"):
        config.decode({"gain": 64}, realsense.Config, "robot.toml")


def test_of_a_d405_to_the_depth_sensor_which_counts_in_microseconds(rs):
    o = rs.option
    depth = Sensor("depth", o.exposure, o.enable_auto_exposure)
    applied(rs, depth, exposure_us=8000)
    assert depth.values == {o.exposure: 8000.0, o.enable_auto_exposure: 0.0}


def test_one_that_the_camera_does_not_have_is_refused(rs):
    depth = Sensor("depth", rs.option.exposure)
    with pytest.raises(DeviceError, match=r"white_balance = 4600 .*no such setting: leave it"):
        applied(rs, depth, white_balance_k=4600)
