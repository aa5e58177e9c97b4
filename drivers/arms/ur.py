"""Arms of Universal Robots, CB3 and e-Series: state and commands over RTDE, servoj in a program of
our own at the controller (drivers/ur).

When this computer falls silent, the controller's RTDE watchdog stops our program within 1 /
`watchdog_hz`, and the arm with it. While the arm holds still the link's thread keeps the watchdog
fed; while it moves, only commands do, so a loop that hangs stops the arm.

A software stop is not a safety function: the controller's own safety system is.
"""

from __future__ import annotations

import math
import re
import secrets
import threading
from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
from msgspec import Meta

from headway import config
from headway.clock import NS
from headway.drivers import Context
from headway.drivers.model import RobotModel, load
from headway.drivers.ur import Link, LinkConfig, link_of, program
from headway.drivers.ur.dashboard import Dashboard
from headway.drivers.ur.fields import ESTOPS, MODES, PROTECTIVE, RUNNING, STOPPED, State
from headway.drivers.ur.finding import find as find
from headway.drivers.ur.greeting import POLYSCOPE_X
from headway.drivers.ur.link import Heard, Port
from headway.drivers.ur.plausible import Plausible
from headway.drivers.ur.source import UrSource, said_of
from headway.errors import ArmStopped, Busy, ConfigError, DeviceError, HeadwayError, Stale
from headway.types import ArmState, Sent, Vec

_READY_S = 5.0  # for the program to start
_ANSWER_S = 2.0  # for the dashboard
_STOP_S = 1.0  # for each way to stop from another process
_N = 6
_WANTS = "wants activate()"
PerAmp = Annotated[float, Meta(gt=0.0, le=1000.0)]


class Config(LinkConfig, frozen=True):
    """Keys of `[arm]` for the kind `ur`, beside those of `LinkConfig`. `model`: a robot that comes
    with Headway, or the path of a URDF; a name such as ur5e must be that of the robot at the
    controller. `tool`: the TCP, as for the kind `null`.

    `watchdog_hz`: the controller stops the arm when the loop commands it less often. `lookahead_s`
    and `gain` of servoj; `deceleration` [rad/s^2] of stops. `jump_s` [s]: a command differs from
    the one before by what the joints' highest speed covers in the time between them, of which no
    more than this counts. `nm_per_a` [Nm/A]: torque per motor current at each joint; with it
    `tau_ext` is that of the current beyond what the controller's model wants, without it there is
    none. `take_over`: stop a program that runs at the controller, instead of refusing to start
    ours."""

    model: Annotated[str, Meta(min_length=1)] = "ur5e"
    tool: str | tuple[float, ...] | None = None
    script_port: Port = 30002
    watchdog_hz: Annotated[float, Meta(ge=1.0, le=125.0)] = 10.0
    lookahead_s: Annotated[float, Meta(ge=0.03, le=0.2)] = 0.1
    gain: Annotated[float, Meta(ge=100.0, le=2000.0)] = 300.0
    deceleration: Annotated[float, Meta(gt=0.0, le=100.0)] = 10.0
    jump_s: Annotated[float, Meta(gt=0.0, le=1.0)] = 0.05
    nm_per_a: tuple[PerAmp, PerAmp, PerAmp, PerAmp, PerAmp, PerAmp] | None = None
    take_over: bool = False


