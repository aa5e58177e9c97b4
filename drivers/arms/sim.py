"""The simulated arm: the robot of the cell."""

from __future__ import annotations

import math

from headway import config
from headway.drivers import Context, RemoteStop
from headway.drivers.joint_range import refuse_out_of_range
from headway.drivers.sim import cell_of
from headway.drivers.sim.cell import Cell
from headway.drivers.sim.source import SimSource
from headway.errors import ArmStopped, DeviceError
from headway.types import ArmState, Info, Sent, Vec

remote_stop: RemoteStop | None = None
STOPPED = "the simulated arm is in a protective stop: look what it ran into, then reset"


class Config(config.Struct, frozen=True):
    """Keys of `[arm]` for the kind `sim`. `rate_hz` of the samples."""

    rate_hz: config.Hertz = 500.0


class SimArm(SimSource[ArmState]):
    """The arm of the simulated `cell`. `command` sets the reference of the joint servo; `stop` sets
    it to where the arm is. In a protective stop the arm stays where it is, and commands are
    refused."""

    def __init__(self, cell: Cell, cfg: Config) -> None:
        self.model = cell.robot
        self.limits, self.chain = self.model.limits, self.model.chain
        super().__init__(cell, Info("sim", f"{self.model.name} (MuJoCo)", "sim-0"), cfg.rate_hz)
        self._active = False

    def sample(self) -> ArmState:
        cell = self.cell
        q = cell.encoders()
        dq = cell.dq.copy()
        # As a robot controller does, compute the TCP from the measured joints and the kinematics.
        tcp, twist = self.chain.motion(q, dq)
        return ArmState(
            q=q,
            dq=dq,
            q_ref=cell.q_ref.copy(),
            tcp=tcp,
            twist=twist,
            tau_ext=cell.tau_ext(),
            protective_stop=cell.protective_stop,
        )

    def activate(self) -> None:
        with self.cell.lock:
            self.cell.sync()
            if self.cell.protective_stop:
                raise ArmStopped(STOPPED)
            self.cell.hold()
            self._active = True

    def command(self, q: Vec, *, deadline_ns: int) -> Sent:
        if not self._active:
            raise DeviceError("the simulated arm wants activate() before a command")
        n = self.model.n
        if q.shape != (n,) or not all(map(math.isfinite, q.tolist())):
            raise DeviceError(
                f"the simulated arm wants {n} finite joint positions, of "
                f"{', '.join(self.model.joints)}, found {q}"
            )
        refuse_out_of_range(q, self.limits, "the simulated arm")
        with self.cell.lock:
            self.cell.sync()
            if self.cell.protective_stop:
                raise ArmStopped(STOPPED)
            self.cell.follow(q, deadline_ns)
        return Sent(q, self.cell.clock.now())

    def stop(self, category: int = 2) -> None:
        with self.cell.lock:
            self.cell.sync()
            self.cell.hold()
            self._active = self._active and category == 2


def connect(cfg: Config, ctx: Context) -> SimArm:
    """The arm of the run's simulated cell, not open yet. Raises ConfigError without a [cell]."""
    return SimArm(cell_of(ctx), cfg)
