"""One joint as the guard sees it: its limits, what was really sent, and which next position leaves
a stop inside every limit.

This is the readable reference of `edge/guard/cpp/joint.hpp`. It computes with plain floats, because
for the few joints of an arm these are several times faster than NumPy.
"""

from __future__ import annotations

import math

from headway.edge.guard.brake import Stop, release_velocity
from headway.edge.guard.reasons import Finding, Motion, Reason

EPS = 2.0**-52
ROUND = 1.0 + 5e-10  # rates may exceed their limits by this factor: differences are rounded
TOUCH = 1e-9  # [rad] kept free at the end of a stop, because its ticks are rounded
REST = 8.0 * EPS  # of a position, relative: a joint that moves no further than this is at rest


class Joint:
    """A joint with the position limits `lo` and `hi` [rad] and the rate limits `v_max` [rad/s],
    `a_max` [rad/s^2] and `j_max` [rad/s^3], for outputs every `period_s` [s].

    `q` [rad], `dq` [rad/s] and `ddq` [rad/s^2] are the last output and its backward differences.
    `q1`, `dq1` and `ddq1` are the same for the candidate, which `probe`, `follow` or `brake` sets
    and which becomes the output with `commit`.

    Raises ValueError for limits that are not finite or not in order, and for a jerk limit so low
    that it drowns in the rounding of positions."""

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
        # Outputs are rounded to float64, and the third difference of four outputs magnifies that
        # by up to 8 / T^3. So stops are planned a little below the limits.
        noise = 16.0 * EPS * max(abs(lo), abs(hi), 1.0) / period_s**3
        if noise > 1e-2 * j_max:
            raise ValueError(
                f"jerk limit {j_max:g} rad/s^3 at period {period_s:g} s drowns in the rounding of "
                f"positions ({noise:g}): raise the limit or the period"
            )
        self.lo, self.hi, self.v_max, self.a_max, self.j_max = lo, hi, v_max, a_max, j_max
        self._T, self._hz = period_s, 1.0 / period_s
        a_plan, j_plan = a_max * (1.0 - 1e-5), j_max * (1.0 - 1e-5) - noise
        self._plan = Stop(a_plan, j_plan, period_s)  # the one that `brake` follows
        self._trial = Stop(a_plan, j_plan, period_s)  # the one that a candidate would leave
        # [rad] more than any stop takes: only nearer to a position limit must one be planned.
        self._trial.plan(v_max, 0.0)
        self._far = v_max * period_s * (self._trial.n + a_max / self._trial.h + 3.0)
        self.start(lo)

    def reaching(self, q: float) -> Joint:
        """This joint where `q` [rad] lies within its position limits, else one whose limits reach
        just as far."""
        if self.lo <= q <= self.hi:
            return self
        lo, hi = min(self.lo, q), max(self.hi, q)
        return Joint(lo, hi, self.v_max, self.a_max, self.j_max, self._T)

    def constants(self) -> tuple[float, ...]:
        """What the compiled joint is made of, (8,): the limits `lo`, `hi`, `v_max`, `a_max` and
        `j_max`; the acceleration limit and the acceleration's largest step per tick, both
        [rad/s^2], that stops are planned with; and how near to a position limit a stop must be
        planned [rad]."""
        trial = self._trial
        limits = (self.lo, self.hi, self.v_max, self.a_max, self.j_max)
        return (*limits, trial.a_max, trial.h, self._far)

    def start(self, q: float) -> None:
        """Begin at rest at `q` [rad]."""
        self.q = self.q1 = q
        self.dq = self.ddq = self.dq1 = self.ddq1 = 0.0
        self._planned = self._braking = False
        self._i = 0

    def probe(self, c: float) -> Reason:
        """Make `c` [rad] the candidate, and say whether it may be the next output. OK only if a
        stop inside all limits is left after it; a joint far from its position limits is sure to
        have one, so none is planned for it."""
        self._braking = False
        self.q1 = c
        self.dq1 = v = (c - self.q) * self._hz
        self.ddq1 = a = (v - self.dq) * self._hz
        if (reason := self.beyond(c, v, a)) is not Reason.OK:
            return reason
        if not abs(a - self.ddq) * self._hz <= self.j_max * ROUND:
            return Reason.JERK
        # The velocity goes on rising while the acceleration is let go.
        if not abs(release_velocity(v, a, self._trial.h, self._T)) <= self.v_max * ROUND:
            return Reason.VELOCITY
        near = c - self.lo < self._far or self.hi - c < self._far
        return Reason.POSITION if near and self._leaves(c, v, a) is not None else Reason.OK

    def beyond(self, q: float, dq: float, ddq: float) -> Reason:
        """Which limit the position `q` [rad], the velocity `dq` [rad/s] or the acceleration `ddq`
        [rad/s^2] lies beyond; OK for none."""
        if not self.lo <= q <= self.hi:
            return Reason.POSITION
        if not abs(dq) <= self.v_max * ROUND:
            return Reason.VELOCITY
        return Reason.OK if abs(ddq) <= self.a_max * ROUND else Reason.ACCELERATION

    def _leaves(self, c: float, v: float, a: float) -> float | None:
        """Where the stop from the position `c` [rad], velocity `v` [rad/s] and acceleration `a`
        [rad/s^2] is outside the position limits [rad]: at its end, or where it turns. None if
        it stays inside."""
        d = self._trial.plan(v, a)
        if abs(d) <= REST * max(abs(c), 1.0):
            return None
        lo, hi = self.lo + TOUCH, self.hi - TOUCH
        if not (c + d <= hi if d > 0.0 else c + d >= lo):
            return c + d
        back = self._trial.backswing(v)
        if back == 0.0 or (c + back <= hi if back > 0.0 else c + back >= lo):
            return None
        return c + back

    def motion(self) -> Motion:
        """What the candidate asks of the joint."""
        return Motion(self.q1, self.dq1, self.ddq1, self.ddq)

    def finding(self, reason: Reason, joint: int, motion: Motion) -> Finding:
        """The record of a check that failed: `reason` is what `probe`, or the check of a chunk,
        says of `motion`; `joint` is this joint's number."""
        q, v, a, before = motion
        k = reason - Reason.POSITION
        found = (q, v, a, (a - before) * self._hz)[k]
        most = (self.hi, self.v_max, self.a_max, self.j_max)[k]
        stopping = k < 2 and self.beyond(q, v, a) is not reason  # only its stop breaks the limit
        if stopping:
            end = None if k else self._leaves(q, v, a)
            found = release_velocity(v, a, self._trial.h, self._T) if end is None else end
        least = -most if k else self.lo
        return Finding(reason, joint, stopping, found, least, most, motion)

    def stop_at(self) -> float:
        """The position [rad] at which a stop from the candidate ends."""
        return self.q1 + self._trial.plan(self.dq1, self.ddq1)

    def stop_bound(self) -> float:
        """An upper bound of the distance [rad] that a stop from the candidate takes. Cheaper to
        compute than the stop: the acceleration is let go while the velocity still rises, then the
        joint brakes from there in a trapezoid of acceleration."""
        b, j = abs(self.ddq1), self._trial.h * self._hz
        v = abs(self.dq1) + 0.5 * b * b / j + b * self._T
        # 2 sqrt(v / j) <= v / a_max + a_max / j, so this holds whether or not a_max is reached
        return v * (v / self._trial.a_max + (self._trial.a_max + b) / j + 4.0 * self._T)

    def brake(self) -> float:
        """Make the next tick of the stop the candidate, or the position at its end once it is over.
        Returns the candidate [rad].

        The stop that is followed was checked together with the last command that was accepted. It
        is kept until another command is accepted, because a fresh plan from the middle of it might
        end elsewhere.
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
        """Make the candidate as near to the command `c` [rad], which moves at `v` [rad/s], as the
        limits allow. Returns the candidate [rad].

        The acceleration is chosen so that a stop *relative to the moving command* would end on the
        command. This neither lags behind a smooth command nor overshoots a step by more than a few
        J T^3, the smallest step that the jerk limit J allows in a tick T.
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
        self.brake()  # This step is always allowed: bisect from it towards the best one.
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
        """The acceleration in `lo`..`hi` [rad/s^2] after which a stop relative to the command, `c`
        [rad] moving at `v` [rad/s], ends on the command; where there is none, the end of the
        interval that comes nearest. The more acceleration, the farther the stop ends, so the zero
        of the miss is found by the Illinois method (Dowell & Jarratt 1971, BIT 11)."""
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
        """The candidate was sent: it is the last output now."""
        self.q, self.dq, self.ddq = self.q1, self.dq1, self.ddq1
        if self._braking:
            self._i += 1
        else:
            self._planned = False
