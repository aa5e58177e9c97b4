"""Cameras for tests: images that a test scripts, and a RealSense made of librealsense's own
software device."""

from __future__ import annotations

import queue
import threading

import numpy as np

from headway.clock import VirtualClock
from headway.drivers.camera_source import CameraSource, Shot
from headway.drivers.cameras import realsense
from headway.types import Frame, Info

SOON = 30.0  # a bound on waiting for another thread [s]; nothing waits that long
MS = 1_000_000


class Wall(VirtualClock):
    """A wall clock that the test moves."""

    realtime = True


def image(fill, size=(16, 24), depth=None):
    rgb = np.full((*size, 3), fill, np.uint8)
    deep = None if depth is None else np.full(size, depth, np.uint16)
    return Frame(rgb, deep, np.eye(3), "wrist")


class Scripted:
    """A Grabber that does what the test puts into `script`: a Shot to give, or an error to raise.
    `on_start` and `on_stop` may hang."""

    refused = ""

    def __init__(self, on_start=None, on_stop=None):
        self.script = queue.Queue()
        self.on_start, self.on_stop = on_start, on_stop
        self.stopped = threading.Event()
        self.grabs = threading.Semaphore(0)

    def start(self):
        if self.on_start is not None:
            self.on_start()
        return Info("scripted", "scripted camera", "7", "1.0", "usb")

    def grab(self):
        self.grabs.release()
        try:
            step = self.script.get(timeout=0.02)
        except queue.Empty:
            return None
        if isinstance(step, Exception):
            raise step
        return step

    def stop(self):
        if self.on_stop is not None:
            self.on_stop()
        self.stopped.set()

    def give(self, number, fill, t_ns, depth=None):
        self.script.put(Shot(image(fill, depth=depth), number, t_ns, t_ns))


def camera(clock, make, **more):
    info = Info("scripted", "", "", "", "usb")
    return CameraSource(clock, info, make, has_depth=False, rate_hz=30.0, **more)


class Software:
    """A RealSense of librealsense's software device: `push` gives it a pair of frames, and makes a
    set of them as the pipeline does, of the newest of each stream. `shift_m`: how far the colour
    sensor lies to the right of the depth sensor [m]."""

    refused = ""

    def __init__(self, rs, clock, size=(120, 160), focal=150.0, shift_m=0.0, unit=0.001, **keys):
        self.rs, self.clock, self.size, self.focal = rs, clock, size, focal
        self.device = rs.software_device()
        self.device.register_info(rs.camera_info.name, "RealSense D435 made up")
        self.device.register_info(rs.camera_info.serial_number, "123")
        self.deep_sensor = self.device.add_sensor("Depth")
        self.color_sensor = self.device.add_sensor("Color")
        self.deep = self.deep_sensor.add_video_stream(self._stream(rs.stream.depth, 0))
        self.color = self.color_sensor.add_video_stream(self._stream(rs.stream.color, 1))
        self.deep_sensor.add_read_only_option(rs.option.depth_units, unit)
        self.unit = unit
        beside = rs.extrinsics()
        beside.rotation, beside.translation = [1, 0, 0, 0, 1, 0, 0, 0, 1], [-shift_m, 0, 0]
        self.deep.register_extrinsics_to(self.color, beside)
        self.images = realsense.Images(rs, clock, realsense.Config(**keys))
        self.frames, self.sets = rs.frame_queue(4), rs.frame_queue(4)
        self.last = {}  # the newest frame of each stream
        self.block = rs.processing_block(self._together)
        self.block.start(self.sets)
        self.sensors = ()

    def _stream(self, kind, uid):
        rs, (h, w) = self.rs, self.size
        lens = rs.intrinsics()
        lens.width, lens.height, lens.fx, lens.fy = w, h, self.focal, self.focal
        lens.ppx, lens.ppy, lens.model, lens.coeffs = w / 2, h / 2, rs.distortion.none, [0] * 5
        stream = rs.video_stream()
        deep = kind == rs.stream.depth
        stream.type, stream.index, stream.uid, stream.intrinsics = kind, 0, uid, lens
        stream.width, stream.height, stream.fps = w, h, 30
        stream.bpp, stream.fmt = (2, rs.format.z16) if deep else (3, rs.format.rgb8)
        return stream

    def start(self):
        self.begin(self.frames, (self.deep_sensor, self.color_sensor))
        return realsense.about(self.rs, self.device, "software")

    def _together(self, _, source):
        source.frame_ready(source.allocate_composite_frame(list(self.last.values())))

    def begin(self, to, sensors):
        self.sensors = sensors
        for sensor, profile in zip(self.sensors, (self.deep, self.color), strict=True):
            sensor.open(profile)
            sensor.start(to)

    def stop(self):
        sensors, self.sensors = self.sensors, ()
        for sensor in sensors:
            sensor.stop()
            sensor.close()

    def grab(self):
        there, frames = self.sets.try_wait_for_frame(20)
        shot = self.images.shot(frames.as_frameset(), self.clock.now()) if there else None
        self.refused = self.images.refused
        return shot

    def _frame(self, profile, pixels, number, t_ms, domain):
        rs = self.rs
        frame = rs.software_video_frame()
        frame.pixels = np.ascontiguousarray(pixels)
        frame.bpp = 2 if pixels.dtype == np.uint16 else 3
        frame.stride = pixels.shape[1] * frame.bpp
        frame.timestamp, frame.frame_number = t_ms, number
        frame.domain = domain or rs.timestamp_domain.hardware_clock
        frame.profile = profile.as_video_stream_profile()
        if pixels.dtype == np.uint16:
            frame.depth_units = self.unit
        return frame

    def push(self, number, t_ms, rgb=None, depth=None, domain=None, only=""):
        """A pair of frames as the sensors deliver them, noisy unless they are given, and the set of
        the newest ones; `only`: "color" or "depth"."""
        rgb, depth = self.inject(number, t_ms, rgb, depth, domain, only)
        for _ in range(1 if only else 2):
            frame = self.frames.wait_for_frame(int(SOON * 1000))
            self.last[frame.get_profile().unique_id()] = frame
        self.block.invoke(frame)
        return rgb, depth

    def inject(self, number, t_ms, rgb=None, depth=None, domain=None, only=""):
        rng = np.random.default_rng(number)
        if rgb is None:
            rgb = rng.integers(0, 256, (*self.size, 3)).astype(np.uint8)
        if depth is None:
            depth = rng.integers(400, 600, self.size).astype(np.uint16)
        if only != "color":
            self.deep_sensor.on_video_frame(self._frame(self.deep, depth, number, t_ms, domain))
        if only != "depth":
            self.color_sensor.on_video_frame(self._frame(self.color, rgb, number, t_ms, domain))
        return rgb, depth
