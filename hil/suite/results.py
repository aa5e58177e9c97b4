"""What a check has found."""

from __future__ import annotations

from typing import Literal

import msgspec

from headway.config import Struct
from headway.errors import HeadwayError

Verdict = Literal["kept", "broken", "not applicable"]


class NotApplicableError(HeadwayError):
    """A promise that this device does not make, or that cannot be checked here; says why."""


class Found:
    """What a check collects: `numbers` by name, with the unit in the name; `series` for plots;
    `broken`: in which ways the promise is broken; `said`: what else is worth telling."""

    def __init__(self) -> None:
        self.numbers: dict[str, float] = {}
        self.series: dict[str, list[float]] = {}
        self.broken: list[str] = []
        self.said: list[str] = []

    def want(self, kept: bool, otherwise: str) -> None:
        """The promise is broken, as `otherwise` says, unless `kept`."""
        if not kept:
            self.broken.append(otherwise)


class Result(msgspec.Struct, frozen=True):
    """The verdict about `promise` of `device`, why, and what was measured. `seconds` [s] it
    took."""

    device: str
    promise: str
    verdict: Verdict
    said: str
    numbers: dict[str, float] = {}
    series: dict[str, list[float]] = {}
    seconds: float = 0.0


class Bounds(Struct, frozen=True):
    """What the suite allows, and how long it looks.

    `window_s` [s] of samples; `tries` of a measurement of time, of which the best one counts, since
    other programs of the host may have disturbed it; `rate_share`: how far the rate may be off;
    `periods`: the longest gap between two samples, and their greatest age; `slack_s` [s] for a host
    that is no real-time system; `latency_s` [s] from a command to motion; `rest_s` [s] to come to
    rest; `still` [rad]: an arm that moves less stands; `step` [rad] of motions; `recover_s` [s]
    after a fault; `fault_s` [s] that a fault lasts; `cycles` of opening and closing, in at most
    `cycles_s` [s]; `grown_mb` [MB]: the memory that they may take; `deadline_s` [s] of a check,
    after which it hangs."""

    window_s: float = 2.0
    tries: int = 3
    rate_share: float = 0.15
    periods: float = 3.0
    slack_s: float = 0.1
    latency_s: float = 0.25
    rest_s: float = 1.0
    still: float = 0.01
    step: float = 0.05
    recover_s: float = 5.0
    fault_s: float = 1.0
    cycles: int = 1000
    cycles_s: float = 120.0
    grown_mb: float = 8.0
    deadline_s: float = 60.0


QUICK = Bounds(window_s=0.6, tries=3, fault_s=0.6, cycles=20, cycles_s=20.0)
