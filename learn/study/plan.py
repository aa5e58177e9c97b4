"""The plan of a study: everything that is fixed before its first unit runs, as a TOML file.

    name = "three-systems"
    runner = "headway.learn.execution.unit:run_unit"
    rounds = 5
    robot_s = 900.0
    frozen = ["../workflows/*.toml"]

`frozen` are patterns of files, relative to the plan's folder, whose contents belong to the plan:
the difficulty of the workflows, the code that decides the results (see `registration`). The runner
is handed `learn`, over it, table by table, what `[workflow.NAME]` says of a workflow, and over both
the `settings` of the arm; and those of suites as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, field

from headway import config
from headway.config import AtLeastOne, Count, NotNegative, Positive, Struct
from headway.errors import ConfigError
from headway.learn.study.units import Test, Unit

MAIN = "main"  # the suite of test orders that success is measured on
INJECTED = "injected"  # the one in which a failure is brought about in every order
ARM = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*")  # it names files, as ARM_WORKFLOW_SEED
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_-]*")  # of workflows and suites

FirstSeed = Annotated[int, Meta(ge=10_000_000)]  # demonstrations and calibration have those below
Share = Annotated[float, Meta(ge=0.0, le=1.0)]


class Seeds(Struct, frozen=True):
    """Which seeds are used for what. A unit with the seed s trains on scenes with seeds from
    `train_from + s * per_unit` on, and is tested on those from `test_from + s * per_unit` on."""

    units: tuple[Count, ...]  # seeds of units, in the order in which they are run
    development: tuple[Count, ...]  # those that hyper-parameters were chosen on: never run here
    train_from: FirstSeed = 10_000_000
    test_from: FirstSeed = 20_000_000
    per_unit: AtLeastOne = 10_000


class Suite(Struct, frozen=True):
    """Test orders of one kind: how many after each round (item 0: before the first), and what the
    runner changes in the scene for them. The same orders for every arm and in every round: the
    first `orders[r]` of the unit's list."""

    orders: tuple[Count, ...]
    settings: dict[str, Any] = field(default_factory=dict)


class Arm(Struct, frozen=True):
    """One way to learn. Arms of a lower `priority` number are run first."""

    name: str
    workflows: tuple[str, ...]
    seeds: AtLeastOne  # the first so many of the plan's
    priority: Count = 1
    settings: dict[str, Any] = field(default_factory=dict)  # over those of the workflow


class Measured(Struct, frozen=True):
    """What is compared, and where."""

    primary_rounds: tuple[AtLeastOne, ...]  # whose mean success is the primary measure
    compare: tuple[tuple[str, str], ...]  # arms, the first less the second
    level: dict[str, Share]  # by workflow, the success of which the time is measured
    expected: dict[str, str] = field(default_factory=dict)  # what was claimed, by measure
    hold_rounds: AtLeastOne = 2  # tested rounds in a row that have to be at the level
    draws: AtLeastOne = 4000  # of the bootstrap
    seed: Count = 0  # of these draws


class Plan(Struct, frozen=True):
    """A whole study."""

    name: str
    runner: str  # MODULE:NAME of a `units.UnitRunner`
    rounds: AtLeastOne  # of learning, after the start from the cloned policy
    robot_s: Positive  # of robot time in each round, interventions and demonstrations included [s]
    seeds: Seeds
    suites: dict[str, Suite]
    measured: Measured
    arms: tuple[Arm, ...]
    frozen: tuple[str, ...] = ()
    learn: dict[str, Any] = field(default_factory=dict)
    workflow: dict[str, dict[str, Any]] = field(default_factory=dict)  # by name, over those
    slack_s: NotNegative = 0.0  # by how much a round's robot time may differ from `robot_s` [s]

    @property
    def workflows(self) -> tuple[str, ...]:
        """Names of all workflows, in the order in which arms name them."""
        return tuple(dict.fromkeys(w for arm in self.arms for w in arm.workflows))


def load(path: Path) -> Plan:
    """Read and check the plan at `path`. Raises ConfigError."""
    plan = config.load(path, Plan)
    for wrong in _wrong(plan):
        raise ConfigError(f"{path}: {wrong}")
    return plan


def units(plan: Plan) -> list[Unit]:
    """All units of `plan` in the order in which they should run: by the arms' priority, then seed
    by seed, so that whatever is finished can be compared in pairs. Neighbours have different
    workflows: units with the same workflow and seed begin with the same, and one would wait for
    what the other makes."""
    made = [
        (arm.priority, index, at, plan.workflows.index(workflow), _unit(plan, arm, workflow, seed))
        for at, arm in enumerate(plan.arms)
        for workflow in arm.workflows
        for index, seed in enumerate(plan.seeds.units[: arm.seeds])
    ]
    return [unit for *_, unit in sorted(made, key=lambda m: m[:-1])]


