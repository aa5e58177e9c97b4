"""A camera that plays back /camera/NAME/rgb of a recording, with /depth and /calibration if it
has them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway import config
from headway.drivers import Context
from headway.drivers.cameras import CameraName
from headway.drivers.replay_source import ReplaySource, Tape, info, tape_of
from headway.errors import RecordingError
from headway.types import Frame

PATHS = ("path",)  # keys of `Config`, see `headway.plugins.with_paths`


class Config(config.Struct, frozen=True):
    """Keys of `[[camera]]` for the kind `replay`. `path`: the recording; `name`: the camera in
    it."""

    path: str
    name: CameraName = "wrist"


_Images = Iterator[tuple[int, NDArray[Any]]]  # with their times [ns]


class ReplayCamera(ReplaySource[Frame]):
    """Images are decoded one by one when they are due; only the times of all of them are kept in
    memory. The intrinsics are NaN when the recording has no calibration."""

    def __init__(self, tape: Tape, cfg: Config) -> None:
        log, base = tape.log, f"/camera/{cfg.name}"
        self._rgb, self._depth = f"{base}/rgb", f"{base}/depth"
        times = np.array([m.t_ns for m in log.messages(self._rgb)], np.int64)
        if not len(times):
            raise RecordingError(f"wanted images on {self._rgb} of {log.path}, found none")
        super().__init__(tape, info(tape, f"{cfg.name} camera"), times)
        self.has_depth = self._depth in log.topics
        self._frame_id = cfg.name
        self._K: NDArray[np.float64] = np.full((3, 3), np.nan)
        if f"{base}/calibration" in log.topics:
            self._K = log.calibration(f"{base}/calibration").intrinsics
        self._index = -1  # of `_frame`; -1: there is none yet
        self._frame: Frame | None = None
        self._images: _Images | None = None
        self._depths: _Images = iter(())
        self._next_depth: tuple[int, NDArray[Any]] | None = None

    def close(self) -> None:
        super().close()
        self._images = None

    def sample(self, i: int) -> tuple[Frame, tuple[str, ...]]:
        images = self._images
        if images is None or i < self._index:
            images = self._rewind()
        self._images = None  # stays None if the next image is damaged
        if i > self._index:
            for _ in range(i - self._index):
                t_ns, rgb = next(images)
            self._frame = Frame(rgb, self._depth_at(t_ns), self._K, self._frame_id)
            self._index = i
        self._images = images
        assert self._frame is not None
        return self._frame, ()

    def _rewind(self) -> _Images:
        log = self.tape.log
        self._index = -1
        self._depths = log.images(self._depth) if self._depth in log.topics else iter(())
        self._next_depth = next(self._depths, None)
        return log.images(self._rgb)

    def _depth_at(self, t_ns: int) -> NDArray[np.uint16] | None:
        """The depth image recorded at the same time as the colour image, None if there is none."""
        while self._next_depth is not None and self._next_depth[0] < t_ns:
            self._next_depth = next(self._depths, None)
        if self._next_depth is None or self._next_depth[0] != t_ns:
            return None
        return self._next_depth[1]


def connect(cfg: Config, ctx: Context) -> ReplayCamera:
    """The recorded camera, not open yet. Raises RecordingError for a file that cannot be read or
    has no images of this camera."""
    return ReplayCamera(tape_of(cfg.path, ctx), cfg)
