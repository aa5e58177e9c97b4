"""The UVC driver, with a video that the test makes, and a VideoCapture that the test plays; no real
camera."""

from __future__ import annotations

import contextlib
import sys
import time

import numpy as np
import pytest
from camera_rig import MS, SOON, Wall

from headway.clock import NS, VirtualClock
from headway.drivers import Context, open_device
from headway.drivers.camera_source import CameraSource
from headway.drivers.cameras import uvc
from headway.errors import ConfigError, DeviceError, Missing, Stale
from headway.types import Info


@pytest.fixture(scope="module")
def cv2():
    try:
        return uvc.library()
    except Missing as e:
        pytest.skip(str(e))


@pytest.fixture(scope="module")
def video(cv2, tmp_path_factory):
    """Twelve images of 64 x 48 at 25 Hz as MJPG: red that grows on the left, black on the right."""
    path = tmp_path_factory.mktemp("uvc") / "made.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25.0, (64, 48))
    assert writer.isOpened()
    for k in range(12):
        bgr = np.zeros((48, 64, 3), np.uint8)
        bgr[:, :32, 2] = 20 * k + 20
        writer.write(bgr)
    writer.release()
    return path


def opened(clock, **table):
    camera = open_device("cameras", "uvc", {"stop_s": SOON, **table}, Context(clock))
    camera.open(SOON)
    return camera


def test_a_video_comes_as_rgb_in_order_with_the_configured_intrinsics(video):
    lens = {"fx": 70.0, "fy": 71.0, "cx": 32.0, "cy": 24.0}
    camera = opened(VirtualClock(NS), file=str(video), **lens)
    assert (camera.info.kind, camera.info.uri, camera.has_depth) == ("uvc", str(video), False)
    for k in range(12):
        frame = camera.read(SOON).value
        assert frame.rgb.shape == (48, 64, 3)
        assert frame.rgb.dtype == np.uint8
        assert abs(int(frame.rgb[24, 10, 0]) - (20 * k + 20)) < 12  # JPEG is not exact
        assert frame.rgb[24, 10, 2] < 40  # red, not blue
        assert frame.rgb[24, 60].max() < 20
        assert frame.depth is None
        assert np.array_equal(frame.intrinsics, [[70, 0, 32], [0, 71, 24], [0, 0, 1]])
    with pytest.raises(Stale, match="has been played"):
        camera.read(0.01)
    assert (camera.health().received, camera.health().lost) == (12, 0)
    camera.close()
    assert camera.abandoned == 0


def test_in_real_time_a_video_takes_its_time(video):
    clock = Wall(NS)
    camera = opened(clock, file=str(video), repeats=True)
    deadline = time.monotonic() + SOON
    while camera.health().received < 12 and time.monotonic() < deadline:
        with contextlib.suppress(Stale):
            assert NS <= camera.read(0.01).stamp.t_ns <= clock.now()
    assert clock.now() == NS + 11 * 40 * MS  # moved by the waiting for each image: 25 Hz
    camera.close()


def test_without_intrinsics_they_are_nan_and_a_part_of_them_is_refused(video):
    camera = opened(VirtualClock(NS), file=str(video))
    assert np.isnan(camera.read(SOON).value.intrinsics).all()
    camera.close()
    with pytest.raises(ConfigError, match=r"all of fx, fy, cx, cy or none, found \(70\.0, 0\.0"):
        opened(VirtualClock(NS), file=str(video), fx=70.0)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({}, "either `device` or `file`, found neither"),
        ({"device": "0", "file": "x"}, "found both"),
        ({"file": "none.avi"}, "found no file none.avi"),
        ({"device": "0", "format": "mjpeg"}, "`format` wants one of mjpg, yuyv"),
    ],
)
def test_a_configuration_that_names_no_camera_is_refused(table, says):
    with pytest.raises(ConfigError, match=says):
        open_device("cameras", "uvc", table, Context(VirtualClock(NS)))


def test_a_file_that_is_no_video_and_a_camera_that_is_not_there(cv2, tmp_path):
    bad = tmp_path / "bad.avi"
    bad.write_bytes(b"nothing of the kind")
    with pytest.raises(DeviceError, match="cannot: is it a video"):
        opened(Wall(NS), file=str(bad))
    with pytest.raises(DeviceError, match=r"wanted a camera at .*usb-none, found none there"):
        opened(Wall(NS), device=str(tmp_path / "usb-none"))


def test_without_opencv_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(Missing, match=r"pip install 'headway\[uvc\]'"):
        open_device("cameras", "uvc", {"device": "0"}, Context(VirtualClock(NS)))


