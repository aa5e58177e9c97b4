"""The simulated station: it hands out the order of the scene that the run's cell shows."""

from __future__ import annotations

from headway import config
from headway.drivers import Context
from headway.drivers.sim import cell_of
from headway.drivers.sim.cell import Cell
from headway.drivers.sim.source import SimSource
from headway.errors import ConfigError
from headway.types import Info, OrderState


class Config(config.Struct, frozen=True):
    """Keys of `[station]` for the kind `sim`. `rate_hz` of the samples; how good the station's
    sensors are belongs to the scene."""

    rate_hz: config.Hertz = 50.0


class SimStation(SimSource[OrderState]):
    """The station in the simulated `cell`."""

    def __init__(self, cell: Cell, cfg: Config) -> None:
        super().__init__(cell, Info("sim", "station (MuJoCo)", "sim-0"), cfg.rate_hz)

    def sample(self) -> OrderState:
        order = self.cell.scene.order
        assert order is not None  # a scene has one in every episode or in none
        return order.state


def connect(cfg: Config, ctx: Context) -> SimStation:
    """The station of the run's simulated cell, not open yet. Raises ConfigError without a [cell],
    and for a scene without orders."""
    cell = cell_of(ctx)
    if cell.scene.order is None:
        raise ConfigError(
            f"a [station] of kind sim wants a scene with orders, found the scene {cell.cfg.scene}: "
            "choose another scene, or leave [station] out"
        )
    return SimStation(cell, cfg)
