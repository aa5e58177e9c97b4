"""The control loop: read -> telemetry -> PRO -> policy -> guard -> command -> log, at absolute
deadlines. `Loop.episode` runs an episode; `Loop.ticks` holds the steps of a tick. What the loop
needs is allocated before the first tick."""

from __future__ import annotations

import contextlib
import gc
from collections import deque
from collections.abc import Iterator
from time import perf_counter_ns
from typing import Protocol

from headway.clock import NS, Rate, Tick
from headway.edge.control import lost
from headway.edge.control import settings as run_settings
from headway.edge.control.episode import Episode, task_about
from headway.edge.control.events import EventKind
from headway.edge.control.log import NullLog
from headway.edge.control.pace import pace
from headway.edge.control.planner import check_known
from headway.edge.control.result import Result
from headway.edge.control.station import Station
from headway.edge.control.tasks import Sensed, index_of
from headway.edge.guard.guard import Guard
from headway.edge.host.watchdog import Watchdog
from headway.edge.motion.deadline import Mode
from headway.edge.policy.policy import Worker
from headway.edge.pro.operator import ProOperator
from headway.edge.pro.risk import RiskControl
from headway.errors import SpecMismatch
from headway.types import Signals

NO_EPISODE = "no episode runs at the moment"


class Observer(Protocol):
    """Is told when the ticks of an episode begin, with its log, and when they are over."""

    def begin(self, log: NullLog) -> None:
        """The ticks of an episode begin; `log` records it."""

    def end(self) -> None:
        """The ticks are over. Also called where none began because the episode could not be
        prepared."""


