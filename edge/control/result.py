"""How an episode ended, what counts as success, and PRO's signals along it."""

from __future__ import annotations

import msgspec
import numpy as np

from headway.types import Signals, Vec

INTERRUPTED = "interrupted"


def success_of(end: str, said: bool | None) -> bool | None:
    """Whether an episode counts as a success, as a failure, or not at all (None). Success rates,
    calibration and labels all use this rule.

    An interrupted episode (`end`) has no outcome, however far the task was by then. For all others,
    including time limits, faults and protective stops, `said` counts: the verdict of the operator
    who ended the episode, else that of the task, else that of the world; None where there is none.
    """
    return None if end == INTERRUPTED else said


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """How an episode ended: the topic /result of a recording."""

    end: str  # done | operator | time limit | protective stop | fault | interrupted
    success: bool | None  # see `success_of`
    seconds: float  # [s]
    ticks: int
    retries: int
    rejected: int  # commands that the guard refused; it braked or held instead
    missed: int  # deadline misses
    peak_force: float  # the largest |F| at the TCP [N]
    reward: float  # the sum of PRO's rewards
    why: str = ""  # what the fault was
    policy_failed: str = ""  # how the policy failed last, "" where it never did
    clamped: int = 0  # commands that the guard followed only as fast as the joints may
    refused: dict[str, int] = {}  # of the rejected commands, how many by the name of the `Reason`
    # what the task measured, by name with the unit, as it was at the end; None: not finite
    numbers: dict[str, float | None] = {}


class Trace:
    """PRO's signals during one episode, with the force and the retries that baselines use: at most
    `size` entries, one per run of PRO's head."""

    def __init__(self, size: int) -> None:
        self._data = np.zeros((5, size))
        self._n = 0

    def add(self, t: float, signals: Signals, force: float, retries: int) -> None:
        """Append an entry; one that exceeds `size` is dropped. `t` [s] since the first tick,
        `force` |F| at the TCP [N], `retries` in the episode so far."""
        if self._n < self._data.shape[1]:
            self._data[:, self._n] = t, signals.risk, signals.completion, force, retries
            self._n += 1

    @property
    def t(self) -> Vec:
        """Times since the first tick (entries,) [s]."""
        return self._data[0, : self._n]

    @property
    def risk(self) -> Vec:
        """PRO's risk (entries,), 0..1."""
        return self._data[1, : self._n]

    @property
    def completion(self) -> Vec:
        """PRO's completion (entries,), 0..1."""
        return self._data[2, : self._n]

    @property
    def force(self) -> Vec:
        """|F| at the TCP (entries,) [N]."""
        return self._data[3, : self._n]

    @property
    def retries(self) -> Vec:
        """Retries so far (entries,)."""
        return self._data[4, : self._n]

    def index(self, t: float) -> int:
        """Index of the last entry at or before `t` [s]; 0 where there is none."""
        return max(0, int(np.searchsorted(self.t, t + 1e-9)) - 1)
