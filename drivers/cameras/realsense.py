"""Intel RealSense D4xx: colour, and depth aligned to it, over `pyrealsense2`.

Known troubles of these cameras, and what is done about them. `pipeline.start` waits 15 s where
there is no camera: the cameras are listed first. The library's "global time" jumps back about every
4292 s, may lie in the future and drifts: it is switched off, and the camera's own clock is mapped
to this computer's by `drivers.device_clock`. `stop` may hang after a failure, and the library's own
reconnecting may wait long: all calls are made by a session that can be abandoned
(`drivers.camera_source`), and each `open` lists the cameras anew, so that one which was unplugged
is found by its serial number wherever it is plugged in.

Images are not copied: the arrays are views of the library's frames, which are taken out of its pool
(`keep`) and live as long as their arrays do. Only depth whose unit is not 1 mm is computed anew.
"""

from __future__ import annotations

import contextlib
import ctypes
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from headway import config
from headway.clock import Clock
from headway.drivers import Context, identity
from headway.drivers.camera_source import CameraSource, Ended, Shot
from headway.drivers.cameras import CameraName, Pixels
from headway.drivers.device_clock import DeviceClock
from headway.errors import ConfigError, DeviceError, Missing
from headway.types import Frame, Info

_WAIT_MS = 100  # for one image
_WRAPS_NS = 2**32 * 1000  # the camera counts microseconds in 32 bits: 4295 s
_BEGINS = 5  # waits without an image, until a recording that is not playing counts as over
_APART = 0.6  # of a period; two streams of one rate that are not triggered together: at most half
_MM = 1e-3  # [m]
PATHS = ("file",)  # keys of `Config`, see `headway.plugins.with_paths`


class Config(config.Struct, frozen=True):
    """Keys of `[[camera]]` for the kind `realsense`. `serial`: the number on the camera, "" where
    there is only one. `file`: a recording (.db3, or .bag of older versions) instead of a camera.
    `firmware`: the oldest that will do, as [5, 15]."""

    name: CameraName = "wrist"
    serial: str = ""
    file: str = ""
    firmware: tuple[int, ...] = ()
    width: Pixels = 640  # of colour, and of depth once it is aligned [px]
    height: Pixels = 480
    rate_hz: Annotated[int, Meta(ge=1, le=300)] = 30  # one of the camera's own
    depth: bool = True
    depth_width: Annotated[int, Meta(ge=0, le=8192)] = 0  # 0: as colour
    depth_height: Annotated[int, Meta(ge=0, le=8192)] = 0
    exposure_us: Annotated[int, Meta(ge=0, le=1_000_000)] = 0  # of colour; 0: automatic
    gain: Annotated[int, Meta(ge=0, le=1000)] = 0  # of colour, wants `exposure_us`; 0: as it is
    white_balance_k: Annotated[int, Meta(ge=0, le=20_000)] = 0  # [K]; 0: automatic
    emitter: bool = True  # the infrared pattern, without which plain walls have no depth
    latency_ms: Annotated[float, Meta(ge=0.0, le=1000.0)] = 0.0  # shortest, of an image on its way
    dead_s: config.Seconds = 1.0  # without a new image, and the camera is opened again
    stop_s: config.Seconds = 1.0  # so long a stop may take before it is abandoned

    def __post_init__(self) -> None:
        if self.gain and not self.exposure_us:
            raise ValueError(
                f"gain = {self.gain} wants a fixed exposure, found exposure_us = 0, with which the "
                "camera chooses both: set exposure_us, or leave gain out"
            )


