"""A force/torque sensor without a device: always the same wrench, by default zero."""

from __future__ import annotations

import numpy as np

from headway import config
from headway.clock import Clock
from headway.drivers import Context
from headway.drivers.null_source import NullSource
from headway.types import Wrench

Triple = tuple[float, float, float]


class Config(config.Struct, frozen=True):
    """Keys of `[ft]` for the kind `null`. `rate_hz` of the samples; `force` and `torque` in the
    sensor's frame."""

    rate_hz: config.Hertz = 500.0
    threaded: bool = False  # use a reader thread, as for a device whose `read` waits
    force: Triple = (0.0, 0.0, 0.0)  # [N]
    torque: Triple = (0.0, 0.0, 0.0)  # [Nm]


class NullForceTorque(NullSource[Wrench]):
    """The sensor that `cfg` describes, on the run's `clock`."""

    def __init__(self, clock: Clock, cfg: Config) -> None:
        super().__init__(clock, "null F/T sensor", cfg.rate_hz, cfg.threaded)
        self._wrench = Wrench(np.array(cfg.force), np.array(cfg.torque))

    def sample(self) -> Wrench:
        return self._wrench


def connect(cfg: Config, ctx: Context) -> NullForceTorque:
    """The sensor that `cfg` describes, not open yet."""
    return NullForceTorque(ctx.clock, cfg)
