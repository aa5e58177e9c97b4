"""The last check before a command reaches the arm: pure, one pass, fails closed.

finite -> shape -> deadline -> position -> velocity / acceleration / jerk against the commands
really sent -> workspace -> force -> safety status -> PRO risk. A software guard is not a safety
function: it keeps a policy's mistakes away from the drives, it replaces no safety-rated controller.

With period T and outputs q_k: v_k = (q_k - q_{k-1}) / T, a_k = (v_k - v_{k-1}) / T, j_k likewise.
Invariant, by induction over `apply`: after every output, each joint has a jerk-limited stop
(`headway.edge.brake`) that stays inside every limit. A command is accepted only if that still holds
after it; when one is not accepted, the guard follows that stop and then holds. So it never repeats
a position while moving (an infinite deceleration), and it never needs a limit to be broken.

The workspace is held to first order: the TCP must be in the box at the commanded configuration and
at the one where the stop from there ends; the curved path between the two is not checked.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from headway.config import Struct
from headway.edge.joint import Joint
from headway.edge.joint import Reason as Reason
from headway.errors import CommandRejected
from headway.types import ArmState, Limits, Signals, Vec, Wrench

Xyz = tuple[float, float, float]
Why = tuple[Reason, str, tuple[Any, ...]]  # text and values of a detail that nobody may ask for

FINE: Why = (Reason.OK, "", ())
NO_COMMAND: Why = (Reason.NO_COMMAND, "nothing fresh to do", ())
NO_WRENCH: Why = (Reason.NO_WRENCH, "no fresh wrench, and the config requires one", ())
FORCE_HELD: Why = (Reason.FORCE, "tripped, and no wrench to release it", ())
NO_STATE: Why = (Reason.NO_STATE, "no fresh arm state", ())
NOT_POWERED: Why = (Reason.NOT_POWERED, "the arm is not powered", ())
PROTECTIVE_STOP: Why = (Reason.PROTECTIVE_STOP, "protective stop; acknowledge() and reset()", ())
NO_SIGNALS: Why = (Reason.NO_SIGNALS, "risk_max is set and PRO gave no signals", ())


class GuardConfig(Struct, frozen=True, kw_only=True):
    """What the guard allows. The box is in the base frame [m] and holds the TCP position."""

    workspace_min: Xyz
    workspace_max: Xyz
    force_max: float  # |force| [N] that trips
    torque_max: float  # |torque| [Nm] that trips
    force_release: float = 0.5  # a trip ends below this fraction of both
    require_wrench: bool = True
    mode: Literal["reject", "clamp"] = "reject"  # clamp: follow as far as the joint limits allow
    max_command_age_s: float = 0.1  # also how far a command may lie in the future
    position_margin: float = 0.0  # [rad], taken off both joint limits
    workspace_margin: float = 0.0  # [m], taken off every face of the box
    reset_tolerance: float = 0.01  # [rad] that the measured start may lie outside the limits
    dq_scale: float = 1.0  # fractions of the arm's own limits, 0 < x <= 1
    ddq_scale: float = 1.0
    dddq_scale: float = 1.0
    lever_m: float = 1.5  # farthest the TCP gets from any joint axis; only saves time
    risk_max: float | None = None  # PRO risk that rejects; None: PRO does not stop the robot

    def __post_init__(self) -> None:
        for key in ("dq_scale", "ddq_scale", "dddq_scale", "force_release"):
            if not 0.0 < getattr(self, key) <= 1.0:
                raise ValueError(f"{key} wants 0 < x <= 1, found {getattr(self, key)}")
        for key in ("force_max", "torque_max", "max_command_age_s", "lever_m"):
            if not getattr(self, key) > 0.0:
                raise ValueError(f"{key} wants a positive number, found {getattr(self, key)}")
        for key in ("position_margin", "workspace_margin", "reset_tolerance"):
            if not 0.0 <= getattr(self, key) < math.inf:
                raise ValueError(f"{key} wants a number >= 0, found {getattr(self, key)}")
        if self.risk_max is not None and not 0.0 <= self.risk_max <= 1.0:
            raise ValueError(f"risk_max wants 0..1 or nothing, found {self.risk_max}")
        m = 2.0 * self.workspace_margin
        pairs = zip(self.workspace_min, self.workspace_max, strict=True)
        if not all(lo + m < hi for lo, hi in pairs):
            raise ValueError(
                f"workspace wants min + 2 x margin < max on every axis, found {self.workspace_min} "
                f"to {self.workspace_max} with margin {self.workspace_margin}"
            )


@dataclass(slots=True)
class Decision:
    """What is sent. The guard refills one `Decision` and its `q` each tick: copy what you keep."""

    q: Vec  # (n,) [rad]
    reason: Reason = Reason.OK
    changed: bool = False  # q is not the command that came
    braking: bool = False  # q is on the stop, or holds at its end
    _text: str = ""
    _values: tuple[Any, ...] = ()

    @property
    def detail(self) -> str:
        """The reason in words, with the numbers; formatted only when asked for."""
        return self._text.format(*self._values)


class Guard:
    """`fk` maps q (n,) [rad] to the TCP position (3,) [m] in the base frame; it gets a buffer that
    is refilled. Call `apply` once per period and send what it returns; call `reset` before the
    first time and after anything else has moved the arm. Raises ValueError for senseless limits."""

    def __init__(
        self, cfg: GuardConfig, limits: Limits, period_s: float, fk: Callable[[Vec], Vec]
    ) -> None:
        if not 0.0 < period_s < math.inf:
            raise ValueError(f"guard wants a period > 0, found {period_s} s")
        self.cfg, self.period_s, self._fk = cfg, period_s, fk
        rows = [
            (limits.q_min, 1.0, cfg.position_margin),
            (limits.q_max, 1.0, -cfg.position_margin),
            (limits.dq_max, cfg.dq_scale, 0.0),
            (limits.ddq_max, cfg.ddq_scale, 0.0),
            (limits.dddq_max, cfg.dddq_scale, 0.0),
        ]
        columns = np.array([np.asarray(x, np.float64) * k + d for x, k, d in rows]).T.tolist()
        self._joints = [Joint(lo, hi, v, a, j, period_s) for lo, hi, v, a, j in columns]
        self.n = n = len(self._joints)
        m = cfg.workspace_margin
        self._box = [
            (lo + m, hi - m) for lo, hi in zip(cfg.workspace_min, cfg.workspace_max, strict=True)
        ]
        self._wanted: list[float] | None = None  # the last command that was a position
        self._tcp: list[float] | None = None  # at the last output, where known
        self._fk_in = np.zeros(n)
        self._out = Decision(np.full(n, math.nan))
        self._ready = self._tripped = self._stopped = False

    def reset(self, q_measured: Vec) -> None:
        """Start at rest at `q_measured` (n,) [rad]. Ends a stop; latched trips stay.

        Raises CommandRejected if the arm stands outside its limits or the position is no position.
        """
        q = np.asarray(q_measured, dtype=np.float64)
        if q.shape != (self.n,) or not np.isfinite(q).all():
            raise CommandRejected(
                f"guard wants {self.n} finite joint positions to start, found {q}: check the arm"
            )
        for k, (joint, x) in enumerate(zip(self._joints, q.tolist(), strict=True)):
            inside = min(max(x, joint.lo), joint.hi)
            if abs(x - inside) > self.cfg.reset_tolerance:
                raise CommandRejected(
                    f"guard wants joint {k} in {joint.lo:.4f}..{joint.hi:.4f} rad to start, found "
                    f"{x:.4f}: jog the arm inside its limits first"
                )
            joint.start(inside)
            self._out.q[k] = inside
        self._wanted = self._tcp = None
        self._ready = True

    def acknowledge(self) -> None:
        """Release a latched protective stop; it latches again while the arm still reports one.
        The arm may have been moved meanwhile: call `reset` too."""
        self._stopped = False

    def apply(
        self,
        q: Any,
        *,
        state: ArmState | None,
        wrench: Wrench | None,
        now_ns: int,
        command_t_ns: int,
        signals: Signals | None = None,
    ) -> Decision:
        """What to send instead of `q` (n,) [rad], which was made for the time `command_t_ns`.

        No data makes it raise. Raises CommandRejected only if `reset` was never called, because
        then there is nothing safe to send.
        """
        if not self._ready:
            raise CommandRejected("guard has no history: call reset(q_measured) before apply()")
        # Latches are watched on every tick, whatever an earlier check says; what they found is
        # reported when its turn comes.
        contact, status = self._contact(wrench), self._status(state)
        soft = FINE
        why, command = self._numbers(q)
        if why is FINE:
            why = self._age(now_ns, command_t_ns)
        if why is FINE:
            why = self._probe(command)
            if why is not FINE and self.cfg.mode == "clamp":
                soft, why = why, FINE
                self._follow(command)
        self._wanted = command or None
        if why is FINE:
            why = self._workspace()
        if why is FINE:
            why = contact
        if why is FINE:
            why = status
        if why is FINE:
            why = self._risk(signals)
        out = self._out
        out.braking = why is not FINE
        out.changed = out.braking or soft is not FINE
        if out.braking:
            self._tcp = None
            for joint in self._joints:
                joint.brake()
        out.reason, out._text, out._values = why if out.braking else soft
        buffer = out.q
        for k, joint in enumerate(self._joints):
            buffer[k] = joint.q1
            joint.commit()
        return out

    def _numbers(self, q: Any) -> tuple[Why, list[float]]:
        """The command as floats. Only real numeric arrays are numbers: no strings, no booleans."""
        if q is None:
            return NO_COMMAND, []
        try:
            x = q if type(q) is np.ndarray else np.asarray(q)
            if x.dtype.kind not in "fiu":
                return (Reason.NOT_NUMBERS, "command is {} of {}", (type(q), x.dtype)), []
            flat: list[float] = x.astype(np.float64).ravel().tolist()
        except Exception as e:  # whatever an alien object raises: it is not a command
            return (Reason.NOT_NUMBERS, "command {} is no array: {!r}", (type(q), e)), []
        if not all(map(math.isfinite, flat)):
            return (Reason.NOT_FINITE, "command is {}", (flat,)), []
        if x.shape != (self.n,):
            return (Reason.SHAPE, "command has shape {}, wanted ({},)", (x.shape, self.n)), []
        return FINE, flat

    def _age(self, now_ns: int, command_t_ns: int) -> Why:
        age, most = (now_ns - command_t_ns) * 1e-9, self.cfg.max_command_age_s
        if age > most:
            return Reason.LATE, "command is {:.4f} s old, allowed {} s", (age, most)
        if age < -most:
            return Reason.EARLY, "command is {:.4f} s in the future, allowed {} s", (-age, most)
        return FINE

    def _probe(self, command: list[float]) -> Why:
        """All joints, since each must have a candidate; the first check that fails is reported."""
        worst, at = Reason.OK, 0
        for k, joint in enumerate(self._joints):
            reason = joint.probe(command[k])
            if reason is not Reason.OK and (worst is Reason.OK or reason < worst):
                worst, at = reason, k
        if worst is Reason.OK:
            return FINE
        j = self._joints[at]
        text = "joint {}: q {:.4f} dq {:.4f} ddq {:.3f} (was {:.3f}), allowed {}..{}, {}, {}, {}"
        limits = (j.lo, j.hi, j.v_max, j.a_max, j.j_max)
        return worst, text, (at, j.q1, j.dq1, j.ddq1, j.ddq, *limits)

    def _follow(self, command: list[float]) -> None:
        before = self._wanted or command
        for joint, c, b in zip(self._joints, command, before, strict=True):
            joint.follow(c, (c - b) / self.period_s)

    def _workspace(self) -> Why:
        """TCP of the candidate, and where it stops: no face of the box is left, or left further."""
        try:
            if self._tcp is None:
                self._tcp = self._position([joint.q for joint in self._joints])
            tcp = self._position([joint.q1 for joint in self._joints])
            if (why := self._outside(tcp, self._tcp, "at")) is not FINE:
                return why
            reach = 0.0
            for joint in self._joints:
                reach += joint.stop_bound()
            reach *= self.cfg.lever_m
            for x, (lo, hi) in zip(tcp, self._box, strict=True):
                if x - lo < reach or hi - x < reach:
                    end = self._position([joint.stop_at() for joint in self._joints])
                    if (why := self._outside(end, self._tcp, "would stop at")) is not FINE:
                        return why
                    break
        except Exception as e:  # a guard without kinematics cannot say yes
            return Reason.WORKSPACE, "forward kinematics failed: {!r}", (e,)
        self._tcp = tcp
        return FINE

    def _position(self, q: list[float]) -> list[float]:
        self._fk_in[:] = q
        x, y, z = np.asarray(self._fk(self._fk_in), np.float64).tolist()
        return [x, y, z]

    def _outside(self, p: list[float], before: list[float], verb: str) -> Why:
        for axis, (x, b, (lo, hi)) in enumerate(zip(p, before, self._box, strict=True)):
            if not min(lo, b) <= x <= max(hi, b):
                text = "TCP {} {} = {:.4f} m, allowed {:.4f}..{:.4f}"
                return Reason.WORKSPACE, text, (verb, "xyz"[axis], x, lo, hi)
        return FINE

    def _contact(self, wrench: Wrench | None) -> Why:
        cfg = self.cfg
        if wrench is None:
            if cfg.require_wrench:
                return NO_WRENCH
            return FORCE_HELD if self._tripped else FINE
        try:
            fx, fy, fz = wrench.force.tolist()
            mx, my, mz = wrench.torque.tolist()
            force, torque = math.hypot(fx, fy, fz), math.hypot(mx, my, mz)
        except Exception as e:
            return Reason.BAD_WRENCH, "wrench is no wrench: {!r}", (e,)
        # hypot(nan, inf) is inf: infinite and NaN readings both say that the sensor is not well
        if not (math.isfinite(force) and math.isfinite(torque)):
            return Reason.BAD_WRENCH, "wrench is {} N, {} Nm", (force, torque)
        if force > cfg.force_max or torque > cfg.torque_max:
            self._tripped = True
        elif force < cfg.force_release * cfg.force_max and (
            torque < cfg.force_release * cfg.torque_max
        ):
            self._tripped = False
        if not self._tripped:
            return FINE
        text = "{:.2f} N, {:.3f} Nm; trips above {} and {}, released below {} of both"
        most = (cfg.force_max, cfg.torque_max, cfg.force_release)
        return Reason.FORCE, text, (force, torque, *most)

    def _status(self, state: ArmState | None) -> Why:
        if state is None:
            return NO_STATE
        try:
            if state.protective_stop:
                self._stopped = True
            if self._stopped:
                return PROTECTIVE_STOP
            q = state.q.tolist()
            if len(q) != self.n or not math.isfinite(sum(q)):
                return Reason.BAD_STATE, "measured joint positions are {}", (q,)
            return FINE if state.powered else NOT_POWERED
        except Exception as e:
            return Reason.BAD_STATE, "arm state is no state: {!r}", (e,)

    def _risk(self, signals: Signals | None) -> Why:
        most = self.cfg.risk_max
        if most is None:
            return FINE
        if signals is None:
            return NO_SIGNALS
        if not signals.risk <= most:
            return Reason.RISK, "PRO risk is {:.3f}, allowed {}", (signals.risk, most)
        return FINE
