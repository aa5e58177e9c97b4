"""USB cameras of the class UVC (webcams), and video files, over OpenCV.

OpenCV and not PyAV: both read V4L2 and pass on its timestamps, which the kernel takes of
CLOCK_MONOTONIC when an image begins to arrive; but OpenCV also sets exposure, gain, white balance
and focus, and waits at most 10 s for an image, where PyAV's V4L2 reader waits for ever. Those 10 s
are the library's; a session that waits is abandoned sooner (`drivers.camera_source`).

V4L2 numbers its images, but OpenCV does not say the number: how many were lost follows from the
timestamps. Each image is copied once, when its colours are put into the order of RGB.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from headway import config
from headway.clock import NS, Clock
from headway.drivers import Context
from headway.drivers.camera_source import CameraSource, Ended, Shot
from headway.drivers.cameras import CameraName, Pixels
from headway.errors import ConfigError, DeviceError, Missing
from headway.types import Frame, Info

_BY_ID = Path("/dev/v4l/by-id")  # udev's links, which are named after maker, model and serial
_MANUAL, _AUTOMATIC = 1.0, 3.0  # V4L2_CID_EXPOSURE_AUTO: manual, aperture priority
_OLD_NS = NS  # a timestamp that is this much older than its arrival is of another clock
PATHS = ("file",)  # keys of `Config`, see `headway.plugins.with_paths`


class Config(config.Struct, frozen=True):
    """Keys of `[[camera]]` for the kind `uvc`. `device`: a path below /dev/v4l/by-id, which stays
    the same wherever the camera is plugged in, or /dev/videoN, or the number N. `file`: a video
    instead of a camera. The intrinsics `fx`, `fy`, `cx`, `cy` [px], from a calibration, are of
    images of this size, from the corner of the first pixel; NaN where none are given."""

    name: CameraName = "overview"
    device: str = ""
    file: str = ""
    width: Pixels = 640  # [px]
    height: Pixels = 480
    rate_hz: config.Hertz = 30.0
    format: Literal["mjpg", "yuyv"] = "mjpg"
    exposure_us: Annotated[int, Meta(ge=0, le=1_000_000)] = 0  # 0: automatic
    gain: Annotated[int, Meta(ge=-1, le=10_000)] = -1  # in the camera's own units; -1: as it is
    white_balance_k: Annotated[int, Meta(ge=0, le=20_000)] = 0  # [K]; 0: automatic
    focus: Annotated[int, Meta(ge=-1, le=10_000)] = -1  # the camera's own units; -1: as it is
    fx: config.NotNegative = 0.0  # 0: not known
    fy: config.NotNegative = 0.0
    cx: config.NotNegative = 0.0
    cy: config.NotNegative = 0.0
    repeats: bool = False  # images may be the same twice, as of a capture card or a test pattern
    dead_s: config.Seconds = 1.0  # without a new image, and the camera is opened again
    stop_s: config.Seconds = 1.0  # so long a stop may take before it is abandoned


def library() -> ModuleType:
    """The module cv2. Raises Missing, with what to install."""
    try:
        import cv2
    except ImportError as e:
        raise Missing(
            f"a UVC camera wants OpenCV, found that it does not import ({e}): "
            "`pip install 'headway[uvc]'`"
        ) from None
    module: ModuleType = cv2
    return module


def intrinsics(cfg: Config) -> NDArray[np.float64]:
    """The pinhole matrix (3, 3) [px] of the configuration, NaN where it has none. Raises
    ConfigError where it has a part of it."""
    given = (cfg.fx, cfg.fy, cfg.cx, cfg.cy)
    if not any(given):
        return np.full((3, 3), np.nan)
    if not all(given):
        raise ConfigError(
            f"[[camera]] {cfg.name} wants all of fx, fy, cx, cy or none, found {given}: give the "
            "numbers of a calibration with images of this size"
        )
    return np.array([[cfg.fx, 0, cfg.cx], [0, cfg.fy, cfg.cy], [0, 0, 1]])


class Capture:
    """A camera, or a file, read by OpenCV's VideoCapture; `cv2` is the library."""

    refused = ""

    def __init__(self, cv2: Any, clock: Clock, cfg: Config, path: str) -> None:
        self._cv2, self._clock, self._cfg, self._path = cv2, clock, cfg, path
        self._K = intrinsics(cfg)
        self._capture: Any = None
        self._period_ns = round(NS / cfg.rate_hz)
        self._number, self._last_ns = 0, 0
        self._start_ns = 0  # when a file began to play

    def start(self) -> Info:
        cv2, cfg = self._cv2, self._cfg
        if not cfg.file and not Path(self._path).exists():
            have = ", ".join(str(p) for p in sorted(_BY_ID.glob("*"))) or "none"
            raise DeviceError(
                f"wanted a camera at {self._path}, found none there (below {_BY_ID}: {have}): is "
                "it plugged in?"
            )
        # OpenCV knows devices by /dev/videoN; what a link leads to changes with the port.
        place = self._path if cfg.file else os.path.realpath(self._path)
        capture = self._capture = (
            cv2.VideoCapture(place) if cfg.file else cv2.VideoCapture(place, cv2.CAP_V4L2)
        )
        if not capture.isOpened():
            raise DeviceError(
                f"wanted to open {self._path}, found that OpenCV cannot: "
                + ("is it a video?" if cfg.file else "is it in use, and are you in group video?")
            )
        if cfg.file:
            rate = capture.get(cv2.CAP_PROP_FPS)
            self._period_ns = round(NS / rate) if rate > 0 else self._period_ns
        else:
            self._set(capture)
        self._start_ns = self._clock.now()
        model = Path(self._path).name
        return Info("uvc", model, "", "", self._path)

    def _set(self, capture: Any) -> None:
        """What the configuration asks for. Raises DeviceError for what the camera does not take."""
        cv2, cfg = self._cv2, self._cfg
        code = "MJPG" if cfg.format == "mjpg" else "YUYV"
        values: list[tuple[str, int, float]] = [
            ("format", cv2.CAP_PROP_FOURCC, float(cv2.VideoWriter.fourcc(*code))),
            ("width", cv2.CAP_PROP_FRAME_WIDTH, float(cfg.width)),
            ("height", cv2.CAP_PROP_FRAME_HEIGHT, float(cfg.height)),
            ("rate_hz", cv2.CAP_PROP_FPS, cfg.rate_hz),
        ]
        if cfg.exposure_us:
            values += [
                ("exposure_us", cv2.CAP_PROP_AUTO_EXPOSURE, _MANUAL),
                ("exposure_us", cv2.CAP_PROP_EXPOSURE, cfg.exposure_us / 100),  # [100 us]
            ]
        if cfg.gain >= 0:
            values.append(("gain", cv2.CAP_PROP_GAIN, float(cfg.gain)))
        if cfg.white_balance_k:
            values += [
                ("white_balance_k", cv2.CAP_PROP_AUTO_WB, 0.0),
                ("white_balance_k", cv2.CAP_PROP_WB_TEMPERATURE, float(cfg.white_balance_k)),
            ]
        if cfg.focus >= 0:
            values += [
                ("focus", cv2.CAP_PROP_AUTOFOCUS, 0.0),
                ("focus", cv2.CAP_PROP_FOCUS, float(cfg.focus)),
            ]
        for name, what, value in values:
            took = capture.set(what, value)
            found = capture.get(what)
            exact = name in ("format", "width", "height")
            if not took or (exact and found != value):
                raise DeviceError(
                    f"wanted {name} = {getattr(cfg, name)} of the camera at {self._path}, found "
                    f"{found:g}: `v4l2-ctl --list-formats-ext --list-ctrls` lists what it takes"
                )
        if not cfg.exposure_us:  # a camera keeps what the program before set; not all have it
            capture.set(cv2.CAP_PROP_AUTO_EXPOSURE, _AUTOMATIC)
        if not cfg.white_balance_k:
            capture.set(cv2.CAP_PROP_AUTO_WB, 1.0)

    def grab(self) -> Shot | None:
        cv2, cfg, capture = self._cv2, self._cfg, self._capture
        there, bgr = capture.read()
        arrival_ns = self._clock.now()
        if not there:
            if cfg.file:
                raise Ended
            gone = "it is unplugged" if not Path(self._path).exists() else "it gives no image"
            raise DeviceError(
                f"wanted an image of the camera at {self._path}, found that {gone}: it is opened "
                "again once it is back"
            )
        ms = float(capture.get(cv2.CAP_PROP_POS_MSEC))
        stamped_ns = round(ms * 1e6) if math.isfinite(ms) else 0
        if cfg.file:
            due_ns = self._start_ns + stamped_ns
            if self._clock.realtime:
                self._clock.sleep_until(due_ns)
            arrival_ns = t_ns = max(self._clock.now(), due_ns)
            flags: tuple[str, ...] = ()
        elif 0 <= arrival_ns - stamped_ns < _OLD_NS:
            t_ns, flags = stamped_ns, ()
        else:  # a driver that stamps with the wall clock, or not at all
            t_ns, flags = arrival_ns, ("no_device_clock",)
        passed = round((t_ns - self._last_ns) / self._period_ns) if self._number else 1
        self._number, self._last_ns = self._number + max(1, passed), t_ns
        rgb: NDArray[np.uint8] = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
        frame = Frame(rgb, None, self._K, cfg.name)
        return Shot(frame, self._number, t_ns, arrival_ns, stamped_ns, 0, flags)

    def stop(self) -> None:
        capture, self._capture = self._capture, None
        if capture is not None:
            capture.release()


def connect(cfg: Config, ctx: Context) -> CameraSource:
    """The camera that `cfg` describes, not open yet. Raises Missing without the library, and
    ConfigError for a configuration that names no camera or no whole intrinsics."""
    if bool(cfg.device) == bool(cfg.file):
        raise ConfigError(
            f"[[camera]] {cfg.name} wants either `device` or `file`, found "
            f"{'both' if cfg.device else 'neither'}: for example device = "
            f'"{_BY_ID}/usb-046d_C920-video-index0", or "0"'
        )
    if cfg.file and not Path(cfg.file).is_file():
        raise ConfigError(f"[[camera]] `file` wants a video, found no file {cfg.file}")
    intrinsics(cfg)
    cv2 = library()
    path = cfg.file or (f"/dev/video{cfg.device}" if cfg.device.isdecimal() else cfg.device)
    return CameraSource(
        ctx.clock,
        Info("uvc", Path(path).name, "", "", path),
        lambda: Capture(cv2, ctx.clock, cfg, path),
        has_depth=False,
        rate_hz=cfg.rate_hz,
        dead_s=cfg.dead_s,
        stop_s=cfg.stop_s,
        size=None if cfg.file else (cfg.height, cfg.width),
        repeats=cfg.repeats,
    )
