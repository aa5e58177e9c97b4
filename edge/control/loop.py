"""The control loop: read -> telemetry -> PRO -> policy -> guard -> command -> log, at absolute
deadlines. Everything it needs is allocated before the first tick."""

from __future__ import annotations

import contextlib
import gc
import math
from collections.abc import Callable, Iterator
from time import perf_counter_ns

import msgspec
import numpy as np

from headway.clock import NS, Rate, Tick
from headway.edge.control.log import NullLog
from headway.edge.control.planner import Planner
from headway.edge.control.result import INTERRUPTED, Result, Trace, success_of
from headway.edge.control.row import Row
from headway.edge.control.senses import Senses
from headway.edge.control.station import Station
from headway.edge.control.tasks.pick_place import TaskMonitor
from headway.edge.guard.guard import Decision, Guard, Reason
from headway.edge.host.watchdog import Watchdog
from headway.edge.motion.deadline import Mode
from headway.edge.policy.policy import Worker
from headway.edge.pro.operator import ProOperator
from headway.edge.pro.risk import RiskControl
from headway.types import ArmState, Signals, Vec, Wrench

# What no new chunk makes good: after `fault_after_s` of nothing else the episode is over.
_BLIND = frozenset(
    (
        Reason.NO_STATE, Reason.BAD_STATE, Reason.NOT_POWERED, Reason.NO_WRENCH, Reason.BAD_WRENCH,
        Reason.RISK,
    )
)  # fmt: skip
QUAT_TOLERANCE = 0.04  # of the squared length
_NO_PLAN = frozenset((Reason.NO_COMMAND, Reason.NOT_NUMBERS, Reason.NOT_FINITE, Reason.SHAPE))


