"""All numbers of a study from the results of its units: what the page and the plots show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from headway.learn.study import bootstrap, measures
from headway.learn.study.bootstrap import NO_BOUNDS, SHARE, Drawn, Estimate, Floats
from headway.learn.study.measures import MEASURES, PRIMARY, Measure, Reached
from headway.learn.study.plan import MAIN, Plan
from headway.learn.study.units import UnitResult
from headway.tools.statistics import wilson

Results = Mapping[tuple[str, str, int], UnitResult]
CURVE = "curve"  # stands for the success after each round


@dataclass(frozen=True)
class Point:
    """Success after a round, and what it took until then."""

    round: int  # 0: the clone that the arm begins with
    minutes: float  # of robot time, mean over seeds [min]
    operator_s: float  # of it, time of an operator [s]
    success: Estimate


@dataclass(frozen=True)
class Arm:
    """What one arm came to on one workflow, from the units that are there."""

    name: str
    seeds: tuple[int, ...]  # finished
    planned: int
    numbers: dict[str, Estimate]  # by the name of the measure
    final: tuple[int, int]  # orders that were right after the last round, of how many: all seeds
    wilson: tuple[float, float]  # interval of that share, as if all orders were independent
    times: tuple[Reached, ...]  # to the level, seed by seed
    minutes: Estimate  # the mean of these, where censored ones count up to the end
    operator_s: Estimate
    curve: tuple[Point, ...]  # after the rounds that were tested
    gain: Estimate  # mean over the primary rounds less the clone, on the same orders
    by_seed: tuple[float, ...]  # the primary measure
    accepted: float  # share of the rounds whose policy the gate kept


@dataclass(frozen=True)
class Versus:
    """The first arm less the second on one workflow, from the seeds that both have."""

    first: str
    second: str
    seeds: int  # that both have,
    planned: int  # and should have
    numbers: dict[str, Estimate]  # by the name of the measure; also "minutes", "operator_s"
    faster: tuple[int, int, int]  # seeds where the first was at the level sooner, later, neither


@dataclass(frozen=True)
class Workflow:
    """One workflow's part of a study."""

    name: str
    level: float
    arms: tuple[Arm, ...]
    versus: tuple[Versus, ...]


@dataclass(frozen=True)
class Other:
    """A study whose arms stand beside those of a summary, called ARM-STUDY."""

    plan: Plan
    registration: str


@dataclass(frozen=True)
class Summary:
    """A whole study, as far as it has come."""

    plan: Plan
    registration: str
    done: int
    total: int
    workflows: tuple[Workflow, ...]
    other: Other | None = None


def summarise(
    plan: Plan, registration: str, total: int, results: Results, other: Other | None = None
) -> Summary:
    """The numbers of all arms and comparisons in `plan`, from the `results` that there are, of
    `total` planned units. The draws are seeded by the plan: the same results give the same numbers.
    `other` is said to be where some of the arms are from (`learn.study.beside`).
    """
    made = tuple(_workflow(plan, name, results) for name in plan.workflows)
    return Summary(plan, registration, len(results), total, made, other)


def _workflow(plan: Plan, name: str, results: Results) -> Workflow:
    have = {
        arm.name: tuple(s for s in plan.seeds.units[: arm.seeds] if (arm.name, name, s) in results)
        for arm in plan.arms
        if name in arm.workflows
    }
    pairs = [
        (a, b, tuple(s for s in have[a] if s in have[b]))
        for a, b in plan.measured.compare
        if a in have and b in have
    ]
    # Arms with the same seeds share their draws, and so do the two of a comparison.
    groups: dict[tuple[int, ...], list[str]] = {}
    for arm, seeds in have.items():
        groups.setdefault(seeds, []).append(arm)
    for a, b, seeds in pairs:
        groups.setdefault(seeds, []).extend((a, b))
    drawn = {
        seeds: _drawn(plan, name, seeds, tuple(dict.fromkeys(arms)), results)
        for seeds, arms in groups.items()
        if seeds
    }
    level = plan.measured.level[name]
    arms = tuple(
        _arm(plan, name, arm, seeds, results, drawn.get(seeds, {})) for arm, seeds in have.items()
    )
    versus = tuple(
        _versus(plan, name, a, b, seeds, results, drawn[seeds]) for a, b, seeds in pairs if seeds
    )
    return Workflow(name, level, arms, versus)


# By arm and measure, the numbers of its units (S,) and their draws.
_Drawn = dict[tuple[str, str], tuple[Floats, Drawn]]


