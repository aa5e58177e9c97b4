"""One labelled episode, as every part that trains or judges a PRO head takes it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FLAGS = ("completion", "risk", "unstable")  # targets that are 0 or 1, by the names in `Example`
TARGETS = (*FLAGS, "time_to_go")
RATE_TOLERANCE = 0.02  # steps at a rate that differs by less than this share are those of the head


@dataclass(frozen=True)
class Moment:
    """Something that happened in an episode, `t` [s] after its first tick."""

    t: float
    label: str


@dataclass(frozen=True)
class Example:
    """One episode as n steps at the rate of the head, and what is known of how it went.

    `name` differs between the episodes of one data set; `session` names the day, cell or operator
    that it comes from, "" where nothing says. `success` is None where no outcome is known.
    `failures` went wrong, which PRO's risk is to tell; `retries` are tries that were begun anew;
    both in the order of time. NaN in a target stands for unknown: nothing is learned from such a
    step, and it is not judged.
    """

    name: str
    session: str
    hz: float  # of the steps
    t: NDArray[np.float64]  # (n,) [s] after the first tick
    features: NDArray[np.float32]  # (n, N_FEATURES)
    mask: NDArray[np.float32]  # (n, N_MASKS)
    success: bool | None
    failures: tuple[Moment, ...]
    retries: tuple[Moment, ...]
    time_to_go: NDArray[np.float32]  # (n,) [s], known for successes only
    completion: NDArray[np.float32]  # (n,) 1: the episode ends well
    risk: NDArray[np.float32]  # (n,) 1: a failure is near or happens
    unstable: NDArray[np.float32]  # (n,) 1: a retry is near
    force: NDArray[np.float32]  # (n,) |F| [N], NaN where it is not known
    sha256: str = ""  # of the file that the episode is from, by which a copy of it is known
    robot: str = ""
    task: str = ""
    # (n,) how many lines of an order are closed, where completion and time-to-go are about the line
    # that is due and not about the episode
    line: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.t)


def ticks_per_step(tick_hz: float, head_hz: float) -> int | None:
    """How many ticks, which come at `tick_hz` [Hz], make one step of a head at `head_hz` [Hz]. None
    where no number of ticks makes steps at that rate."""
    every = max(1, round(tick_hz / head_hz))
    return every if abs(tick_hz / every / head_hz - 1) <= RATE_TOLERANCE else None
