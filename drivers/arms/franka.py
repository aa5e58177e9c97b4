"""Franka Research 3 and Panda over the Franka Control Interface (FCI), with `franky-control`.

Franka's own Python binding, `pylibfranka`, leaves the 1 kHz loop to the caller, and Python misses
its deadlines. franky runs that loop in C++: a target that is set here becomes a time-optimal,
jerk-limited motion from where the arm's reference is (Ruckig), and every newer target takes over
smoothly. So a jump of the target is no jump of the arm, and when the control loop stalls the arm
halts at its last target. When this process dies the controller misses its packets and stops the arm
by itself.

A reflex, a collision or the user stop is latched: the arm is read on, with `protective_stop`, and
obeys again only after `activate`, which recovers from errors and holds the measured position.

All calls to franky are made by one thread (`drivers.bus`); `command` only leaves a target.
"""

from __future__ import annotations

import contextlib
import re
import threading
from dataclasses import replace
from types import ModuleType
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Meta

from headway import config
from headway.clock import Clock
from headway.drivers import Context, RemoteStop
from headway.drivers.bus import Bus
from headway.drivers.counts import Counts
from headway.drivers.device_clock import DeviceClock
from headway.drivers.model import RobotModel, load
from headway.errors import ArmStopped, ConfigError, DeviceError, Missing
from headway.types import ArmState, Health, Info, Limits, Sample, Sent, Stamp, Vec

# The FCI serves one connection, which is the loop's. What stops the arm when the loop hangs is that
# franky halts it at its last target; when the process dies, the controller does.
remote_stop: RemoteStop | None = None

# Joint ranges of the Franka Research 3 [rad], from the FCI documentation, "Robot limits".
_FR3_MIN = (-2.7437, -1.7837, -2.9007, -3.0421, -2.8065, 0.5445, -3.0159)
_FR3_MAX = (2.7437, 1.7837, 2.9007, -0.1518, 2.8065, 4.5169, 3.0159)
_SLACK = 1e-3  # [rad], of a command against a limit that is written with fewer digits


class Config(config.Struct, frozen=True):
    """Keys of `[arm]` for the kind `franka`. `host`: the address of the robot's controller.
    `robot`: which one it is; the model is the Panda's, with the joint ranges that both have where
    it is an FR3. `dynamics`: the part of the robot's speed, acceleration and jerk that motions may
    use. `realtime`: "enforce" refuses a computer without a real-time kernel, "ignore" goes on.
    `torque_n_m` and `force_n`: contact above these is a reflex, which stops the arm."""

    host: Annotated[str, Meta(min_length=1)] = "172.16.0.2"
    robot: Literal["fr3", "panda"] = "fr3"
    model: Annotated[str, Meta(min_length=1)] = "franka"
    tool: str | tuple[float, ...] | None = None  # the TCP, as of the kind `null`
    rate_hz: Annotated[float, Meta(ge=1.0, le=1000.0)] = 500.0  # of commands and samples
    dynamics: config.Fraction = 0.5
    realtime: Literal["enforce", "ignore"] = "enforce"
    torque_n_m: Annotated[float, Meta(gt=0.0, le=100.0)] = 20.0  # [Nm]
    force_n: Annotated[float, Meta(gt=0.0, le=200.0)] = 30.0  # [N]


class Order(msgspec.Struct, frozen=True):
    """What the bus's thread shall do: move to `q` (7,) [rad], or stop with a category."""

    q: Vec | None = None
    stop: int = 2


