"""The moments before an observation, for policies that want to see several steps."""

from __future__ import annotations

from collections import deque

from headway.edge.policy.policy import Needs
from headway.types import Moment


class History:
    """Keeps what was seen at the ticks that later observations of a policy with these `needs` will
    show. The policy is asked every `every` ticks, first at the tick `phase`; `hz` [Hz] is the
    loop's rate, and the steps are the whole number of ticks apart that is nearest to
    `needs.stride_s`."""

    def __init__(self, needs: Needs, every: int, phase: int, hz: float) -> None:
        self.stride = max(1, round(needs.stride_s * hz))
        self._steps = needs.steps
        self._every = every
        # The ticks, within the period in which the policy is asked, that some observation shows.
        self._due = {(phase - k * self.stride) % every for k in range(needs.steps)}
        self._seen: deque[tuple[int, Moment]] = deque(maxlen=needs.steps * self.stride + 1)

    def due(self, tick: int) -> bool:
        """Whether an observation, this one or a later one, shows what is seen at this tick."""
        return tick % self._every in self._due

    def add(self, tick: int, seen: Moment | None) -> tuple[Moment, ...]:
        """Keep what is seen at `tick`, None for nothing. Returns the moments before it, the oldest
        first, one stride apart. Where the episode is younger than that, and where nothing was seen
        at a tick, the next moment that was seen stands for it."""
        if seen is None:
            return ()
        past: list[Moment] = []
        newer = seen
        known = dict(self._seen)
        for k in range(1, self._steps):
            newer = known.get(tick - k * self.stride, newer)
            past.append(newer)
        self._seen.append((tick, seen))
        return tuple(reversed(past))
