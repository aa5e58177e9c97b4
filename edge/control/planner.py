"""The policy's side of the loop: makes observations, takes over the chunks that answer them, and
turns chunks into the joint reference of each tick."""

from __future__ import annotations

import math

import numpy as np

from headway.clock import NS, Tick
from headway.edge.control.events import EventKind, Level
from headway.edge.control.log import NullLog
from headway.edge.control.pace import Pace
from headway.edge.control.row import Row
from headway.edge.control.senses import Senses
from headway.edge.control.settings import policy
from headway.edge.control.station import Station
from headway.edge.guard.guard import Guard
from headway.edge.guard.reasons import Reason
from headway.edge.motion.chunks import ChunkPlayer, JointChunk, lengths_s
from headway.edge.motion.deadline import Deadline, Mode
from headway.edge.policy.history import History
from headway.edge.policy.instructions import index_of
from headway.edge.policy.observation import StateVector
from headway.edge.policy.policy import About, Ready, Worker
from headway.errors import PolicyError, Refused, SpecMismatch
from headway.types import Moment, Observation, Pose, Signals, Vec

_SEEDS = 1 << 63  # a seed is passed on as a number of 64 bits with a sign
COSTS = 36_000  # chunks of which is known what they cost: those of an hour at 10 Hz
IK_TOLERANCE = 2e-3  # [m] or [rad]: a worse waypoint counts as an inverse-kinematics failure


def check_known(policy: About, text: str) -> None:
    """Raises SpecMismatch for an instruction `text` that `policy` says it was not taught."""
    known = policy.needs.instructions
    if known == ():
        raise SpecMismatch(f"policy {policy.name} takes no instruction, found {text!r}")
    if known is not None:
        index_of(text, known, policy.name)