class FrankaArm:
    """The robot that `cfg` describes, on the run's `clock`; `franky` is the library."""

    waits = True

    def __init__(self, franky: Any, clock: Clock, cfg: Config, model: RobotModel) -> None:
        self.model, self.limits, self.chain = model, model.limits, model.chain
        self.clock, self.cfg, self._franky = clock, cfg, franky
        self.info = Info("franka", f"Franka {cfg.robot}", uri=cfg.host)
        self.counts = Counts(clock, round(1e9 / cfg.rate_hz))
        self._robot: Any = None
        self._bus: Bus[Order, Any] = Bus(
            f"the {self.info.model}", self._exchange, clock, cfg.rate_hz
        )
        self._using = threading.Lock()  # of franky, by the bus's thread and by `activate`
        self._active = False
        self._fault = ""  # why the arm does not obey, until `activate`
        self._seen = 0  # number of the exchange that was read last
        self._time = DeviceClock()

    def open(self, timeout_s: float) -> None:
        if self.counts.state == "ok":
            return
        franky, cfg = self._franky, self.cfg
        wanted = franky.RealtimeConfig
        try:
            robot = franky.Robot(
                cfg.host,
                relative_dynamics_factor=cfg.dynamics,
                default_torque_threshold=cfg.torque_n_m,
                default_force_threshold=cfg.force_n,
                realtime_config=wanted.Enforce if cfg.realtime == "enforce" else wanted.Ignore,
            )
        except franky.RealtimeException as e:
            raise DeviceError(
                f"wanted a real-time kernel to control the {self.info.model}, found none ({e}): "
                'install one (PREEMPT_RT), or set realtime = "ignore" and expect the controller to '
                "stop the arm when packets are late"
            ) from None
        except (franky.Exception, RuntimeError) as e:
            raise DeviceError(
                f"wanted the {self.info.model} at {cfg.host}, found: {e}: switch it on, unlock its "
                "joints and activate FCI in Desk"
            ) from None
        self.compare(robot)
        self._robot, self._active, self._fault, self._seen = robot, False, "", 0
        self._time.restart()
        self._bus.start()
        self.counts.opened()

    def compare(self, robot: Any) -> None:
        """Raises DeviceError where `robot`, franky's, is another one than configured, or moves less
        far than the model. One that does not describe itself is believed."""
        try:
            said = str(robot.model_urdf)
        except self._franky.Exception:
            return
        name = (re.findall(r'<robot name="([^"]*)"', said) or [""])[0]
        if name and self.cfg.robot not in name:
            raise DeviceError(
                f"wanted a Franka {self.cfg.robot} at {self.cfg.host}, found {name}: correct "
                "`robot`"
            )
        bounds = [
            tuple(float(re.findall(rf'{key}="([^"]*)"', tag)[0]) for key in ("lower", "upper"))
            for tag in re.findall(r"<limit [^>]*lower[^>]*>", said)[: self.model.n]
        ]
        for i, (low, high) in enumerate(bounds):
            q_min, q_max = self.limits.q_min[i], self.limits.q_max[i]
            if q_min < low - _SLACK or q_max > high + _SLACK:
                raise DeviceError(
                    f"wanted joint {i + 1} to move from {q_min:g} to {q_max:g} rad, found that the "
                    f"robot at {self.cfg.host} moves from {low:g} to {high:g}: correct `robot` or "
                    "the limits of the model"
                )

    def _exchange(self, order: Order | None) -> Any:
        """Carry out `order` and read the state. Raises DeviceError when the robot is lost."""
        franky, robot = self._franky, self._robot
        with self._using:
            try:
                try:
                    robot.poll_motion()
                    if order is not None and not self._fault:
                        self._obey(order)
                except franky.ControlException as e:
                    self._fail(str(e))
                state = robot.state
                mode = state.robot_mode
                if mode in (franky.RobotMode.Reflex, franky.RobotMode.UserStopped):
                    self._fail(f"{str(mode).removeprefix('RobotMode.')} {state.last_motion_errors}")
            except (franky.Exception, RuntimeError) as e:  # RuntimeError: of its network library
                raise DeviceError(
                    f"lost the {self.info.model} at {self.cfg.host}: {e}: it is connected anew; "
                    "activate() it then"
                ) from None
            return state, bool(self._fault)

    def _obey(self, order: Order) -> None:
        franky, robot = self._franky, self._robot
        if order.q is not None:
            # It holds the last target, so that the next one is taken over without a stop between.
            target = franky.JointState(order.q)
            robot.move(franky.JointMotion(target, return_when_finished=False), asynchronous=True)
        elif order.stop == 0:
            robot.stop()
        elif robot.is_in_control:
            robot.move(franky.JointStopMotion(), asynchronous=True)

    def _fail(self, why: str) -> None:
        if self._active and not self._fault:
            self._fault, self._active = why.strip(), False

    def read(self, timeout_s: float) -> Sample[ArmState]:
        if self.counts.state == "closed":
            raise DeviceError(f"the {self.info.model} is closed: open it before reading")
        try:
            self._seen, arrival, (state, failed) = self._bus.newest(self._seen, timeout_s)
        except DeviceError:
            if self._bus.fault:
                self.counts.state, self._active = "fault", False
            raise
        mode, modes = state.robot_mode, self._franky.RobotMode
        device_ns = state.time.to_msec() * 1_000_000
        t_ns, error_ns = self._time.map(device_ns, arrival)
        q, dq = np.array(state.q), np.array(state.dq)
        tcp, twist = self.chain.motion(q, dq)
        stopped = failed or mode in (modes.Reflex, modes.UserStopped)
        value = ArmState(
            q, dq, np.array(state.q_d), tcp, twist, np.array(state.tau_ext_hat_filtered), stopped,
            mode != modes.Other,
        )  # fmt: skip
        valid = bool(np.isfinite(q).all() and np.isfinite(dq).all())
        stamp = Stamp(t_ns, arrival, self.counts.sample(t_ns, valid), device_ns, error_ns)
        return Sample(stamp, value, valid, () if valid else ("not_finite",))

    def activate(self) -> None:
        franky, robot = self._franky, self._robot
        if robot is None:
            raise DeviceError(f"the {self.info.model} is closed: open it before activate()")
        self._active = False
        with self._using:
            try:
                with contextlib.suppress(franky.ControlException):
                    robot.poll_motion()  # what ended the last motion is known
                mode = robot.state.robot_mode
                ready = (franky.RobotMode.Idle, franky.RobotMode.Move)
                if (robot.has_errors or mode not in ready) and not robot.recover_from_errors():
                    raise DeviceError(
                        f"wanted to recover the {self.info.model} from its errors, found "
                        f"{robot.state.current_errors}: look what it ran into, and see Desk"
                    )
                state = robot.state
                if state.robot_mode not in ready:
                    found = str(state.robot_mode).removeprefix("RobotMode.")
                    raise DeviceError(
                        f"wanted the {self.info.model} idle, found {found}: release the user stop, "
                        "or end guiding, and activate() again"
                    )
                self._bus.reset()  # commands of before are forgotten
                self._obey(Order(np.array(state.q)))
            except (franky.Exception, RuntimeError) as e:
                raise DeviceError(f"the {self.info.model} does not activate: {e}") from None
            self._fault, self._active = "", True

    def command(self, q: Vec, *, deadline_ns: int) -> Sent:
        if not self._active:
            wants = f"the {self.info.model} wants activate() before a command"
            raise ArmStopped(f"{wants} ({self._fault})") if self._fault else DeviceError(wants)
        low, high = self.limits.q_min - _SLACK, self.limits.q_max + _SLACK
        if q.shape != (self.model.n,) or not bool(((q >= low) & (q <= high)).all()):
            raise DeviceError(
                f"the {self.info.model} wants {self.model.n} joint positions within its limits, "
                f"found {q}"
            )
        sent = np.array(q, np.float64)
        self._bus.command(Order(sent))
        return Sent(sent, self.clock.now())

    def stop(self, category: int = 2) -> None:
        """Category 0 ends the motion at once, 1 and 2 decelerate it; after 0 and 1 the arm wants
        another `activate`. The controller holds the joints in each case."""
        if self._robot is None or self._bus.fault:
            return
        self._active = self._active and category == 2
        self._bus.command(Order(stop=category))

    def close(self) -> None:
        self._active = False
        self._bus.close()
        self._bus.reset()
        self._robot = None  # franky ends its motion and the connection
        if self.counts.state == "ok":
            self.counts.state = "closed"

    def health(self) -> Health:
        return self.counts.health()


