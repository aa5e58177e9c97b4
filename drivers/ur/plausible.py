"""Whether joints can be what a controller says they are. RTDE has no checksum, and a controller may
repeat what it has; so what no arm can do is not given out as valid."""

from __future__ import annotations

import math

import numpy as np

from headway.clock import NS
from headway.drivers.ur.fields import State
from headway.types import Vec

# [rad] the reference has moved by this much while the measured joints have not changed at all: they
# are stuck
STUCK_RAD = 0.05
_SLACK_RAD = 0.02  # beside what the highest speed covers
_ENOUGH = 5  # so many jumps in a row are believed: the arm is elsewhere


class Plausible:
    """Judges the states of an arm whose joints move at most at `dq_max` (6,) [rad/s]."""

    def __init__(self, dq_max: Vec) -> None:
        self._fastest = 2.0 * dq_max  # a push, or a reference that is lagged behind
        self._q: Vec = np.full(len(dq_max), math.nan)
        self._q_ref: Vec = self._q  # when the joints last changed
        self._t_ns = 0
        self._jumps = 0

    def judge(self, state: State, t_ns: int) -> tuple[str, ...]:
        """What is wrong with the joints of `state`, which were measured at `t_ns` [ns]; () for
        nothing."""
        q, dq, q_ref = state.q, state.dq, state.q_ref
        if not math.isfinite(float(q.sum() + dq.sum() + q_ref.sum())):
            return ("joints that are no numbers",)
        reach = self._fastest * max(0.0, (t_ns - self._t_ns) / NS) + _SLACK_RAD
        # Of NaN, as in the beginning, nothing is beyond anything.
        jumps = bool((np.abs(q - self._q) > reach).any() or (np.abs(dq) > self._fastest).any())
        self._jumps = self._jumps + 1 if jumps else 0
        if 0 < self._jumps < _ENOUGH:
            return ("a jump",)
        same = np.array_equal(q, self._q)
        self._q, self._t_ns = q, t_ns
        if not same:
            self._q_ref = q_ref
        return ("stuck",) if np.abs(q_ref - self._q_ref).max() > STUCK_RAD else ()