def apply(cfg: Config, rs: Any, device: Any) -> None:
    """Set the camera `device` of the library `rs` as `cfg` says, and have it stamp images by its
    own clock. Raises DeviceError for a value that the camera does not take, and for a setting that
    it does not have although `cfg` gives one."""
    option, sensors, model = rs.option, device.query_sensors(), about(rs, device, "").model
    # A D405 has no colour sensor: its colour image is one of the depth sensor's, whose exposure
    # counts in microseconds.
    colour = [s for s in sensors if s.is_color_sensor()]
    unit_us = 100 if colour else 1
    colour = colour or [s for s in sensors if s.is_depth_sensor()]
    for sensor in sensors:
        usual: dict[Any, float] = {option.global_time_enabled: 0.0}
        asked: dict[Any, float] = {}
        if sensor.is_depth_sensor():
            usual[option.emitter_enabled] = float(cfg.emitter)
        if sensor in colour:
            usual[option.enable_auto_exposure] = float(not cfg.exposure_us)
            usual[option.enable_auto_white_balance] = float(not cfg.white_balance_k)
            if cfg.exposure_us:
                asked[option.exposure] = cfg.exposure_us / unit_us
                asked |= {option.gain: float(cfg.gain)} if cfg.gain else {}
            if cfg.white_balance_k:
                asked[option.white_balance] = float(cfg.white_balance_k)
        for what, value in (usual | asked).items():
            name = str(what).removeprefix("option.")
            if not sensor.supports(what):
                if what in asked:
                    raise DeviceError(
                        f"wanted {name} = {value:g} of {model}, found that it has no such setting: "
                        "leave it out"
                    )
                continue
            try:
                sensor.set_option(what, value)
            except RuntimeError as e:
                raise DeviceError(
                    f"wanted {name} = {value:g} of {model}, found: {e}: choose a value that the "
                    "camera takes"
                ) from None


def library() -> ModuleType:
    """The module pyrealsense2. Raises Missing, with what to install."""
    try:
        return _imported()
    except ImportError as e:
        if "libusb" not in str(e):
            raise Missing(
                f"a RealSense camera wants pyrealsense2, found that it does not import ({e}): "
                "`pip install 'headway[realsense]'`"
            ) from None
    try:
        import libusb_package

        # Before pyrealsense2, so that the loader finds the name that it asks for.
        ctypes.CDLL(str(libusb_package.get_library_path()), ctypes.RTLD_GLOBAL)
        return _imported()
    except (ImportError, OSError) as e:
        raise Missing(
            f"pyrealsense2 wants the system's libusb-1.0, found none ({e}): on Debian and Ubuntu "
            "`apt-get install libusb-1.0-0`, elsewhere `pip install libusb-package`"
        ) from None


def _imported() -> ModuleType:
    import pyrealsense2

    module: ModuleType = pyrealsense2
    return module


def about(rs: Any, device: Any, uri: str) -> Info:
    """What `device` says about itself."""

    def said(what: Any) -> str:
        return str(device.get_info(what)) if device.supports(what) else ""

    kind = rs.camera_info
    return Info(
        "realsense", said(kind.name), said(kind.serial_number), said(kind.firmware_version), uri
    )


