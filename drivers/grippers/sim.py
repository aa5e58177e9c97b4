"""The simulated parallel gripper. Its force is noisy, like an estimate from motor current."""

from __future__ import annotations

import math
from typing import Annotated

from msgspec import Meta

from headway import config
from headway.drivers import Context
from headway.drivers.sim import cell_of
from headway.drivers.sim.cell import Cell
from headway.drivers.sim.source import SimSource
from headway.errors import DeviceError
from headway.types import GripperState, Info


class Config(config.Struct, frozen=True):
    """Keys of `[gripper]` for the kind `sim`. `rate_hz` of the samples; `force_noise` and
    `width_noise` are standard deviations."""

    rate_hz: config.Hertz = 500.0
    force_noise: Annotated[float, Meta(ge=0.0, le=1000.0)] = 0.4  # [N]
    width_noise: Annotated[float, Meta(ge=0.0, le=1.0)] = 1e-4  # [m]


class SimGripper(SimSource[GripperState]):
    """The gripper of the simulated `cell`. It grips with at most the force of its design (see
    `drivers.sim.gripper`), whatever `command` asks for."""

    def __init__(self, cell: Cell, cfg: Config) -> None:
        super().__init__(cell, Info("sim", "parallel gripper (MuJoCo)", "sim-0"), cfg.rate_hz)
        self.cfg = cfg
        self.stroke = cell.gripper.stroke

    def sample(self) -> GripperState:
        cell, cfg = self.cell, self.cfg
        noise = cell.noise
        width = self.stroke - 2 * float(cell.finger[0]) + cfg.width_noise * noise.standard_normal()
        force = max(0.0, float(cell.finger_force[0]) + cfg.force_noise * noise.standard_normal())
        return GripperState(width, cell.width_ref, force)

    def activate(self) -> None:
        """Nothing: it is always ready."""

    def command(self, width: float, *, force: float) -> None:
        if not (math.isfinite(width) and math.isfinite(force)):
            raise DeviceError(
                f"the gripper wants finite numbers, found width {width}, force {force}"
            )
        with self.cell.lock:
            self.cell.sync()
            self.cell.width_ref = min(max(width, 0.0), self.stroke)
            self.cell.grip_limit = min(max(force, 0.0), self.cell.gripper.force)

    def stop(self) -> None:
        with self.cell.lock:
            self.cell.sync()
            self.cell.width_ref = self.stroke - 2 * float(self.cell.finger[0])


def connect(cfg: Config, ctx: Context) -> SimGripper:
    """The gripper of the run's simulated cell, not open yet. Raises ConfigError without a
    [cell]."""
    return SimGripper(cell_of(ctx), cfg)
