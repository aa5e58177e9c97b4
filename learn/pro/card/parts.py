"""Which steps of an episode are judged as what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from headway.learn.pro.examples import Example, Moment

# An alarm in the last second before a failure is no false one: the slip or the touch that becomes
# the failure may have begun, and those who note failures do so late.
CLEAR_S = 1.0
# When an alarm counts as having caught a failure: before it, and, as a second number, soon after
# it, since a touch takes some time to be felt. Later, the controller's reaction raises it.
BEFORE_S, AFTER_S = 0.25, 0.5
HALF_STEP = 1e-6  # [s] on ends of windows, since times are rounded
UNNAMED = "failure"


@dataclass(frozen=True)
class Parts:
    """The episode `of` with what is judged of it."""

    of: Example

    @property
    def n(self) -> int:
        return len(self.of)

    @cached_property
    def positive(self) -> NDArray[np.bool_]:
        """(n,) a failure is near or happens."""
        return np.asarray(self.of.risk == 1)

    @cached_property
    def negative(self) -> NDArray[np.bool_]:
        """(n,) no failure is near."""
        return np.asarray(self.of.risk == 0)

    @property
    def first(self) -> Moment | None:
        """The first failure."""
        return self.of.failures[0] if self.of.failures else None

    @property
    def failed(self) -> bool | None:
        """Whether the episode failed: by its outcome, else by its failures. None where neither says
        anything."""
        if self.of.success is not None:
            return not self.of.success
        if self.of.failures:
            return True
        return False if self.negative.any() else None

    @cached_property
    def fault_free(self) -> NDArray[np.bool_]:
        """(n,) steps before which nothing has gone wrong: those of an episode without failures, and
        those until `CLEAR_S` before the first one."""
        if self.first is not None:
            return self.negative & (self.of.t < self.first.t - CLEAR_S - HALF_STEP)
        if self.of.success is False:  # and nothing says when it went wrong
            return np.zeros(self.n, bool)
        return self.negative

    @cached_property
    def window(self) -> NDArray[np.bool_]:
        """(n,) steps at which an alarm catches the first failure: from `BEFORE_S` before it to
        `AFTER_S` after it. The window starts earlier where risk is labelled 1 without a gap up to
        the failure. If the episode failed and the time is unknown, it is the whole episode."""
        if self.first is None:
            return np.zeros(self.n, bool)
        t, at = self.of.t, self.first.t
        if self.of.success is False and not self.negative.any():  # nothing says when it went wrong
            return np.asarray(t <= at + AFTER_S + HALF_STEP)
        near = (t >= at - BEFORE_S - HALF_STEP) & (t <= at + AFTER_S + HALF_STEP)
        label = self.positive & (t <= at + HALF_STEP)
        label &= ~(np.cumsum((~self.positive & (t <= at))[::-1])[::-1] > 0)  # since the last 0
        return (near | label) & np.isfinite(self.of.risk)

    @cached_property
    def before(self) -> NDArray[np.bool_]:
        """(n,) steps strictly before the first failure. The step at which it happens is none of
        them: its features may hold the event itself, such as one more retry."""
        if self.first is None:
            return np.zeros(self.n, bool)
        return np.asarray(self.of.t < self.first.t - HALF_STEP)

    @cached_property
    def end(self) -> int:
        """How many steps there are up to the last one that is judged; 0 where none is."""
        known = np.isfinite(self.of.risk) | np.isfinite(self.of.completion)
        return int(np.flatnonzero(known)[-1]) + 1 if known.any() else 0

    @cached_property
    def stretches(self) -> list[slice]:
        """The steps up to `end` in stretches in which one line of an order is due; all of them in
        one where the targets are about the whole episode."""
        if self.of.line is None:
            return [slice(0, self.end)] if self.end else []
        changes = np.flatnonzero(np.diff(self.of.line[: self.end])) + 1
        at = [0, *changes.tolist(), self.end]
        return [slice(a, b) for a, b in pairwise(at) if b > a]

    @cached_property
    def kinds(self) -> NDArray[np.int64]:
        """(n,) the index in `of.failures` of the failure nearest in time; -1 without any."""
        if not self.of.failures:
            return np.full(self.n, -1)
        at = np.array([m.t for m in self.of.failures])
        return np.abs(self.of.t[:, None] - at).argmin(axis=1)

    def of_kind(self, kind: str) -> NDArray[np.bool_]:
        """(n,) the positive steps of failures of the `kind`."""
        named = np.array([label(m) == kind for m in self.of.failures] + [kind == UNNAMED])
        return np.asarray(self.positive & named[self.kinds])


def label(m: Moment) -> str:
    """The name of a failure."""
    return m.label.strip() or UNNAMED


def kinds_of(parts: Sequence[Parts]) -> dict[str, int]:
    """How many failures of each name have steps that are judged, in the order of names."""
    found: dict[str, int] = {}
    for p in parts:
        for k in np.unique(p.kinds[p.positive]):
            name = label(p.of.failures[k]) if k >= 0 else UNNAMED
            found[name] = found.get(name, 0) + 1
    return dict(sorted(found.items()))
