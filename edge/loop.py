"""The control loop: read -> telemetry -> PRO -> policy -> guard -> command -> log, at absolute
deadlines. Everything it needs is allocated before the first tick."""

from __future__ import annotations

import contextlib
import gc
import math
from collections.abc import Callable
from time import perf_counter_ns

import msgspec
import numpy as np

from headway.clock import NS, Rate, Tick
from headway.drivers.kinematics import quat_to_mat
from headway.drivers.latest import Latest
from headway.edge.chunks import ChunkPlayer
from headway.edge.deadline import Deadline, Mode
from headway.edge.guard import Decision, Guard, Reason
from headway.edge.log import NullLog
from headway.edge.monitor import TaskMonitor
from headway.edge.observe import StateVector
from headway.edge.operator import ProOperator
from headway.edge.policy import Worker
from headway.edge.result import Result, Trace
from headway.edge.risk import RiskControl
from headway.edge.row import Row
from headway.edge.station import Station
from headway.edge.stuck import StuckSensor
from headway.edge.watchdog import Watchdog
from headway.errors import DeviceError, PolicyError, Stale
from headway.types import ArmState, GripperState, Observation, Signals, T_co, Vec, Wrench

IK_TOLERANCE = 2e-3  # [m] or [rad]: a worse waypoint counts as an inverse-kinematics failure
# What no new chunk makes good: after `fault_after_s` of nothing else the episode is over.
_BLIND = frozenset(
    (
        Reason.NO_STATE, Reason.BAD_STATE, Reason.NOT_POWERED, Reason.NO_WRENCH, Reason.BAD_WRENCH,
        Reason.RISK,
    )
)  # fmt: skip
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
        self.station, self.worker, self.pro, self.risk = station, worker, pro, risk
        self.cfg = settings.loop
        self.task = settings.task
        self.dt = 1.0 / self.cfg.hz
        guard = settings.guard
        if risk is not None and risk.abort is not None:
            guard = msgspec.structs.replace(guard, risk_max=risk.abort)
        self.guard = Guard(guard, station.arm_device.limits, self.dt, station.chain)
        n = station.joints
        cfg = settings.policy
        self.player = ChunkPlayer(n, self.dt, *((cfg.seam, cfg.ensemble_decay) if cfg else ()))
        self.deadline = Deadline(
            self.player, station.arm_device.limits, self.dt, self.cfg.chunk_max_age_s
        )
        self._policy_every = round(self.cfg.hz / self.cfg.policy_hz)
        self._max_age_ns = round(self.cfg.max_age_s * NS)
        self._state_vector = StateVector(worker.about.state_names) if worker else None
        self._q_sent = np.zeros(n)
        self._stuck = StuckSensor(self.cfg.ft_stuck_s)
        self.stop_requested = False
        self.watchdog: Watchdog | None = None
        self.begun: Callable[[NullLog], None] | None = None  # called when an episode's time begins
        self._lost = _BLIND | _NO_PLAN if worker else _BLIND  # no worker: nobody plans anything

    def episode(self, instruction: str | None, log: NullLog) -> Result:
        """Run until the task is done, its time is up, or something makes it end. The arm is
        stopped before this returns or raises, and the log says why."""
        station = self.station
        gc_was_on = gc.isenabled()
        try:
            self._prepare(instruction)
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
        success = station.outcome()
        result = self._result(end, success, tick)
        log.end(station.clock.now(), result)
        return result

    def _prepare(self, instruction: str | None) -> None:
        station = self.station
        station.arm_device.activate()
        if station.gripper_device is not None:
            station.gripper_device.command(station.stroke, force=self.cfg.grip_force)
        self._tare()
        state = station.arm.latest(self._max_age_ns).value
        self._q_sent[:] = state.q_ref
        self.guard.reset(state.q_ref)
        self.deadline.reset(state.q_ref)
        self.row = Row(station.joints, self.task.index, self.task.limit_s)
        self.monitor = TaskMonitor(self.task, station.stroke)
        self._rejected = self._missed = 0
        self._peak = self._reward = self._force = 0.0
        self.trace = Trace(round(self.task.limit_s * self.cfg.pro_hz) + 2)
        self._grip_closed = False
        self._last_reason, self._last_said_ns = Reason.OK, 0
        self._lost_ns: int | None = None  # since when nothing but `_lost` comes from the guard
        self._stuck.reset()
        self._restarting = False  # the policy, as of the last tick
        self._trouble = self._policy_failed = self._why = ""
        if self.worker is not None:
            self._instruction = self.worker.reset(instruction or "")
        if self.pro is not None:
            self.pro.reset()
        if self.risk is not None:
            self.risk.reset()
        self._speed = 1.0

    def _tare(self) -> None:
        """Average the wrench at rest: what is left over the tool's weight is the sensor's bias."""
        station = self.station
        if station.ft is None or self.cfg.tare_s <= 0:  # 0: a source that is tared already
            return
        samples = []
        rate = Rate(self.cfg.hz, station.clock)
        for tick in rate:
            state = station.arm.latest(self._max_age_ns).value
            sample = station.ft.latest(self._max_age_ns)
            samples.append((sample.value, quat_to_mat(state.tcp.quat)))
            if not (sample.valid and np.isfinite(station.payload.at_sensor(*samples[-1])).all()):
                raise DeviceError(
                    f"wanted finite wrenches of an arm at rest to tare with, found {sample.value} "
                    f"{', '.join(sample.flags)}: check the F/T sensor and its cable"
                )
            if tick.index * self.dt >= self.cfg.tare_s:
                break
        station.payload.tare(samples)

    def _run(self, log: NullLog) -> tuple[str, Tick]:
        station, row, player, monitor = self.station, self.row, self.player, self.monitor
        guard, pro, worker, risk = self.guard, self.pro, self.worker, self.risk
        deadline, watchdog = self.deadline, self.watchdog
        clock, dt = station.clock, self.dt
        monitor.on_event = lambda text: log.event(clock.now(), "info", text)
        if self.begun is not None:
            self.begun(log)
        start_ns = clock.now()
        signals: Signals | None = None
        stamps, now = log.stamps, perf_counter_ns
        for tick in Rate(self.cfg.hz, clock, start_ns=start_ns):
            t_ns = tick.t_ns
            log.begin()
            if watchdog is not None:
                watchdog.beat()
            state, wrench, grip = self._read(log)
            stamps[1] = now()
            row.time(t_ns, (t_ns - start_ns) / NS)
            row.arm(state, self._q_sent, dt)
            contact = self._contact(wrench, state)
            row.gripper(grip)
            if state is not None and grip is not None:
                p = state.tcp.pos
                monitor.step(p[0], p[1], p[2], grip.width, grip.width_ref, dt)
            row.status(monitor)
            log.telemetry(t_ns, row.data)  # as PRO sees it, so that a replay can agree
            stamps[2] = now()
            if pro is not None:
                signals = pro.step(row.data, tick.index)
                self._reward += pro.reward_now
                if pro.updated:
                    self.trace.add((t_ns - start_ns) / NS, signals, self._force, monitor.retries)
            stamps[3] = now()
            if worker is not None:
                self._policy(worker, tick, log)
            stamps[4] = now()
            if risk is not None:
                self._pace(risk.step(signals), t_ns, log)
            wanted = deadline.sample(t_ns, self._speed)
            row.view["watchdog"][...] = deadline.mode is not Mode.FOLLOW
            sent = guard.apply(
                wanted, state=state, wrench=contact, now_ns=t_ns, command_t_ns=t_ns, signals=signals
            )
            stamps[5] = now()
            self._command(sent.q, player.grip, tick.deadline_ns)
            stamps[6] = now()
            deadline.sent(self._q_sent)
            if deadline.changed:
                self._say_mode(t_ns, log)
            if sent.changed:
                self._after_change(sent, t_ns, log)
            self._patience(sent, t_ns)
            row.view["clamped"][...] = sent.changed
            log.tick(t_ns, wanted, sent, deadline.mode, pro, tick)
            stamps[7] = now()
            log.timing(t_ns, tick)
            self._missed += tick.missed
            end = self._ended(state, row.view["elapsed"])
            if end:
                return end, tick
        raise AssertionError("Rate never ends")

    def _read(self, log: NullLog) -> tuple[ArmState | None, Wrench | None, GripperState | None]:
        station = self.station
        state = self._fresh(station.arm, self._max_age_ns, log)
        wrench = self._fresh(station.ft, self._max_age_ns, log) if station.ft else None
        if wrench is not None and self._stuck.check(wrench, station.clock.now()):
            self._trouble = f"the F/T sensor gives the same for {self.cfg.ft_stuck_s} s"
            log.once(station.clock.now(), "stuck", self._trouble)
            wrench = None
        grip = self._fresh(station.gripper, self._max_age_ns, log) if station.gripper else None
        return state, wrench, grip

    def _contact(self, wrench: Wrench | None, state: ArmState | None) -> Wrench | None:
        if wrench is None or state is None:
            self.row.wrench(None)
            return None
        w = self.station.payload.compensate(wrench, quat_to_mat(state.tcp.quat))
        self.row.wrench(w)
        self._force = float(np.sqrt(w[:3] @ w[:3]))
        self._peak = max(self._peak, self._force)
        return Wrench(w[:3], w[3:], "tcp")

    def _policy(self, worker: Worker, tick: Tick, log: NullLog) -> None:
        row, player = self.row.view, self.player
        try:
            if tick.index % self._policy_every == 0:
                obs = self._observe(tick.t_ns, log)
                if obs is not None:
                    worker.submit(obs)
            ready = worker.take(tick.t_ns)
        except PolicyError as e:  # the chunk that runs is played to its end, then the guard brakes
            self._failed(f"the policy failed: {e}", "error", tick.t_ns, log)
            return
        if worker.trouble:
            self._failed(worker.trouble, "warning", tick.t_ns, log)
        if ready is None:
            return
        self._policy_failed = ""
        if player.adopt(ready.joints, tick.t_ns):
            row["ik_failure"][...] = ready.joints.residual > IK_TOLERANCE
            row["seam_jump"][...] = player.seam_jump
            row["chunk_disagreement"][...] = player.disagreement
            log.chunk(tick.t_ns, ready)

    def _failed(self, why: str, level: str, t_ns: int, log: NullLog) -> None:
        if self._policy_failed != why:
            self._policy_failed = why
            log.event(t_ns, level, why)

    def _pace(self, speed: float, t_ns: int, log: NullLog) -> None:
        """Take over the speed, and say when it is no longer, or again, the planned one."""
        if (speed < 1.0) != (self._speed < 1.0):
            text = "slower, since PRO's risk is high" if speed < 1.0 else "full speed again"
            log.event(t_ns, "info", f"risk: {text}")
        self._speed = speed

    def _observe(self, t_ns: int, log: NullLog) -> Observation | None:
        assert self.worker is not None
        assert self._state_vector is not None
        images = {}
        max_age = round(self.cfg.camera_max_age_s * NS)
        for name, camera in self.station.cameras.items():
            frame = self._fresh(camera, max_age, log)
            if frame is not None:
                images[name] = frame
                log.image(t_ns, name, frame)
        if any(name not in images for name in self.worker.about.cameras):
            return None  # no new chunk: the old one runs out, then the guard brakes
        self.player.mark(t_ns)
        base_q = self.player.raw.copy()
        base = self.station.chain.pose(base_q)
        state = np.empty(len(self._state_vector.names), np.float32)
        self._state_vector.fill(self.row.view, base, state)
        if not np.isfinite(state).all():  # what a network makes of a NaN is nobody's plan
            names = self._state_vector.names
            unknown = [n for n, x in zip(names, state, strict=True) if not math.isfinite(x)]
            self._trouble = f"the policy wants {', '.join(unknown)}, which no sensor gives"
            log.once(t_ns, "state", self._trouble)
            return None
        return Observation(t_ns, images, state, self._instruction, base_q, base)

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

    def _say_mode(self, t_ns: int, log: NullLog) -> None:
        mode, why = self.deadline.mode, self.deadline.why
        if mode is Mode.FOLLOW:
            log.event(t_ns, "info", "follow: a chunk is there")
        else:
            trouble = self._policy_failed or self._trouble
            log.event(t_ns, "warning", f"{mode.name.lower()}: {why}" + (trouble and f"; {trouble}"))

    def _after_change(self, sent: Decision, t_ns: int, log: NullLog) -> None:
        self._rejected += 1
        self.deadline.overruled(self._q_sent, t_ns)
        if sent.reason != self._last_reason or t_ns - self._last_said_ns > NS:
            self._last_said_ns = t_ns
            log.event(t_ns, "warning", f"guard: {sent.reason.name}: {sent.detail}")
        self._last_reason = sent.reason

    def _patience(self, sent: Decision, t_ns: int) -> None:
        """Nothing to see or nothing to do for too long ends the episode."""
        blind = sent.changed and sent.reason in self._lost
        idle = self.worker is not None and self.deadline.mode is not Mode.FOLLOW
        restarting = self.worker is not None and bool(self.worker.trouble)
        if not (blind or idle):
            self._lost_ns, self._trouble = None, ""
        elif self._lost_ns is None or self._restarting > restarting:
            self._lost_ns = t_ns  # a policy that is back gets the usual time for its first chunk
        elif t_ns - self._lost_ns >= self._patience_s() * NS:
            what = f"guard: {sent.reason.name}: {sent.detail}" if blind else self.deadline.why
            trouble = self._policy_failed or self._trouble
            self._why = what + (trouble and f"; {trouble}")
        self._restarting = restarting

    def _patience_s(self) -> float:
        """A policy that is being started again is waited for."""
        restarting = self.worker is not None and self.worker.trouble
        return self.cfg.restart_s if restarting else self.cfg.fault_after_s

    def _ended(self, state: ArmState | None, elapsed: float) -> str:
        if self.monitor.done:
            return "done"
        if elapsed >= self.task.limit_s:
            return "time limit"
        if state is not None and state.protective_stop:
            return "protective stop"
        if self._why:
            return "fault"
        return "interrupted" if self.stop_requested else ""

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

    def _fresh(self, source: Latest[T_co], max_age_ns: int, log: NullLog) -> T_co | None:
        """The newest valid value, or None: every consumer fails closed on None."""
        try:
            sample = source.latest(max_age_ns)
        except Stale as e:
            self._trouble = str(e)
        else:
            log.sampled(source, sample.stamp)
            if sample.valid:
                return sample.value
            self._trouble = f"{source.name}: invalid sample {sample.flags}"
        log.once(self.station.clock.now(), source.name, self._trouble)
        return None