class UrArm(UrSource[ArmState]):
    """The arm of `model` at the controller of `link`. After a safety stop it takes no command until
    `acknowledge`, then `activate`; after any other fault, until `activate`. Raises ConfigError for
    a model that has not six joints."""

    def __init__(self, cfg: Config, link: Link, model: RobotModel) -> None:
        if model.n != _N:
            raise ConfigError(f"[arm] the kind ur wants {_N} joints, found {model.n}: {model.name}")
        super().__init__(link, "arm")
        self.cfg, self.model = cfg, model
        self.limits, self.chain = model.limits, model.chain
        first = cfg.registers
        self._registers = link.writes(
            [f"input_int_register_{first + i}" for i in range(3)]
            + [f"input_double_register_{first + i}" for i in range(_N)]
        )
        link.follow(self)
        self._per_amp = None if cfg.nm_per_a is None else np.array(cfg.nm_per_a)
        self._turn = threading.Lock()  # held for one write, which does not wait
        self._session = 0  # the number of the program that obeys us, 0: none
        self._last = 0  # that of the last one, which may still be there
        self._beat = 0
        self._why = _WANTS  # why no command is taken, "" where they are
        self._refusal: type[DeviceError] = DeviceError  # of commands, while there is a reason
        self._latched = ""  # the safety stops that were not acknowledged
        self._plausible = Plausible(model.limits.dq_max)
        self._still = False  # it holds, and nobody has to command it
        self._q: Vec = np.zeros(_N)  # where the last package sent it
        self._sent_ns = 0
        self._known = False  # whether `_q` is where the arm goes

    def identify(self) -> None:
        found, wanted = self.link.info.model, self.model.name
        if re.fullmatch(r"ur\d+e?", wanted) and found.startswith("UR") and found.lower() != wanted:
            raise DeviceError(
                f"wanted a {wanted} at {self.info.uri}, found a {found}: correct `model`, or `host`"
            )

    def value(self, heard: Heard) -> tuple[ArmState, tuple[str, ...], bool]:
        s, wrong = heard.state, self._plausible.judge(heard.state, heard.t_ns)
        tcp, twist = self.chain.motion(s.q, s.dq)
        tau = None if self._per_amp is None else self._per_amp * (s.current - s.current_ref)
        stop = bool(s.safety & STOPPED) or bool(self._latched)
        return (
            ArmState(s.q, s.dq, s.q_ref, tcp, twist, tau, stop, s.powered),
            said_of(s) + wrong,
            not wrong,
        )

    # What the link's thread tells.

    def heard(self, state: State) -> None:
        if state.safety & STOPPED:
            self._latched = state.stopped
            why = f"is in {state.stopped}: acknowledge() it, then activate()"
            self._forget(why, refusal=ArmStopped)
        elif self._session and not self._why:
            if state.mode != RUNNING:
                self._forget(f"has the mode {_mode(state)}: power it on, then activate() it")
            elif not self._obeys(state):
                self._forget(
                    "has lost its program, which the controller or somebody at its panel has "
                    f"stopped{self._said()}: activate() it"
                )

    def passed(self, now_ns: int) -> None:
        if not self._still or now_ns - self._sent_ns < NS / (4.0 * self.cfg.watchdog_hz):
            return
        with self._turn:
            if self._still:
                self._send(program.HOLD, self._q)

    def lost(self, why: str) -> None:
        self._forget(f"has lost its connection ({why}): activate() it once it is back")

    def activate(self) -> None:
        """See `Arm`. Starts our program at the controller where it does not run; raises DeviceError
        where the robot is not powered, was stopped by its safety system, or is in local control,
        and Busy where another program runs."""
        state = self._now()
        if self._latched or state.stopped:
            raise DeviceError(
                f"the arm at {self.info.uri} is in {state.stopped or self._latched}: look what "
                "happened, then acknowledge() it, then activate() it again"
            )
        if not state.powered:
            raise DeviceError(
                f"wanted the arm at {self.info.uri} powered with its brakes off, found the mode "
                f"{_mode(state)}: switch it on at its panel"
            )
        if not (self._session and self._obeys(state)):
            self._begin(state)
        else:
            self._hold(state.q)
            self._until(self._ready, "to stand still", _READY_S)
        self._known, self._why = False, ""
        if not self._session:  # it was lost in this very moment
            raise DeviceError(f"the arm at {self.info.uri} was lost while activated: activate() it")

    def command(self, q: Vec, *, deadline_ns: int) -> Sent:
        """See `Arm`. Also raises DeviceError for joints beyond their limits, or too far from the
        last command."""
        if self._why or not self._session:
            raise self._refusal(f"the arm at {self.info.uri} {self._why or _WANTS}")
        newest = self.link.newest
        if newest is None:
            raise DeviceError(f"the connection to {self.info.uri} is lost: {self.link.fault}")
        if q.shape != (_N,) or not all(map(math.isfinite, q.tolist())):
            raise DeviceError(f"the arm wants {_N} finite joint positions, found {q}")
        limits, now = self.limits, self.link.clock.now()
        if (q < limits.q_min).any() or (q > limits.q_max).any():
            raise DeviceError(
                f"the arm wants joints from {limits.q_min} to {limits.q_max} rad, found {q}"
            )
        passed = min((now - self._sent_ns) / NS if self._known else math.inf, self.cfg.jump_s)
        reach = limits.dq_max * max(passed, 2.0 / self.cfg.rate_hz)
        before = self._q if self._known else newest.state.q_ref
        if (np.abs(q - before) > reach).any():
            raise DeviceError(
                f"the arm wants joints within {reach} rad of the last command {before}, found {q}: "
                "begin where it stands"
            )
        with self._turn:
            self._still = False
            self._send(program.FOLLOW, q.copy())
            self._known = True
            return Sent(self._q, self._sent_ns)

    def stop(self, category: int = 2) -> None:
        """See `Arm`. Category 0 also has the power switched off, and waits for the dashboard's
        answer."""
        if self._session and not self.link.fault:
            if category == 2:
                self._hold(self._q)
            else:
                with self._turn:
                    self._still = False
                    self._send(program.LEAVE, self._q)
        self._known = False
        if category != 2:
            self._forget("was stopped: activate() it")
        if category == 0:
            if not self._has_dashboard:
                raise DeviceError(
                    f"wanted the power of the arm at {self.info.uri} off, found no dashboard: the "
                    "arm was stopped, switch it off at its panel"
                )
            with Dashboard(self.cfg.host, self.cfg.dashboard_port, _ANSWER_S) as line:
                line.order("power off", "Powering off")

    def acknowledge(self, timeout_s: float = 10.0) -> None:
        """Say that somebody has looked what stopped the robot: unlock a protective stop, and take
        note that another one has ended. The arm is not activated, and nothing moves. Raises
        DeviceError while the stop cannot be left, with what to do."""
        state = self._now()
        if state.safety & ESTOPS:
            raise DeviceError(
                f"the arm at {self.info.uri} is in {state.stopped}: release the button, then power "
                "the robot on at its panel"
            )
        if state.safety >> PROTECTIVE & 1:
            self._unlock()
        try:
            self._until(lambda s: not s.stopped, "to leave its stop", timeout_s)
        except Stale:
            raise DeviceError(
                f"wanted the arm at {self.info.uri} to leave its stop within {timeout_s:g} s, "
                f"found {self._now().stopped}: look at its panel"
            ) from None
        self._latched = ""
        self._forget(_WANTS)

    def close(self) -> None:
        if not self.link.fault:
            try:
                self.stop(1)
            except HeadwayError:  # it is lost: the controller's watchdog stops the arm
                self._forget(_WANTS)
        super().close()

    @property
    def _has_dashboard(self) -> bool:
        major = int((self.info.firmware or "0").split(".")[0])
        return self.cfg.dashboard_port != 0 and major < POLYSCOPE_X

    def _unlock(self) -> None:
        if not self._has_dashboard:
            raise DeviceError(
                f"wanted to unlock the protective stop of the arm at {self.info.uri}, found no "
                "dashboard: unlock it at the robot's panel, then acknowledge() it again"
            )
        with Dashboard(self.cfg.host, self.cfg.dashboard_port, _ANSWER_S) as line:
            line.known("close safety popup")
            line.order("unlock protective stop", "Protective stop releasing")

    def _begin(self, state: State) -> None:
        """Start our program at the controller, with the goal where the arm is."""
        if state.running and not (self._last and state.session == self._last):
            self._vacate()
        self._in_remote_control()
        self._forget("is being activated")
        with self._turn:
            self._session = 1 + secrets.randbelow(2**31 - 2)  # unlike any that was before
            self._last = self._session
        self._hold(state.q)
        cfg = self.cfg
        text = program.servo(
            self._session,
            registers=cfg.registers,
            watchdog_hz=cfg.watchdog_hz,
            period_s=1.0 / cfg.rate_hz,
            lookahead_s=cfg.lookahead_s,
            gain=cfg.gain,
            deceleration=cfg.deceleration,
        )
        try:
            with program.Upload(cfg.host, cfg.script_port, text, _ANSWER_S):
                self._until(self._ready, "to start", _READY_S)
        except BaseException:
            self._forget(_WANTS)
            raise

    def _vacate(self) -> None:
        """Wait for the end of a program of a host that is gone, which its watchdog stops. Raises
        Busy for another one, unless it may be replaced."""
        try:
            self._until(lambda s: not s.running, "to end", 3.0 / self.cfg.watchdog_hz)
        except Stale:
            if not self.cfg.take_over:
                raise Busy(
                    f"wanted to start the program that moves the arm at {self.info.uri}, found "
                    "that another one runs there: stop it at the robot's panel, or set `take_over`"
                ) from None

    def _in_remote_control(self) -> None:
        """Raises DeviceError where the controller says that it is not. A CB3 always takes
        programs."""
        if not self._has_dashboard:
            return
        with Dashboard(self.cfg.host, self.cfg.dashboard_port, _ANSWER_S) as line:
            said = line.known("is in remote control")
        if said is not None and said.lower() == "false":
            raise DeviceError(
                f"wanted the robot at {self.info.uri} in remote control, found it in local "
                "control: switch it over at its panel (upper right corner)"
            )

    def _hold(self, q: Vec) -> None:
        with self._turn:
            self._send(program.HOLD, q)
            self._still = True

    def _send(self, mode: int, q: Vec) -> None:
        """One package. `_turn` is held."""
        self._beat = (self._beat + 1) & 0x7FFFFFFF
        self.link.send(self._registers, (self._beat, mode, self._session, *q.tolist()))
        self._q, self._sent_ns = q, self.link.clock.now()

    def _obeys(self, state: State) -> bool:
        """Whether our program runs and listens to us."""
        alive = state.program in (program.READY, program.FOLLOWING)
        return state.running and alive and state.session == self._session

    def _ready(self, state: State) -> bool:
        """Whether our program runs, listens and stands still. Raises DeviceError where the robot
        was stopped meanwhile."""
        if state.safety & STOPPED:
            raise DeviceError(
                f"wanted to activate the arm at {self.info.uri}, found {state.stopped}: look what "
                "happened, then acknowledge() it, then activate() it again"
            )
        return self._obeys(state) and state.program == program.READY

    def _forget(self, why: str, refusal: type[DeviceError] = DeviceError) -> None:
        """No command is taken from now on, because of `why`: it is refused by a `refusal`."""
        self._why, self._still, self._known, self._session = why, False, False, 0
        self._refusal = refusal

    def _now(self) -> State:
        """A state that comes from now on. Raises Stale, and DeviceError where the link is lost."""
        newest = self.link.newest
        return self.link.wait(0 if newest is None else newest.number, 1.0).state

    def _until(self, right: Callable[[State], bool], what: str, timeout_s: float) -> None:
        """Wait for a state that is `right`. Raises Stale after `timeout_s` [s]."""
        until = self.link.clock.now() + round(timeout_s * NS)
        while True:
            state = self._now()
            if right(state):
                return
            if self.link.clock.now() > until:
                raise Stale(
                    f"wanted the program of the arm at {self.info.uri} {what} within {timeout_s:g} "
                    f"s, found {'one that runs' if state.running else 'no program running'}"
                    f"{self._said()}: is the robot in remote control, and without a popup?"
                )

    def _said(self) -> str:
        return f" (it says: {'; '.join(self.link.texts)})" if self.link.texts else ""


def _mode(state: State) -> str:
    return MODES.get(state.mode, str(state.mode))


def remote_stop(table: dict[str, Any]) -> None:
    """Stop the arm over a connection of its own: by the dashboard, and where it does not, by a
    program that stops it in place of ours."""
    cfg = config.decode(table, Config, "[arm]")
    try:
        if cfg.dashboard_port == 0:
            raise DeviceError("there is no dashboard")
        with Dashboard(cfg.host, cfg.dashboard_port, _STOP_S) as line:
            line.order("stop", "Stopped")
    except DeviceError:
        stopping = program.stop(cfg.deceleration)
        with program.Upload(cfg.host, cfg.script_port, stopping, _STOP_S) as upload:
            upload.taken()


def connect(cfg: Config, ctx: Context) -> UrArm:
    """The arm, not open yet. Raises ConfigError for a model that cannot be read or does not fit."""
    return UrArm(cfg, link_of(cfg, ctx), load(cfg.model, cfg.tool))
