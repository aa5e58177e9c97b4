"""What the arm is sent when the policy is late: the running chunk while it is young enough, then a
jerk-limited stop, then the position where the arm stands. It is never sent zeros, and never an old
chunk from its start.

The stop is Ruckig's (`headway.edge.motion.stop`), planned from the commands that were really sent.
Those are samples q_k with the backward differences v_k (velocity) and a_k (acceleration) at the
period T, not a continuous curve. The stop starts at q_k with the acceleration a_k and the velocity
v_k + a_k T / 2: with a jerk j, its next samples then have the accelerations a_k + j T / 6,
a_k + j T, ..., so the third difference stays within the jerk limit across the seam. The stop uses
only `_SHARE` of the acceleration and jerk limits, so that rounding does not make the guard
refuse it. The guard checks each of its samples like any command; if it refuses one, it brakes by
its own law.
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

_SHARE = 0.9  # of the acceleration and jerk limits


class Mode(IntEnum):
    """What the joint reference of a tick follows."""

    FOLLOW = 0  # a chunk that is young enough
    STOP = 1  # on the jerk-limited stop
    HOLD = 2  # at rest, without a chunk


class Deadline:
    """The joint reference of every tick, with or without a fresh chunk. Call `sample` once per
    tick, then `sent` with the command that really went out. `mode` says what is followed, `why` the
    reason in words; `changed` is True on the tick on which the mode changes."""

    def __init__(self, player: ChunkPlayer, limits: Limits, dt_s: float, max_age_s: float) -> None:
        """`player` holds the chunk; `limits` are those that the guard holds the arm to; `dt_s` [s]
        per tick; `max_age_s` [s]: a chunk made from an older observation is not followed."""
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
        """Begin at rest at `q` (n,) [rad], without a chunk."""
        self._player.reset(q)
        for sent in self._sent:
            sent[:] = q
        self._out[:] = q
        self.mode, self.why, self.changed = Mode.HOLD, "no chunk yet", False

    def sample(self, t_ns: int, scale: float = 1.0) -> Vec:
        """The joint reference (n,) [rad] for the tick at `t_ns` [ns], in an array that the next
        call may overwrite. Chunks are played at the fraction `scale` (0..1) of their speed."""
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
        except CommandRejected as e:  # hold `q` at once: the guard refuses that, and brakes
            self.why += f"; {e}"
            self.mode = Mode.HOLD
            self._out[:] = q
            self._player.resync(q, t_ns)
            return
        self.mode, self._k = Mode.STOP, 0

    def drop(self, why: str) -> None:
        """Follow the running chunk no longer, from the next `sample` on: a moving arm is stopped.
        `why` in words."""
        self._player.drop()
        self.why = why

    def sent(self, q: Vec) -> None:
        """Take note that the command `q` (n,) [rad] was sent to the arm, at every tick."""
        oldest = self._sent.pop()
        oldest[:] = q
        self._sent.insert(0, oldest)

    def overruled(self, q: Vec, t_ns: int) -> None:
        """Go on from `q` (n,) [rad], which the guard sent at `t_ns` [ns] instead of the reference.
        To be called after `sent`."""
        self._player.resync(q, t_ns)
        self._out[:] = q
        if self.mode is Mode.STOP:
            self.mode = Mode.HOLD