def _unit(plan: Plan, arm: Arm, workflow: str, seed: int) -> Unit:
    seeds = plan.seeds
    room = seeds.per_unit // len(plan.suites)
    # Not in the order in which they were written: a registration does not have that.
    suites = sorted(plan.suites.items(), key=lambda named: (named[0] != MAIN, named[0]))
    tests = tuple(
        Test(
            round=r,
            suite=name,
            first=seeds.test_from + seed * seeds.per_unit + at * room,
            orders=n,
            settings=suite.settings,
        )
        for r in range(plan.rounds + 1)
        for at, (name, suite) in enumerate(suites)
        if (n := suite.orders[r])
    )
    return Unit(
        arm=arm.name,
        workflow=workflow,
        seed=seed,
        rounds=plan.rounds,
        robot_s=plan.robot_s,
        slack_s=plan.slack_s,
        train_first=seeds.train_from + seed * seeds.per_unit,
        train_count=seeds.per_unit,
        tests=tests,
        settings=config.over(
            config.over(plan.learn, plan.workflow.get(workflow, {})), arm.settings
        ),
    )


def _wrong(plan: Plan) -> Iterator[str]:
    """What does not fit together, in the words of an error."""
    yield from _wrong_arms(plan)
    yield from _wrong_seeds(plan)
    yield from _wrong_suites(plan)
    yield from _wrong_measured(plan)


def _wrong_arms(plan: Plan) -> Iterator[str]:
    names = [arm.name for arm in plan.arms]
    if not names:
        yield "wanted arms, found none: add a section [[arms]]"
    for name in names:
        if not ARM.fullmatch(name):
            yield f"wanted an arm's name of letters, digits and . + -, found {name!r}: rename it"
    for name in (*plan.workflows, *plan.suites):
        if not NAME.fullmatch(name):
            yield f"wanted a name of letters, digits and . + _ -, found {name!r}: rename it"
    for name in names:
        if names.count(name) > 1:
            yield f"wanted one arm {name!r}, found {names.count(name)}: rename one"
    for arm in plan.arms:
        if len(set(arm.workflows)) < len(arm.workflows) or not arm.workflows:
            yield f"wanted workflows of the arm {arm.name!r}, each once, found {arm.workflows}"
        if arm.seeds > len(plan.seeds.units):
            yield (
                f"the arm {arm.name!r} wants {arm.seeds} seeds, found {len(plan.seeds.units)} in "
                "`seeds.units`: add some, or take fewer"
            )


def _wrong_seeds(plan: Plan) -> Iterator[str]:
    seeds = plan.seeds
    if len(set(seeds.units)) < len(seeds.units) or not seeds.units:
        yield f"`seeds.units` wants seeds, each once, found {list(seeds.units)}"
    both = sorted(set(seeds.units) & set(seeds.development))
    if both:
        yield (
            f"wanted seeds of units that nothing was tuned on, found {both} among "
            "`seeds.development` too: take others"
        )
    first, second = sorted((seeds.train_from, seeds.test_from))
    end = first + (max((*seeds.units, *seeds.development), default=0) + 1) * seeds.per_unit
    if end > second:
        yield (
            "wanted scenes for training and for tests that are different, found seeds from "
            f"{second} to {end - 1} for both: move `seeds.train_from` and `seeds.test_from` apart"
        )


def _wrong_suites(plan: Plan) -> Iterator[str]:
    if MAIN not in plan.suites:
        yield f"wanted a section [suites.{MAIN}], found {', '.join(plan.suites) or 'none'}: add it"
    room = plan.seeds.per_unit // max(1, len(plan.suites))
    for name, suite in plan.suites.items():
        if len(suite.orders) != plan.rounds + 1:
            yield (
                f"`suites.{name}.orders` wants {plan.rounds + 1} numbers, one before the first "
                f"round and one after each, found {len(suite.orders)}"
            )
        if max(suite.orders, default=0) > room:
            yield (
                f"`suites.{name}.orders` wants at most {room} orders, found {max(suite.orders)}: "
                "enlarge `seeds.per_unit`"
            )


def _wrong_measured(plan: Plan) -> Iterator[str]:
    main = plan.suites[MAIN].orders
    for r in (*plan.measured.primary_rounds, plan.rounds):
        if r > plan.rounds or not main[r]:
            yield f"wanted test orders after round {r}, found none: see `suites.{MAIN}.orders`"
    if not plan.measured.primary_rounds:
        yield "`measured.primary_rounds` wants rounds, found none"
    for name in plan.workflow:
        if name not in plan.workflows:
            yield (
                f"[workflow.{name}] wants a workflow of an arm: "
                f"{config.suggest(name, plan.workflows)}"
            )
    missing = [w for w in plan.workflows if w not in plan.measured.level]
    if missing:
        yield f"wanted a level for each workflow in [measured.level], found none for {missing[0]!r}"
    for name in plan.measured.level:
        if name not in plan.workflows:
            yield (
                f"[measured.level] names the workflow {name!r}, which no arm has: "
                f"{config.suggest(name, plan.workflows)}"
            )
    arms = {arm.name: arm for arm in plan.arms}
    for name in (n for pair in plan.measured.compare for n in pair):
        if name not in arms:
            yield f"`measured.compare` names the arm {name!r}: {config.suggest(name, tuple(arms))}"
    for first, second in plan.measured.compare:
        pair = [set(arms[n].workflows) for n in (first, second) if n in arms]
        if len(pair) == 2 and not pair[0] & pair[1]:
            yield (
                f"`measured.compare` names {first!r} and {second!r}, which share no workflow: "
                "leave the pair out"
            )