class Loop:
    """Runs the episodes of one robot, one at a time. `worker`, `pro` and `risk` are None in a run
    without them; `worker` may be replaced between episodes. `task` is what `[task]` says,
    `first_task` one that is made of it and belongs to no episode, `phases` the names of its phases,
    and `task_index` its index among the tasks that PRO knows, NaN for none of them. `current` is
    the episode that runs, or the last one; setting `stop_requested` ends it.
    `watchdog` and `observer` are None unless the caller sets them. Raises what
    `headway.edge.control.pace.pace` and `TaskSettings.make` raise."""

    def __init__(
        self,
        station: Station,
        worker: Worker | None,
        pro: ProOperator | None,
        risk: RiskControl | None = None,
    ) -> None:
        settings = station.settings
        self.station, self.worker, self.pro, self.risk = station, worker, pro, risk
        self.cfg, self.task = settings.loop, run_settings.task(settings)
        # One task is made for no episode, so that what is wrong with it is found before one begins.
        self.first_task = self.task.make(task_about(station, 0, lambda *_: None))
        self.phases = self.first_task.phases
        known = pro.info.tasks if pro is not None else ()
        self.task_index = index_of(self.task.name, known)
        self.dt = 1.0 / self.cfg.hz
        policy = run_settings.policy(settings)
        latency_s = policy.latency_s if policy and not station.clock.realtime else 0.0
        self.pace = pace(self.cfg, worker.about, latency_s) if worker else None
        limits, limit = station.arm_device.limits, None if risk is None else risk.limit
        self.guard = Guard(settings.guard, limits, self.dt, station.chain, risk=limit)
        self.stop_requested = False
        self._running = False  # whether an episode is prepared or runs
        self._finish: tuple[bool | None] | None = None  # what `finish` was given
        self._instructions: deque[str] = deque()  # what `instruct` was given, oldest first
        self.watchdog: Watchdog | None = None
        self.observer: Observer | None = None
        self.current: Episode | None = None

    def finish(self, success: bool | None = None) -> str:
        """End the episode that runs, as an operator does, with its next tick. `success` is the
        verdict; None leaves it to the task or the world. May be called from any thread. Returns ""
        or, between episodes, why nothing is done."""
        if not self._running:
            return NO_EPISODE
        self._finish = (success,)
        return ""

    def instruct(self, text: str) -> str:
        """Give the policy another instruction, `text`, from the next tick of the episode that runs.
        May be called from any thread. Returns "", or why the policy will not follow it: between
        episodes, in a run without a policy, or for a text that the policy was not taught. Of free
        text only the policy itself finds out that it refuses it, when it is asked: the arm holds
        then. What is said during an episode is recorded in any case."""
        if not self._running:
            return NO_EPISODE
        self._instructions.append(text)
        if self.worker is None:
            return "there is no policy to follow it, it is only recorded"
        try:
            check_known(self.worker.about, text)
        except SpecMismatch as e:
            return str(e)
        return ""

    def episode(self, instruction: str | None, log: NullLog) -> Result:
        """Run one episode until the task is done, its time is up, or something makes it end. The
        arm is stopped before this returns or raises, and `log` says why. `instruction`: what the
        policy is asked to do, None where there is none. Raises what `prepare`, the arm's driver and
        the log raise."""
        station = self.station
        gc_was_on = gc.isenabled()
        try:
            # In lock-step nothing can be late, so there Python collects when it wants to, between
            # episodes. Not once the arm is active: a collection holds the interpreter, for 0.1 s in
            # a large program, and a driver that says nothing for so long trips the arm's watchdog.
            if station.clock.realtime:
                gc.collect()
            gc.disable()
            episode = self.prepare(instruction, log)
            self._running = True
            if self.watchdog is not None:
                self.watchdog.arm(log.path)
            end, tick = self._run(episode, log)
            station.arm_device.stop()  # before the watchdog is disarmed: a stop that hangs is seen
        except BaseException as e:
            # An arm that does not answer, or a full disk, must not hide the first error.
            said = [f"{type(e).__name__}: {e}"]
            try:
                station.arm_device.stop()
            except Exception as second:
                said.append(f"the arm did not take the stop: {second}")
            with contextlib.suppress(Exception):
                for text in said:
                    now = station.clock.now()
                    log.event(now, EventKind.EXCEPTION, "fatal", text, type(e).__name__)
            raise
        finally:
            self._running = False
            if gc_was_on:
                gc.enable()
            if self.watchdog is not None:
                self.watchdog.disarm()
            if self.observer is not None:
                self.observer.end()
        if episode.why:
            text = f"{end}: {episode.why}"
            log.event(station.clock.now(), EventKind.FAULT, "error", text, end)
        result = episode.result(end, tick)
        log.end(station.clock.now(), result)
        return result

    def prepare(self, instruction: str | None, log: NullLog) -> Episode:
        """Activate arm and gripper, open the jaws, and begin a new episode with the arm at rest.
        Raises what the drivers and `Episode` raise."""
        station = self.station
        station.arm_device.activate()
        gripper = station.gripper_device
        if gripper is not None:
            gripper.activate()
            gripper.command(gripper.stroke, force=self.cfg.grip_force)
        self._finish = None
        self._instructions.clear()
        self.current = Episode(
            station, self.guard, self.worker, self.pace, self.task, self.task_index,
            instruction, log,
        )  # fmt: skip
        if self.pro is not None:
            self.pro.reset()
        if self.risk is not None:
            self.risk.reset()
        return self.current

    def _run(self, episode: Episode, log: NullLog) -> tuple[str, Tick]:
        if self.observer is not None:
            self.observer.begin(log)
        rate = Rate(self.cfg.hz, self.station.clock)
        for end in self.ticks(rate, episode, log):
            if end:
                return end, rate.tick
        raise AssertionError("Rate never ends")

    def ticks(self, rate: Rate, episode: Episode, log: NullLog) -> Iterator[str]:
        """Run a tick of `episode` per iteration, at the times of `rate`. Yields why the episode
        ends at that tick, "" while it goes on."""
        e, guard, pro, risk, watchdog = episode, self.guard, self.pro, self.risk, self.watchdog
        row, task, senses, planner = e.row, e.task, e.senses, e.planner
        deadline, dt, start_ns = planner.deadline, self.dt, rate.start_ns
        instructions = self._instructions
        signals: Signals | None = None
        stamps, now, clock = log.stamps, perf_counter_ns, self.station.clock
        for tick in rate:
            t_ns = tick.t_ns
            log.begin()
            if watchdog is not None and not watchdog.beat():
                e.why = "the watchdog process was killed or hangs: nobody watches the loop"
            state, wrench, grip = senses.read()
            order = e.order(t_ns)
            stamps[1] = now()
            elapsed = (t_ns - start_ns) / NS
            contact = e.contact(wrench, state, t_ns)
            felt = None if contact is None else e.felt
            while instructions:
                e.instruct(instructions.popleft(), t_ns)
            if self._finish is not None:
                e.finish(*self._finish)
            ended = planner.player.ended
            task.step(Sensed(t_ns, dt, elapsed, state, felt, grip, ended, e.operator, order))
            e.follow_task(t_ns)
            jitter = senses.jitter.seconds
            row.fill(t_ns, elapsed, e.q_sent, dt, state, felt, grip, task, jitter)
            log.telemetry(t_ns, row.data)  # the row that PRO is given: a replay computes the same
            stamps[2] = now()
            if pro is not None:
                if e.line_begun:
                    pro.begin_line()
                signals = pro.step(row.data, tick.index, tick.missed)
                e.reward += pro.reward_now
                if pro.lost:
                    lost.tell(log, pro.lost, t_ns)
                if pro.updated:
                    e.trace.add(elapsed, signals, e.force, task.retries)
            stamps[3] = now()
            planner.step(tick, row, goal=task.goal, signals=signals)
            stamps[4] = now()
            if risk is not None:
                e.set_speed(risk.step(signals), signals, t_ns)
            wanted = deadline.sample(t_ns, e.speed)
            row.watchdog = deadline.mode is not Mode.FOLLOW
            sent = guard.apply(
                wanted, state=state, wrench=contact, now_ns=clock.now(), command_t_ns=t_ns,
                signals=signals,
            )  # fmt: skip
            stamps[5] = now()
            e.command(sent, tick)
            stamps[6] = now()
            deadline.sent(e.q_sent)
            if deadline.changed:
                planner.say_mode(t_ns)
            if sent.changed:
                e.after_change(sent, t_ns)
            e.watch(sent, tick)
            row.clamped = sent.changed
            log.tick(t_ns, wanted, sent, deadline.mode, pro, tick)
            stamps[7] = now()
            log.timing(t_ns, tick)
            yield e.end(state, elapsed, self.stop_requested)
