"""How the reference of the joints moves: servoj, speedj, movej and stopj.

What a real controller does inside is not published. Assumed here, and said in the documentation:
servoj is the second-order system that the manual's words describe, with the present position
looked ahead along the present speed, `ddq = gain * (target - (q + lookahead_time * dq))`, and the
speed limited to that of the data sheet. Speed scaling slows the time of all of it, so that servoj
lags.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from headway.types import Vec

Mode = Literal["idle", "servo", "speed", "stop", "move"]

PROGRAM_STOP = 10.0  # [rad/s2] when a program ends in motion (assumed)
SAFETY_STOP = 20.0  # [rad/s2] of a protective or emergency stop (assumed)
MOST_RAD = math.radians(363.0)  # joints go no further
_REST = 1e-4  # [rad/s] is at rest


class RefusedError(Exception):
    """A command that a real controller answers with a protective stop."""


class Motion:
    """The reference of six joints, at `q` (6,) [rad], with speeds of at most `dq_max` (6,) [rad/s].
    A target of servoj further than `jump` [rad] from the one before is refused."""

    def __init__(self, q: Vec, dq_max: Vec, jump: float) -> None:
        self.mode: Mode = "idle"
        self.q: Vec = q.copy()
        self.dq: Vec = np.zeros(6)
        self.ddq: Vec = np.zeros(6)
        self._dq_max, self._jump = dq_max, jump
        self._target: Vec = q.copy()
        self._speed: Vec = np.zeros(6)
        self._lookahead, self._gain = 0.1, 300.0
        self._acceleration = PROGRAM_STOP
        self._from: Vec = q.copy()
        self._way: Vec = np.zeros(6)
        self._length = 0.0
        self._s, self._ds, self._v = 0.0, 0.0, 0.0

    @property
    def resting(self) -> bool:
        """Whether the reference stands still and has no further to go."""
        return self.mode == "idle"

    def settle(self, q: Vec) -> None:
        """The reference is `q` (6,), at rest."""
        self.mode = "idle"
        self.q, self.dq, self.ddq = q.copy(), np.zeros(6), np.zeros(6)

    def servoj(self, target: Vec, lookahead: float, gain: float) -> None:
        """Go after `target` (6,) [rad]. Raises RefusedError."""
        self._check(target, lookahead, gain)
        since = self._target if self.mode == "servo" else self.q
        jump = np.abs(target - since)
        if jump.max() > self._jump:
            joint = int(jump.argmax())
            raise RefusedError(
                f"servoj wants joint {joint} to jump by {jump[joint]:.3f} rad, more than "
                f"{self._jump:g}: position deviates from path"
            )
        self.mode, self._target = "servo", target
        self._lookahead = min(max(lookahead, 0.03), 0.2)
        self._gain = min(max(gain, 100.0), 2000.0)

    def speedj(self, speed: Vec, acceleration: float) -> None:
        """Move with `speed` (6,) [rad/s], reached with `acceleration` [rad/s2] of the joint that
        has to change most. Raises RefusedError."""
        _finite(*speed.tolist(), acceleration)
        self.mode, self._speed = "speed", np.clip(speed, -self._dq_max, self._dq_max)
        self._acceleration = max(acceleration, 1e-3)

    def movej(self, target: Vec, acceleration: float, speed: float) -> None:
        """Go to `target` (6,) [rad] on the straight line in joint space, the joint with the longest
        way with `acceleration` [rad/s2] up to `speed` [rad/s]. Raises RefusedError."""
        self._check(target, acceleration, speed)
        self.mode, self._from, self._way = "move", self.q.copy(), target - self.q
        self._length = float(np.abs(self._way).max())
        self._s = self._ds = 0.0
        self._v, self._acceleration = max(speed, 1e-3), max(acceleration, 1e-3)

    def stop(self, deceleration: float) -> None:
        """Come to rest with `deceleration` [rad/s2]. Raises RefusedError."""
        _finite(deceleration)
        if self.mode != "idle":
            self.mode, self._acceleration = "stop", max(deceleration, 0.1)

    def _check(self, target: Vec, *others: float) -> None:
        _finite(*target.tolist(), *others)
        if np.abs(target).max() > MOST_RAD:
            raise RefusedError(
                f"a joint target of {np.abs(target).max():.3f} rad is out of the range"
            )

    def step(self, dt: float) -> None:
        """Move on by `dt` [s], the time of the program: real time by the speed scaling."""
        if self.mode == "idle" or dt <= 0.0:
            return
        before = self.dq
        if self.mode == "servo":
            self._step_servo(dt)
        elif self.mode == "move":
            self._step_move(dt)
        else:
            goal = self._speed if self.mode == "speed" else np.zeros(6)
            change = goal - self.dq
            most = float(np.abs(change).max())
            share = min(1.0, self._acceleration * dt / most) if most > 0.0 else 1.0
            self.dq = self.dq + share * change
            self.q = self.q + dt * self.dq
            if self.mode == "stop" and np.abs(self.dq).max() < _REST:
                self.settle(self.q)
        self.ddq = (self.dq - before) / dt

    def _step_servo(self, dt: float) -> None:
        # Implicit in speed and position: stable for every gain at 125 Hz.
        pull = dt * self._gain
        dq = (self.dq + pull * (self._target - self.q)) / (1.0 + pull * (self._lookahead + dt))
        self.dq = np.clip(dq, -self._dq_max, self._dq_max)
        self.q = self.q + dt * self.dq

    def _step_move(self, dt: float) -> None:
        left = self._length - self._s
        fastest = math.sqrt(2.0 * self._acceleration * max(left, 0.0))
        self._ds = min(self._ds + self._acceleration * dt, self._v, fastest)
        self._s = min(self._s + self._ds * dt, self._length)
        if left <= 1e-9 or self._ds * dt < 1e-12:
            self.settle(self._from + self._way)
            return
        self.q = self._from + self._way * (self._s / self._length)
        self.dq = self._way * (self._ds / self._length)


def _finite(*values: float) -> None:
    if not all(map(math.isfinite, values)):
        raise RefusedError("a number of a motion is not finite")
