"""An arm without a robot. It has the limits and the kinematics of a robot model. Its joints reach
every commanded position at once, or as a servo moves joints with inertia."""

from __future__ import annotations

import math
import threading
from typing import Annotated

import numpy as np
from msgspec import Meta

from headway import config
from headway.clock import NS, Clock
from headway.drivers import Context, RemoteStop
from headway.drivers.joint_range import refuse_out_of_range
from headway.drivers.model import RobotModel, load
from headway.drivers.null_source import NullSource
from headway.errors import ConfigError, DeviceError
from headway.types import ArmState, Sent, Vec

remote_stop: RemoteStop | None = None
SUBSTEP_NS = 1_000_000  # of the servo
MOST_SUBSTEPS = 1000  # at once; after a longer pause they are longer


class Config(config.Struct, frozen=True):
    """Keys of `[arm]` for the kind `null`. `rate_hz` of the samples. `model`: a robot that comes
    with Headway, or the path of a URDF. `q` (n,) [rad]: the joints at the start [the model's home].
    `tool`: the TCP, the name of one of the model's tool frames, or its position [m] in the frame of
    the tool link, or that and a rotation vector [rad] [the model's own].

    `servo_rad_s`: natural frequency [rad/s] of a critically damped servo, whose joints move no
    faster than the model's limits; 0: every command is reached at once."""

    rate_hz: config.Hertz = 500.0
    threaded: bool = False  # use a reader thread, as for a device whose `read` waits
    model: Annotated[str, Meta(min_length=1)] = "ur5e"
    q: tuple[float, ...] | None = None
    tool: str | tuple[float, ...] | None = None
    servo_rad_s: Annotated[float, Meta(ge=0.0, le=1000.0)] = 0.0


class NullArm(NullSource[ArmState]):
    """The arm of `model` that `cfg` describes, on the run's `clock`. A `stop` of a category other
    than 2 needs another `activate`. Raises ConfigError for a `q` that does not fit the model."""

    def __init__(self, clock: Clock, cfg: Config, model: RobotModel) -> None:
        super().__init__(clock, f"null {model.name}", cfg.rate_hz, cfg.threaded)
        self.model, self.limits, self.chain = model, model.limits, model.chain
        q = model.home.copy() if cfg.q is None else np.array(cfg.q)
        if q.shape != (model.n,):
            raise ConfigError(
                f"[arm] `q` wants {model.n} numbers, the joints of {model.name}, found {len(q)}"
            )
        self._servo = Servo(q, cfg.servo_rad_s, model.limits.dq_max)
        self._lock = threading.Lock()  # a reader thread and the loop both move the servo on
        self._still = np.zeros(model.n)
        self._active = False

    def sample(self) -> ArmState:
        with self._lock:
            q, dq, q_ref = self._servo.advance(self.clock.now())
        tcp, twist = self.chain.motion(q, dq)
        return ArmState(q, dq, q_ref, tcp, twist, tau_ext=self._still)

    def activate(self) -> None:
        self._active = True

    def command(self, q: Vec, *, deadline_ns: int) -> Sent:
        if not self._active:
            raise DeviceError("the null arm wants activate() before a command")
        n = self.model.n
        if q.shape != (n,) or not all(map(math.isfinite, q.tolist())):
            raise DeviceError(f"the null arm wants {n} finite joint positions, found {q}")
        refuse_out_of_range(q, self.limits, "the null arm")
        now = self.clock.now()
        sent = q.copy()
        with self._lock:
            self._servo.advance(now)
            self._servo.follow(sent)
        return Sent(sent, now)

    def stop(self, category: int = 2) -> None:
        with self._lock:
            self._servo.follow(self._servo.advance(self.clock.now())[0])
        self._active = self._active and category == 2


class Servo:
    """Joints at `q` (n,) [rad] at rest, moved towards a reference by critically damped servos of
    natural frequency `rad_s` [rad/s], at most at `speed` (n,) [rad/s]. With 0 they are where the
    reference is. Arrays that it gives out are never written into later."""

    def __init__(self, q: Vec, rad_s: float, speed: Vec) -> None:
        self._q: Vec = q
        self._dq: Vec = np.zeros(len(q))
        self._ref: Vec = q
        self._w, self._speed = rad_s, speed
        self._t_ns: int | None = None

    def follow(self, ref: Vec) -> None:
        """From now on, the reference is `ref` (n,) [rad]."""
        self._ref = ref
        if self._w == 0.0:
            self._q = ref

    def advance(self, t_ns: int) -> tuple[Vec, Vec, Vec]:
        """Positions [rad], speeds [rad/s] and reference [rad], each (n,), at `t_ns` [ns]. A time
        before the last one, as of a clock that begins anew, moves nothing."""
        since, self._t_ns = self._t_ns, t_ns
        if self._w > 0.0 and since is not None and t_ns > since:
            count = min(MOST_SUBSTEPS, -(-(t_ns - since) // SUBSTEP_NS))
            h = (t_ns - since) / NS / count
            for _ in range(count):
                self._substep(h)
        return self._q, self._dq, self._ref

    def _substep(self, h: float) -> None:
        """The exact solution over `h` [s], with a constant reference; where that would be too fast,
        the joint moves with its highest speed instead."""
        w = self._w
        x = self._q - self._ref
        c = self._dq + w * x
        decay = math.exp(-w * h)
        dq = (self._dq - w * h * c) * decay
        slow = np.clip(dq, -self._speed, self._speed)
        q = self._ref + (x + c * h) * decay
        self._q = np.where(np.abs(q - self._q) > self._speed * h, self._q + slow * h, q)
        self._dq = slow


def connect(cfg: Config, ctx: Context) -> NullArm:
    """The arm, not open yet. Raises ConfigError for a model that cannot be read, and for a tool or
    joints that do not fit it."""
    return NullArm(ctx.clock, cfg, load(cfg.model, cfg.tool))
