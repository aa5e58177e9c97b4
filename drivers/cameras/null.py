"""A camera that is not there: the same grey image always, half a metre away; needs no renderer."""

from __future__ import annotations

import numpy as np

from headway import config
from headway.clock import Clock
from headway.drivers import Context
from headway.drivers.null_source import NullSource
from headway.types import Frame


class Config(config.Struct, frozen=True):
    name: str = "wrist"
    width: int = 96  # [px]
    height: int = 96
    rate_hz: float = 30.0
    threaded: bool = False  # read by a thread of its own, as a device that is waited for
    depth: bool = True
    depth_mm: int = 500


class NullCamera(NullSource[Frame]):
    def __init__(self, clock: Clock, cfg: Config) -> None:
        super().__init__(clock, f"null camera {cfg.name}", cfg.rate_hz, cfg.threaded)
        self.has_depth = cfg.depth
        size = (cfg.height, cfg.width)
        depth = np.full(size, cfg.depth_mm, np.uint16) if cfg.depth else None
        focal = float(cfg.height)  # 53 deg
        K = np.array([[focal, 0, cfg.width / 2], [0, focal, cfg.height / 2], [0, 0, 1]])
        self._frame = Frame(np.full((*size, 3), 128, np.uint8), depth, K, cfg.name)

    def sample(self) -> Frame:
        return self._frame


def connect(cfg: Config, ctx: Context) -> NullCamera:
    return NullCamera(ctx.clock, cfg)
