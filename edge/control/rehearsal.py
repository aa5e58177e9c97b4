"""The loop goes through its next tick once for nothing, shortly before it is due.

Between two ticks a loop waits for milliseconds, and meanwhile its code, its tables and what the
branch predictors know leave the processor. So an understudy, a second `Loop` on virtual time, does
the tick to come just before the real one: cache warming, as trading systems do it. It sees what the
devices gave last and reaches none of them; its guard, PRO stream, chunk player and log are its own.
It costs a few ten microseconds of the loop's core per tick, and the wait after it is spun.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

from msgspec import structs

from headway.clock import NS, Clock, Rate, Tick, VirtualClock
from headway.drivers.latest import Latest
from headway.edge.control.log import NullLog
from headway.edge.control.loop import Loop
from headway.edge.control.station import Station
from headway.edge.policy.worker.practice import Practice
from headway.edge.policy.worker.process import ProcessWorker
from headway.errors import Stale
from headway.types import ArmState, GripperState, Health, Sample, Sent, Stamp, Vec

T = TypeVar("T")

_AHEAD_NS = 700_000  # more than a tick takes whose code was not used for long
_SHARE = 0.4  # of the period, at most


class Rehearsal:
    """`begin` before an episode, `step` after each of its ticks. `trouble`: why there are no more
    rehearsals in this episode."""

    def __init__(self, loop: Loop) -> None:
        station = loop.station
        self._real: Clock = station.clock
        self._clock = VirtualClock(1)
        self._hz = loop.cfg.hz
        self._ahead_ns = min(_AHEAD_NS, round(_SHARE * NS / self._hz))
        worker: Practice | None = None
        if isinstance(real := loop.worker, ProcessWorker):
            worker = Practice(real.about, station.joints, lambda: real.waiting)
        pro = loop.pro.practice() if loop.pro is not None else None
        self._loop = Loop(_Stage(station, self._clock), worker, pro)
        self._ticks: Iterator[str] | None = None
        self.trouble = ""

    def begin(self, log: NullLog, instruction: str | None) -> None:
        self._clock.sleep_until(self._real.now())
        self._loop.prepare(instruction)
        self._said_to, self._log = log, log.practice()
        self._ticks, self.trouble = None, ""

    def step(self, tick: Tick) -> int:
        """Rehearse what follows `tick`, if there is time. Returns how long before the next tick it
        was done [ns]; 0 if there was no rehearsal."""
        if self.trouble:
            return 0
        due = tick.deadline_ns
        at = due - self._ahead_ns
        if self._real.now() > at:
            return 0
        self._real.sleep_until(at)
        self._clock.sleep_until(due)  # a tick that was left out is skipped here as well
        if self._ticks is None:
            start = tick.t_ns - tick.index * (due - tick.t_ns)
            self._ticks = self._loop.ticks(Rate(self._hz, self._clock, start_ns=start), self._log)
        try:
            self.trouble = next(self._ticks)  # its episode ends when the real one is about to
        except Exception as e:  # no reason to stop a robot
            self.trouble = f"{type(e).__name__}: {e}"
            text = f"no more rehearsals in this episode: {self.trouble}"
            self._said_to.event(self._real.now(), "warning", text)
        return due - self._real.now()

    def close(self) -> None:
        if self._loop.worker is not None:
            self._loop.worker.close()


class _Stage(Station):
    """`real` as it was last seen, on another clock; nothing is opened, nothing moves."""

    def __init__(self, real: Station, clock: Clock) -> None:
        loop = structs.replace(real.settings.loop, tare_s=0.0)  # the payload is the real one's
        task = structs.replace(real.settings.task, limit_s=real.settings.task.limit_s + 1.0)
        self.settings = structs.replace(real.settings, loop=loop, task=task)
        self.clock, self.cell = clock, None
        self.chain, self.payload = real.chain, real.payload
        self.stroke, self.scale = real.stroke, real.scale
        self.arm_device = arm = _Arm(real, clock)
        self.arm = Latest(arm, clock, real.arm.name)
        self.ft = real.ft and Latest(_Echo(real.ft, clock), clock, real.ft.name)
        self.gripper_device, self.gripper = None, None
        if real.gripper is not None and real.gripper_device is not None:
            self.gripper_device = jaws = _Gripper(real.gripper, real.stroke, clock)
            self.gripper = Latest(jaws, clock, real.gripper.name)
        self.cameras, self.has_depth = {}, {}


class _Echo(Generic[T]):
    """A device that gives what another one gave last, as of now."""

    waits = False

    def __init__(self, real: Latest[T], clock: Clock) -> None:
        self.info = real.source.info
        self._real, self._clock, self._seq = real, clock, 0

    def open(self, timeout_s: float) -> None: ...

    def read(self, timeout_s: float) -> Sample[T]:
        last = self._real.last
        if last is None:
            raise Stale(f"{self._real.name} has not sent a sample yet")
        t = self._clock.now()
        self._seq += 1
        return Sample(Stamp(t, t, self._seq), last.value, last.valid, last.flags)

    def close(self) -> None: ...

    def health(self) -> Health:
        return Health("ok", 0.0, 0, self._seq)


class _Arm(_Echo[ArmState]):
    def __init__(self, real: Station, clock: Clock) -> None:
        super().__init__(real.arm, clock)
        self.limits, self.chain = real.arm_device.limits, real.chain

    def activate(self) -> None: ...

    def command(self, q: Vec, *, deadline_ns: int) -> Sent:
        return Sent(q, self._clock.now())

    def stop(self, category: int = 2) -> None: ...


class _Gripper(_Echo[GripperState]):
    def __init__(self, real: Latest[GripperState], stroke: float, clock: Clock) -> None:
        super().__init__(real, clock)
        self.stroke = stroke

    def command(self, width: float, *, force: float) -> None: ...

    def stop(self) -> None: ...
