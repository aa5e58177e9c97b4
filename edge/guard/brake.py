"""A jerk-limited stop in discrete time, exact on the samples.

Outputs q_k of a loop with period T define v_k = (q_k - q_{k-1}) / T, a_k = (v_k - v_{k-1}) / T
and j_k = (a_k - a_{k-1}) / T. With the limits A of the acceleration and J of the jerk, a stop from
the velocity v and the acceleration a is a sequence a_1..a_N that meets four conditions: it ends at
a_N = 0, no |a_i| is above A, no step |a_i - a_{i-1}| (where a_0 = a) is above h = J T, and it takes
all of the velocity away, T sum(a_i) = -v.

Two sequences that meet the first three conditions are known in closed form. "Release" lets the
acceleration go to zero as fast as possible. The hardest braking in N ticks, for v >= 0, is
a_i = max(a - i h, -(N - i) h, -A). Each of the first three conditions is convex, so every weighted
mean of the two sequences meets them too, and one weight makes the sum right: that is the stop. N is
the smallest number of ticks for which there is such a weight; it is computed from the continuous
solution and corrected by a tick at most. So the work per tick is bounded, and the distance of the
stop is a closed form as well. The derivation is our own; nothing here is taken from a paper.

Samples of a continuous profile (`headway.edge.motion.stop`) would not do: they keep these discrete
limits only from the fourth sample on. Where they follow commands that were not samples of the same
profile, the third difference of the outputs has no bound.
"""

from __future__ import annotations

import math


def release_velocity(v: float, a: float, h: float, T: float) -> float:
    """The velocity [rad/s] that is reached from the velocity `v` [rad/s] and the acceleration `a`
    [rad/s^2] when the acceleration is let go to zero by `h` [rad/s^2] per tick of `T` [s]."""
    b = abs(a)
    m = int(b / h)
    return v + math.copysign(T * m * (b - 0.5 * h * (m + 1)), a) if m else v


class Stop:
    """One joint's stop. `plan` computes a new one in place: tick i = 1..n of it has the
    acceleration `at(i)`, and after `n` ticks velocity and acceleration are zero. Limits are
    `ddq_max` [rad/s^2] and `dddq_max` [rad/s^3]; `period_s` [s] is the tick. `h` [rad/s^2] is the
    largest step of the acceleration per tick; `sign` is the direction (1 or -1) that the stop
    brakes from."""

    __slots__ = ("_T", "_a", "_lam", "_n1", "_n2", "_n3", "a_max", "h", "n", "sign")

    def __init__(self, ddq_max: float, dddq_max: float, period_s: float) -> None:
        self.a_max = ddq_max
        self._T = period_s
        self.h = dddq_max * period_s
        self.n = self._n1 = self._n2 = self._n3 = 0
        self._lam = self._a = 0.0
        self.sign = 1.0

    def _area(self, n: int, a: float) -> float:
        """sum(-a_i) [rad/s^2] of the hardest braking from the acceleration `a` [rad/s^2] in `n`
        ticks. Sets its three phases: `_n1` ticks in which the braking grows, `_n2` of full and
        `_n3` of falling braking."""
        h, A = self.h, self.a_max
        n1 = max(0, math.floor((A + a) / h))
        n3 = int(A / h) + 1
        if n1 + n3 > n:  # A is never reached
            n1 = min(n, max(0, math.floor(0.5 * (n + a / h))))
            n3 = n - n1
        self._n1, self._n2, self._n3 = n1, n - n1 - n3, n3
        return n1 * (0.5 * h * (n1 + 1) - a) + A * self._n2 + 0.5 * h * n3 * (n3 - 1)

    def plan(self, v: float, a: float) -> float:
        """Plan the stop from the velocity `v` [rad/s] and the acceleration `a` [rad/s^2]. Returns
        the signed distance [rad] from where it begins to where it ends. O(1)."""
        h, A, T = self.h, self.a_max, self._T
        left = release_velocity(v, a, h, T)
        self.sign = s = 1.0 if left >= 0.0 else -1.0
        v, a, left = s * v, s * a, s * left
        self._a = a
        b = abs(a)
        m = int(b / h)
        n = m if m * h >= b else m + 1
        if left <= 1e-15:
            self.n, self._lam = n, 0.0
            self._n1 = self._n2 = self._n3 = 0
        else:
            want = v / T
            # The sum of samples as an integral, by the trapezoidal rule, and from that the number
            # of ticks that the continuous profile takes: a triangle, or a trapezoid that reaches A.
            area = want - 0.5 * a
            p = math.sqrt(max(0.0, h * area + 0.5 * a * a))
            if p <= A:
                guess = (a + 2.0 * p) / h
            else:
                guess = (a + 2.0 * A) / h + (area - (A * A - 0.5 * a * a) / h) / A
            n = max(n, int(guess) - 1)  # of whole ticks it may need one more or one fewer
            area = self._area(n, a)
            while area < want:
                n += 1
                area = self._area(n, a)
            self.n = n
            self._lam = min(1.0, left / T / (area - (v - left) / T))
        # distance = T sum(v_i) = T (N v - T sum((N + 1 - i) u_i)), u_i = -a_i
        N1, n1, n2, n3 = self.n + 1, self._n1, self._n2, self._n3
        hard = (
            N1 * n1 * (0.5 * h * (n1 + 1) - a)
            - n1 * (n1 + 1) * (h * (2 * n1 + 1) / 6.0 - 0.5 * a)
            + A * n2 * (N1 - n1 - 0.5 * (n2 + 1))
            + h * (n3 - 1) * n3 * (n3 + 1) / 3.0
        )
        soft = N1 * m * (b - 0.5 * h * (m + 1)) - m * (m + 1) * (0.5 * b - h * (2 * m + 1) / 6.0)
        soft = math.copysign(soft, -a)
        return s * T * (self.n * v - T * (self._lam * hard + (1.0 - self._lam) * soft))

    def at(self, i: int) -> float:
        """The acceleration [rad/s^2] in tick `i` (1..n) of the plan; 0 from the last tick on."""
        if i >= self.n:
            return 0.0
        a, h = self._a, self.h
        hard = max(a - i * h, (i - self.n) * h, -self.a_max)
        soft = math.copysign(max(abs(a) - i * h, 0.0), a)
        return self.sign * (self._lam * hard + (1.0 - self._lam) * soft)

    def backswing(self, v: float) -> float:
        """How far [rad], signed, the planned stop from the velocity `v` [rad/s] first goes the
        other way; 0 when it never turns. A joint that moves backwards while it accelerates hard
        forwards turns before it stops. Goes through the ticks until then."""
        v *= self.sign
        x = 0.0
        i = 0
        while v < 0.0 and i < self.n:
            i += 1
            v += self._T * self.sign * self.at(i)
            x += min(v, 0.0) * self._T
        return self.sign * x
