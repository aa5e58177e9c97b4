"""A log that keeps an episode in memory, for programs that learn from it at once: no file, no other
process, no images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headway.edge.control.events import Event
from headway.edge.control.log import NullLog
from headway.edge.policy.policy import Ready
from headway.kernels import telemetry


class MemoryLog(NullLog):
    """Keeps the telemetry rows, the events, and the chunks that were taken over of one episode, the
    same that a recording of it would hold. It may be used for many episodes, one after the other:
    `clear` begins the next one."""

    # Of NullLog, which makes them.
    events: list[Event]
    _said: set[str]

    def __init__(self, joints: int, max_ticks: int) -> None:
        """For an arm with `joints` joints, and episodes of at most `max_ticks` ticks, for which
        room is made now."""
        super().__init__()
        self._rows = telemetry.empty(joints, max_ticks)
        self._bytes = self._rows.view(np.uint8).data
        self._size = self._rows.itemsize
        self._end = 0
        self.chunks: list[tuple[int, Ready]] = []

    def clear(self) -> None:
        """Forget the episode. What `rows`, `events` and `chunks` gave before stays as it is."""
        self.events = []
        self.chunks = []
        self._said = set()
        self._end = 0

    @property
    def rows(self) -> NDArray[np.void]:
        """A copy of the telemetry rows (ticks,) so far, with `telemetry.dtype` of the arm."""
        return self._rows[: self._end // self._size].copy()

    def telemetry(self, t_ns: int, row: np.void) -> None:
        """Keep `row`. Raises ValueError for another layout, and for more rows than there is room
        for."""
        end = self._end + self._size
        self._bytes[self._end : end] = row.tobytes()
        self._end = end

    def chunk(self, t_ns: int, ready: Ready) -> None:
        """Keep the chunk `ready`, which the loop takes over at `t_ns` [ns]."""
        self.chunks.append((t_ns, ready))
