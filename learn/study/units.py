"""A unit of a study, what it reports and returns, and the interface of what runs it.

A runner is an object with the method `run` of `UnitRunner`, or a function that is called the same
way; the plan names it as MODULE:NAME.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import msgspec

from headway.errors import ConfigError


class Test(msgspec.Struct, frozen=True, kw_only=True):
    """Test orders after a round: those with the seeds `first` to `first + orders - 1`."""

    __test__ = False  # it is no class of tests for pytest

    round: int  # 0: the cloned policy, before anything was learned
    suite: str
    first: int
    orders: int
    settings: dict[str, Any] = {}  # what is changed in the scene

    @property
    def seeds(self) -> range:
        """Seeds of the orders."""
        return range(self.first, self.first + self.orders)


class Unit(msgspec.Struct, frozen=True, kw_only=True):
    """One arm on one workflow with one seed: what one run of learning is. It has all that a runner
    may know; nothing else of the plan is to influence the result."""

    arm: str
    workflow: str
    seed: int
    rounds: int
    robot_s: float  # of robot time in each round [s]
    slack_s: float  # by how much that may differ [s]
    train_first: int  # training scenes have the seeds from here,
    train_count: int  # so many of them
    tests: tuple[Test, ...]
    settings: dict[str, Any] = {}  # hyper-parameters and switches, the arm's over the plan's

    @property
    def name(self) -> str:
        """Names its files: ARM_WORKFLOW_SEED."""
        return f"{self.arm}_{self.workflow}_{self.seed}"

    @property
    def key(self) -> tuple[str, str, int]:
        """Arm, workflow and seed."""
        return self.arm, self.workflow, self.seed


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """What one round of learning took. Nothing in it is measured on test orders."""

    round: int  # 1 .. rounds
    robot_s: float  # robot time, interventions and demonstrations included [s]
    operator_s: float  # of it, time in which an operator demonstrated or took over [s]
    episodes: int  # orders worked on for training
    interventions: int
    success: float  # share of these orders that were right; NaN where there were none
    accepted: bool  # the gate kept the policy that this round made


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """How one test order went. One whose simulated physics blew up has no lines and no time, and
    counts as not done."""

    round: int
    suite: str
    seed: int
    success: bool  # by the audit of the whole order
    lines: int  # of the order
    closed: int  # lines that the station closed
    failed: int  # attempts that failed, by the events that count as retries
    injected: bool  # a failure was brought about on purpose, and happened
    peak_n: float  # the largest |F| at the TCP [N]
    seconds: float  # from the first tick to the end [s]


class UnitResult(msgspec.Struct, frozen=True):
    """Everything that a unit found: a `Round` per round, an `Order` per test order."""

    rounds: tuple[Round, ...]
    orders: tuple[Order, ...]


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """Where a unit is, for the live table."""

    round: int  # in which round it is, 0 before the first
    doing: str  # a word or two
    share: float  # of the whole unit that is done, 0..1
    robot_s: float = 0.0  # training time so far [s]
    success: float | None = None  # of the newest test on the main suite
    waits: bool = False  # for another unit


Report = Callable[[Progress], None]


class UnitRunner(Protocol):
    """Runs units."""

    def run(self, unit: Unit, folder: Path, progress: Report, shared: Path) -> UnitResult:
        """Run `unit` and return what it found. `folder` is its own: what it keeps there lets it go
        on after it was killed at any moment, without counting anything twice; when all is done it
        returns the same again. `progress` is called every few seconds at most. `shared` is a folder
        that all units on this computer have, several at a time, for what they would make alike: the
        result is the same with it empty. Raises HeadwayError."""


def load_runner(name: str) -> UnitRunner:
    """The runner `name`, MODULE:NAME. Raises ConfigError."""
    module, _, attribute = name.partition(":")
    try:
        found = import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as e:
        raise ConfigError(f"wanted a runner of units at `{name}` (MODULE:NAME): {e}") from e
    if hasattr(found, "run"):
        made: UnitRunner = found
        return made
    if callable(found):
        return _Function(found)
    raise ConfigError(f"wanted a function or an object with `run` at `{name}`, found {found!r}")


class _Function:
    """A function as a runner."""

    def __init__(self, run: Callable[[Unit, Path, Report, Path], UnitResult]) -> None:
        self.run = run


def check(unit: Unit, result: UnitResult) -> None:
    """Raises ValueError unless `result` is all that `unit` wants, each part once: what is wrong."""
    rounds = [r.round for r in result.rounds]
    if rounds != list(range(1, unit.rounds + 1)):
        raise ValueError(f"wanted the rounds 1 to {unit.rounds} in their order, found {rounds}")
    for r in result.rounds:
        if not 0.0 <= r.robot_s - unit.robot_s <= unit.slack_s:
            raise ValueError(
                f"round {r.round} wants {unit.robot_s:g} to {unit.robot_s + unit.slack_s:g} s of "
                f"robot time, found {r.robot_s:g} s"
            )
    wanted = {(t.round, t.suite, seed) for t in unit.tests for seed in t.seeds}
    found = [(o.round, o.suite, o.seed) for o in result.orders]
    twice = len(found) - len(set(found))
    if twice:
        raise ValueError(f"wanted each test order once, found {twice} more")
    if set(found) != wanted:
        raise ValueError(
            f"wanted {len(wanted)} test orders, found {len(wanted & set(found))} of them and "
            f"{len(set(found) - wanted)} others"
        )
    for o in result.orders:
        blew_up = o.lines == 0 and o.seconds == 0.0 and not o.success
        ran = o.lines >= 1 and o.seconds > 0.0
        if not 0 <= o.closed <= o.lines or o.failed < 0 or not (ran or blew_up):
            raise ValueError(f"wanted an order that can be, found {o}")
