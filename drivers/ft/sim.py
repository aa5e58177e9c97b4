"""The simulated force/torque sensor at the wrist; it reads the tool's weight, bias and noise too,
and is delayed."""

from __future__ import annotations

from headway import config
from headway.drivers import Context
from headway.drivers.sim import cell_of
from headway.drivers.sim.cell import Cell
from headway.drivers.sim.source import SimSource
from headway.types import Info, Wrench


class Config(config.Struct, frozen=True):
    """Keys of `[ft]` for the kind `sim`. `rate_hz` of the samples; noise, bias and delay belong to
    [cell]."""

    rate_hz: config.Hertz = 500.0


class SimForceTorque(SimSource[Wrench]):
    """The sensor in the wrist of the simulated `cell`; wrenches are in the sensor's frame."""

    def __init__(self, cell: Cell, cfg: Config) -> None:
        super().__init__(cell, Info("sim", "wrist F/T (MuJoCo)", "sim-0"), cfg.rate_hz)

    def sample(self) -> Wrench:
        w = self.cell.wrench()
        return Wrench(w[:3], w[3:])


def connect(cfg: Config, ctx: Context) -> SimForceTorque:
    """The sensor of the run's simulated cell, not open yet. Raises ConfigError without a [cell]."""
    return SimForceTorque(cell_of(ctx), cfg)
