"""What PRO learns to tell at each step of its head, from what happened afterwards.

- `closes`: whether the station closes the line that is due within the time that the limit leaves
  for a line, whatever the clock of the order says: not known where the limit ends the order before.
  A line that somebody closes who took over is one that the policy does not close: else robots that
  are stuck would seem to do well, because they are helped;
- `to_close`: the time [s] until then, known where it does;
- `risk`: whether a failure event of the telemetry comes within RISK_S, or another time that is
  asked for;
- `unstable`: whether a retry or a recovery comes, or goes on, within UNSTABLE_S.

NaN: not known. After an interruption, and while somebody else drives, nobody knows what would have
come.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headway.edge.control.result import INTERRUPTED
from headway.learn.execution.lessons import Floats, Lesson, Singles

RISK_S, UNSTABLE_S = 1.0, 2.0
CUT = (INTERRUPTED, "time limit")  # ends that say nothing about what would have come


@dataclass(frozen=True)
class Targets:
    """The targets of n steps, each (n,)."""

    to_close: Singles
    closes: Singles
    risk: Singles
    unstable: Singles


def targets(lesson: Lesson, risk_s: float = RISK_S) -> Targets:
    """The targets of the steps of `lesson`; `risk_s` [s] is how far ahead the risk is to look."""
    t, closed = lesson.t, lesson.happened.closed
    done = lesson.closed_by(t)
    comes = done < len(closed)
    following = closed[np.minimum(done, max(0, len(closed) - 1))] if len(closed) else t
    patience_s = lesson.limit_s / lesson.happened.lines
    # Where somebody takes over, the policy itself has not closed the line.
    taken = _next(t, lesson.takeovers)
    comes &= following < taken
    soon = comes & (following - t <= patience_s)
    cut = lesson.end in CUT and not lesson.success
    known = comes | np.isfinite(taken) | (t + patience_s <= lesson.end_s) | (not cut)
    known &= ~lesson.helped_at(t)
    known &= done < lesson.happened.lines  # afterwards the arm retreats, no line is due any more
    unstable = _within(t, lesson.happened.retries, UNSTABLE_S)
    unstable |= _within(t, t[lesson.recovering], UNSTABLE_S)
    return Targets(
        to_close=np.where(soon & known, following - t, np.nan).astype(np.float32),
        closes=np.where(known, soon, np.nan).astype(np.float32),
        risk=_within(t, lesson.happened.failures, risk_s).astype(np.float32),
        unstable=unstable.astype(np.float32),
    )


def _within(t: Floats, events: Floats, horizon_s: float) -> NDArray[np.bool_]:
    """Which of the times `t` (n,) [s] have one of `events` (m,), in order, at most `horizon_s` [s]
    after them."""
    return _next(t, events) - t <= horizon_s


def _next(t: Floats, events: Floats) -> Floats:
    """The first of `events` (m,), in order, at or after each of the times `t` (n,) [s]; infinite
    where there is none."""
    return np.append(events, np.inf)[np.searchsorted(events, t, side="left")]