class Loop:
    """One robot, one policy, one log at a time."""

    def __init__(
        self,
        station: Station,
        worker: Worker | None,
        pro: ProOperator | None,
        risk: RiskControl | None = None,
    ) -> None:
        settings = station.settings
        self.station, self.pro, self.risk = station, pro, risk
        self.cfg = settings.loop
        self.task = settings.task
        self.dt = 1.0 / self.cfg.hz
        guard = settings.guard
        if risk is not None and risk.abort is not None:
            guard = msgspec.structs.replace(guard, risk_max=risk.abort)
        self.guard = Guard(guard, station.arm_device.limits, self.dt, station.chain)
        self.senses = Senses(station)
        self.planner = Planner(station, self.senses, worker, self.guard, self.dt)
        self._q_sent = np.zeros(station.joints)
        self._felt = np.zeros(6)
        self._at_tcp = Wrench(self._felt[:3], self._felt[3:], "tcp")
        self.stop_requested = False
        self.watchdog: Watchdog | None = None
        self.begun: Callable[[NullLog], None] | None = None  # called when an episode's time begins
        self._lost = _BLIND | _NO_PLAN if worker else _BLIND  # no worker: nobody plans anything

    @property
    def worker(self) -> Worker | None:
        return self.planner.worker

    def episode(self, instruction: str | None, log: NullLog) -> Result:
        """Run until the task is done, its time is up, or something makes it end. The arm is
        stopped before this returns or raises, and the log says why."""
        station = self.station
        gc_was_on = gc.isenabled()
        try:
            self.prepare(instruction)
            gc.collect()
            gc.disable()
            if self.watchdog is not None:
                self.watchdog.arm(log.path)
            end, tick = self._run(log)
        except BaseException as e:
            # Neither an arm that does not answer nor a full disk hides what happened first.
            said = [f"{type(e).__name__}: {e}"]
            try:
                station.arm_device.stop()
            except Exception as second:
                said.append(f"the arm did not take the stop: {second}")
            with contextlib.suppress(Exception):
                for text in said:
                    log.event(station.clock.now(), "fatal", text)
            raise
        finally:
            if gc_was_on:
                gc.enable()
            if self.watchdog is not None:
                self.watchdog.disarm()
        station.arm_device.stop()
        if self._why:
            log.event(station.clock.now(), "error", f"{end}: {self._why}")
        result = self._result(end, success_of(end, station.outcome()), tick)
        log.end(station.clock.now(), result)
        return result

    def prepare(self, instruction: str | None) -> None:
        """Everything for an episode, with the arm at rest."""
        station = self.station
        station.arm_device.activate()
        if station.gripper_device is not None:
            station.gripper_device.command(station.stroke, force=self.cfg.grip_force)
        self.senses.tare()
        state = self.senses.arm_at_rest()
        self._q_sent[:] = state.q_ref
        self.guard.reset(state.q_ref)
        self.senses.reset()
        self.planner.reset(state.q_ref, instruction)
        self.row = Row(station.joints, self.task.index, self.task.limit_s)
        self.monitor = TaskMonitor(self.task, station.stroke)
        self._rejected = self._missed = 0
        self._peak = self._reward = self._force = 0.0
        self.trace = Trace(round(self.task.limit_s * self.cfg.pro_hz) + 2)
        self._grip_closed = False
        self._last_reason, self._last_said_ns = Reason.OK, 0
        self._lost_ns: int | None = None  # since when nothing but `_lost` comes from the guard
        self._restarting = False  # the policy, as of the last tick
        self._why = ""
        if self.pro is not None:
            self.pro.reset()
        if self.risk is not None:
            self.risk.reset()
        self._speed = 1.0

    def _run(self, log: NullLog) -> tuple[str, Tick]:
        if self.begun is not None:
            self.begun(log)
        rate = Rate(self.cfg.hz, self.station.clock)
        for end in self.ticks(rate, log):
            if end:
                return end, rate.tick
        raise AssertionError("Rate never ends")

    def ticks(self, rate: Rate, log: NullLog) -> Iterator[str]:
        """One tick after the other, each with why the episode ends at it, "" while it goes on.
        After `prepare`."""
        station, row, monitor = self.station, self.row, self.monitor
        guard, pro, risk, watchdog = self.guard, self.pro, self.risk, self.watchdog
        senses, planner, deadline = self.senses, self.planner, self.planner.deadline
        clock, dt, start_ns = station.clock, self.dt, rate.start_ns
        monitor.on_event = lambda text: log.event(clock.now(), "info", text)
        signals: Signals | None = None
        stamps, now = log.stamps, perf_counter_ns
        for tick in rate:
            t_ns = tick.t_ns
            log.begin()
            if watchdog is not None and not watchdog.beat():
                self._why = "the watchdog process was killed or hangs: nobody watches the loop"
            state, wrench, grip = senses.read(log)
            stamps[1] = now()
            elapsed = (t_ns - start_ns) / NS
            contact = self._contact(wrench, state, t_ns, log)
            if state is not None and grip is not None:
                x, y, z = state.tcp.pos.tolist()
                monitor.step(x, y, z, grip.width, grip.width_ref, dt)
            felt = None if contact is None else self._felt
            jitter = senses.jitter.seconds
            row.fill(t_ns, elapsed, self._q_sent, dt, state, felt, grip, monitor, jitter)
            log.telemetry(t_ns, row.data)  # as PRO sees it, so that a replay can agree
            stamps[2] = now()
            if pro is not None:
                signals = pro.step(row.data, tick.index)
                self._reward += pro.reward_now
                if pro.updated:
                    self.trace.add(elapsed, signals, self._force, monitor.retries)
            stamps[3] = now()
            planner.step(tick, row, log)
            stamps[4] = now()
            judged = signals
            if risk is not None:
                self._pace(risk.step(signals), t_ns, log)
                judged = risk.judged(signals)
            wanted = deadline.sample(t_ns, self._speed)
            row.watchdog = deadline.mode is not Mode.FOLLOW
            sent = guard.apply(
                wanted, state=state, wrench=contact, now_ns=t_ns, command_t_ns=t_ns, signals=judged
            )
            stamps[5] = now()
            self._command(sent.q, planner.player.grip, tick.deadline_ns)
            stamps[6] = now()
            deadline.sent(self._q_sent)
            if deadline.changed:
                planner.say_mode(t_ns, log)
            if sent.changed:
                self._after_change(sent, t_ns, log)
            self._patience(sent, t_ns)
            row.clamped = sent.changed
            log.tick(t_ns, wanted, sent, deadline.mode, pro, tick)
            stamps[7] = now()
            log.timing(t_ns, tick)
            self._missed += tick.missed
            yield self._ended(state, elapsed)

    def _contact(
        self, wrench: Wrench | None, state: ArmState | None, t_ns: int, log: NullLog
    ) -> Wrench | None:
        """What touches the tool, at the TCP; refilled at each tick. None without an orientation of
        the tool, whose weight then cannot be told from a contact."""
        if wrench is None or state is None:
            return None
        w, x, y, z = state.tcp.quat.tolist()
        if not abs(w * w + x * x + y * y + z * z - 1.0) < QUAT_TOLERANCE:
            self.senses.trouble = (
                f"the arm gives the TCP orientation {w:.4g}, {x:.4g}, {y:.4g}, {z:.4g}, which is "
                "no unit quaternion: check its driver"
            )
            log.once(t_ns, "orientation", self.senses.trouble)
            return None
        contact = self._at_tcp
        self.station.payload.compensate(wrench, state.tcp.quat, self._felt)
        self._force = math.hypot(*contact.force.tolist())
        self._peak = max(self._peak, self._force)
        return contact

    def _pace(self, speed: float, t_ns: int, log: NullLog) -> None:
        """Take over the speed, and say when it is no longer, or again, the planned one."""
        if (speed < 1.0) != (self._speed < 1.0):
            text = "slower, since PRO's risk is high" if speed < 1.0 else "full speed again"
            log.event(t_ns, "info", f"risk: {text}")
        self._speed = speed

    def _command(self, q: Vec, grip: float, deadline_ns: int) -> None:
        self._q_sent[:] = q
        self.station.arm_device.command(q, deadline_ns=deadline_ns)
        gripper = self.station.gripper_device
        if gripper is None:
            return
        if not math.isfinite(grip):
            return  # the guard says so; the jaws stay as they are
        # Hysteresis: a policy that hovers around one half does not make the jaws chatter.
        closed = grip > (0.4 if self._grip_closed else 0.6)
        if closed != self._grip_closed:
            self._grip_closed = closed
            gripper.command(0.0 if closed else self.station.stroke, force=self.cfg.grip_force)

    def _after_change(self, sent: Decision, t_ns: int, log: NullLog) -> None:
        self._rejected += 1
        self.planner.deadline.overruled(self._q_sent, t_ns)
        if sent.reason != self._last_reason or t_ns - self._last_said_ns > NS:
            self._last_said_ns = t_ns
            log.event(t_ns, "warning", f"guard: {sent.reason.name}: {sent.detail}")
        self._last_reason = sent.reason

    def _patience(self, sent: Decision, t_ns: int) -> None:
        """Nothing to see or nothing to do for too long ends the episode; a policy that is being
        started again is waited for."""
        planner = self.planner
        blind = sent.changed and sent.reason in self._lost
        restarting = planner.restarting
        patience_s = self.cfg.restart_s if restarting else self.cfg.fault_after_s
        if not (blind or planner.idle):
            self._lost_ns, self.senses.trouble = None, ""
        elif self._lost_ns is None or self._restarting > restarting:
            self._lost_ns = t_ns  # a policy that is back gets the usual time for its first chunk
        elif t_ns - self._lost_ns >= patience_s * NS:
            why = f"guard: {sent.reason.name}: {sent.detail}" if blind else planner.deadline.why
            self._why = why + (f"; {planner.trouble}" if planner.trouble else "")
        self._restarting = restarting

    def _ended(self, state: ArmState | None, elapsed: float) -> str:
        if self.monitor.done:
            return "done"
        if elapsed >= self.task.limit_s:
            return "time limit"
        if state is not None and state.protective_stop:
            return "protective stop"
        if self._why:
            return "fault"
        return INTERRUPTED if self.stop_requested else ""

    def _result(self, end: str, success: bool | None, tick: Tick) -> Result:
        return Result(
            end=end,
            success=success,
            seconds=tick.index * self.dt,
            ticks=tick.index + 1,
            retries=self.monitor.retries,
            rejected=self._rejected,
            missed=self._missed,
            peak_force=self._peak,
            reward=self._reward,
            why=self._why,
        )
