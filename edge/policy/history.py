"""The moments before an observation, for policies that want to see several steps."""

from __future__ import annotations

from collections import deque

from headway.edge.policy.policy import Needs
from headway.types import Moment


class History:
    """Says when the policy is asked, and keeps what was seen at the ticks that later observations
    of a policy with these `needs` will show. The policy is asked every `every` ticks, first at the
    tick `phase`; `hz` [Hz] is the loop's rate, and the steps are the whole number of ticks apart
    that is nearest to `needs.stride_s`. The loop skips ticks that it is too late for: what was due
    at one of these is due at the next tick that comes."""

    def __init__(self, needs: Needs, every: int, phase: int, hz: float) -> None:
        self.stride = max(1, round(needs.stride_s * hz))
        self._steps = needs.steps
        self._every, self._phase = every, phase
        # The ticks, within the period in which the policy is asked, that some observation shows.
        self._due = {(phase - k * self.stride) % every for k in range(needs.steps)}
        self._first: tuple[int, Moment] | None = None
        self._seen: deque[tuple[int, Moment]] = deque(maxlen=needs.steps * self.stride + 1)

    def asks(self, tick: int, missed: int = 0) -> bool:
        """Whether the policy is asked at `tick`, before which `missed` ticks were skipped."""
        return (tick - self._phase) % self._every <= missed

    def due(self, tick: int, missed: int = 0) -> bool:
        """Whether an observation, this one or a later one, shows what is seen at `tick`, before
        which `missed` ticks were skipped."""
        return any((tick - due) % self._every <= missed for due in self._due)

    def add(self, tick: int, seen: Moment | None) -> tuple[Moment, ...]:
        """Keep what is seen at `tick`, None for nothing. Returns the moments before it, the oldest
        first, one stride apart. The first moment of the episode stands for what was before it, and
        the next one for a tick at which nothing was seen."""
        if seen is None:
            return ()
        first, begin = self._first = self._first or (tick, seen)
        past: list[Moment] = []
        newer = seen
        # An observation that is late shows what it would have shown in time.
        due = tick - (tick - self._phase) % self._every
        for k in range(1, self._steps):
            at = due - k * self.stride
            newer = begin if at < first else next((m for t, m in self._seen if t >= at), newer)
            past.append(newer)
        self._seen.append((tick, seen))
        return tuple(reversed(past))
