"""An arm that a check moves: read as the control loop reads it, commanded at an even rate."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import numpy as np

from headway.clock import NS, Rate
from headway.drivers import Arm
from headway.drivers.latest import Latest
from headway.errors import DeviceError
from headway.hil.suite.results import Bounds
from headway.hil.suite.subject import Subject
from headway.types import ArmState, Sample, Sent, Vec

HZ = 100.0  # of commands
_AGE_NS = 500_000_000  # the oldest state that is taken
_AT_REST = 0.02  # [rad/s]
_LOOKS = 10  # at an arm that rests


class Motion:
    """The open arm that `newest` reads. Joint `joint`, the last one, is the one that moves, by
    steps in the direction `sign` that leads away from its nearer limit."""

    def __init__(self, subject: Subject, newest: Latest[ArmState], arm: Arm) -> None:
        self.subject, self.arm, self.clock = subject, arm, subject.clock
        self._newest = newest
        self.joint = len(arm.limits.q_min) - 1
        q = self.state().q
        middle = 0.5 * (arm.limits.q_min + arm.limits.q_max)[self.joint]
        self.sign = 1.0 if not np.isfinite(middle) or q[self.joint] <= middle else -1.0

    def sample(self) -> Sample[ArmState]:
        """The newest one. Raises Stale, DeviceError."""
        return self._newest.latest(_AGE_NS)

    def state(self) -> ArmState:
        return self.sample().value

    def target(self, step: float) -> Vec:
        """Where the arm is now, with the joint `step` [rad] further."""
        q: Vec = self.state().q.copy()
        q[self.joint] += self.sign * step
        return q

    def command(self, q: Vec) -> Sent:
        """Command `q` (n,) [rad], to be reached within a period."""
        return self.arm.command(q, deadline_ns=self.clock.now() + round(NS / HZ))

    def stream(
        self, goal: Callable[[float], Vec], seconds: float, until: Callable[[], bool] | None = None
    ) -> None:
        """Command `goal(t)` at 100 Hz for `seconds` [s], or until `until()`."""
        start = self.clock.now()
        for tick in Rate(HZ, self.clock):
            t = (tick.t_ns - start) / NS
            if t > seconds or (until is not None and until()):
                return
            self.arm.command(goal(t), deadline_ns=tick.deadline_ns)

    def look(self, seconds: float) -> list[Sample[ArmState]]:
        """The samples of the next `seconds` [s], without any command."""
        out: list[Sample[ArmState]] = []
        start = self.clock.now()
        for tick in Rate(5 * HZ, self.clock):
            if tick.t_ns - start > seconds * NS:
                return out
            sample = self.sample()
            if not out or sample.stamp.t_ns > out[-1].stamp.t_ns:
                out.append(sample)
        return out

    def rest(self, seconds: float, goal: Vec | None = None) -> float | None:
        """Wait for the arm to stand for a few samples, at most `seconds` [s], while it is commanded
        to `goal` (n,) [rad], if there is one: a controller may stop an arm whose host falls silent
        while it moves. Returns how long that took [s], None where it does not stand."""
        start, still = self.clock.now(), 0
        for tick in Rate(HZ, self.clock):
            t = (tick.t_ns - start) / NS
            if t > seconds:
                return None
            if goal is not None:
                self.arm.command(goal, deadline_ns=tick.deadline_ns)
            still = still + 1 if float(np.abs(self.state().dq).max()) < _AT_REST else 0
            if still >= _LOOKS:
                return t
        return None


@contextlib.contextmanager
def moved(subject: Subject, bounds: Bounds) -> Iterator[Motion]:
    """The arm of `subject`, open, active and at rest. Stopped and closed at the end."""
    subject.want_motion("arm")
    with subject.latest() as newest:
        arm: Arm = newest.source  # type: ignore[assignment]
        arm.activate()
        try:
            motion = Motion(subject, newest, arm)
            if motion.rest(3.0) is None:
                raise DeviceError("wanted the arm to stand once it is active, found that it moves")
            yield motion
        finally:
            with contextlib.suppress(DeviceError):
                arm.stop(2)


def speed(samples: list[Sample[ArmState]], window_s: float = 0.02) -> Vec:
    """The greatest speed (n,) [rad/s] of the joints over windows of `window_s` [s]."""
    fastest: Vec = np.zeros(len(samples[0].value.q)) if samples else np.zeros(1)
    times = [s.stamp.t_ns for s in samples]
    first = 0
    for i, last in enumerate(samples):
        while first + 1 < i and times[i] - times[first + 1] > window_s * NS:
            first += 1
        passed = (last.stamp.t_ns - samples[first].stamp.t_ns) / NS
        if passed >= window_s:
            fastest = np.maximum(fastest, np.abs(last.value.q - samples[first].value.q) / passed)
    return fastest
