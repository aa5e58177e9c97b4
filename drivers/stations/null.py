"""A station without a device: it hands out one line that never closes, and confirms nothing."""

from __future__ import annotations

from headway import config
from headway.clock import Clock
from headway.drivers import Context
from headway.drivers.null_source import NullSource
from headway.types import OrderState


class Config(config.Struct, frozen=True):
    """Keys of `[station]` for the kind `null`. `instruction`: what its line asks for."""

    instruction: str = ""
    rate_hz: config.Hertz = 50.0
    threaded: bool = False  # use a reader thread, as for a device whose `read` waits


class NullStation(NullSource[OrderState]):
    """The station that `cfg` describes, on the run's `clock`."""

    def __init__(self, clock: Clock, cfg: Config) -> None:
        super().__init__(clock, "null station", cfg.rate_hz, cfg.threaded)
        self._order = OrderState(0, 1, cfg.instruction, place=0.0, barcode=0.0, scale=0.0)

    def sample(self) -> OrderState:
        return self._order


def connect(cfg: Config, ctx: Context) -> NullStation:
    """The station that `cfg` describes, not open yet."""
    return NullStation(ctx.clock, cfg)
