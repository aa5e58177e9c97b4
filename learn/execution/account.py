"""What a unit tells of itself while it runs."""

from __future__ import annotations

import math
import time

from headway.learn.study.units import Progress, Report

USUAL_S = 40.0  # of simulated time that an order takes [s]
EVERY_S = 1.0  # between reports of the same thing [s]


class Account:
    """Counts what a unit has done, and reports it. `whole_s` [s]: simulated time of the whole unit,
    about."""

    def __init__(self, report: Report, whole_s: float) -> None:
        self.round = 0  # in which the unit is
        self.success = math.nan  # at the newest test
        self._report, self._whole_s = report, whole_s
        self._robot_s, self._simulated_s, self._told = 0.0, 0.0, -math.inf

    def trained(self, doing: str, seconds: float) -> None:
        """An episode to learn from has lasted for `seconds` [s]."""
        self._robot_s += seconds
        self.worked(doing, seconds)

    def worked(self, doing: str, seconds: float) -> None:
        """`seconds` [s] of simulated time more are done. Reported about once a second."""
        self._simulated_s += seconds
        if time.monotonic() - self._told >= EVERY_S:
            self.tell(doing)

    def tell(self, doing: str, waits: bool = False) -> None:
        """Report at once. `waits`: for another unit."""
        self._told = time.monotonic()
        self._report(
            Progress(
                round=self.round, doing=doing, robot_s=self._robot_s, waits=waits,
                share=min(0.999, self._simulated_s / self._whole_s),
                success=None if math.isnan(self.success) else self.success,
            )
        )  # fmt: skip
