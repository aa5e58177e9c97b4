"""From observations to chunks to the joint reference of a tick: the policy's side of the loop."""

from __future__ import annotations

import math

import numpy as np

from headway.clock import NS, Tick
from headway.edge.control.log import NullLog
from headway.edge.control.pace import pace
from headway.edge.control.row import Row
from headway.edge.control.senses import Senses
from headway.edge.control.station import Station
from headway.edge.guard.guard import Guard
from headway.edge.guard.reasons import Reason
from headway.edge.motion.chunks import ChunkPlayer
from headway.edge.motion.deadline import Deadline, Mode
from headway.edge.policy.observation import StateVector
from headway.edge.policy.policy import Ready, Worker
from headway.errors import PolicyError
from headway.types import Observation, Vec

IK_TOLERANCE = 2e-3  # [m] or [rad]: a worse waypoint counts as an inverse-kinematics failure


class Planner:
    """`step` asks and listens once per tick, then `deadline.sample` says where to go. `failed`: how
    the policy failed last, "" once it answers again."""

    def __init__(
        self, station: Station, senses: Senses, worker: Worker | None, guard: Guard, dt_s: float
    ) -> None:
        loop, cfg, n = station.settings.loop, station.settings.policy, station.joints
        self._station, self._senses, self.worker, self._guard = station, senses, worker, guard
        self.player = ChunkPlayer(n, dt_s, *((cfg.seam, cfg.ensemble_decay) if cfg else ()))
        limits = station.arm_device.limits
        self.deadline = Deadline(self.player, limits, dt_s, loop.chunk_max_age_s)
        self._check = cfg.chunk_check if cfg else "off"
        latency_s = cfg.latency_s if cfg and not station.clock.realtime else 0.0
        self.pace = pace(loop, worker.about, latency_s) if worker else None
        self._every = self.pace.every if self.pace else 1
        # Halfway between two ticks of PRO's head: no tick has both to do.
        self._phase = min(round(loop.hz / loop.pro_hz) // 2, self._every - 1)
        self._state_vector = StateVector(worker.about.state_names) if worker else None
        self.failed = ""

    def reset(self, q: Vec, instruction: str | None) -> None:
        """At rest at `q` (n,) [rad]. Raises what `Worker.reset` raises."""
        self.deadline.reset(q)
        self.failed = ""
        self._chunk_reason = Reason.OK
        if self.worker is not None:
            self._instruction = self.worker.reset(instruction or "")

    @property
    def idle(self) -> bool:
        """Whether there is a policy and nothing of it to follow."""
        return self.worker is not None and self.deadline.mode is not Mode.FOLLOW

    @property
    def restarting(self) -> bool:
        """Whether the policy is being started again."""
        return self.worker is not None and bool(self.worker.trouble)

    @property
    def trouble(self) -> str:
        return self.failed or self._senses.trouble

    def step(self, tick: Tick, row: Row, log: NullLog) -> None:
        """Submit an observation when its time has come, take over a chunk that is ready."""
        worker, player = self.worker, self.player
        if worker is None:
            return
        try:
            if tick.index % self._every == self._phase:
                obs = self._observe(worker, tick.t_ns, row, log)
                if obs is not None:
                    worker.submit(obs)
            ready = worker.take(tick.t_ns)
        except PolicyError as e:  # the chunk that runs is played to its end, then the arm stops
            self._fail(f"the policy failed: {e}", "error", tick.t_ns, log)
            return
        if worker.trouble:
            self._fail(worker.trouble, "warning", tick.t_ns, log)
        if ready is None or not self._acceptable(ready, tick.t_ns, log):
            return
        self.failed = ""
        if player.adopt(ready.joints, tick.t_ns):
            row.ik_failure = ready.joints.residual > IK_TOLERANCE
            row.seam_jump, row.chunk_disagreement = player.seam_jump, player.disagreement
            log.chunk(tick.t_ns, ready)

    def say_mode(self, t_ns: int, log: NullLog) -> None:
        """Log the transition of the deadline that just happened."""
        mode, why = self.deadline.mode, self.deadline.why
        if mode is Mode.FOLLOW:
            log.event(t_ns, "info", "follow: a chunk is there")
        else:
            more = f"; {self.trouble}" if self.trouble else ""
            log.event(t_ns, "warning", f"{mode.name.lower()}: {why}{more}")

    def _acceptable(self, ready: Ready, t_ns: int, log: NullLog) -> bool:
        """Whether to follow a chunk. What is wrong with it is said once, until another thing is."""
        if self._check == "off":
            return True
        found = self._guard.check_chunk(ready.joints.q, ready.joints.dt_ns / NS)
        if found.reason != self._chunk_reason:
            self._chunk_reason = found.reason
            if found.reason is not Reason.OK:
                what = f"chunk: {found.reason.name}: waypoint {found.row}: {found.detail}"
                log.event(t_ns, "warning", what)
        if found.reason is Reason.OK or self._check == "flag":
            return True
        what = f"the policy failed: its chunk was refused: {found.reason.name}: {found.detail}"
        self._fail(what, "error", t_ns, log)
        return False

    def _fail(self, why: str, level: str, t_ns: int, log: NullLog) -> None:
        if self.failed != why:
            self.failed = why
            log.event(t_ns, level, why)

    def _observe(self, worker: Worker, t_ns: int, row: Row, log: NullLog) -> Observation | None:
        images = self._senses.frames(t_ns, log)
        if any(name not in images for name in worker.about.cameras):
            return None  # no new chunk: the old one runs out, then the arm stops
        assert self._state_vector is not None
        self.player.mark(t_ns)
        base_q = self.player.raw.copy()
        base = self._station.chain.pose(base_q)
        state = np.empty(len(self._state_vector.names), np.float32)
        self._state_vector.fill(row.view, base, state)
        names = self._state_vector.names
        unknown = [n for n, x in zip(names, state.tolist(), strict=True) if not math.isfinite(x)]
        if unknown:  # what a network makes of a NaN is nobody's plan
            self._senses.trouble = f"the policy wants {', '.join(unknown)}, which no sensor gives"
            log.once(t_ns, "state", self._senses.trouble)
            return None
        return Observation(t_ns, images, state, self._instruction, base_q, base)
