"""A leader arm of Feetech servos, such as the SO-101's: its joints, moved by hand, are what the
follower's joints go to. Its torque is switched off when it is opened, and after that its servos are
only read.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from msgspec import Meta

from headway import config
from headway.actions import ActionSpace
from headway.clock import NS, Clock
from headway.drivers import Context
from headway.drivers.feetech_servo import Sts3215
from headway.drivers.inputs import ANSWER_S
from headway.drivers.servo_arm import WORLD, ServoArmConfig, bus_of
from headway.drivers.servo_bus import ServoBus
from headway.drivers.servo_calibration import Motor
from headway.errors import ConfigError, DeviceError, Stale
from headway.types import Info, Vec

_OPEN_S = 2.0  # to open the port again
PATHS = ("calibration",)  # keys of `Config`, see `headway.plugins.with_paths`


class Config(config.Struct, frozen=True):
    """Keys of `[input]` for the kind `leader`: `port`, `calibration`, `model`, `jaw`, `rate_hz` and
    `check_calibration` as for an arm of kind `feetech`; the model's joints have to be those of the
    follower. `dead_s` [s] without a reading: nobody steers."""

    port: Annotated[str, Meta(min_length=1)]
    calibration: Annotated[str, Meta(min_length=1)]
    model: Annotated[str, Meta(min_length=1)] = "so101"
    jaw: str = "gripper"
    rate_hz: Annotated[float, Meta(ge=10.0, le=400.0)] = 100.0
    check_calibration: bool = True
    dead_s: config.Seconds = 0.2


class Leader:
    """The leader whose servos are at `bus`: `joints` by name, and the `jaw`, None without one."""

    def __init__(
        self, cfg: Config, clock: Clock, bus: ServoBus, joints: dict[str, Motor],
        jaw: Motor | None,
    ) -> None:  # fmt: skip
        self.info = Info("leader", f"leader {cfg.model} of STS3215 servos", uri=cfg.port)
        self._clock, self._bus = clock, bus
        self._dead_ns = round(cfg.dead_s * NS)
        self._joints = tuple((bus.ids.index(m.id), m) for m in joints.values())
        self._jaw = None if jaw is None else (bus.ids.index(jaw.id), jaw)
        self._open = False
        names = tuple(joints) if jaw is None else (*joints, "grip")
        self.actions = ActionSpace(
            names=names, chunk=1, dt_s=ANSWER_S, space="joint", mode="absolute", grip="normalised",
            grip_open=1.0, grip_closed=0.0,
        )  # fmt: skip

    def open(self, timeout_s: float) -> None:
        if self._open:
            return
        self._bus.open(timeout_s)
        self._open = True
        try:
            self._bus.release(self._bus.ids)
        except BaseException:
            self.close()  # it may have torque: nobody is to steer by it
            raise

    def activate(self) -> None:
        """See `Input`. Also opens the port again where its plug was pulled: it is another port
        then, wherever the same name leads."""
        if self._open and self._bus.bus.fault:
            try:
                self._bus.release(self._bus.ids)
            except DeviceError:
                self.close()
        self.open(_OPEN_S)

    def reset(self) -> None:
        """Does nothing: the follower's jaw goes where the leader's is."""

    def read(self) -> Vec | None:
        if not self._open:
            raise DeviceError(
                f"the leader at {self.info.uri} is not open: plug it in, and take over again"
            )
        try:
            _, arrival, value = self._bus.bus.newest(0, 0.0)
        except Stale:
            return None
        if self._clock.now() - arrival > self._dead_ns:
            return None
        said = [m.angle(value.position[k]) for k, m in self._joints]
        if self._jaw is not None:
            k, motor = self._jaw
            said.append(min(max(motor.share(value.position[k]), 0.0), 1.0))
        return np.array(said)

    def close(self) -> None:
        if self._open:
            self._open = False
            self._bus.close()


def connect(cfg: Config, ctx: Context) -> Leader:
    """The leader, not open yet. Raises ConfigError for a model or a calibration that does not fit,
    and for the port of an arm that is commanded."""
    if cfg.port in ctx.worlds.get(WORLD, {}):
        raise ConfigError(
            f"[input] of kind leader at {cfg.port} is the port of [arm], which would go limp: name "
            "the leader's own port"
        )
    arm = ServoArmConfig(
        port=cfg.port, calibration=cfg.calibration, model=cfg.model, jaw=cfg.jaw,
        rate_hz=cfg.rate_hz, check_calibration=cfg.check_calibration,
    )  # fmt: skip
    bus, motors, model = bus_of(arm, ctx, Sts3215())
    joints = {name: motors[name] for name in model.joints}
    return Leader(cfg, ctx.clock, bus, joints, motors[cfg.jaw] if cfg.jaw else None)