def _drawn(
    plan: Plan, workflow: str, seeds: tuple[int, ...], arms: tuple[str, ...], results: Results
) -> _Drawn:
    """All measures of `arms` on the units with `seeds`, from draws that are the same for all."""
    jobs: list[tuple[str, Measure, tuple[int, ...]]] = [
        (m.name, m, m.rounds(plan)) for m in MEASURES if m.suite in plan.suites
    ]
    tested = [r for r, n in enumerate(plan.suites[MAIN].orders) if n]
    jobs += [(f"{CURVE}{r}", PRIMARY, (r,)) for r in tested]
    made: _Drawn = {}
    for name, measure, rounds in jobs:
        units = [[results[arm, workflow, s] for s in seeds] for arm in arms]
        parts = np.stack([measures.parts(measure, found, rounds) for found in units])
        if not parts.shape[-1]:
            continue
        # One generator each with the same seed: a measure's draws do not hang on the others.
        rng = np.random.default_rng(plan.measured.seed)
        draws = bootstrap.draw(parts, plan.measured.draws, rng)
        for i, (arm, own) in enumerate(zip(arms, bootstrap.values(parts), strict=True)):
            made[arm, name] = own, draws.arm(i)
    return made


def _arm(
    plan: Plan, workflow: str, name: str, seeds: tuple[int, ...], results: Results, drawn: _Drawn
) -> Arm:
    found = [results[name, workflow, s] for s in seeds]
    last = [o for f in found for o in f.orders if (o.suite, o.round) == (MAIN, plan.rounds)]
    right = sum(o.success for o in last)
    times = _times(plan, workflow, found)
    numbers = {
        m.name: _estimate(drawn, name, m.name, SHARE if m.is_share else (0.0, np.inf))
        for m in MEASURES
    }
    curve = tuple(
        Point(
            r,
            float(np.mean([measures.robot_minutes(f)[r] for f in found])),
            float(np.mean([measures.operator_seconds(f)[r] for f in found])),
            e,
        )
        for r in range(plan.rounds + 1)
        if (e := _estimate(drawn, name, f"{CURVE}{r}", SHARE)).n
    )
    kept = [r.accepted for f in found for r in f.rounds]
    return Arm(
        name=name,
        seeds=seeds,
        planned=next(a.seeds for a in plan.arms if a.name == name),
        numbers=numbers,
        final=(right, len(last)),
        wilson=wilson(right, len(last)),
        times=times,
        minutes=_seeds_only(plan, measures.restricted(times)),
        operator_s=_seeds_only(plan, _operator(found)),
        curve=curve,
        gain=_seeds_only(
            plan, np.array([measures.gain(f, plan.measured.primary_rounds) for f in found])
        ),
        by_seed=tuple(drawn[name, PRIMARY.name][0]) if seeds else (),
        accepted=float(np.mean(kept)) if kept else float("nan"),
    )


def _versus(
    plan: Plan,
    workflow: str,
    a: str,
    b: str,
    seeds: tuple[int, ...],
    results: Results,
    drawn: _Drawn,
) -> Versus:
    numbers = {}
    for m in MEASURES:
        if (a, m.name) in drawn:
            (own_a, draws_a), (own_b, draws_b) = drawn[a, m.name], drawn[b, m.name]
            bounds = (-1.0, 1.0) if m.is_share else NO_BOUNDS
            numbers[m.name] = bootstrap.estimate(own_a - own_b, draws_a.less(draws_b), bounds)
    of = {arm: [results[arm, workflow, s] for s in seeds] for arm in (a, b)}
    times = {arm: _times(plan, workflow, found) for arm, found in of.items()}
    minutes = {arm: measures.restricted(t) for arm, t in times.items()}
    numbers["minutes"] = _seeds_only(plan, minutes[a] - minutes[b])
    numbers["operator_s"] = _seeds_only(plan, _operator(of[a]) - _operator(of[b]))
    tell = plan.robot_s / 120.0  # half a round: ends of the same round differ by less
    said = [_sooner(x, y, tell) for x, y in zip(times[a], times[b], strict=True)]
    planned = min(arm.seeds for arm in plan.arms if arm.name in (a, b))
    faster = said.count(1), said.count(-1), said.count(0)
    return Versus(a, b, len(seeds), planned, numbers, faster)


def _sooner(a: Reached, b: Reached, tell: float) -> int:
    """1: a before b, -1: b before a, 0: within `tell` [min] of each other, or nobody saw."""
    if a.censored and b.censored:
        return 0
    if a.censored or b.censored:
        return 1 if b.censored else -1
    apart = b.minutes - a.minutes
    return int(np.sign(apart)) if abs(apart) > tell else 0


def _estimate(drawn: _Drawn, arm: str, name: str, bounds: tuple[float, float]) -> Estimate:
    if (arm, name) not in drawn:
        return Estimate(np.nan, np.nan, np.nan, 0)
    return bootstrap.estimate(*drawn[arm, name], bounds)


def _times(plan: Plan, workflow: str, found: Sequence[UnitResult]) -> tuple[Reached, ...]:
    level, hold = plan.measured.level[workflow], plan.measured.hold_rounds
    return tuple(measures.reached(f, level, hold) for f in found)


def _operator(found: Sequence[UnitResult]) -> Floats:
    return np.array([max(measures.operator_seconds(f).values()) for f in found])


def _seeds_only(plan: Plan, units: Floats) -> Estimate:
    rng = np.random.default_rng(plan.measured.seed)
    return bootstrap.of_units(units, plan.measured.draws, rng)
