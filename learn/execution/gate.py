"""The gate: whether a new policy is kept, by its first training rollouts. It is the same for all
arms, counts in their robot time, and looks at nothing but what the station says.

Of a round, a share of the robot time belongs to the new policy. It is kept when the lines that it
closed a minute are no fewer than those of the policy that it is to replace, up to `tolerance`
standard errors; else the round's policy stays the one before, and only the data are kept.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headway.config import Struct
from headway.learn.execution.lessons import Lesson


class Gate(Struct, frozen=True):
    """`share` of a round's robot time that tries the new policy; 0: every policy is kept."""

    share: float = 0.0
    tolerance: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.share < 1.0:
            raise ValueError(f"gate.share wants at least 0 and less than 1, found {self.share}")


def rate(lessons: Sequence[Lesson]) -> tuple[float, float]:
    """Lines closed a minute in `lessons`, and the standard error of that rate by episode; infinite
    for less than two episodes."""
    minutes = np.array([x.end_s for x in lessons]) / 60.0
    lines = np.array([len(x.happened.closed) for x in lessons], np.float64)
    if len(lessons) < 2 or minutes.sum() <= 0:
        return float(lines.sum() / max(minutes.sum(), 1e-9)), float("inf")
    mean = lines.sum() / minutes.sum()
    # Of a quotient of sums over episodes (Cochran 1977, section 6.4).
    rest = lines - mean * minutes
    error = np.sqrt((rest**2).sum() / (len(lessons) - 1) / len(lessons)) / minutes.mean()
    return float(mean), float(error)


def kept(new: Sequence[Lesson], old: Sequence[Lesson], gate: Gate) -> bool:
    """Whether the policy of the rollouts `new` replaces that of `old`."""
    if not new or not old:
        return True
    (now, error), (before, error_before) = rate(new), rate(old)
    if gate.tolerance == 0.0:  # times an error that is not known it would be no number
        return now >= before
    return now >= before - gate.tolerance * float(np.hypot(error, error_before))