class Planner:
    """Call `step` once per tick: it submits an observation when one is due, and takes over a chunk
    that is ready. `deadline.sample` then gives the joint reference. `player` holds the chunk.
    `failed`: how the policy failed last, "" after a chunk that was taken over; `last_failure`: the
    same for the whole episode, "" where it never failed. `refused`: whether the policy refuses the
    instruction, so that the arm holds."""

    def __init__(
        self,
        station: Station,
        senses: Senses,
        worker: Worker | None,
        pace: Pace | None,
        guard: Guard,
        log: NullLog,
    ) -> None:
        """`worker` and its `pace` are None in a run without a policy. `guard` checks whole chunks;
        `senses` gives the camera images."""
        loop, cfg, n = station.settings.loop, policy(station.settings), station.joints
        self._station, self._senses, self._worker = station, senses, worker
        self._guard, self._log = guard, log
        dt_s = 1.0 / loop.hz
        # Motion is planned within what the guard allows, so that it refuses nothing of it.
        limits = station.settings.guard.allowed(station.arm_device.limits)
        lengths = lengths_s(limits, dt_s)
        self.player = (
            ChunkPlayer(n, dt_s, lengths=lengths)
            if cfg is None
            else ChunkPlayer(n, dt_s, cfg.seam, cfg.ensemble_decay, cfg.smoothing, lengths)
        )
        self.deadline = Deadline(self.player, limits, dt_s, loop.chunk_max_age_s)
        self._check = cfg.chunk_check if cfg else "off"
        about = worker.about if worker else None
        self._state_vector: StateVector | None = None
        self._history: History | None = None
        if about is not None and pace is not None:
            self._state_vector = StateVector(
                about.state_names, station.model.joints, station.stroke
            )
            # It is asked halfway between two ticks of PRO's head, so that no tick does both.
            phase = min(round(loop.hz / loop.pro_hz) // 2, pace.every - 1)
            self._history = History(about.needs, pace.every, phase, loop.hz)
        self.instruction = ""
        self._chunk_reason = Reason.OK
        self.failed = self.last_failure = ""
        self._late = False  # whether a chunk that came too late has been said
        self.refused = False
        self._costs = np.zeros(
            COSTS
        )  # [ms], the newest at `_costed` - 1; made before the loop runs
        self._costed = 0
        self._seed = self._number = 0  # of the episode, and of its next observation
        self._corrected = False  # whether the chunk that runs is somebody else's than the policy's

    def begin(self, q: Vec, instruction: str | None) -> None:
        """Begin an episode with the arm at rest at `q` (n,) [rad]. `instruction`: what the policy
        is asked to do, None where there is none. Raises what `Worker.reset` raises."""
        self.deadline.reset(q)
        self.instruction = instruction or ""
        self._seed, self._number = self._station.seed % _SEEDS, 0
        if self._worker is None:
            return
        try:
            self._worker.reset(self.instruction)
        except Refused:
            if instruction is not None:
                raise
            self.refused = True  # nobody has said yet what to do

    def instruct(self, text: str) -> None:
        """Ask the policy for `text` from its next observation on. Raises SpecMismatch, and changes
        nothing, for a text that the policy says it was not taught. A policy that finds this out
        only when it is asked refuses it then, and the arm stops."""
        if self._worker is not None:
            check_known(self._worker.about, text)
        self.instruction, self.refused = text, False

    @property
    def idle(self) -> bool:
        """Whether there is a policy that should give chunks, but none of it to follow."""
        following = self.deadline.mode is Mode.FOLLOW
        return self._worker is not None and not following and not self.refused

    @property
    def restarting(self) -> bool:
        """Whether the policy is being started again."""
        return self._worker is not None and bool(self._worker.trouble)

    @property
    def trouble(self) -> str:
        """How the policy failed, or else what the sensors lack; "" where nothing is wrong."""
        return self.failed or self._senses.trouble

    def step(
        self, tick: Tick, row: Row, *, goal: Pose | None = None, signals: Signals | None = None
    ) -> None:
        """Submit an observation when one is due, and take over a chunk that is ready. `row` is the
        tick's telemetry, which the observation's state is read from; what the chunk was like is
        written into it for the next tick. `goal`: the TCP pose in the base frame that the task asks
        for, `signals`: those of PRO, each None where there is none."""
        worker, player, history = self._worker, self.player, self._history
        if worker is None or history is None:
            return
        try:
            if history.due(tick.index, tick.missed):
                seen = self._see(worker, tick.t_ns, row, goal, signals)
                past = history.add(tick.index, seen)
                if seen is not None and history.asks(tick.index, tick.missed):
                    worker.submit(self._observation(tick.t_ns, seen, past))
            ready = worker.take(tick.t_ns)
        except Refused as e:
            self._refuse(str(e), tick.t_ns)
            return
        except PolicyError as e:  # the chunk that runs is played to its end, then the arm stops
            self._fail(f"the policy failed: {e}", "error", tick.t_ns)
            return
        if worker.trouble:
            self._fail(worker.trouble, "warning", tick.t_ns)
        if ready is None:
            return
        meta = ready.chunk.meta
        if meta.get("source", 0.0) == 0.0:
            own_ms = (ready.done_ns - ready.started_ns) / 1e6
            self._costs[self._costed % COSTS] = meta.get("cost_ms", own_ms)
            self._costed += 1
        if not self._acceptable(ready, tick.t_ns):
            return
        if not player.adopt(ready.joints, tick.t_ns):
            self._too_late(ready.joints, tick.t_ns)
            return
        self.failed, self.refused = "", False
        row.ik_failure = ready.joints.residual > IK_TOLERANCE
        if row.ik_failure:
            self._log.once(
                tick.t_ns, "inverse kinematics",
                f"the arm cannot reach a pose of the policy's chunk: inverse kinematics misses it "
                f"by {ready.joints.residual:.3g} (m or rad), allowed {IK_TOLERANCE:g}; the nearest "
                "one is played",
                EventKind.CHUNK,
            )  # fmt: skip
        row.seam_jump, row.chunk_disagreement = player.seam_jump, player.disagreement
        self._log.chunk(tick.t_ns, ready)
        self._say_source(ready, tick.t_ns)

    @property
    def cost_ms(self) -> list[float]:
        """The time that each of the newest `COSTS` chunks took the policy [ms], without those that
        somebody else made. Their order means nothing."""
        found: list[float] = self._costs[: self._costed].tolist()
        return found

    def _say_source(self, ready: Ready, t_ns: int) -> None:
        """Log who has made the chunk that is followed now, when that has changed."""
        corrected = ready.chunk.meta.get("source", 0.0) == 1.0
        if corrected != self._corrected:
            self._corrected = corrected
            text = "somebody corrects the policy" if corrected else "the policy steers again"
            subject = "correction" if corrected else "policy"
            self._log.event(t_ns, EventKind.TAKEOVER, "info", text, subject)

    def say_mode(self, t_ns: int) -> None:
        """Log that the mode of `deadline` has changed at `t_ns` [ns]."""
        mode = self.deadline.mode.name.lower()
        level: Level = "warning"
        text = f"{mode}: {self.deadline.why}" + (f"; {self.trouble}" if self.trouble else "")
        if self.deadline.mode is Mode.FOLLOW:
            level, text = "info", "follow: a chunk is there"
        self._log.event(t_ns, EventKind.MODE, level, text, mode)

    def _acceptable(self, ready: Ready, t_ns: int) -> bool:
        """Whether to follow a chunk. What is wrong with chunks is logged when it changes."""
        if self._check == "off":
            return True
        found = self._guard.check_chunk(ready.joints.q, ready.joints.dt_ns / NS)
        said = found.finding.words(self._station.model.joints)
        if found.reason != self._chunk_reason:
            self._chunk_reason = found.reason
            if found.reason is not Reason.OK:
                name, numbers = found.reason.name, {"waypoint": found.row, **found.finding.numbers}
                text = f"chunk: {name}: waypoint {found.row}: {said}"
                self._log.event(t_ns, EventKind.CHUNK, "warning", text, name, numbers)
        if found.reason is Reason.OK or self._check == "flag":
            return True
        what = f"the policy failed: its chunk was refused: {found.reason.name}: {said}"
        self._fail(what, "error", t_ns)
        return False

    def _fail(self, why: str, level: Level, t_ns: int, kind: EventKind = EventKind.POLICY) -> None:
        if self.failed != why:
            self.failed = self.last_failure = why
            self._log.event(t_ns, kind, level, why)

    def _refuse(self, why: str, t_ns: int) -> None:
        """The policy refuses its instruction: nothing of what it was doing before is finished. It
        is asked again at the usual pace, so the arm moves on as soon as it answers with a chunk."""
        self.refused = True
        self.deadline.drop("the policy refuses its instruction")
        self._fail(why, "warning", t_ns, EventKind.REFUSED)

    def _too_late(self, chunk: JointChunk, t_ns: int) -> None:
        """Take note of a chunk whose last waypoint is in the past. An event says so once per
        episode: a policy that is too slow is too slow for most of its chunks."""
        age_s, lasts_s = (t_ns - chunk.t0_ns) / NS, (len(chunk.q) - 1) * chunk.dt_ns / NS
        self.failed = self.last_failure = (
            f"the policy is too slow: its chunk came {age_s:.3g} s after what it was made from, "
            f"and lasts {lasts_s:.3g} s"
        )
        if self.player.age_ns(t_ns) is None:
            self.deadline.why = "no chunk came in time"
        if not self._late:
            self._late = True
            self._log.event(t_ns, EventKind.POLICY, "warning", self.failed)

    def _see(
        self, worker: Worker, t_ns: int, row: Row, goal: Pose | None, signals: Signals | None
    ) -> Moment | None:
        """What the policy wants to see, None where a part of it is missing or no finite number.
        From such inputs a network would compute actions that mean nothing, so no new chunk is asked
        for: the old one runs out, then the arm stops."""
        images = self._senses.frames(t_ns)
        if any(name not in images for name in worker.about.cameras):
            return None
        vector = self._state_vector
        assert vector is not None
        state = np.empty(len(vector.names), np.float32)
        base = self._station.chain.pose(self.player.raw)
        vector.fill(row.view, state, base=base, goal=goal, signals=signals)
        named = zip(vector.names, state.tolist(), strict=True)
        unknown = [name for name, x in named if not math.isfinite(x)]
        if unknown:
            self._senses.trouble = f"the policy wants {', '.join(unknown)}, which no sensor gives"
            self._log.once(t_ns, "state", self._senses.trouble)
            return None
        return Moment(images, state)

    def _observation(self, t_ns: int, seen: Moment, past: tuple[Moment, ...]) -> Observation:
        self.player.mark(t_ns)
        base_q = self.player.raw.copy()
        base = self._station.chain.pose(base_q)
        self._number += 1
        return Observation(
            t_ns, seen.images, seen.state, self.instruction, base_q, base, past,
            self._seed, self._number - 1,
        )  # fmt: skip
