"""Stop categories 1 and 2 (IEC 60204-1, 9.2.2) as a jerk-limited trajectory, planned by Ruckig.

A software stop is not a safety function: it is what the control computer does when it still can.
Emergency and protective stops belong to the robot's safety controller and its brakes.

- Category 0, power off at once, is no trajectory: use the stop of the arm's driver.
- Category 1: every joint stops as soon as it can, then the caller takes the power off.
- Category 2: all joints stop together, which bends the TCP's path less; then they hold, powered.

The samples of a stop keep the acceleration and jerk limits as differences, too: the third
difference of a curve sampled with the period T, divided by T^3, is an average of the curve's jerk.
That also holds between the last commands that were sent and the first sample, if the stop starts
from a state (q, dq, ddq) that continues those commands (see `headway.edge.motion.deadline`). The
guard has to stop from any state, so it uses `headway.edge.guard.brake` instead.
"""

from __future__ import annotations

import math

import numpy as np
from ruckig import (
    ControlInterface,
    InputParameter,
    Result,
    Ruckig,
    RuckigError,
    Synchronization,
    Trajectory,
)

from headway.errors import CommandRejected
from headway.types import Limits, Vec


class StopTrajectory:
    """A stop of n joints within the acceleration and jerk `limits`, sampled every `period_s` [s].
    `plan` computes it into a table that is allocated once; `sample` copies a row of the table.

    Of the last plan, `seconds` is the duration [s], `ticks` the number of samples until the arm
    stands, and `inside` whether it stays within the joint limits. Raises ValueError for another
    category than 1 or 2, and for a period that is not positive.
    """

    def __init__(self, limits: Limits, period_s: float, *, category: int = 2) -> None:
        if category not in (1, 2):
            raise ValueError(
                f"a stop trajectory wants category 1 or 2, found {category}: category 0 is power "
                "off, see Arm.stop"
            )
        if not period_s > 0.0:
            raise ValueError(f"a stop trajectory wants a period > 0, found {period_s} s")
        self.category, self.period_s, self.limits = category, period_s, limits
        self.n = n = len(limits.q_min)
        self.seconds, self.ticks = 0.0, 0
        self.inside = True  # does the stop end and stay within the joint limits?
        worst = limits.dq_max / limits.ddq_max + 2.0 * limits.ddq_max / limits.dddq_max
        self._q = np.zeros((math.ceil(1.5 * float(worst.max()) / period_s) + 2, n))

    @property
    def power_off(self) -> bool:
        """Whether this category takes the power off once the arm stands."""
        return self.category == 1

    def plan(self, q: Vec, dq: Vec, ddq: Vec) -> int:
        """Plan a stop from the position `q`, the velocity `dq` and the acceleration `ddq`, each
        (n,) [rad, rad/s, rad/s^2]. Returns after how many samples the arm stands. The velocity may
        exceed the arm's limit; the stop then takes longer.

        Raises CommandRejected for a state of another shape or with a number that is not finite, and
        where Ruckig finds no stop.
        """
        state = [np.asarray(x, np.float64) for x in (q, dq, ddq)]
        if not all(x.shape == (self.n,) and np.isfinite(x).all() for x in state):
            raise CommandRejected(
                f"a stop wants finite q, dq, ddq of {self.n} joints, found {state}: use the arm's "
                "own stop (category 0)"
            )
        given, trajectory = self._given(), Trajectory(self.n)
        given.current_position, given.current_velocity, given.current_acceleration = (
            x.tolist() for x in state
        )
        try:
            result = Ruckig(self.n, self.period_s).calculate(given, trajectory)
        except RuckigError as e:
            raise CommandRejected(f"no stop found: {e}: use the arm's own stop") from None
        if result not in (Result.Working, Result.Finished):
            raise CommandRejected(f"no stop found ({result}): use the arm's own stop (category 0)")
        self.seconds = float(trajectory.duration)
        self.ticks = math.ceil(self.seconds / self.period_s - 1e-9)
        # Only a stop from more than the arm's velocity limit is longer than the table.
        if self.ticks >= len(self._q):
            self._q = np.zeros((self.ticks + 1, self.n))
        for k in range(self.ticks + 1):
            self._q[k] = trajectory.at_time(min(k * self.period_s, self.seconds))[0]
        extrema = trajectory.position_extrema
        self.inside = all(
            e.min >= lo and e.max <= hi
            for e, lo, hi in zip(
                extrema, self.limits.q_min.tolist(), self.limits.q_max.tolist(), strict=True
            )
        )
        return self.ticks

    def _given(self) -> InputParameter:
        """Ruckig's input, made anew for each plan: a stop is rare, so this costs little."""
        given = InputParameter(self.n)
        given.control_interface = ControlInterface.Velocity
        given.synchronization = Synchronization.No if self.category == 1 else Synchronization.Time
        given.max_acceleration = self.limits.ddq_max.tolist()
        given.max_jerk = self.limits.dddq_max.tolist()
        given.target_velocity = given.target_acceleration = [0.0] * self.n
        return given

    def sample(self, k: int, out: Vec) -> bool:
        """Write the positions `k` periods after the start of the stop into `out` (n,) [rad]; past
        its end, those of the end. Returns whether the arm stands by then. Allocates nothing."""
        np.copyto(out, self._q[min(max(k, 0), self.ticks)])
        return k >= self.ticks
