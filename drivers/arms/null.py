"""An arm without a robot: it has the UR5e's limits and kinematics, and its joints reach every
commanded position at once, without dynamics."""

from __future__ import annotations

import math

import numpy as np

from headway import config
from headway.clock import Clock
from headway.drivers import Context, RemoteStop
from headway.drivers.arms import _ur5e as ur
from headway.drivers.kinematics import Chain
from headway.drivers.null_source import NullSource
from headway.errors import DeviceError
from headway.types import ArmState, Sent, Vec

remote_stop: RemoteStop | None = None


class Config(config.Struct, frozen=True):
    """Keys of `[arm]` for the kind `null`. `rate_hz` of the samples; `q` [rad]: the joints at the
    start."""

    rate_hz: config.Hertz = 500.0
    threaded: bool = False  # use a reader thread, as for a device whose `read` waits
    q: tuple[float, float, float, float, float, float] = (0.0, -1.9, 1.9, -1.57, -1.57, 0.0)
    tool: tuple[float, float, float] = (0.0, 0.0, 0.185)  # TCP in the flange frame [m]


class NullArm(NullSource[ArmState]):
    """The arm that `cfg` describes, on the run's `clock`. A `stop` of a category other than 2 needs
    another `activate`."""

    limits = ur.LIMITS

    def __init__(self, clock: Clock, cfg: Config) -> None:
        super().__init__(clock, "null arm", cfg.rate_hz, cfg.threaded)
        self.chain = Chain(ur.DH, ur.BASE_YAW, cfg.tool, body=ur.BODY)
        self._q = np.array(cfg.q)  # replaced, never written into: reading needs no lock
        self._still = np.zeros(6)
        self._active = False

    def sample(self) -> ArmState:
        q, still = self._q, self._still
        return ArmState(q, still, q, self.chain.pose(q), still, tau_ext=still)

    def activate(self) -> None:
        self._active = True

    def command(self, q: Vec, *, deadline_ns: int) -> Sent:
        if not self._active:
            raise DeviceError("the null arm wants activate() before a command")
        if q.shape != (6,) or not all(map(math.isfinite, q.tolist())):
            raise DeviceError(f"the null arm wants 6 finite joint positions, found {q}")
        self._q = q.copy()
        return Sent(self._q, self.clock.now())

    def stop(self, category: int = 2) -> None:
        self._active = category == 2


def connect(cfg: Config, ctx: Context) -> NullArm:
    return NullArm(ctx.clock, cfg)
