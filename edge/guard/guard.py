"""The last check before a command reaches the arm: pure, one pass, fails closed.

finite -> shape -> deadline -> position -> velocity / acceleration / jerk against the commands
really sent -> workspace -> collision -> force and power -> safety status -> PRO risk. A software
guard is no safety function: it keeps a policy's mistakes away from the drives, it replaces no
safety-rated controller, and its limits of force and power are no rating for work beside people.

With period T and outputs q_k: v_k = (q_k - q_{k-1}) / T, a_k = (v_k - v_{k-1}) / T, j_k likewise.
Invariant, by induction over `apply`: after every output, each joint has a jerk-limited stop
(`headway.edge.guard.brake`) that stays inside every limit. A command is accepted only if that still
holds after it; when one is not accepted, the guard follows that stop and then holds. So it never
repeats a position while moving (an infinite deceleration), and it never needs a limit to be broken.

The workspace, and the distances to the arm itself and its surroundings
(`headway.edge.guard.collision`), are held to first order: at the commanded configuration and at the
one where the stop from there ends; the curved path between the two is not checked.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from headway.compiled import Computed, Impl
from headway.drivers.kinematics import Chain
from headway.edge.guard import collision
from headway.edge.guard import native as guard_native
from headway.edge.guard.config import GuardConfig as GuardConfig
from headway.edge.guard.core import Fk, Found, PythonCore
from headway.edge.guard.joint import Joint
from headway.edge.guard.joint import Reason as Reason
from headway.errors import CommandRejected
from headway.types import ArmState, Limits, Signals, Vec, Wrench

Why = tuple[Reason, str, tuple[Any, ...]]  # text and values of a detail that nobody may ask for

FLOAT64 = np.dtype(np.float64)
FINE: Why = (Reason.OK, "", ())
NO_COMMAND: Why = (Reason.NO_COMMAND, "nothing fresh to do", ())
NO_WRENCH: Why = (Reason.NO_WRENCH, "no fresh wrench, and the config requires one", ())
HELD: tuple[str, tuple[Any, ...]] = ("tripped, and no wrench to release it", ())
NO_STATE: Why = (Reason.NO_STATE, "no fresh arm state", ())
NOT_POWERED: Why = (Reason.NOT_POWERED, "the arm is not powered", ())
PROTECTIVE_STOP: Why = (Reason.PROTECTIVE_STOP, "protective stop; acknowledge() and reset()", ())
RISK_HELD: Why = (Reason.RISK, "PRO risk was too high; acknowledge() and reset()", ())
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


@dataclass(frozen=True, slots=True)
class ChunkVerdict:
    """What `check_chunk` says: OK, or the first `row` with something against it, and why."""

    reason: Reason
    row: int = 0
    _text: str = ""
    _values: tuple[Any, ...] = ()

    @property
    def detail(self) -> str:
        """The reason in words, with the numbers."""
        return self._text.format(*self._values)


class Guard:
    """`fk` is the arm's chain, or maps q (n,) [rad] to the TCP position (3,) [m] in the base frame
    (it gets a buffer that is refilled); collisions want a chain with a body. Call `apply` once per
    period and send what it returns; call `reset` before the first time and after anything else has
    moved the arm. `impl` says what computes: "auto" is C++ where it is built, else Python. Raises
    ValueError for senseless limits, Missing for "cpp" where it is not built."""

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
        if isinstance(fk, Chain):
            self._scene = collision.scene(cfg, fk.body, len(fk.dh) + 1)
        else:
            self._scene = collision.scene(cfg, (), 0)
        self._core = guard_native.make(
            impl, self._joints, period_s, self._box, cfg.lever_m, cfg.mode == "clamp",
            self._command, self._out.q, fk, self._scene,
        )  # fmt: skip
        self._ready = self._stopped = self._risky = False
        self._tripped = Reason.OK  # or FORCE, or POWER

    @property
    def computed_by(self) -> Computed:
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
        """Release a latched protective stop and a latched PRO risk; either latches again while it
        is still reported. The arm may have been moved meanwhile: call `reset` too."""
        self._stopped = self._risky = False

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
        contact, status, risk = (
            self._contact(wrench, state),
            self._status(state),
            self._risk(signals),
        )
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
            why = risk
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
        if reason is Reason.COLLISION:
            assert self._scene is not None
            end, pair = divmod(at, len(self._scene.pairs))
            text = "{} {} {:.4f} m apart, allowed {:.4f}"
            verb = "would stop" if end else "are"
            return reason, text, (self._scene.names[pair], verb, *values[:2])
        j = self._joints[at]
        text = "joint {}: q {:.4f} dq {:.4f} ddq {:.3f} (was {:.3f}), allowed {}..{}, {}, {}, {}"
        return reason, text, (at, *values, j.lo, j.hi, j.v_max, j.a_max, j.j_max)

    def check_chunk(self, q: Any, dt: float) -> ChunkVerdict:
        """Whether the waypoints `q` (h, n) [rad], `dt` [s] apart, row 0 where the motion starts,
        are finite, inside the joint limits, and within velocity and acceleration between each
        other; and whether the TCP stays in the workspace and the arm clear of what `apply` checks,
        or no worse than at row 0. Waypoints are few: between them a motion may still break what
        `apply` then refuses.

        Changes nothing; may be called in another thread than `apply`, one call at a time. Raises
        ValueError for dt <= 0.
        """
        if not 0.0 < dt < math.inf:
            raise ValueError(f"a chunk wants dt > 0, found {dt} s")
        x = np.asarray(q)
        if x.dtype.kind not in "fiu":
            return ChunkVerdict(Reason.NOT_NUMBERS, 0, "chunk is of {}", (x.dtype,))
        if x.ndim != 2 or x.shape[1] != self.n:
            text = "chunk has shape {}, wanted (h, {})"
            return ChunkVerdict(Reason.SHAPE, 0, text, (x.shape, self.n))
        row, found = self._core.check_chunk(np.ascontiguousarray(x, np.float64), dt)
        if found[0] == Reason.OK:
            return ACCEPTED
        if found[0] == Reason.NOT_FINITE:
            text = "joint {} is {}"
            return ChunkVerdict(Reason.NOT_FINITE, row, text, (found[1], found[2][0]))
        reason, text, values = self._why(found)
        return ChunkVerdict(reason, row, text, values)

    def _age(self, now_ns: int, command_t_ns: int) -> Why:
        age, most = (now_ns - command_t_ns) * 1e-9, self.cfg.max_command_age_s
        if age > most:
            return Reason.LATE, "command is {:.4f} s old, allowed {} s", (age, most)
        if age < -most:
            return Reason.EARLY, "command is {:.4f} s in the future, allowed {} s", (-age, most)
        return FINE

    def _contact(self, wrench: Wrench | None, state: ArmState | None) -> Why:
        cfg = self.cfg
        if wrench is None:
            if cfg.require_wrench:
                return NO_WRENCH
            return (self._tripped, *HELD) if self._tripped else FINE
        try:
            fx, fy, fz = wrench.force.tolist()
            mx, my, mz = wrench.torque.tolist()
            force, torque = math.hypot(fx, fy, fz), math.hypot(mx, my, mz)
        except Exception as e:
            return Reason.BAD_WRENCH, "wrench is no wrench: {!r}", (e,)
        # hypot(nan, inf) is inf: infinite and NaN readings both say that the sensor is not well
        if not (math.isfinite(force) and math.isfinite(torque)):
            return Reason.BAD_WRENCH, "wrench is {} N, {} Nm", (force, torque)
        power, most = 0.0, math.inf
        if cfg.power_max is not None:
            power, most = _power(fx, fy, fz, wrench.frame_id, state), cfg.power_max
        if not power <= most:
            self._tripped = Reason.POWER
        elif force > cfg.force_max or torque > cfg.torque_max:
            self._tripped = Reason.FORCE
        elif (
            force < cfg.force_release * cfg.force_max
            and torque < cfg.force_release * cfg.torque_max
            and power < cfg.force_release * most
        ):
            self._tripped = Reason.OK
        if self._tripped is Reason.OK:
            return FINE
        text = "{:.2f} N, {:.3f} Nm, {:.2f} W; trips above {}, {} and {}, released below {} of all"
        limits = (cfg.force_max, cfg.torque_max, most, cfg.force_release)
        return self._tripped, text, (force, torque, power, *limits)

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
            return RISK_HELD if self._risky else NO_SIGNALS
        if not signals.risk <= most:
            self._risky = True
            return Reason.RISK, "PRO risk is {:.3f}, allowed {}", (signals.risk, most)
        return RISK_HELD if self._risky else FINE


ACCEPTED = ChunkVerdict(Reason.OK)


def _power(fx: float, fy: float, fz: float, frame: str, state: ArmState | None) -> float:
    """|F . v| [W] of the measured force [N] and TCP velocity. A force that is not in the base frame
    is taken to be in the TCP's. Without an arm state nothing is known, and the status check says
    so."""
    if state is None:
        return 0.0
    try:
        vx, vy, vz = state.twist[:3].tolist()
        if frame != "base":  # the velocity into the TCP's frame, by the inverse rotation
            w, x, y, z = state.tcp.quat.tolist()
            tx, ty, tz = 2.0 * (vy * z - vz * y), 2.0 * (vz * x - vx * z), 2.0 * (vx * y - vy * x)
            vx += w * tx + ty * z - tz * y
            vy += w * ty + tz * x - tx * z
            vz += w * tz + tx * y - ty * x
        return abs(float(fx * vx + fy * vy + fz * vz))
    except Exception:  # whatever a broken state raises: the power is not known to be small
        return math.nan