def library() -> ModuleType:
    """The module franky. Raises Missing, with what to install."""
    try:
        import franky
    except ImportError as e:
        raise Missing(
            f"a Franka arm wants franky-control, found that it does not import ({e}): "
            "`pip install 'headway[franka]'`, and for a robot with older firmware the wheel that "
            "fits it (see docs/devices/franka.md)"
        ) from None
    module: ModuleType = franky
    return module


def _limited(model: RobotModel, robot: str) -> RobotModel:
    """`model` with the joint ranges that the FR3 has as well."""
    if robot != "fr3" or model.n != len(_FR3_MIN):
        return model
    had = model.limits
    q_min, q_max = np.maximum(had.q_min, _FR3_MIN), np.minimum(had.q_max, _FR3_MAX)
    limits = Limits(q_min, q_max, had.dq_max, had.ddq_max, had.dddq_max, had.tau_max)
    chain = replace(model.chain, q_min=tuple(q_min.tolist()), q_max=tuple(q_max.tolist()))
    return replace(model, limits=limits, chain=chain)


def connect(cfg: Config, ctx: Context) -> FrankaArm:
    """The arm that `cfg` describes, not open yet. Raises Missing without the library, ConfigError
    for a model that cannot be read or has not seven joints."""
    model = _limited(load(cfg.model, cfg.tool), cfg.robot)
    if model.n != 7:
        raise ConfigError(f"[arm] `model` wants a robot of 7 joints, found {model.name}: {model.n}")
    return FrankaArm(library(), ctx.clock, cfg, model)
