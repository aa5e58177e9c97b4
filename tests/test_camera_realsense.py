"""The RealSense driver, with frames of librealsense's software device and a recording made of them.
Without a camera: nothing here has seen one."""

from __future__ import annotations

import ctypes
import gc
import sys

import numpy as np
import pytest
from camera_rig import MS, SOON, Software, Wall

from headway.clock import NS, VirtualClock, WallClock
from headway.drivers import Context, open_device
from headway.drivers.camera_source import CameraSource
from headway.drivers.cameras import realsense
from headway.errors import ConfigError, DeviceError, Missing, Stale
from headway.types import Info

PERIOD = 1000 / 30  # [ms]


@pytest.fixture(scope="module")
def rs():
    try:
        return realsense.library()
    except Missing as e:
        pytest.skip(str(e))


@pytest.fixture
def software(rs):
    made = []

    def make(**more):
        made.append(Software(rs, more.pop("clock", Wall(NS)), **more))
        made[-1].start()
        return made[-1]

    yield make
    for one in made:
        one.stop()


def shot(device):
    """The next image of `device`."""
    for _ in range(100):
        if (found := device.grab()) is not None:
            return found
    raise AssertionError(f"no image: {device.refused}")


def flat(depth, mm):
    """Whether a wall of `mm` is in the image; the alignment leaves some pixels without depth."""
    return set(np.unique(depth)) <= {0, mm} and (depth == mm).mean() > 0.5


def test_colour_and_depth_are_bit_exact_and_stamped_by_the_camera(software):
    device = software()
    rgb, _ = device.push(3, 5000.0, depth=np.full(device.size, 731, np.uint16))
    found = shot(device)
    assert np.array_equal(found.frame.rgb, rgb)
    assert flat(found.frame.depth, 731)
    assert found.frame.rgb.dtype == np.uint8
    assert found.frame.depth.dtype == np.uint16
    assert (found.number, found.device_ns) == (3, 5000 * MS)
    assert found.t_ns == found.arrival_ns == NS  # the first one is thought to come at once


def test_intrinsics_are_those_of_colour_from_the_corner_of_the_first_pixel(software):
    device = software()
    device.push(1, 0.0)
    K = shot(device).frame.intrinsics
    assert np.array_equal(K, [[150, 0, 80.5], [0, 150, 60.5], [0, 0, 1]])


def test_depth_is_aligned_to_the_colour_camera_beside_it(software):
    """A wall at 0.5 m, seen from 50 mm further to the right: 150 px x 50 / 500 = 15 px to the
    left."""
    device = software(shift_m=0.05)
    depth = np.full(device.size, 500, np.uint16)
    depth[40:80, 80:100] = 250  # nearer: 30 px
    device.push(1, 0.0, depth=depth)
    found = shot(device).frame.depth
    columns = np.flatnonzero(found[60] == 250)
    assert (columns[0], columns[-1]) == (50, 69)
    assert set(np.unique(found)) == {0, 250, 500}
    assert not found[:, -14:].any()  # nobody saw that part of the wall


@pytest.mark.parametrize(
    ("unit", "counts", "mm"), [(1e-4, 5004, 500), (1e-3, 500, 500), (0.01, 9000, 65535)]
)
def test_depth_is_in_millimetres_whatever_the_camera_counts(software, unit, counts, mm):
    device = software(unit=unit)
    device.push(1, 0.0, depth=np.full(device.size, counts, np.uint16))
    assert flat(shot(device).frame.depth, mm)


def test_images_are_views_that_outlive_a_hundred_later_frames(software):
    """`keep` takes a frame out of the library's pool, whose buffers are used again."""
    device = software()
    held = []
    for n in range(1, 101):
        rgb, _ = device.push(n, n * PERIOD, depth=np.full(device.size, 400 + n, np.uint16))
        frame = shot(device).frame
        assert not frame.rgb.flags.owndata
        assert not frame.depth.flags.owndata
        held.append((frame, rgb))
    gc.collect()
    for n, (frame, rgb) in enumerate(held, start=1):
        assert np.array_equal(frame.rgb, rgb)
        assert flat(frame.depth, 400 + n)


