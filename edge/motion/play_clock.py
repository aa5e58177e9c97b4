"""The clock that chunks are played by, which runs slower while the motion is slowed down."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque


class PlayClock:
    """Played time [ns]: the loop's time minus a lag `lag_ns`, which grows while the motion is
    slowed. `period_ns` is that of a tick.

    A chunk is planned from where the arm was meant to be when its observation was made. So the
    chunk starts at the played time of that moment: call `mark` when the observation is made, and
    `played` when its chunk has come.
    """

    def __init__(self, period_ns: int) -> None:
        self._period_ns = period_ns
        self._marks: deque[tuple[int, int]] = deque(maxlen=64)
        self.lag_ns = 0

    def reset(self) -> None:
        """Begin an episode: without a lag, and without marks."""
        self.lag_ns = 0
        self._marks.clear()

    def advance(self, scale: float) -> None:
        """One tick goes by, at the fraction `scale` (0..1) of the planned speed."""
        self.lag_ns += round((1.0 - scale) * self._period_ns)

    def mark(self, t_ns: int) -> None:
        """An observation is made now, at `t_ns` [ns] of the loop's clock. Marks come in the order
        of their times."""
        self._marks.append((t_ns, self.lag_ns))

    def played(self, t_ns: int) -> int:
        """Played time [ns] at `t_ns` [ns], which is in the past: with the lag at the last mark at
        or before `t_ns`, or the present lag if there is none."""
        at = bisect_right(self._marks, t_ns, key=lambda mark: mark[0])
        return t_ns - (self._marks[at - 1][1] if at else self.lag_ns)

    def now(self, t_ns: int) -> int:
        """Played time [ns] at `t_ns` [ns], which is now."""
        return t_ns - self.lag_ns
