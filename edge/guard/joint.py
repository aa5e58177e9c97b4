"""One joint as the guard sees it: its limits, what was really sent, and which next position leaves
a stop inside every limit. Scalars only: for six joints plain floats beat NumPy several times over.
"""

from __future__ import annotations

import math
from enum import IntEnum

from headway.edge.guard.brake import Stop

EPS = 2.0**-52
ROUND = 1.0 + 5e-10  # a command at the limit, after rounding, is at the limit
TOUCH = 1e-9  # [rad] kept free at the end of a stop, for the rounding of its ticks
REST = 8.0 * EPS


class Reason(IntEnum):
    """Why a command was not sent as it came, in the order of the guard's checks, but for the last
    ones: recordings hold these numbers, so a new one goes to the end."""

    OK = 0
    NO_COMMAND = 1  # None: nothing fresh to do
    NOT_NUMBERS = 2
    NOT_FINITE = 3
    SHAPE = 4
    LATE = 5
    EARLY = 6  # stamped too far in the future: a clock is wrong
    POSITION = 7  # outside the joint limits, or no stop inside them would be left
    VELOCITY = 8
    ACCELERATION = 9
    JERK = 10
    WORKSPACE = 11
    NO_WRENCH = 12
    BAD_WRENCH = 13
    FORCE = 14  # latched until the force falls below `force_release`
    NO_STATE = 15
    BAD_STATE = 16
    NOT_POWERED = 17
    PROTECTIVE_STOP = 18  # latched until `acknowledge`
    NO_SIGNALS = 19
    RISK = 20  # latched until `acknowledge`
    COLLISION = 21  # after WORKSPACE
    POWER = 22  # beside FORCE, and latched like it


