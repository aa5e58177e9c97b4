"""The joints and the jaws of a plant as single servos, each with a goal of its own and a torque
that can be switched: what emulators of servo buses move."""

from __future__ import annotations

import time

import numpy as np

from headway.hil.plant import Plant
from headway.types import Vec

_JAW_FORCE_N, _JAW_M_S = 10.0, 0.2  # of jaws without a commanded speed


class Servos:
    """The joints of `plant`, and where `jaw_rad` [rad] is not 0 one more servo, which opens the
    jaws when it turns from 0 (closed) to `jaw_rad`. A servo without torque stays where it is:
    gravity is not emulated. `update` moves time on; all angles are in rad."""

    def __init__(self, plant: Plant, jaw_rad: float = 0.0) -> None:
        self._plant, self._jaw_rad = plant, jaw_rad
        self.joints = plant.joints
        self.count = self.joints + (jaw_rad > 0.0)
        self._torque = np.zeros(self.count, bool)
        self._speed = np.full(self.count, np.inf)
        self._then = time.monotonic()
        self.q: Vec = np.zeros(self.count)
        self.dq: Vec = np.zeros(self.count)
        self.tau: Vec = np.zeros(self.count)
        self._measure(0.0)
        self._goal: Vec = self.q.copy()
        self._ref: Vec = self.q.copy()
        self._sent: Vec = self.q.copy()

    def update(self) -> None:
        """Read where the servos are now, and move their references on."""
        now = time.monotonic()
        passed, self._then = now - self._then, now
        self._measure(passed)
        way = self._goal - self._ref
        reach = np.where(np.isinf(self._speed), np.abs(way), self._speed * passed)
        moved = self._ref + np.clip(way, -reach, reach)
        self._ref = np.array(np.where(self._torque, moved, self.q), np.float64)
        self._send()

    def _measure(self, passed: float) -> None:
        state = self._plant.state()
        n = self.joints
        q = self.q.copy()
        q[:n], self.dq[:n], self.tau[:n] = state.q, state.dq, state.tau
        if self._jaw_rad:
            q[n] = state.width / self._plant.stroke * self._jaw_rad
            self.dq[n] = (q[n] - self.q[n]) / passed if passed else 0.0
            self.tau[n] = state.force / _JAW_FORCE_N
        self.q = q

    def _send(self) -> None:
        """Tell the plant what is new."""
        n = self.joints
        if self._torque[:n].any() and (self._ref[:n] != self._sent[:n]).any():
            self._plant.follow(self._ref[:n].copy())
            self._sent[:n] = self._ref[:n]
        if self._jaw_rad and self._torque[n] and self._goal[n] != self._sent[n]:
            speed = self._speed[n] / self._jaw_rad * self._plant.stroke
            self._plant.grip(
                self._goal[n] / self._jaw_rad * self._plant.stroke,
                force=_JAW_FORCE_N,
                speed=min(float(speed), _JAW_M_S),
            )
            self._sent[n] = self._goal[n]

    def torque(self, index: int, on: bool) -> None:
        """Switch the torque of the servo `index`, whose goal stays what it is."""
        self._torque[index] = on
        self._ref[index] = self.q[index]
        self._sent[index] = np.nan  # said anew

    def has_torque(self, index: int) -> bool:
        """Whether it is switched on."""
        return bool(self._torque[index])

    def any_torque(self) -> bool:
        """Whether one of them can move."""
        return bool(self._torque.any())

    def go(self, index: int, q: float, speed: float = np.inf) -> None:
        """Let the goal of the servo `index` be `q`, to be approached at `speed` [rad/s]."""
        self._goal[index], self._speed[index] = q, speed

    def hold(self, index: int) -> None:
        """Let the goal of the servo `index` be where it is."""
        self._goal[index] = self._ref[index] = self.q[index]
