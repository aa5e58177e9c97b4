"""The time that chunks are played at, where motion may be slowed."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque


class PlayClock:
    """The time that a chunk is played at, which falls behind our clock while motion is slowed.

    A chunk is planned from where the arm was meant to be when its observation was made, so its
    time starts at the played time of that moment: `mark` it, and ask `played` for it later.
    """

    def __init__(self, period_ns: int) -> None:
        self._period_ns = period_ns
        self._marks: deque[tuple[int, int]] = deque(maxlen=64)
        self.lag_ns = 0

    def reset(self) -> None:
        self.lag_ns = 0
        self._marks.clear()

    def advance(self, scale: float) -> None:
        """One tick at this fraction of the speed."""
        self.lag_ns += round((1.0 - scale) * self._period_ns)

    def mark(self, t_ns: int) -> None:
        """An observation is made now, at `t_ns` of our clock; later ones are later."""
        self._marks.append((t_ns, self.lag_ns))

    def played(self, t_ns: int) -> int:
        """Played time [ns] of the last mark at or before `t_ns`, as far on as `t_ns` is; of now if
        there is none."""
        at = bisect_right(self._marks, t_ns, key=lambda mark: mark[0])
        return t_ns - (self._marks[at - 1][1] if at else self.lag_ns)

    def now(self, t_ns: int) -> int:
        """Played time [ns] at `t_ns`, which is now."""
        return t_ns - self.lag_ns
