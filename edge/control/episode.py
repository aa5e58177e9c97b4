"""The state of one episode of the loop. Every episode gets a new `Episode`, so nothing is carried
over to the next one except what the devices and the guard's latches hold."""

from __future__ import annotations

import math

import numpy as np

from headway.clock import NS, Tick
from headway.edge.control.events import EventKind
from headway.edge.control.jaws import Jaws
from headway.edge.control.log import NullLog
from headway.edge.control.orders import OrderWatch
from headway.edge.control.pace import Pace
from headway.edge.control.planner import Planner
from headway.edge.control.result import INTERRUPTED, Result, Trace, success_of
from headway.edge.control.row import Row
from headway.edge.control.senses import Senses
from headway.edge.control.station import Station
from headway.edge.control.tasks import OnEvent, Task, TaskAbout, TaskSettings
from headway.edge.guard.guard import Decision, Guard
from headway.edge.guard.reasons import FINE, Finding, Reason
from headway.edge.policy.policy import Worker
from headway.errors import ArmStopped, PolicyError, SpecMismatch
from headway.types import ArmState, OrderState, Signals, Wrench

# The guard's reasons that no new chunk can cure: when only these come for `loop.fault_after_s`, the
# episode ends as a fault.
_BLIND = frozenset(
    (
        Reason.NO_STATE, Reason.BAD_STATE, Reason.NOT_POWERED, Reason.NO_WRENCH, Reason.BAD_WRENCH,
        Reason.RISK,
    )
)  # fmt: skip
_NO_PLAN = frozenset((Reason.NO_COMMAND, Reason.NOT_NUMBERS, Reason.NOT_FINITE, Reason.SHAPE))
QUAT_TOLERANCE = 0.04  # by which the squared norm of a unit quaternion may differ from 1


def task_about(station: Station, seed: int, happened: OnEvent) -> TaskAbout:
    """What a task may know of the robot at `station` in the episode of `seed`."""
    return TaskAbout(seed, station.model.joints, station.chain, station.stroke, happened)


