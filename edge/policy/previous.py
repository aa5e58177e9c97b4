"""The action that a policy was playing last, for policies that are told it."""

from __future__ import annotations

import numpy as np

from headway.actions import ActionSpace
from headway.clock import NS
from headway.types import Vec


class Previous:
    """Keeps the rows that a policy with the action space `space` answered last, before `scale` and
    `offset` are applied to them. It does not know whether the loop followed them: a chunk that the
    guard refused counts as played."""

    def __init__(self, space: ActionSpace) -> None:
        self._dt_ns = round(space.dt_s * NS)
        self._none = np.zeros(len(space.names))
        self._t0_ns, self._rows = 0, self._none[None]

    def reset(self) -> None:
        """Begin an episode: the previous action is 0."""
        self._rows = self._none[None]

    def answered(self, t0_ns: int, rows: Vec) -> None:
        """The policy answered `rows` (h, d) to the observation at `t0_ns` [ns]."""
        self._t0_ns, self._rows = t0_ns, rows

    def at(self, t_ns: int) -> Vec:
        """The action (d,) that was played at `t_ns` [ns]: the newest row whose time has come, or
        the last row; the first one before that."""
        played = (t_ns - self._t0_ns) // self._dt_ns
        row: Vec = self._rows[min(max(int(played) - 1, 0), len(self._rows) - 1)]
        return row
