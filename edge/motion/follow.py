"""How joints go to positions that a person points at: as fast as they may, without overshooting.

At each answer, T before the next one, the distance d that is left asks for the velocity v with
v^2 / 2a + v T = |d|, but for no more than the joint's speed, and the velocity changes by at most
a T. With d' = d - v T = v^2 / 2a, the next answer asks for sqrt((a T)^2 + v^2) - a T >= v - a T, so
the deceleration a is always enough, and v T <= |d|, so it never goes beyond.
"""

from __future__ import annotations

import numpy as np

from headway.errors import ConfigError
from headway.types import Limits, Vec

SHARE = 0.8  # of the guard's limits
INSIDE_RAD = 0.005  # from the guard's position limits


class Follow:
    """Joints within `low` and `high` (n,) [rad], no faster than `speed` (n,) [rad/s], with the
    `acceleration` (n,) [rad/s^2], in answers `dt_s` [s] apart. Raises ConfigError for numbers that
    leave nothing to move."""

    def __init__(self, low: Vec, high: Vec, speed: Vec, acceleration: Vec, dt_s: float) -> None:
        if not ((low < high).all() and (speed > 0.0).all() and (acceleration > 0.0).all()):
            raise ConfigError(
                "joints that follow a person want room between their limits, a speed and an "
                f"acceleration above 0, found {low} to {high}, {speed}, {acceleration}"
            )
        self.low, self.high, self._dt = low, high, dt_s
        self._speed, self._acceleration = speed, acceleration
        self._v: Vec = np.zeros(len(low))

    def reset(self) -> None:
        """Begin at rest."""
        self._v = np.zeros(len(self._v))

    def step(self, q: Vec, wanted: Vec | None) -> Vec:
        """The positions (n,) [rad] for the time of the next answer, from `q` (n,) [rad] commanded
        now, on the way to `wanted` (n,) [rad]; None: come to rest."""
        a, dt = self._acceleration, self._dt
        if wanted is None:
            v: Vec = np.zeros(len(q))
        else:
            d = np.clip(wanted, self.low, self.high) - q
            stops = np.sqrt((a * dt) ** 2 + 2.0 * a * np.abs(d)) - a * dt
            most = np.minimum(stops, self._speed)
            v = np.copysign(most, d)
        self._v = np.clip(v, self._v - a * dt, self._v + a * dt)
        out: Vec = np.clip(q + self._v * dt, np.minimum(self.low, q), np.maximum(self.high, q))
        return out


def follow(allowed: Limits, dt_s: float) -> Follow:
    """How an arm whose guard has the limits `allowed` follows a person: with `SHARE` of them. The
    chunk player makes an acceleration of a velocity step by a mean over 0.08 s at least and, for
    steps up to 1 rad/s, a jerk within these limits (`headway.edge.motion.chunks.lengths_s`), so two
    steps of a T that follow each other stay below both."""
    acceleration = np.minimum(SHARE * allowed.ddq_max, SHARE * 0.5 / dt_s)
    low, high = allowed.q_min + INSIDE_RAD, allowed.q_max - INSIDE_RAD
    return Follow(low, high, SHARE * allowed.dq_max, acceleration, dt_s)