class Images:
    """Makes a `Shot` of each set of frames that librealsense delivers: aligned, in millimetres,
    stamped on the run's clock. `rs` is the library; all of a camera's images since it was opened go
    through one of these."""

    def __init__(self, rs: Any, clock: Clock, cfg: Config) -> None:
        self._rs, self._clock, self._cfg = rs, clock, cfg
        self._align = rs.align(rs.stream.color) if cfg.depth else None
        delay_ns = round(cfg.latency_ms * 1e6)
        self._time = DeviceClock(delay_ns=delay_ns, wraps_ns=_WRAPS_NS)
        self._resets = 0
        self._profile = -1  # whose intrinsics are kept
        self._K: NDArray[np.float64] = np.full((3, 3), np.nan)
        self.refused = ""  # why the newest set gave no image, "" if it did

    def shot(self, frames: Any, arrival_ns: int) -> Shot | None:
        """The image in the set `frames`; None where a part of it is missing, or where depth and
        colour are further apart than two streams need be: the pipeline repeats the last frame of
        the slower one, also when that sensor has stopped."""
        rs = self._rs
        color = frames.get_color_frame()
        if not color:
            self.refused = "sets without a colour image"
            return None
        depth = None
        if self._align is not None:
            deep = frames.get_depth_frame()
            if not deep:
                self.refused = "sets without a depth image"
                return None
            apart = abs(deep.get_timestamp() - color.get_timestamp())  # [ms]
            same = deep.get_frame_timestamp_domain() == color.get_frame_timestamp_domain()
            if same and apart > _APART * 1e3 / self._cfg.rate_hz:
                self.refused = f"depth and colour {apart:.0f} ms apart"
                return None
            aligned = self._align.process(frames)
            color, deep = aligned.get_color_frame(), aligned.get_depth_frame()
            depth = self._millimetres(deep)
        self.refused = ""
        if color.get_profile().format() != rs.format.rgb8:
            raise DeviceError(
                f"wanted colour as rgb8 from {self._cfg.file or 'the camera'}, found "
                f"{str(color.get_profile().format()).removeprefix('format.')}: record it as rgb8"
            )
        color.keep()  # it does not count for the library's pool, however long somebody looks at it
        rgb: NDArray[np.uint8] = np.asanyarray(color.get_data())
        frame = Frame(rgb, depth, self._intrinsics(color), self._cfg.name)
        return self._stamped(frame, color, arrival_ns)

    def _stamped(self, frame: Frame, color: Any, arrival_ns: int) -> Shot:
        rs, number = self._rs, int(color.get_frame_number())
        if color.get_frame_timestamp_domain() == rs.timestamp_domain.system_time:
            # Without the kernel's metadata there is only the computer's wall clock.
            return Shot(frame, number, arrival_ns, arrival_ns, flags=("no_device_clock",))
        device_ns = round(color.get_timestamp() * 1e6)
        t_ns, error_ns = self._time.map(device_ns, arrival_ns)
        reset = self._time.resets != self._resets
        self._resets = self._time.resets
        return Shot(
            frame, number, t_ns - self._before(color), arrival_ns, device_ns, error_ns,
            ("clock_reset",) if reset else (),
        )  # fmt: skip

    def _before(self, color: Any) -> int:
        """How long before its stamp, the end of its readout, the middle of an image's exposure was
        [ns], where the camera says so."""
        value = self._rs.frame_metadata_value
        if not all(
            color.supports_frame_metadata(what)
            for what in (value.frame_timestamp, value.sensor_timestamp)
        ):
            return 0
        us = int(color.get_frame_metadata(value.frame_timestamp)) - int(
            color.get_frame_metadata(value.sensor_timestamp)
        )
        return us * 1000 if 0 <= us < 200_000 else 0

    def _millimetres(self, deep: Any) -> NDArray[np.uint16]:
        """Depth [mm]. A view where the camera counts millimetres, else a new array."""
        unit = float(deep.get_units())  # [m]
        deep.keep()
        counts: NDArray[np.uint16] = np.asanyarray(deep.get_data())
        if abs(unit - _MM) < 1e-9:
            return counts
        return (counts * np.float32(unit / _MM)).round().clip(0, 65535).astype(np.uint16)

    def _intrinsics(self, color: Any) -> NDArray[np.float64]:
        """The pinhole matrix (3, 3) [px]. librealsense counts from the centre of the first pixel,
        Headway from its corner."""
        profile = color.get_profile().as_video_stream_profile()
        if profile.unique_id() != self._profile:
            lens = profile.get_intrinsics()
            self._profile = profile.unique_id()
            self._K = np.array(
                [[lens.fx, 0, lens.ppx + 0.5], [0, lens.fy, lens.ppy + 0.5], [0, 0, 1]]
            )
        return self._K


