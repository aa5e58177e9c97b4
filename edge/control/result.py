"""How an episode ended, what counts as success, and PRO's signals along it."""

from __future__ import annotations

import msgspec
import numpy as np

from headway.types import Signals, Vec

INTERRUPTED = "interrupted"


def success_of(end: str, said: bool | None) -> bool | None:
    """Whether an episode counts as a success, a failure, or not at all (None). The one rule for
    success rates, calibration and labels:

    an episode that was asked to end has no outcome, wherever the item was by then; in all others,
    time limits, faults and protective stops included, the station's word `said` counts, None where
    no station says.
    """
    return None if end == INTERRUPTED else said


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """How an episode ended: the topic /result of a recording."""

    end: str  # done | time limit | protective stop | fault | interrupted
    success: bool | None  # see `success_of`
    seconds: float
    ticks: int
    retries: int
    rejected: int  # commands that the guard changed
    missed: int  # deadlines
    peak_force: float  # the largest |F| at the TCP [N]
    reward: float  # the sum of PRO's rewards
    why: str = ""  # what the fault was


class Trace:
    """PRO's signals of one episode beside what the baselines look at, one entry per head step."""

    def __init__(self, size: int) -> None:
        self._data = np.zeros((5, size))
        self._n = 0

    def add(self, t: float, signals: Signals, force: float, retries: int) -> None:
        if self._n < self._data.shape[1]:
            self._data[:, self._n] = t, signals.risk, signals.completion, force, retries
            self._n += 1

    @property
    def t(self) -> Vec:
        return self._data[0, : self._n]

    @property
    def risk(self) -> Vec:
        return self._data[1, : self._n]

    @property
    def completion(self) -> Vec:
        return self._data[2, : self._n]

    @property
    def force(self) -> Vec:
        return self._data[3, : self._n]

    @property
    def retries(self) -> Vec:
        return self._data[4, : self._n]

    def index(self, t: float) -> int:
        """The last entry at or before `t` [s]."""
        return max(0, int(np.searchsorted(self.t, t + 1e-9)) - 1)
