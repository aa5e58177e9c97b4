"""What PRO learns to tell at each step of its head, from what happened afterwards.

- `closes`: whether the station closes the line that is due within the time that the limit leaves
  for a line, whatever the clock of the order says. Where the limit could end the order before that
  time is over (or an interruption did), it is not known, even where the line was closed: else all
  that is left to learn from late in orders would be lines that were closed. An order of one line
  has no more time than that for it, so there a line that was closed is known. A line that somebody
  closes who took over is one that the policy does not close: else robots that are stuck would seem
  to do well, because they are helped;
- `to_close`: the time [s] until then, known where it does;
- `risk`: whether a failure event of the telemetry comes within RISK_S, or another time that is
  asked for;
- `unstable`: whether a retry or a recovery comes, or goes on, within UNSTABLE_S.

NaN: not known. Before an interruption and before somebody takes over, nobody knows what would have
come; what somebody does who has taken over is not what the policy does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

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
    if lesson.happened.lines > 1:
        until_s = lesson.end_s if lesson.end == INTERRUPTED else lesson.limit_s
        known = t + patience_s <= until_s
    else:
        cut = lesson.end in CUT and not lesson.success
        known = comes | np.isfinite(taken) | (t + patience_s <= lesson.end_s) | (not cut)
    known &= ~lesson.helped_at(t)
    known &= done < lesson.happened.lines  # afterwards the arm retreats, no line is due any more
    happened = lesson.happened
    unstable = np.sort(np.concatenate([happened.retries, t[lesson.recovering]]))
    return Targets(
        to_close=np.where(soon & known, following - t, np.nan).astype(np.float32),
        closes=np.where(known, soon, np.nan).astype(np.float32),
        risk=_comes(lesson, happened.failures, risk_s, taken),
        unstable=_comes(lesson, unstable, UNSTABLE_S, taken),
    )


def _comes(lesson: Lesson, events: Floats, within_s: float, taken: Floats) -> Singles:
    """1 at the steps (n,) at which one of `events` (m,), in order, comes within `within_s` [s] of
    the policy, 0 where it does not. NaN: somebody else drives, or takes over (`taken` (n,) [s]) or
    the order is cut off before either is known."""
    t = lesson.t
    following = _next(t, events)
    comes = (following - t <= within_s) & (following < taken)
    end_s = lesson.end_s if lesson.end in CUT and not lesson.success else np.inf
    known = comes | (t + within_s <= np.minimum(taken, end_s))
    return np.where(known & ~lesson.helped_at(t), comes, np.nan).astype(np.float32)


def _next(t: Floats, events: Floats) -> Floats:
    """The first of `events` (m,), in order, at or after each of the times `t` (n,) [s]; infinite
    where there is none."""
    return np.append(events, np.inf)[np.searchsorted(events, t, side="left")]