class Joint:
    """Limits in rad, rad/s, rad/s^2, rad/s^3; `q`, `dq`, `ddq` are the last output and its backward
    differences; `q1`, `dq1`, `ddq1` the candidate that `probe`, `follow` or `brake` left, which
    becomes the output with `commit`. Raises ValueError for limits that make no sense."""

    __slots__ = (
        "_T", "_braking", "_far", "_hz", "_i", "_plan", "_planned", "_trial", "a_max",
        "ddq", "ddq1", "dq", "dq1", "hi", "j_max", "lo", "q", "q1", "v_max",
    )  # fmt: skip

    def __init__(
        self, lo: float, hi: float, v_max: float, a_max: float, j_max: float, period_s: float
    ) -> None:
        rates = (v_max, a_max, j_max)
        if not (-math.inf < lo < hi < math.inf and all(0.0 < r < math.inf for r in rates)):
            raise ValueError(
                f"wanted finite q_min < q_max (margins taken off) and rates > 0, found {lo}..{hi} "
                f"and {rates}"
            )
        # Stops are planned a little below the limits: outputs are rounded to float64, and the third
        # difference magnifies that by 8 / T^3.
        noise = 16.0 * EPS * max(abs(lo), abs(hi), 1.0) / period_s**3
        if noise > 1e-2 * j_max:
            raise ValueError(
                f"jerk limit {j_max:g} rad/s^3 at period {period_s:g} s drowns in the rounding of "
                f"positions ({noise:g}): raise the limit or the period"
            )
        self.lo, self.hi, self.v_max, self.a_max, self.j_max = lo, hi, v_max, a_max, j_max
        self._T, self._hz = period_s, 1.0 / period_s
        a_plan, j_plan = a_max * (1.0 - 1e-5), j_max * (1.0 - 1e-5) - noise
        self._plan = Stop(a_plan, j_plan, period_s)  # being followed, when active
        self._trial = Stop(a_plan, j_plan, period_s)
        self._trial.plan(v_max, 0.0)
        self._far = v_max * period_s * (self._trial.n + a_max / self._trial.h + 3.0)
        self.start(lo)

    def constants(self) -> tuple[float, ...]:
        """What the compiled twin computes with: the limits; acceleration [rad/s^2] and its step per
        tick that stops are planned with; how near a position limit they must be planned [rad]."""
        trial = self._trial
        limits = (self.lo, self.hi, self.v_max, self.a_max, self.j_max)
        return (*limits, trial.a_max, trial.h, self._far)

    def start(self, q: float) -> None:
        """At rest at `q` [rad]."""
        self.q = self.q1 = q
        self.dq = self.ddq = self.dq1 = self.ddq1 = 0.0
        self._planned = self._braking = False
        self._i = 0

    def probe(self, c: float) -> Reason:
        """May `c` [rad] be the next output? OK only if a stop inside the limits is left after it,
        which for a joint far from its position limits is sure without planning one."""
        self._braking = False
        self.q1 = c
        self.dq1 = v = (c - self.q) * self._hz
        self.ddq1 = a = (v - self.dq) * self._hz
        if not self.lo <= c <= self.hi:
            return Reason.POSITION
        v_max = self.v_max * ROUND
        if not -v_max <= v <= v_max:
            return Reason.VELOCITY
        if not abs(a) <= self.a_max * ROUND:
            return Reason.ACCELERATION
        if not abs(a - self.ddq) * self._hz <= self.j_max * ROUND:
            return Reason.JERK
        h = self._trial.h
        b = abs(a)
        m = int(b / h)
        if m:  # velocity goes on rising while the acceleration is let go
            left = v + math.copysign(self._T * m * (b - 0.5 * h * (m + 1)), a)
            if not -v_max <= left <= v_max:
                return Reason.VELOCITY
        if c - self.lo < self._far or self.hi - c < self._far:
            return Reason.OK if self._stops_inside(c, v, a) else Reason.POSITION
        return Reason.OK

    def _stops_inside(self, c: float, v: float, a: float) -> bool:
        d = self._trial.plan(v, a)
        if abs(d) <= REST * max(abs(c), 1.0):
            return True
        lo, hi = self.lo + TOUCH, self.hi - TOUCH
        if not (c + d <= hi if d > 0.0 else c + d >= lo):
            return False
        back = self._trial.backswing(v)
        return back == 0.0 or (c + back <= hi if back > 0.0 else c + back >= lo)

    def stop_at(self) -> float:
        """Where a stop from the candidate ends [rad]."""
        return self.q1 + self._trial.plan(self.dq1, self.ddq1)

    def stop_bound(self) -> float:
        """More than the distance [rad] that a stop from the candidate takes; cheaper than it."""
        b, j = abs(self.ddq1), self._trial.h * self._hz
        v = abs(self.dq1) + 0.5 * b * b / j + b * self._T
        # 2 sqrt(v / j) <= v / a_max + a_max / j, so this holds whether or not a_max is reached
        return v * (v / self._trial.a_max + (self._trial.a_max + b) / j + 4.0 * self._T)

    def brake(self) -> float:
        """Candidate := the next tick of the stop, or of the hold at its end.

        The stop that is followed was checked when the last accepted command was; it is kept until
        another one is accepted, since a fresh plan from the middle of it may end elsewhere.
        """
        plan, T = self._plan, self._T
        if not self._planned:
            tiny = REST * max(abs(self.q), 1.0) * self._hz
            if abs(self.dq) <= tiny and abs(self.ddq) <= 2.0 * tiny * self._hz:
                plan.n = 0
            else:
                plan.plan(self.dq, self.ddq)
            self._planned, self._i = True, 0
        self._braking = True
        k = self._i + 1
        c = self.q if k > plan.n else self.q + T * (self.dq + T * plan.at(k))
        self.q1 = min(max(c, self.lo), self.hi)
        self.dq1 = (self.q1 - self.q) * self._hz
        self.ddq1 = (self.dq1 - self.dq) * self._hz
        return self.q1

    def follow(self, c: float, v: float) -> float:
        """Candidate := as near to `c` [rad], moving at `v` [rad/s], as the limits allow.

        The acceleration is chosen so that a stop *relative to the moving command* would end on it:
        this neither lags behind a smooth command nor overshoots a step by more than some J T^3.
        """
        c = min(max(c, self.lo), self.hi)
        v = min(max(v, -self.v_max), self.v_max)
        if self.probe(c) is Reason.OK:
            return c
        trial, T = self._trial, self._T
        lo = max(self.ddq - trial.h, -trial.a_max)
        hi = max(lo, min(self.ddq + trial.h, trial.a_max))
        best = self._land(lo, hi, c, v)
        if self.probe(self.q + T * (self.dq + T * best)) is Reason.OK:
            return self.q1
        self.brake()  # this step is always allowed; go from it towards the best one
        safe, good = self.ddq1, math.nan
        for _ in range(12):
            mid = 0.5 * (safe + best)
            if self.probe(self.q + T * (self.dq + T * mid)) is Reason.OK:
                safe = good = mid
            else:
                best = mid
        if math.isnan(good):
            return self.brake()
        self.probe(self.q + T * (self.dq + T * good))
        return self.q1

    def _land(self, lo: float, hi: float, c: float, v: float) -> float:
        """Acceleration in lo..hi [rad/s^2] after which the relative stop ends on `c`, or the end of
        the interval that comes nearest. The end of the stop rises with it: Illinois iteration."""
        q, dq, T, trial = self.q - c, self.dq, self._T, self._trial

        def miss(a: float) -> float:
            w = dq + T * a
            return q + T * w + trial.plan(w - v, a)

        f, g = miss(lo), miss(hi)
        if f >= 0.0:
            return lo
        if g <= 0.0:
            return hi
        mid = lo
        for _ in range(10):
            mid = (lo * g - hi * f) / (g - f)
            y = miss(mid)
            if abs(y) < TOUCH:
                break
            if y > 0.0:
                hi, g, f = mid, y, 0.5 * f
            else:
                lo, f, g = mid, y, 0.5 * g
        return mid

    def commit(self) -> None:
        """The candidate was sent."""
        self.q, self.dq, self.ddq = self.q1, self.dq1, self.ddq1
        if self._braking:
            self._i += 1
        else:
            self._planned = False