class Episode:
    """One episode, from its first tick to its result. Making it begins the episode, with the arm at
    rest and the jaws open or opening: the F/T sensor is tared, the guard is reset to the position
    that the arm holds, the policy is given its instruction, and the task is made. Raises what these
    steps raise: Stale, DeviceError, CommandRejected, SpecMismatch, PolicyError, ConfigError."""

    def __init__(
        self,
        station: Station,
        guard: Guard,
        worker: Worker | None,
        pace: Pace | None,
        task: TaskSettings,
        task_index: float,
        instruction: str | None,
        log: NullLog,
    ) -> None:
        """`worker` makes chunks at `pace`; both are None for a run without a policy. `task` is what
        is to be done, `task_index` its index among the tasks that PRO knows, NaN for none of them.
        `instruction`: what the policy is asked to do, None where there is none. `log` records."""
        self._station, self._guard, self._log = station, guard, log
        self._cfg, self._limit_s = station.settings.loop, task.limit_s
        self.senses = Senses(station, log)
        self.senses.tare()
        q = self.senses.arm_at_rest().q_ref
        guard.reset(q)
        self.planner = Planner(station, self.senses, worker, pace, guard, log)
        self.planner.begin(q, instruction)
        self.q_sent = q.copy()  # the last command (n,) [rad]
        self.row = Row(station.joints, task_index, task.limit_s)
        self.task: Task = task.make(task_about(station, station.seed, self._happened))
        self.line_begun = False  # whether a line of the order becomes due at this tick
        self.operator = False  # whether an operator has ended the episode
        self.trace = Trace(round(task.limit_s * self._cfg.pro_hz) + 2)
        self.speed = 1.0  # fraction of the planned speed
        self.reward = self.force = 0.0  # sum of PRO's rewards so far; |F| at the TCP now [N]
        self.why = ""  # the fault that ends the episode; "": none
        self.felt = np.zeros(6)  # the wrench at the TCP (6,) [N, Nm], refilled by `contact`
        self._at_tcp = Wrench(self.felt[:3], self.felt[3:], "tcp")
        self._orders = None if station.orders is None else OrderWatch(log)
        self._asked: str | None = None  # the instruction that the task asked for last
        if self._orders is not None:
            self._asked = instruction  # the station has said it already
        self._said: bool | None = None  # the operator's verdict
        self._arm_stopped = False  # by its own controller
        self._peak = 0.0
        self._refused: dict[str, int] = {}  # commands by the name of the guard's reason
        self._clamped = self._missed = 0
        gripper = station.gripper_device
        self._jaws = None if gripper is None else Jaws(gripper, self._cfg.grip_force)
        self._grip_said_ns = -NS  # when an event last told that the guard refuses the grip
        self._last_reason, self._last_said_ns = Reason.OK, 0
        self._lost = _BLIND | _NO_PLAN if worker else _BLIND
        self._lost_ns: int | None = None  # since when there is a reason to end, see `watch`
        self._restarting = False  # whether the policy was being started again at the last tick

    def contact(self, wrench: Wrench | None, state: ArmState | None, t_ns: int) -> Wrench | None:
        """The external wrench on the tool, at the TCP and in the TCP frame: the measured one
        without the tool's weight and the sensor's bias. The record is refilled at each tick. None
        without `wrench` or `state`, and where the orientation in `state` is no unit quaternion: the
        tool's weight then cannot be told from a contact. `t_ns`: time of the tick."""
        if wrench is None or state is None:
            return None
        w, x, y, z = state.tcp.quat.tolist()
        if not abs(w * w + x * x + y * y + z * z - 1.0) < QUAT_TOLERANCE:
            self.senses.trouble = (
                f"the arm gives the TCP orientation {w:.4g}, {x:.4g}, {y:.4g}, {z:.4g}, which is "
                "no unit quaternion: check its driver"
            )
            self._log.once(t_ns, "orientation", self.senses.trouble)
            return None
        contact = self._at_tcp
        self._station.payload.compensate(wrench, state.tcp.quat, self.felt)
        self.force = math.hypot(*contact.force.tolist())
        self._peak = max(self._peak, self.force)
        return contact

    def order(self, t_ns: int) -> OrderState | None:
        """What the station says of the order at the tick at `t_ns` [ns]; None where it says
        nothing. It goes into the row, and events tell what is new."""
        if self._orders is None:
            return None
        order = self.senses.order()
        self.row.confirms(order, self.operator)
        self.line_begun = self._orders.step(order, t_ns)
        return order

    @property
    def dropped(self) -> int:
        """How many messages are missing in the recording."""
        return self._log.dropped

    def finish(self, said: bool | None) -> None:
        """An operator ends the episode with the next tick. `said`: whether it is a success, None to
        leave that to the task or the world."""
        self.operator, self._said = True, said

    def instruct(self, text: str, t_ns: int) -> None:
        """Give the policy the instruction `text` from the tick at `t_ns` [ns] on. An event says so,
        and another one where the policy does not take it."""
        self._log.event(t_ns, EventKind.INSTRUCTION, "info", text)
        try:
            self.planner.instruct(text)
        except (PolicyError, SpecMismatch) as e:
            text = f"the instruction was not taken: {e}"
            self._log.event(t_ns, EventKind.POLICY, "warning", text)

    def follow_task(self, t_ns: int) -> None:
        """Give the policy the instruction that the task asks for at `t_ns` [ns], if it is new."""
        asked: str | None = getattr(self.task, "instruction", None)
        if asked is not None and asked != self._asked:
            self.instruct(asked, t_ns)
        self._asked = asked

    def set_speed(self, speed: float, signals: Signals | None, t_ns: int) -> None:
        """Set the fraction `speed` (0..1) of the planned speed. An event is logged when the motion
        becomes slower than planned, and when it is back at the planned speed. `signals` are PRO's
        at this tick, None without PRO; `t_ns` is the tick's time."""
        if (speed < 1.0) != (self.speed < 1.0):
            text = "slower, since PRO's risk is high" if speed < 1.0 else "full speed again"
            numbers = {"speed": speed, "risk": math.nan if signals is None else signals.risk}
            self._log.event(t_ns, EventKind.SPEED, "info", f"risk: {text}", numbers=numbers)
        self.speed = speed

    def command(self, sent: Decision, tick: Tick) -> None:
        """Send the joint positions that the guard has decided on to the arm at `tick`, and to the
        jaws what the chunk wants of them, as far as the guard allows it. While the guard brakes or
        holds the arm the jaws keep what they were last sent: the chunk goes on without the arm, and
        would open them where it does not stand. An arm that its controller has stopped ends the
        episode, though its sample of this tick may not say so yet. Raises DeviceError."""
        self.q_sent[:] = sent.q
        try:
            self._station.arm_device.command(sent.q, deadline_ns=tick.deadline_ns)
        except ArmStopped as e:
            self._arm_stopped, self.why = True, str(e)
            return
        player = self.planner.player
        if self._jaws is None or sent.braking:
            return
        if player.grip_kind == "none" or not math.isfinite(player.grip):
            return
        allowed = self._guard.jaws(player.grip, player.grip_force)
        if allowed.finding is not FINE and tick.t_ns - self._grip_said_ns >= NS:
            self._grip_said_ns = tick.t_ns
            self._say(allowed.finding, tick.t_ns)
        self._jaws.command(allowed.grip, allowed.force, player.grip_kind)

    def after_change(self, sent: Decision, t_ns: int) -> None:
        """Take note that the guard's decision `sent` at `t_ns` is not the wanted command. After a
        stop the motion goes on from what was sent. A command that the guard clamps is followed as
        fast as the joints may, so there the reference goes on, and the guard catches up with it.
        An event is logged when the reason is a new one, and once a second while it stays the same.
        """
        if not sent.braking:
            self._clamped += 1
        else:
            name = sent.reason.name
            self._refused[name] = self._refused.get(name, 0) + 1
            self.planner.deadline.overruled(self.q_sent, t_ns)
        if sent.reason != self._last_reason or t_ns - self._last_said_ns > NS:
            self._last_said_ns = t_ns
            self._say(sent.finding, t_ns)
        self._last_reason = sent.reason

    def _say(self, finding: Finding, t_ns: int) -> None:
        name = finding.reason.name
        text = f"guard: {name}: {finding.words(self._station.model.joints)}"
        self._log.event(t_ns, EventKind.GUARD, "warning", text, name, finding.numbers)

    def watch(self, sent: Decision, tick: Tick) -> None:
        """End the episode as a fault (`why`) when for `loop.fault_after_s` the guard has refused
        for a reason that no new chunk cures, or there was no chunk to follow. While the policy is
        being started again, the time is `loop.restart_s`. `sent`: the guard's decision at `tick`.
        """
        self._missed += tick.missed
        planner, t_ns = self.planner, tick.t_ns
        blind = sent.changed and sent.reason in self._lost
        restarting = planner.restarting
        patience_s = self._cfg.restart_s if restarting else self._cfg.fault_after_s
        if not (blind or planner.idle):
            self._lost_ns, self.senses.trouble = None, ""
        elif self._lost_ns is None or self._restarting > restarting:
            self._lost_ns = t_ns  # a restarted policy gets the usual time for its first chunk
        elif t_ns - self._lost_ns >= patience_s * NS:
            said = sent.finding.words(self._station.model.joints)
            why = f"guard: {sent.reason.name}: {said}" if blind else planner.deadline.why
            self.why = why + (f"; {planner.trouble}" if planner.trouble else "")
        self._restarting = restarting

    def end(self, state: ArmState | None, elapsed_s: float, stop_requested: bool) -> str:
        """Why the episode ends at this tick, "" while it goes on. `state` of the arm, None where it
        is not known; `elapsed_s` [s] since the first tick; `stop_requested`: the run is to end."""
        if self.task.done:
            return "done"
        if elapsed_s >= self._limit_s:
            return "time limit"
        if self._arm_stopped or (state is not None and state.protective_stop):
            return "protective stop"
        if self.why:
            return "fault"
        if self.operator:
            return "operator"
        return INTERRUPTED if stop_requested else ""

    def result(self, end: str, tick: Tick) -> Result:
        """How the episode went. To be called after the last `tick`, with the arm stopped; `end` is
        what `end` returned at that tick."""
        said = self._said if self._said is not None else self.task.outcome
        numbers: dict[str, float] = getattr(self.task, "numbers", {})
        return Result(
            end=end,
            success=success_of(end, said if said is not None else self._station.outcome()),
            seconds=tick.index / self._cfg.hz,
            ticks=tick.index + 1,
            retries=self.task.retries,
            rejected=sum(self._refused.values()),
            missed=self._missed,
            peak_force=self._peak,
            reward=self.reward,
            why=self.why,
            policy_failed=self.planner.last_failure,
            clamped=self._clamped,
            refused=self._refused,
            numbers={k: float(v) if math.isfinite(v) else None for k, v in numbers.items()},
        )

    def _happened(self, kind: EventKind, text: str, numbers: dict[str, float]) -> None:
        self._log.event(self._station.clock.now(), kind, "info", text, numbers=numbers)