class TestClock:
    def test_images_are_stamped_by_the_cameras_clock_not_by_their_arrival(self, software):
        device = software()
        delays = [4, 0, 9, 2, 30]
        for n, late_ms in enumerate(delays):
            device.clock.sleep_until(NS + n * 50 * MS + late_ms * MS)
            device.push(n, n * 50.0)
            found = shot(device)
            if n >= 1:
                assert abs(found.t_ns - (NS + n * 50 * MS)) <= found.error_ns + MS // 10

    @pytest.mark.parametrize("back_ms", [2**32 / 1000, 4292_000.0])
    def test_a_clock_that_goes_back_after_72_minutes_moves_no_stamp(self, software, back_ms):
        """Where the counter wraps, exactly; where it jumps by about that, flagged."""
        device, start = software(), 4_294_900.0
        given = []
        for n in range(6):
            t_ms = start + n * PERIOD
            device.clock.sleep_until(NS + round(n * PERIOD * MS))
            device.push(n, t_ms if n < 3 else t_ms - back_ms)
            given.append(shot(device))
        assert [g.t_ns for g in given] == [g.arrival_ns for g in given]
        flags = [g.flags for g in given]
        exact = back_ms == 2**32 / 1000
        assert flags == [()] * 3 + [() if exact else ("clock_reset",)] + [()] * 2

    def test_a_clock_set_anew_is_flagged_and_stamps_stay_monotonic(self, software):
        device = software()
        before = 0
        for n, t_ms in enumerate([90_000.0, 90_033.0, 5.0, 38.0]):
            device.clock.sleep_until(NS + n * 33 * MS)
            device.push(n, t_ms)
            found = shot(device)
            assert before <= found.t_ns <= found.arrival_ns
            assert found.flags == (("clock_reset",) if n == 2 else ())
            before = found.t_ns

    def test_without_a_clock_of_the_camera_the_arrival_counts_and_is_said(self, rs, software):
        device = software()
        device.push(1, 1.7e12, domain=rs.timestamp_domain.system_time)
        found = shot(device)
        assert (found.t_ns, found.device_ns) == (NS, None)
        assert found.flags == ("no_device_clock",)

    def test_the_middle_of_the_exposure_counts_where_the_camera_knows_it(self, rs, software):
        device = software()
        value = rs.frame_metadata_value
        device.color_sensor.set_metadata(value.frame_timestamp, 1_000_000)
        device.color_sensor.set_metadata(value.sensor_timestamp, 992_000)
        device.push(1, 1000.0)
        assert shot(device).t_ns == NS - 8 * MS


class TestFaults:
    def test_frozen_depth_is_not_served_with_fresh_colour(self, software):
        device = software(rate_hz=30)
        device.push(1, 0.0)
        shot(device)
        for n in range(2, 6):
            device.push(n, n * PERIOD, only="color")
            assert device.grab() is None
            assert device.refused == f"depth and colour {n * PERIOD:.0f} ms apart"
        device.push(6, 6 * PERIOD)
        assert shot(device).number == 6

    @pytest.mark.parametrize(("only", "lacks"), [("color", "a depth"), ("depth", "a colour")])
    def test_a_sensor_that_never_starts_is_named(self, software, only, lacks):
        device = software()
        device.push(1, 0.0, only=only)
        assert device.grab() is None
        assert device.refused == f"sets without {lacks} image"

    def test_dropped_and_frozen_frames_through_the_camera(self, rs):
        clock, made = Wall(NS), []

        def make():
            made.append(Software(rs, clock))
            return made[-1]

        source = CameraSource(
            clock, Info("realsense", "RealSense"), make, has_depth=True, rate_hz=30, dead_s=0.3
        )
        source.open(SOON)
        assert (source.info.model, source.info.serial) == ("RealSense D435 made up", "123")
        rgb, depth = made[0].push(1, 0.0)
        source.read(SOON)
        made[0].push(5, 5 * PERIOD)
        assert source.read(SOON).stamp.seq == 5
        assert source.health().lost == 3
        rgb, depth = made[0].push(6, 6 * PERIOD)
        source.read(SOON)
        made[0].push(7, 7 * PERIOD, rgb, depth)  # a fresh number with the pixels of before
        while source.health().invalid == 0:
            with pytest.raises(Stale):
                source.read(0.01)
        clock.sleep_until(2 * NS)
        with pytest.raises(DeviceError, match="the same image again and again"):
            source.read(SOON)
        source.close()
        source.open(SOON)  # a new session, a new device
        made[1].push(1, 0.0)
        assert source.read(SOON).stamp.seq > 6
        assert source.health().reconnects == 1
        source.close()


@pytest.fixture(scope="module")
def recording(rs, tmp_path_factory):
    """30 pairs of frames, written by librealsense's recorder."""
    path = tmp_path_factory.mktemp("realsense") / "made.db3"
    device, wrote = Software(rs, Wall(NS), size=(48, 64)), rs.frame_queue(4)
    recorder = rs.recorder(str(path), device.device)
    device.begin(wrote, recorder.query_sensors())
    pushed = {}
    for n in range(1, 31):
        wall = np.full(device.size, 400 + n, np.uint16)
        pushed[n] = device.inject(n, 1000 + n * PERIOD, depth=wall)
        for _ in range(2):  # the recorder has passed it on
            assert wrote.try_wait_for_frame(int(SOON * 1000))[0]
    device.stop()
    del recorder
    gc.collect()
    return path, pushed


def left_to_say(camera):
    """What `camera` says when it has no more images; "" while it has, or may have."""
    try:
        camera.read(0.2)
    except Stale as e:
        return str(e) if "played" in str(e) else ""
    return ""


