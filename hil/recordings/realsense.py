"""A recording of colour and depth for the driver of RealSense cameras, made by librealsense's own
recorder of its software device: noise, as of a sensor, so no image is like another. It takes as
long as it lasts: librealsense plays frames at the pace at which they came to the recorder, whatever
their stamps say."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.clock import NS, WallClock
from headway.drivers.cameras.realsense import library
from headway.errors import DeviceError
from headway.hil.recordings import SECONDS

DRIVERS = (("cameras", "realsense"),)
WIDTH, HEIGHT, RATE_HZ = 160, 120, 30
SERIAL = "123"
_PASSED_MS = 30_000  # a bound on the recorder's passing on a frame


def record(folder: Path) -> dict[str, Any]:
    """Write it. Raises Missing without pyrealsense2, and DeviceError where it does not record."""
    path = folder / "camera.db3"
    _record(library(), path)
    gc.collect()  # the recorder closes its file when nothing holds it any more
    return {
        "file": str(path), "serial": SERIAL, "width": WIDTH, "height": HEIGHT, "rate_hz": RATE_HZ,
    }  # fmt: skip


def _record(rs: Any, path: Path) -> None:
    device = rs.software_device()
    device.register_info(rs.camera_info.name, "software device")
    device.register_info(rs.camera_info.serial_number, SERIAL)
    sensors = [device.add_sensor(name) for name in ("Depth", "Color")]
    sensors[0].add_read_only_option(rs.option.depth_units, 0.001)
    profiles = [
        sensor.add_video_stream(_stream(rs, what, uid))
        for uid, (sensor, what) in enumerate(
            zip(sensors, (rs.stream.depth, rs.stream.color), strict=True)
        )
    ]
    same = rs.extrinsics()
    same.rotation, same.translation = [1, 0, 0, 0, 1, 0, 0, 0, 1], [0, 0, 0]
    profiles[0].register_extrinsics_to(profiles[1], same)
    recorder, passed = rs.recorder(str(path), device), rs.frame_queue(4)
    recorded = recorder.query_sensors()
    for sensor, profile in zip(recorded, profiles, strict=True):
        sensor.open(profile)
        sensor.start(passed)
    rng, clock = np.random.default_rng(0), WallClock(spin_ns=0)
    begin = clock.now()
    for n in range(round(SECONDS * RATE_HZ)):
        clock.sleep_until(begin + round(n / RATE_HZ * NS))
        t_ms = 1000.0 + n * 1000.0 / RATE_HZ
        deep = rng.integers(400, 600, (HEIGHT, WIDTH)).astype(np.uint16)
        color = rng.integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
        images: tuple[NDArray[Any], ...] = (deep, color)
        for sensor, profile, pixels in zip(sensors, profiles, images, strict=True):
            sensor.on_video_frame(_frame(rs, profile, pixels, n + 1, t_ms))
        for _ in sensors:
            if not passed.try_wait_for_frame(_PASSED_MS)[0]:
                raise DeviceError(f"wanted librealsense to record {path}, found that it hangs")
    for sensor in recorded:
        sensor.stop()
        sensor.close()


def _stream(rs: Any, what: Any, uid: int) -> Any:
    lens = rs.intrinsics()
    lens.width, lens.height, lens.fx, lens.fy = WIDTH, HEIGHT, 150.0, 150.0
    lens.ppx, lens.ppy = WIDTH / 2, HEIGHT / 2
    lens.model, lens.coeffs = rs.distortion.none, [0] * 5
    stream, deep = rs.video_stream(), what == rs.stream.depth
    stream.type, stream.index, stream.uid, stream.intrinsics = what, 0, uid, lens
    stream.width, stream.height, stream.fps = WIDTH, HEIGHT, RATE_HZ
    stream.bpp, stream.fmt = (2, rs.format.z16) if deep else (3, rs.format.rgb8)
    return stream


def _frame(rs: Any, profile: Any, pixels: NDArray[Any], number: int, t_ms: float) -> Any:
    frame = rs.software_video_frame()
    frame.pixels = pixels
    frame.bpp = pixels.itemsize * (pixels.shape[2] if pixels.ndim == 3 else 1)
    frame.stride = WIDTH * frame.bpp
    frame.timestamp, frame.frame_number = t_ms, number
    frame.domain = rs.timestamp_domain.hardware_clock
    frame.profile = profile.as_video_stream_profile()
    if pixels.dtype == np.uint16:
        frame.depth_units = 0.001
    return frame
