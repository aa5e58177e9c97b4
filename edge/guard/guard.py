"""The last check before a command reaches the arm. It talks to no device and no file, looks at each
command once, and whatever it cannot check it refuses.

The order of the checks is: finite, shape, deadline, position, velocity, acceleration and jerk
against the commands that were really sent, workspace, collision, force and power, safety status,
PRO's risk. The first one that fails is reported (`headway.edge.guard.reasons`).

A software guard is no safety function. It keeps a policy's mistakes away from the drives; it does
not replace a safety-rated controller, and its limits of force and power are no rating for work
beside people.

With the period T and the outputs q_k, the velocity is v_k = (q_k - q_{k-1}) / T, the acceleration
a_k = (v_k - v_{k-1}) / T and the jerk (a_k - a_{k-1}) / T. What always holds, by induction over the
calls of `apply`: after every output, each joint has a jerk-limited stop that stays inside every
limit (`headway.edge.guard.brake`). A command is accepted only if that still holds after it. When a
command is not accepted, the guard follows the stop and then holds the position at its end. So it
never repeats a position while the arm moves, which would be an infinite deceleration, and it never
has to break a limit.

The workspace, and the distances of the arm to itself and its surroundings
(`headway.edge.guard.collision`), are checked at two configurations: the commanded one, and the one
where the stop from there would end. The curved path between the two is not checked.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from headway.compiled import Computed, Impl
from headway.drivers.capsules import Capsule
from headway.drivers.kinematics import Chain
from headway.edge.guard import collision
from headway.edge.guard import native as guard_native
from headway.edge.guard.config import GuardConfig as GuardConfig
from headway.edge.guard.config import RiskLimit
from headway.edge.guard.core import Fk, PythonCore
from headway.edge.guard.jaws import JawsCheck
from headway.edge.guard.joint import Joint
from headway.edge.guard.reasons import FINE, Finding, Reason
from headway.errors import CommandRejected
from headway.types import ArmState, Limits, Signals, Vec, Wrench

FLOAT64 = np.dtype(np.float64)


class _Verdict:
    """What a decision and the verdict on a chunk have in common."""

    __slots__ = ()
    finding: Finding

    @property
    def reason(self) -> Reason:
        """Which check failed."""
        return self.finding.reason

    @property
    def detail(self) -> str:
        """The finding in words, with its numbers; formatted only when asked for."""
        return self.finding.detail


@dataclass(slots=True)
class Decision(_Verdict):
    """What is sent. The guard refills one `Decision` and its `q` each tick: copy what you keep."""

    q: Vec  # (n,) [rad]
    finding: Finding = FINE  # what is said against the command that came
    changed: bool = False  # q is not the command that came, but clamped or on the stop
    braking: bool = False  # q is on the stop, or holds the position at its end


@dataclass(frozen=True, slots=True)
class ChunkVerdict(_Verdict):
    """What `check_chunk` says: FINE, or the first `row` with something against it, and what."""

    finding: Finding
    row: int = 0


class Guard:
    """Checks commands for one arm of n joints. Call `apply` once per period and send what it
    returns; call `reset` before the first time and after anything else has moved the arm.

    `cfg` is the `[guard]` section. `limits` are the arm's own, each (n,). `period_s` [s] is the
    time between two calls of `apply`. `fk` is the arm's chain, or a function that maps q (n,) [rad]
    to the TCP's position (3,) [m] in the base frame; it gets a buffer that is refilled. Collisions
    are checked for a chain with a body only. `impl` says what computes: "auto" is C++ where it is
    built, else Python. `risk` says when PRO's risk stops the robot, instead of what `cfg` says.

    Raises ValueError for limits or a period that make no sense, and Missing for "cpp" where it is
    not built.
    """

    def __init__(
        self,
        cfg: GuardConfig,
        limits: Limits,
        period_s: float,
        fk: Fk,
        impl: Impl = "auto",
        risk: RiskLimit | None = None,
    ) -> None:
        if not 0.0 < period_s < math.inf:
            raise ValueError(f"guard wants a period > 0, found {period_s} s")
        self.cfg, self.period_s, self.limits = cfg, period_s, limits
        allowed = cfg.allowed(limits)
        rows = (allowed.q_min, allowed.q_max, allowed.dq_max, allowed.ddq_max, allowed.dddq_max)
        columns = np.array([np.asarray(x, np.float64) for x in rows]).T.tolist()
        self._joints = [Joint(lo, hi, v, a, j, period_s) for lo, hi, v, a, j in columns]
        self.n = n = len(self._joints)
        self._shape = (n,)
        m = cfg.workspace_margin
        corners = zip(cfg.workspace_min, cfg.workspace_max, strict=True)
        box = np.array([(lo + m, hi - m) for lo, hi in corners], np.float64)
        self._out = Decision(np.full(n, math.nan))
        self._jaws = JawsCheck(cfg)
        self._command = np.zeros(n)
        body: tuple[Capsule, ...] = ()
        frames, upright = 0, True
        if isinstance(fk, Chain):
            body, frames, upright = fk.body, len(fk.steps) + 1, fk.upright
        self._made_by = partial(
            guard_native.make, impl=impl, period_s=period_s, box=box, lever_m=cfg.lever_m,
            clamp=cfg.mode == "clamp", command=self._command, out=self._out.q, fk=fk,
            scene=collision.scene(cfg, body, frames, upright),
        )  # fmt: skip
        self._core = self._made_by(joints=self._joints)
        self._holds = self._joints  # the joints that the core has
        self._ready = self._stopped = False
        self._tripped = self._risky = FINE  # what latched: FORCE or POWER; RISK
        if risk is None and cfg.risk_max is not None:
            risk = RiskLimit(cfg.risk_max, cfg.risk_after_s)
        self.risk = risk
        self._patience = 0 if risk is None else round(risk.after_s / period_s)  # ticks
        self._above = 0  # ticks without a break that the risk has been above its limit

    @property
    def computed_by(self) -> Computed:
        """Which of the two `impl` came to on this machine."""
        return "python" if isinstance(self._core, PythonCore) else "cpp"

    def reset(self, q_measured: Vec) -> None:
        """Start at rest at `q_measured` (n,) [rad]. A stop is over, and the time that PRO's risk
        has lasted begins anew; what is latched stays latched.

        A joint that stands outside the guard's limits, by `reset_tolerance` at most, may stay there
        until the next `reset` and move back, but not further out. Outside the arm's own limits no
        arm takes a command: such a joint starts at the limit.

        Raises CommandRejected if the arm stands further out or the position is no position.
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
        self._out.q[:] = start = np.clip(q, self.limits.q_min, self.limits.q_max)
        pairs = zip(self._joints, start.tolist(), strict=True)
        joints = [joint.reaching(x) for joint, x in pairs]
        if joints != self._holds:  # an arm that starts inside its limits, as usual, keeps its core
            self._core, self._holds = self._made_by(joints=joints), joints
        self._core.start()
        self._jaws.reset()
        self._above = 0
        self._ready = True

    def acknowledge(self) -> None:
        """Release a latched protective stop and a latched risk. Either latches again if it is still
        reported. The arm may have been moved meanwhile, so call `reset` too."""
        self._stopped, self._risky = False, FINE

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
        """What to send in this period for the command `q` (n,) [rad]; None where there is none.

        `state` is the arm's, and `wrench` what touches the tool; each is None where nothing fresh
        is known. `now_ns` [ns] is the time of this tick and `command_t_ns` [ns] the one that the
        command was made for, on the same clock. `signals` are PRO's; None: it gave none.

        Whatever the data are, it does not raise. It raises CommandRejected only if `reset` was
        never called, because then there is nothing safe to send.
        """
        if not self._ready:
            raise CommandRejected("guard has no history: call reset(q_measured) before apply()")
        # These three are watched on every tick, even if an earlier check fails, because they latch
        # or count. What they found is reported only if no earlier check has found anything.
        contact, status, risk = (
            self._contact(wrench, state),
            self._status(state),
            self._risk(signals),
        )
        core, clamped = self._core, FINE
        why = self._numbers(q)
        known = why is FINE
        if known:
            why = self._age(now_ns, command_t_ns)
        if why is not FINE:
            core.pass_over(known)
        elif not core.propose():
            clamped, why = core.clamped, core.refused
        for later in (contact, status, risk):
            if why is FINE:
                why = later
        out = self._out
        out.braking = braking = why is not FINE
        out.changed = braking or clamped is not FINE
        out.finding = why if braking else clamped
        core.send(braking)
        return out

    def jaws(self, grip: float, force: float) -> JawsCheck:
        """What to send to the jaws for a `grip`, 0 open to 1 closed, with the `force` [N], NaN for
        the configured one; see `JawsCheck.apply`. The guard refills one record at each call."""
        self._jaws.apply(grip, force)
        return self._jaws

    def _numbers(self, q: Any) -> Finding:
        """Copy the command `q` into its buffer if it is n finite numbers. Strings and booleans are
        not numbers, though NumPy would convert them."""
        if type(q) is np.ndarray and q.dtype is FLOAT64 and q.shape == self._shape:
            self._command[:] = q
            return FINE if self._core.finite() else _not_finite(q.tolist())
        if q is None:
            return Finding(Reason.NO_COMMAND)
        try:
            x = q if type(q) is np.ndarray else np.asarray(q)
            if x.dtype.kind not in "fiu":
                return Finding(Reason.NOT_NUMBERS, cause=(type(q), x.dtype))
            flat: list[float] = x.astype(np.float64).ravel().tolist()
        except Exception as e:  # whatever an alien object raises: it is not a command
            return Finding(Reason.NOT_NUMBERS, cause=(type(q), e))
        if not all(map(math.isfinite, flat)):
            return _not_finite(flat)
        if x.shape != self._shape:
            return Finding(Reason.SHAPE, cause=(self._shape, x.shape))
        self._command[:] = flat
        return FINE

    def check_chunk(self, q: Any, dt: float) -> ChunkVerdict:
        """Check the waypoints `q` (h, n) [rad], `dt` [s] apart, of which row 0 is where the motion
        starts.

        They must be finite, inside the position limits, and from one to the next within the limits
        of velocity and acceleration. The TCP must stay in the workspace, and the arm clear of what
        it can collide with, or no worse than at row 0. Waypoints are few: between two of them, a
        motion may still break a limit, and `apply` then refuses it.

        Changes nothing that `apply` uses, and may be called in another thread than `apply`, one
        call at a time. Raises ValueError for dt <= 0.
        """
        if not 0.0 < dt < math.inf:
            raise ValueError(f"a chunk wants dt > 0, found {dt} s")
        x = np.asarray(q)
        if x.dtype.kind not in "fiu":
            return ChunkVerdict(Finding(Reason.NOT_NUMBERS, cause=(type(q), x.dtype)))
        if x.ndim != 2 or x.shape[1] != self.n:
            return ChunkVerdict(Finding(Reason.SHAPE, cause=(("h", self.n), x.shape)))
        row, found = self._core.check_chunk(np.ascontiguousarray(x, np.float64), dt)
        return ACCEPTED if found is FINE else ChunkVerdict(found, row)

    def _age(self, now_ns: int, command_t_ns: int) -> Finding:
        age, most = (now_ns - command_t_ns) * 1e-9, self.cfg.max_command_age_s
        if age > most:
            return Finding(Reason.LATE, found=age, most=most)
        if age < -most:
            return Finding(Reason.EARLY, found=-age, most=most)
        return FINE

    def _contact(self, wrench: Wrench | None, state: ArmState | None) -> Finding:
        """Whether force, torque and power are, and since a trip have been, small enough. A trip is
        latched: it is reported, as it was found, until all three are well below their limits."""
        cfg = self.cfg
        if wrench is None:
            # Without the arm's state nothing is known of the wrench at the tool either: then the
            # state is what is missing, and `_status` says so.
            missing = cfg.require_wrench and state is not None
            return Finding(Reason.NO_WRENCH) if missing else self._tripped
        try:
            fx, fy, fz = wrench.force.tolist()
            mx, my, mz = wrench.torque.tolist()
            force, torque = math.hypot(fx, fy, fz), math.hypot(mx, my, mz)
        except Exception as e:
            return Finding(Reason.BAD_WRENCH, cause=e)
        # hypot(nan, inf) is inf: infinite and NaN readings both say that the sensor is not well
        if not (math.isfinite(force) and math.isfinite(torque)):
            return Finding(Reason.BAD_WRENCH, cause=(force, torque))
        power_max, release = cfg.power_max, cfg.force_release
        measured = power_max < math.inf
        power = _power(fx, fy, fz, wrench.frame_id, state) if measured else 0.0
        if not power <= power_max:
            self._tripped = Finding(Reason.POWER, 2, found=power, most=power_max)
        elif force > cfg.force_max:
            self._tripped = Finding(Reason.FORCE, 0, found=force, most=cfg.force_max)
        elif torque > cfg.torque_max:
            self._tripped = Finding(Reason.FORCE, 1, found=torque, most=cfg.torque_max)
        elif (
            force < release * cfg.force_max
            and torque < release * cfg.torque_max
            and power < release * power_max
        ):
            self._tripped = FINE
        return self._tripped

    def _status(self, state: ArmState | None) -> Finding:
        if state is None:
            return Finding(Reason.NO_STATE)
        try:
            if state.protective_stop:
                self._stopped = True
            if self._stopped:
                return Finding(Reason.PROTECTIVE_STOP)
            q = state.q.tolist()
            if len(q) != self.n or not math.isfinite(sum(q)):
                return Finding(Reason.BAD_STATE, cause=q)
            return FINE if state.powered else Finding(Reason.NOT_POWERED)
        except Exception as e:
            return Finding(Reason.BAD_STATE, cause=e)

    def _risk(self, signals: Signals | None) -> Finding:
        """Whether PRO's risk has been above its limit for too long; latched until `acknowledge`. A
        risk that is NaN stops the robot at once. A tick without signals, or with NaN, is a break:
        the count starts again after it."""
        if self.risk is None:
            return FINE
        if signals is None:
            self._above = 0
            return Finding(Reason.NO_SIGNALS) if self._risky is FINE else self._risky
        risk, most = signals.risk, self.risk.most
        self._above = 0 if risk <= most or math.isnan(risk) else self._above + 1
        if self._above > self._patience or math.isnan(risk):
            self._risky = Finding(Reason.RISK, found=risk, most=most)
        return self._risky


ACCEPTED = ChunkVerdict(FINE)


def _not_finite(values: list[float]) -> Finding:
    """The first of `values` that is not finite."""
    k = next(k for k, x in enumerate(values) if not math.isfinite(x))
    return Finding(Reason.NOT_FINITE, k, found=values[k])


def _power(fx: float, fy: float, fz: float, frame: str, state: ArmState | None) -> float:
    """The power |F . v| [W] of the measured force (`fx`, `fy`, `fz`) [N], in the frame `frame`, and
    the TCP's velocity in `state`. A force that is not in the base frame is taken to be in the
    TCP's frame. 0 without an arm state, because then the check of the state refuses the command;
    NaN for a state that is broken."""
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
