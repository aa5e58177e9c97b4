"""What is measured on the test orders of a unit. Each measure is a quotient of two sums over
orders, so that its interval needs no second look at them; the time to a level comes from the
rounds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from headway.learn.study.plan import INJECTED, MAIN, Plan
from headway.learn.study.units import Order, UnitResult

Floats = NDArray[np.float64]


class Measure(NamedTuple):
    """`top` and `bottom` of an order; the measure is the quotient of their sums. `when`: in the
    mean over the primary rounds, or after the last round."""

    name: str
    title: str
    unit: str
    suite: str
    when: Literal["primary", "final"]
    better: Literal["higher", "lower"]
    top: Callable[[Order], float]
    bottom: Callable[[Order], float]
    meaning: str

    @property
    def is_share(self) -> bool:
        """Whether it is between 0 and 1."""
        return self.better == "higher"

    def rounds(self, plan: Plan) -> tuple[int, ...]:
        """The rounds after which it is measured."""
        return plan.measured.primary_rounds if self.when == "primary" else (plan.rounds,)


PRIMARY = Measure(
    "success", "success, mean of rounds", "", MAIN, "primary", "higher",
    lambda o: float(o.success), lambda o: 1.0,
    "share of test orders that were right at the audit, mean over the primary rounds",
)  # fmt: skip

FINAL = Measure(
    "final", "final success", "", MAIN, "final", "higher",
    lambda o: float(o.success), lambda o: 1.0,
    "the same after the last round alone",
)  # fmt: skip

SECONDARY = (
    FINAL,
    Measure(
        "recovery", "recovery after the first failure", "", MAIN, "final", "higher",
        lambda o: float(o.success and o.failed > 0), lambda o: float(o.failed > 0),
        "of the orders with a failed attempt, the share that was right in the end; arms fail on "
        "different orders, so it is paired by seed but not order by order",
    ),
    Measure(
        "injected", "recovery after an injected failure", "", INJECTED, "final", "higher",
        lambda o: float(o.success and o.injected), lambda o: float(o.injected),
        "of the orders in which a failure was brought about on purpose, the share that was right",
    ),
    Measure(
        "attempts", "failed attempts per item", "", MAIN, "final", "lower",
        lambda o: float(o.failed), lambda o: float(o.closed),
        "failed attempts of all orders by the lines that the station closed",
    ),
    Measure(
        "force", "peak force", "N", MAIN, "final", "lower",
        lambda o: o.peak_n, lambda o: 1.0,
        "mean over orders of the largest force at the TCP",
    ),
    Measure(
        "cycle", "cycle time", "s", MAIN, "final", "lower",
        lambda o: o.seconds if o.success else 0.0, lambda o: float(o.lines if o.success else 0),
        "seconds per line of the orders that were right",
    ),
)  # fmt: skip

MEASURES = (PRIMARY, *SECONDARY)


def parts(measure: Measure, results: Sequence[UnitResult], rounds: Sequence[int]) -> Floats:
    """`top` and `bottom` of every order, (S, R, 2, n), by unit and round; NaN where an order was
    not tested. Orders are in the order of their seeds, so that column j is the same order in all
    rounds and for all arms of one seed."""
    found = [
        [sorted(_tested(result, measure.suite, r), key=lambda o: o.seed) for r in rounds]
        for result in results
    ]
    n = max((len(orders) for unit in found for orders in unit), default=0)
    made = np.full((len(results), len(rounds), 2, n), np.nan)
    for s, unit in enumerate(found):
        for r, orders in enumerate(unit):
            for j, order in enumerate(orders):
                made[s, r, :, j] = measure.top(order), measure.bottom(order)
    return made


def _tested(result: UnitResult, suite: str, after: int) -> list[Order]:
    return [o for o in result.orders if (o.suite, o.round) == (suite, after)]


def curve(result: UnitResult) -> dict[int, float]:
    """Success on the main suite by round, of the rounds after which it was tested."""
    made: dict[int, list[bool]] = {}
    for order in result.orders:
        if order.suite == MAIN:
            made.setdefault(order.round, []).append(order.success)
    return {r: float(np.mean(found)) for r, found in sorted(made.items())}


def robot_minutes(result: UnitResult) -> dict[int, float]:
    """Robot time up to the end of each round [min]; 0 for round 0."""
    return _until_each_end([r.robot_s / 60.0 for r in result.rounds])


def operator_seconds(result: UnitResult) -> dict[int, float]:
    """Time in which an operator demonstrated or took over, up to the end of each round [s]; 0 for
    round 0."""
    return _until_each_end([r.operator_s for r in result.rounds])


def _until_each_end(each: Sequence[float]) -> dict[int, float]:
    """The sum of `each` up to the end of each round, 0 for round 0."""
    return {r: float(total) for r, total in enumerate(np.cumsum([0.0, *each]))}


def gain(result: UnitResult, rounds: Sequence[int]) -> float:
    """Success on the main suite less that of the clone which the unit began with, on the orders
    that both were tested on, as the mean over `rounds`; NaN where they share none."""
    before = {o.seed: o.success for o in _tested(result, MAIN, 0)}
    found = []
    for r in rounds:
        apart = [o.success - before[o.seed] for o in _tested(result, MAIN, r) if o.seed in before]
        found.append(float(np.mean(apart)) if apart else float("nan"))
    return float(np.mean(found))


class Reached(NamedTuple):
    """The robot time after which a level was held [min]. `censored`: it was not, within `minutes`,
    so the true time is that or more."""

    minutes: float
    censored: bool

    def __str__(self) -> str:
        return f">={self.minutes:.0f}" if self.censored else f"{self.minutes:.0f}"


def reached(result: UnitResult, level: float, hold: int) -> Reached:
    """When success was at `level` or above in `hold` tested rounds in a row: the robot time before
    the first of them. What is above the level for the first time in the last tested rounds, too few
    to say, is censored at all the robot time that there was."""
    tested = list(curve(result).items())
    minutes = robot_minutes(result)
    for i in range(len(tested) - hold + 1):
        if all(success >= level for _, success in tested[i : i + hold]):
            return Reached(minutes[tested[i][0]], False)
    return Reached(max(minutes.values()), True)


def median(times: Sequence[Reached]) -> Reached | None:
    """The median. It is censored where a time that counts for it is: the true one is that or more.
    None for no times."""
    if not times:
        return None
    ordered = sorted(times, key=lambda t: (math.inf if t.censored else t.minutes, t.minutes))
    low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    return Reached((low.minutes + high.minutes) / 2, high.censored)


def restricted(times: Sequence[Reached]) -> Floats:
    """Times up to the end of the study, whether reached or not [min]: their mean is the restricted
    mean, a lower bound of the mean time where some are censored (Royston & Parmar 2013)."""
    return np.array([t.minutes for t in times])
