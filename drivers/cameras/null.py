"""A camera without a device: always the same grey image, by default at a depth of 0.5 m."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from msgspec import Meta

from headway import config
from headway.clock import Clock
from headway.drivers import Context
from headway.drivers.cameras import CameraName, Pixels
from headway.drivers.null_source import NullSource
from headway.types import Frame


class Config(config.Struct, frozen=True):
    """Keys of `[[camera]]` for the kind `null`. `depth_mm` [mm]: the depth of all pixels, 0 for no
    reading; `depth`: whether there is a depth image."""

    name: CameraName = "wrist"
    width: Pixels = 96  # [px]
    height: Pixels = 96
    rate_hz: config.Hertz = 30.0
    threaded: bool = False  # use a reader thread, as for a device whose `read` waits
    depth: bool = True
    depth_mm: Annotated[int, Meta(ge=0, le=65535)] = 500


class NullCamera(NullSource[Frame]):
    """The camera that `cfg` describes, on the run's `clock`; its focal length is as many pixels as
    the image is high."""

    def __init__(self, clock: Clock, cfg: Config) -> None:
        super().__init__(clock, f"null camera {cfg.name}", cfg.rate_hz, cfg.threaded)
        self.has_depth = cfg.depth
        self.size = size = (cfg.height, cfg.width)
        depth = np.full(size, cfg.depth_mm, np.uint16) if cfg.depth else None
        focal = float(cfg.height)  # [px], a vertical field of view of 53 deg
        K = np.array([[focal, 0, cfg.width / 2], [0, focal, cfg.height / 2], [0, 0, 1]])
        self._frame = Frame(np.full((*size, 3), 128, np.uint8), depth, K, cfg.name)

    def sample(self) -> Frame:
        return self._frame


def connect(cfg: Config, ctx: Context) -> NullCamera:
    """The camera that `cfg` describes, not open yet."""
    return NullCamera(ctx.clock, cfg)