class Played:
    """cv2 with a VideoCapture that the test plays: `images` of (time [ms] or None, brightness)."""

    def __init__(self, cv2, refuses=(), images=()):
        self._cv2, self.refuses = cv2, refuses
        self.images, self.values, self.opened = list(images), {}, []

    def __getattr__(self, name):
        return getattr(self._cv2, name)

    def VideoCapture(self, path, api):  # noqa: N802  - OpenCV's name
        self.opened.append((path, api))
        return self

    def isOpened(self):  # noqa: N802
        return True

    def set(self, what, value):
        if what in self.refuses:
            return False
        self.values[what] = value
        return True

    def get(self, what):
        return self.values.get(what, 0.0)

    def read(self):
        if not self.images:
            return False, None
        ms, fill = self.images.pop(0)
        self.values[self._cv2.CAP_PROP_POS_MSEC] = ms
        return True, np.full((48, 64, 3), fill, np.uint8)

    def release(self):
        self.opened.append("released")


@pytest.fixture
def port(tmp_path):
    """A link below by-id to a device, neither of them real."""
    (tmp_path / "video3").write_text("")
    link = tmp_path / "usb-maker_camera_0042-video-index0"
    link.symlink_to(tmp_path / "video3")
    return link


def capture(played, port, clock=None, **keys):
    return uvc.Capture(
        played, clock or Wall(2 * NS), uvc.Config(device=str(port), **keys), str(port)
    )


def test_the_device_behind_a_link_is_opened_with_every_setting(cv2, port):
    played = Played(cv2)
    made = capture(
        played, port, width=800, height=600, rate_hz=25.0, format="yuyv", exposure_us=5000, gain=3,
        white_balance_k=4600, focus=0,
    )  # fmt: skip
    info = made.start()
    assert (info.model, info.uri) == (port.name, str(port))
    assert played.opened == [(str(port.parent / "video3"), cv2.CAP_V4L2)]
    assert played.values == {
        cv2.CAP_PROP_FOURCC: cv2.VideoWriter.fourcc(*"YUYV"),
        cv2.CAP_PROP_FRAME_WIDTH: 800,
        cv2.CAP_PROP_FRAME_HEIGHT: 600,
        cv2.CAP_PROP_FPS: 25.0,
        cv2.CAP_PROP_AUTO_EXPOSURE: 1.0,  # V4L2's "manual"
        cv2.CAP_PROP_EXPOSURE: 50.0,  # in 100 us
        cv2.CAP_PROP_GAIN: 3.0,
        cv2.CAP_PROP_AUTO_WB: 0.0,
        cv2.CAP_PROP_WB_TEMPERATURE: 4600.0,
        cv2.CAP_PROP_AUTOFOCUS: 0.0,
        cv2.CAP_PROP_FOCUS: 0.0,
    }


@pytest.mark.parametrize(
    ("what", "keys", "says"),
    [
        ("CAP_PROP_FRAME_WIDTH", {}, "wanted width = 640 of the camera"),
        ("CAP_PROP_EXPOSURE", {"exposure_us": 5000}, "wanted exposure_us = 5000"),
        ("CAP_PROP_FOCUS", {"focus": 7}, "wanted focus = 7"),
    ],
)
def test_a_setting_that_the_camera_refuses_is_named(cv2, port, what, keys, says):
    with pytest.raises(DeviceError, match=says):
        capture(Played(cv2, refuses=(getattr(cv2, what),)), port, **keys).start()


def test_stamps_are_those_of_v4l2_and_what_was_lost_follows_from_them(cv2, port):
    played = Played(cv2, images=[(1900.0, 1), (1933.3, 2), (1999.9, 3), (1.7e12, 4), (0.0, 5)])
    made = capture(played, port)  # at 2 s
    made.start()
    shots = [made.grab() for _ in range(5)]
    assert [s.t_ns for s in shots] == [1900 * MS, 1_933_300_000, 1_999_900_000, 2 * NS, 2 * NS]
    assert [s.number for s in shots] == [1, 2, 4, 5, 6]
    assert [s.flags for s in shots] == [(), (), (), ("no_device_clock",), ("no_device_clock",)]
    assert shots[0].arrival_ns == 2 * NS


def test_an_unplugged_camera_is_opened_again_at_another_port(cv2, port):
    """The link comes back and leads elsewhere."""
    played, clock = Played(cv2, images=[(1990.0, 1)]), Wall(2 * NS)
    source = CameraSource(
        clock, Info("uvc", "camera"), lambda: capture(played, port, clock),
        has_depth=False, rate_hz=30.0, stop_s=SOON,
    )  # fmt: skip
    source.open(SOON)
    assert source.read(SOON).value.rgb[0, 0, 0] == 1
    with pytest.raises(DeviceError, match="it gives no image: it is opened again"):
        source.read(SOON)
    port.unlink()
    with pytest.raises(DeviceError, match="is it plugged in"):
        source.open(SOON)
    (port.parent / "video5").write_text("")
    port.symlink_to(port.parent / "video5")
    played.images = [(1995.0, 2)]
    source.open(SOON)
    assert source.read(SOON).value.rgb[0, 0, 0] == 2
    assert source.health().reconnects == 1
    assert [o[0].split("/")[-1] for o in played.opened if o != "released"] == ["video3", "video5"]
    source.close()
