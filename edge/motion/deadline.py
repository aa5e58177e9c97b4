"""What is sent when the policy is late: the running chunk while it is young, then a jerk-limited
stop, then a hold. Never zeros, never an old chunk from its start.

The stop is Ruckig's (`headway.edge.motion.stop`), planned from the commands really sent. Those are
samples q_k with backward differences v_k, a_k, not a continuous curve; one that continues them has
at q_k the acceleration a_k and the velocity v_k + a_k T / 2: its next samples then have the
differences a_k + j T / 6, a_k + j T, ..., so the third difference stays within the jerk limit
across the seam. The stop keeps `_SHARE` of the arm's limits, so that rounding does not make the
guard refuse it. The guard checks each sample as any command, and brakes by its own law where it
refuses one.
"""

from __future__ import annotations

from dataclasses import replace
from enum import IntEnum

import numpy as np

from headway.clock import NS
from headway.edge.motion.chunks import ChunkPlayer
from headway.edge.motion.stop import StopTrajectory
from headway.errors import CommandRejected
from headway.types import Limits, Vec

_SHARE = 0.9


class Mode(IntEnum):
    FOLLOW = 0  # a chunk that is young enough
    STOP = 1
    HOLD = 2


class Deadline:
    """`sample` once per tick, then `sent` with what really went out. `mode` and `why` say what is
    going on; `changed` is True on the tick of a transition."""

    def __init__(self, player: ChunkPlayer, limits: Limits, dt_s: float, max_age_s: float) -> None:
        """`max_age_s`: of the observation that the running chunk was made from."""
        self._player, self._dt = player, dt_s
        self._max_age_ns = round(max_age_s * NS)
        gentle = replace(limits, ddq_max=limits.ddq_max * _SHARE, dddq_max=limits.dddq_max * _SHARE)
        self._stop = StopTrajectory(gentle, dt_s)
        n = len(limits.q_min)
        self._sent = [np.zeros(n) for _ in range(3)]  # the newest first
        self._out = np.zeros(n)
        self._k = 0
        self.mode, self.why, self.changed = Mode.HOLD, "", False

    def reset(self, q: Vec) -> None:
        """At rest at `q` (n,) [rad], nothing to do yet."""
        self._player.reset(q)
        for sent in self._sent:
            sent[:] = q
        self._out[:] = q
        self.mode, self.why, self.changed = Mode.HOLD, "no chunk yet", False

    def sample(self, t_ns: int, scale: float = 1.0) -> Vec:
        """Joint reference (n,) [rad] for `t_ns`; chunks are played at `scale` of their speed."""
        before = self.mode
        wanted: Vec | None = None
        if self.mode is not Mode.STOP:
            wanted = self._chunk(t_ns, scale)
            if wanted is not None:
                self.mode, self.why = Mode.FOLLOW, "a new chunk"
            elif self.mode is Mode.FOLLOW:
                self._plan(t_ns)
        if self.mode is Mode.STOP:
            self._k += 1
            if self._stop.sample(self._k, self._out):
                self.mode = Mode.HOLD
                self._player.resync(self._out, t_ns)
        self.changed = self.mode is not before
        return self._out if wanted is None else wanted

    def _chunk(self, t_ns: int, scale: float) -> Vec | None:
        age = self._player.age_ns(t_ns)
        if age is None:
            return None
        young = age <= self._max_age_ns
        wanted = self._player.sample(t_ns, scale) if young else None
        if wanted is None and self.mode is Mode.FOLLOW:
            what = "has ended" if young else "is older than loop.chunk_max_age_s"
            self.why = f"the last chunk, of what was seen {age / 1e9:.2f} s before, {what}"
        return wanted

    def _plan(self, t_ns: int) -> None:
        q, before, first = self._sent
        dq = (q - before) / self._dt
        ddq = (q - 2 * before + first) / self._dt**2
        try:
            self._stop.plan(q, dq + 0.5 * self._dt * ddq, ddq)
        except CommandRejected as e:  # the guard refuses to stand still at once, and brakes
            self.why += f"; {e}"
            self.mode = Mode.HOLD
            self._out[:] = q
            self._player.resync(q, t_ns)
            return
        self.mode, self._k = Mode.STOP, 0

    def sent(self, q: Vec) -> None:
        """`q` (n,) [rad] went out as it was wanted, or nearly."""
        oldest = self._sent.pop()
        oldest[:] = q
        self._sent.insert(0, oldest)

    def overruled(self, q: Vec, t_ns: int) -> None:
        """The guard sent `q` instead: go on from there. After `sent`."""
        self._player.resync(q, t_ns)
        self._out[:] = q
        if self.mode is Mode.STOP:
            self.mode = Mode.HOLD