class TestRecording:
    def open(self, path, clock, **keys):
        table = {"file": str(path), "stop_s": SOON, **keys}
        return open_device("cameras", "realsense", table, Context(clock))

    def test_it_plays_through_the_same_driver(self, recording):
        path, pushed = recording
        camera = self.open(path, VirtualClock(NS))
        assert (camera.info.uri, camera.has_depth) == (str(path), True)
        camera.open(SOON)
        assert camera.info.serial == "123"
        for _ in range(30):
            sample = camera.read(SOON)
            number = round((sample.stamp.device_ns / 1e6 - 1000) / PERIOD)
            rgb, _ = pushed[number]
            assert np.array_equal(sample.value.rgb, rgb)
            assert flat(sample.value.depth, 400 + number)
            if number == 30:
                break
        while not (said := left_to_say(camera)):
            pass
        assert "has been played" in said
        assert 25 <= camera.health().received <= 30
        camera.close()
        assert camera.abandoned == 0
        camera.open(SOON)  # from the beginning
        assert camera.read(SOON).value.rgb.shape == (48, 64, 3)
        camera.close()

    def test_without_depth(self, recording):
        camera = self.open(recording[0], VirtualClock(NS), depth=False)
        camera.open(SOON)
        assert camera.read(SOON).value.depth is None
        camera.close()

    def test_what_is_no_recording_is_refused(self, rs, tmp_path):
        with pytest.raises(ConfigError, match=r"found no file .*none\.db3"):
            self.open(tmp_path / "none.db3", VirtualClock(NS))
        bad = tmp_path / "bad.db3"
        bad.write_bytes(b"nothing of the kind")
        camera = self.open(bad, VirtualClock(NS))
        with pytest.raises(DeviceError, match=r"wanted colour and depth .* found: "):
            camera.open(SOON)
        camera.close()


def test_without_a_camera_it_says_so_at_once_instead_of_waiting_15_s(rs):
    if len(rs.context().query_devices()):
        pytest.skip("a RealSense is plugged in")
    camera = open_device("cameras", "realsense", {"serial": "042"}, Context(WallClock()))
    with pytest.raises(DeviceError, match=r"serial number 042, found none plugged in: check"):
        camera.open(5.0)  # less than the 15 s that `pipeline.start` would wait
    assert (camera.abandoned, camera.health().state) == (0, "fault")
    with pytest.raises(DeviceError, match="wanted one RealSense, found none"):
        open_device("cameras", "realsense", {}, Context(WallClock())).open(5.0)


class Plugged:
    """The part of a librealsense device that is looked at before it is opened."""

    def __init__(self, rs, serial):
        kind = rs.camera_info
        self.says = {kind.name: "D435", kind.serial_number: serial, kind.firmware_version: "5.12.1"}

    def supports(self, what):
        return what in self.says

    def get_info(self, what):
        return self.says[what]

    def query_sensors(self):
        return []


@pytest.mark.parametrize(
    ("plugged", "keys", "says"),
    [
        ("A B", {}, r"wanted one RealSense, found A, B: name one with `serial`"),
        ("A B", {"serial": "C"}, r"serial number C, found A, B: name one"),
        ("A B", {"serial": "B", "firmware": [5, 15]}, r"wanted firmware 5\.15 or newer .*5\.12\.1"),
    ],
)
def test_of_several_cameras_the_one_with_the_serial_number_is_taken(
    rs, monkeypatch, plugged, keys, says
):
    class Some:
        def query_devices(self):
            return [Plugged(rs, serial) for serial in plugged.split()]

    monkeypatch.setattr(rs, "context", Some)
    with pytest.raises(DeviceError, match=says):
        open_device("cameras", "realsense", keys, Context(WallClock())).open(SOON)


class TestMissing:
    def test_without_pyrealsense2(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "pyrealsense2", None)
        with pytest.raises(Missing, match=r"pip install 'headway\[realsense\]'"):
            realsense.library()

    def test_without_libusb(self, monkeypatch):
        def no_library():
            raise ImportError("libusb-1.0.so.0: cannot open shared object file")

        monkeypatch.setattr(realsense, "_imported", no_library)
        monkeypatch.setitem(sys.modules, "libusb_package", None)
        with pytest.raises(Missing, match=r"apt-get install libusb-1\.0-0"):
            realsense.library()

    def test_libusb_from_its_package_is_loaded_first(self, monkeypatch):
        loaded = []

        class Package:
            @staticmethod
            def get_library_path():
                return "libusb-of-a-package.so"

        def imported():
            if not loaded:
                raise ImportError("libusb-1.0.so.0: cannot open shared object file")
            return realsense

        monkeypatch.setattr(realsense, "_imported", imported)
        monkeypatch.setattr(ctypes, "CDLL", lambda path, mode: loaded.append((path, mode)))
        monkeypatch.setitem(sys.modules, "libusb_package", Package)
        assert realsense.library() is realsense
        assert loaded == [("libusb-of-a-package.so", ctypes.RTLD_GLOBAL)]