class Pipeline:
    """A camera, or a recording, streaming through librealsense's pipeline."""

    @property
    def refused(self) -> str:
        return self._images.refused

    def __init__(self, rs: Any, clock: Clock, cfg: Config, uri: str) -> None:
        self._rs, self._clock, self._cfg, self._uri = rs, clock, cfg, uri
        self._images = Images(rs, clock, cfg)
        self._queue = rs.frame_queue(1)  # the newest replaces the one that nobody took
        self._pipeline: Any = None
        self._device: Any = None
        self._playback: Any = None
        self._empty = 0  # how often no image came; a recording takes a moment to begin

    def start(self) -> Info:
        rs, cfg = self._rs, self._cfg
        context, wanted = rs.context(), rs.config()
        if cfg.file:
            wanted.enable_device_from_file(cfg.file, False)
            wanted.enable_stream(rs.stream.color)  # of the size that was recorded
            if cfg.depth:
                wanted.enable_stream(rs.stream.depth)
        else:
            device = self._found(context)
            info = about(rs, device, self._uri)
            identity.check(info, serial=cfg.serial, firmware=cfg.firmware)
            apply(cfg, rs, device)
            wanted.enable_device(info.serial)
            rate = cfg.rate_hz
            wanted.enable_stream(rs.stream.color, cfg.width, cfg.height, rs.format.rgb8, rate)
            if cfg.depth:
                size = cfg.depth_width or cfg.width, cfg.depth_height or cfg.height
                wanted.enable_stream(rs.stream.depth, *size, rs.format.z16, rate)
        pipeline = rs.pipeline(context)
        try:
            if cfg.file:  # before it starts: in real time, images that nobody took are dropped
                found = wanted.resolve(rs.pipeline_wrapper(pipeline)).get_device()
                self._playback = found.as_playback()
                self._playback.set_real_time(self._clock.realtime)
            # In a queue of ours, images of a camera do not make the library reconnect by itself;
            # but a recording that is to be read whole stops at a full one.
            live = () if cfg.file else (self._queue,)
            profile = pipeline.start(wanted, *live)
        except RuntimeError as e:
            raise DeviceError(
                f"wanted {self._asked()} of the RealSense at {self._uri}, found: {e}: "
                "`rs-enumerate-devices` lists what a camera can do, and a USB 2 port takes from it"
            ) from None
        self._pipeline, self._device = pipeline, profile.get_device()
        info = about(rs, self._device, self._uri)
        if cfg.file:  # a camera was asked before it started
            identity.check(info, serial=cfg.serial, firmware=cfg.firmware)
        return info

    def _asked(self) -> str:
        cfg = self._cfg
        if cfg.file:
            return "colour and depth" if cfg.depth else "colour"
        deep = f"{cfg.depth_width or cfg.width}x{cfg.depth_height or cfg.height}"
        return f"colour {cfg.width}x{cfg.height}" + (
            f" and depth {deep} at {cfg.rate_hz} Hz" if cfg.depth else f" at {cfg.rate_hz} Hz"
        )

    def _found(self, context: Any) -> Any:
        """The camera with the serial number of the configuration. Raises DeviceError at once when
        it is not plugged in."""
        rs, wanted = self._rs, self._cfg.serial
        serials = {about(rs, d, "").serial: d for d in context.query_devices()}
        if wanted in serials:
            return serials[wanted]
        if not wanted and len(serials) == 1:
            return next(iter(serials.values()))
        what = f"a RealSense with the serial number {wanted}" if wanted else "one RealSense"
        have = ", ".join(sorted(serials)) or "none plugged in"
        todo = "name one with `serial`" if serials else "check its cable and the udev rules"
        raise DeviceError(f"wanted {what}, found {have}: {todo}")

    def grab(self) -> Shot | None:
        playback, rs = self._playback, self._rs
        if playback is None:
            there, frame = self._queue.try_wait_for_frame(_WAIT_MS)
        else:
            there, frame = self._pipeline.try_wait_for_frames(_WAIT_MS)
        self._empty = 0 if there else self._empty + 1
        if there:
            return self._images.shot(frame.as_frameset(), self._clock.now())
        if playback is not None:
            stopped = playback.current_status() == rs.playback_status.stopped
            if stopped and self._empty > _BEGINS:
                raise Ended
        elif not self._device.is_connected():
            raise DeviceError(
                f"wanted images of the RealSense at {self._uri}, found that it is unplugged: it is "
                "opened again once it is back"
            )
        return None

    def stop(self) -> None:
        pipeline, self._pipeline = self._pipeline, None
        if pipeline is not None:
            pipeline.stop()
        self._device = self._playback = None


def connect(cfg: Config, ctx: Context) -> CameraSource:
    """The camera that `cfg` describes, not open yet. Raises Missing without the library, and
    ConfigError for a recording that is not there."""
    if cfg.file and not Path(cfg.file).is_file():
        raise ConfigError(
            f"[[camera]] `file` wants a recording of a RealSense, found no file {cfg.file}: give "
            "the path of a .db3 or .bag"
        )
    rs = library()
    with contextlib.suppress(AttributeError):  # what it prints is what our errors say
        rs.log_to_console(rs.log_severity.fatal)
    uri = cfg.file or f"realsense:{cfg.serial or 'the only one'}"
    return CameraSource(
        ctx.clock,
        Info("realsense", "RealSense", cfg.serial, "", uri),
        lambda: Pipeline(rs, ctx.clock, cfg, uri),
        has_depth=cfg.depth,
        rate_hz=float(cfg.rate_hz),
        dead_s=cfg.dead_s,
        stop_s=cfg.stop_s,
        size=None if cfg.file else (cfg.height, cfg.width),
    )
