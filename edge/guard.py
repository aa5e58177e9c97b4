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
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from headway.drivers.kinematics import Impl
from headway.edge import guard_native
from headway.edge.guard_config import GuardConfig as GuardConfig
from headway.edge.guard_core import Fk, Found, PythonCore
from headway.edge.joint import Joint
from headway.edge.joint import Reason as Reason
from headway.errors import CommandRejected
from headway.types import ArmState, Limits, Signals, Vec, Wrench

Why = tuple[Reason, str, tuple[Any, ...]]  # text and values of a detail that nobody may ask for

FLOAT64 = np.dtype(np.float64)
FINE: Why = (Reason.OK, "", ())
NO_COMMAND: Why = (Reason.NO_COMMAND, "nothing fresh to do", ())
NO_WRENCH: Why = (Reason.NO_WRENCH, "no fresh wrench, and the config requires one", ())
FORCE_HELD: Why = (Reason.FORCE, "tripped, and no wrench to release it", ())
NO_STATE: Why = (Reason.NO_STATE, "no fresh arm state", ())
NOT_POWERED: Why = (Reason.NOT_POWERED, "the arm is not powered", ())
PROTECTIVE_STOP: Why = (Reason.PROTECTIVE_STOP, "protective stop; acknowledge() and reset()", ())
NO_SIGNALS: Why = (Reason.NO_SIGNALS, "risk_max is set and PRO gave no signals", ())


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
    """`fk` is the arm's chain, or maps q (n,) [rad] to the TCP position (3,) [m] in the base frame;
    it gets a buffer that is refilled. Call `apply` once per period and send what it returns; call
    `reset` before the first time and after anything else has moved the arm. `impl` says what
    computes: "auto" is C++ where it is built, else Python. Raises ValueError for senseless limits,
    Missing for "cpp" where it is not built."""

    def __init__(
        self, cfg: GuardConfig, limits: Limits, period_s: float, fk: Fk, impl: Impl = "auto"
    ) -> None:
        if not 0.0 < period_s < math.inf:
            raise ValueError(f"guard wants a period > 0, found {period_s} s")
        self.cfg, self.period_s = cfg, period_s
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
        self._shape = (n,)
        m = cfg.workspace_margin
        corners = zip(cfg.workspace_min, cfg.workspace_max, strict=True)
        self._box = np.array([(lo + m, hi - m) for lo, hi in corners], np.float64)
        self._out = Decision(np.full(n, math.nan))
        self._command = np.zeros(n)
        self._core = guard_native.make(
            impl, self._joints, period_s, self._box, cfg.lever_m, cfg.mode == "clamp",
            self._command, self._out.q, fk,
        )  # fmt: skip
        self._ready = self._tripped = self._stopped = False

    @property
    def computed_by(self) -> Literal["cpp", "python"]:
        """What "auto" came to on this machine."""
        return "python" if isinstance(self._core, PythonCore) else "cpp"

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
            self._out.q[k] = inside
        self._core.start()
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
        core, soft = self._core, FINE
        why = self._numbers(q)
        known = why is FINE
        if known:
            why = self._age(now_ns, command_t_ns)
        if why is not FINE:
            core.pass_over(known)
        elif not core.propose():
            soft, why = self._why(core.soft()), self._why(core.hard())
        if why is FINE:
            why = contact
        if why is FINE:
            why = status
        if why is FINE:
            why = self._risk(signals)
        out = self._out
        out.braking = braking = why is not FINE
        out.changed = braking or soft is not FINE
        out.reason, out._text, out._values = why if braking else soft
        core.send(braking)
        return out

    def _numbers(self, q: Any) -> Why:
        """The command into its buffer. Only real numeric arrays are numbers: no strings, no
        booleans."""
        if type(q) is np.ndarray and q.dtype is FLOAT64 and q.shape == self._shape:
            self._command[:] = q
            return (
                FINE if self._core.finite() else (Reason.NOT_FINITE, "command is {}", (q.tolist(),))
            )
        if q is None:
            return NO_COMMAND
        try:
            x = q if type(q) is np.ndarray else np.asarray(q)
            if x.dtype.kind not in "fiu":
                return Reason.NOT_NUMBERS, "command is {} of {}", (type(q), x.dtype)
            flat: list[float] = x.astype(np.float64).ravel().tolist()
        except Exception as e:  # whatever an alien object raises: it is not a command
            return Reason.NOT_NUMBERS, "command {} is no array: {!r}", (type(q), e)
        if not all(map(math.isfinite, flat)):
            return Reason.NOT_FINITE, "command is {}", (flat,)
        if x.shape != self._shape:
            return Reason.SHAPE, "command has shape {}, wanted ({},)", (x.shape, self.n)
        self._command[:] = flat
        return FINE

    def _why(self, found: Found) -> Why:
        """What the core found, in words."""
        code, at, values = found
        if code == Reason.OK:
            return FINE
        reason = Reason(code)
        if reason is Reason.WORKSPACE:
            if at < 0:
                return reason, "forward kinematics failed: {!r}", (self._core.error,)
            verb, axis = ("at", "would stop at")[at // 3], at % 3
            text = "TCP {} {} = {:.4f} m, allowed {:.4f}..{:.4f}"
            return reason, text, (verb, "xyz"[axis], values[0], *self._box[axis].tolist())
        j = self._joints[at]
        text = "joint {}: q {:.4f} dq {:.4f} ddq {:.3f} (was {:.3f}), allowed {}..{}, {}, {}, {}"
        return reason, text, (at, *values, j.lo, j.hi, j.v_max, j.a_max, j.j_max)

    def _age(self, now_ns: int, command_t_ns: int) -> Why:
        age, most = (now_ns - command_t_ns) * 1e-9, self.cfg.max_command_age_s
        if age > most:
            return Reason.LATE, "command is {:.4f} s old, allowed {} s", (age, most)
        if age < -most:
            return Reason.EARLY, "command is {:.4f} s in the future, allowed {} s", (-age, most)
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
