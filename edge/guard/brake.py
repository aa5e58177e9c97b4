"""A jerk-limited stop in discrete time, exact on the samples.

Outputs q_k of a loop with period T define v_k = (q_k - q_{k-1}) / T, a_k = (v_k - v_{k-1}) / T
and j_k = (a_k - a_{k-1}) / T. A stop from (v, a) is a sequence a_1..a_N with a_N = 0, |a_i| <= A,
|a_i - a_{i-1}| <= h = J T and T sum(a_i) = -v. Two sequences that keep the first three conditions
are known in closed form: letting the acceleration go to zero as fast as possible ("release"), and
the hardest braking in N ticks, a_i = max(a - i h, -(N - i) h, -A). The conditions are convex, so
the blend of the two whose sum is right is a stop; the smallest N that allows one is taken. Nothing
is searched per tick, and the distance of the stop is a closed form as well.

Why not samples of a continuous profile (`headway.edge.motion.stop`): those keep the discrete limits
only from the fourth sample on. At the seam with commands that were not samples of that profile, the
third difference is unbounded; here the seam is part of the problem.
"""

from __future__ import annotations

import math


def release_velocity(v: float, a: float, h: float, T: float) -> float:
    """Velocity [rad/s] that is left when `a` [rad/s^2] goes to zero by `h` per tick of `T` [s]."""
    b = abs(a)
    m = int(b / h)
    return v + math.copysign(T * m * (b - 0.5 * h * (m + 1)), a) if m else v


class Stop:
    """One joint's stop from velocity `v` and acceleration `a`, refilled by `plan`: tick i = 1..n
    has the acceleration `at(i)`, and after `n` ticks v = a = 0."""

    __slots__ = ("_T", "_a", "_lam", "_n1", "_n2", "_n3", "a_max", "h", "n", "sign")

    def __init__(self, ddq_max: float, dddq_max: float, period_s: float) -> None:
        self.a_max = ddq_max
        self._T = period_s
        self.h = dddq_max * period_s
        self.n = self._n1 = self._n2 = self._n3 = 0
        self._lam = self._a = 0.0
        self.sign = 1.0

    def _area(self, n: int, a: float) -> float:
        """sum(-a_i) of the hardest braking in `n` ticks: `_n1` ticks of rising, `_n2` of constant
        and `_n3` of falling effort."""
        h, A = self.h, self.a_max
        n1 = max(0, math.floor((A + a) / h))
        n3 = int(A / h) + 1
        if n1 + n3 > n:  # A is never reached
            n1 = min(n, max(0, math.floor(0.5 * (n + a / h))))
            n3 = n - n1
        self._n1, self._n2, self._n3 = n1, n - n1 - n3, n3
        return n1 * (0.5 * h * (n1 + 1) - a) + A * self._n2 + 0.5 * h * n3 * (n3 - 1)

    def plan(self, v: float, a: float) -> float:
        """Plan the stop; returns the distance it takes [rad], signed. O(1)."""
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
            area = want - 0.5 * a  # the sum of samples as an integral: trapezoidal rule
            p = math.sqrt(max(0.0, h * area + 0.5 * a * a))
            if p <= A:
                guess = (a + 2.0 * p) / h
            else:
                guess = (a + 2.0 * A) / h + (area - (A * A - 0.5 * a * a) / h) / A
            n = max(n, int(guess) - 1)  # off the lattice by a tick at most
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
        """Acceleration [rad/s^2] of tick `i` (1..n) of the plan."""
        if i >= self.n:
            return 0.0
        a, h = self._a, self.h
        hard = max(a - i * h, (i - self.n) * h, -self.a_max)
        soft = math.copysign(max(abs(a) - i * h, 0.0), a)
        return self.sign * (self._lam * hard + (1.0 - self._lam) * soft)

    def backswing(self, v: float) -> float:
        """Distance [rad], signed, that the planned stop first goes the other way (0 when it never
        turns): with v < 0 and a large a > 0 the joint reverses before it stops."""
        v *= self.sign
        x = 0.0
        i = 0
        while v < 0.0 and i < self.n:
            i += 1
            v += self._T * self.sign * self.at(i)
            x += min(v, 0.0) * self._T
        return self.sign * x
