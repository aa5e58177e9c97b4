"""`headway learn`: one policy that learns from its executions, by a TOML file.

    base = "../models/workflows"     # the policy: its eyes stay, its head learns
    workflow = "pick_place"          # in simulation: demonstrations, rollouts, corrections, tests
    out = "../runs/learn/pick_place"

or, from recordings of a robot:

    base = "../models/workflows"
    recordings = ["../runs/robot"]
    out = "../runs/learn/robot"
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import torch
from msgspec import Meta, field
from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from headway import config
from headway.config import AtLeastOne, Count, Positive, Struct
from headway.errors import ConfigError
from headway.learn import files
from headway.learn.execution import recorded
from headway.learn.execution.base import open_base
from headway.learn.execution.settings import Learning, learning
from headway.learn.execution.unit import run_unit
from headway.learn.files import recordings_in
from headway.learn.study.units import Progress as Told
from headway.learn.study.units import Test, Unit, UnitResult
from headway.tools.statistics import wilson

TRAIN_FROM, TEST_FROM, SEEDS = 300_000_000, 400_000_000, 10_000


class LearnConfig(Struct, frozen=True, kw_only=True):
    """A file of `headway learn`. Paths are relative to its folder. `arm` names how it learns, see
    `settings.ARMS`; `learn` has `settings.Learning` beyond `base`. With `workflow`, `tests` are how
    many test orders there are before the first round and after each."""

    base: str
    out: str
    arm: str = "1.6"
    workflow: str | None = None
    recordings: tuple[str, ...] = ()
    seed: Annotated[int, Meta(ge=0, le=9_999)] = 0
    rounds: AtLeastOne = 5
    robot_s: Positive = 900.0
    tests: tuple[Count, ...] = ()
    learn: dict[str, Any] = field(default_factory=dict)


def learn_command(path: Path, console: Console | None = None) -> int:
    """Learn as the file at `path` says; started again, it goes on where it was. Returns 0, or 1
    where recordings had to be left out. Raises ConfigError for a file that does not fit, Busy where
    another process works in the folder, and what learning raises."""
    console = console or Console()
    cfg = config.load(path, LearnConfig)
    if (cfg.workflow is None) == (not cfg.recordings):
        raise ConfigError(
            f"{path}: wanted either a `workflow` to simulate or `recordings` to learn from, found "
            f"{'both' if cfg.recordings else 'neither'}"
        )
    folder = path.resolve().parent
    torch.set_num_threads(1)
    how = learning(cfg.arm, {**cfg.learn, "base": str(folder / cfg.base)}, str(path))
    out = folder / cfg.out
    with files.alone(out, "the folder"):
        if cfg.workflow is None:
            return _from_recordings(cfg, how, [folder / p for p in cfg.recordings], out, console)
        return _in_simulation(cfg, how, cfg.workflow, path, out, console)


def _in_simulation(
    cfg: LearnConfig, how: Learning, workflow: str, path: Path, out: Path, console: Console
) -> int:
    orders = cfg.tests or (20, *([0] * (cfg.rounds - 1)), 20)
    if len(orders) != cfg.rounds + 1:
        raise ConfigError(
            f"{path}: `tests` wants {cfg.rounds + 1} numbers, one before the first round and one "
            f"after each, found {len(orders)}"
        )
    unit = Unit(
        arm=cfg.arm, workflow=workflow, seed=cfg.seed, rounds=cfg.rounds, robot_s=cfg.robot_s,
        slack_s=math.inf, train_first=TRAIN_FROM + cfg.seed * SEEDS, train_count=SEEDS,
        tests=tuple(
            Test(round=r, suite="main", first=TEST_FROM + cfg.seed * SEEDS, orders=n)
            for r, n in enumerate(orders) if n
        ),
        settings={**cfg.learn, "base": how.base},
    )  # fmt: skip
    with _Shown(console, unit) as show:
        found = run_unit(unit, out, show.told)
    console.print(_table(found, unit))
    last = out / f"round-{cfg.rounds}"
    console.print(f"the policy, and what belongs to it: {escape(str(last))}", soft_wrap=True)
    return 0


def _from_recordings(
    cfg: LearnConfig, how: Learning, paths: list[Path], out: Path, console: Console
) -> int:
    base = open_base(Path(how.base))
    with _bar(console) as progress:
        bars: dict[str, TaskID] = {}

        def tell(doing: str, share: float) -> None:
            if doing not in bars:
                for bar in bars.values():
                    progress.update(bar, completed=1.0)
                bars[doing] = progress.add_task(doing, total=1.0)
            progress.update(bars[doing], completed=share)

        found = recorded.look(recordings_in(paths), base, out / "episodes", tell)
        for text in found.left_out:
            console.print(f"[red]left out[/red] {escape(text)}", soft_wrap=True)
        if found.copies:
            console.print(f"{found.copies} recordings are copies of others; they are left out")
        if not found.lessons:
            raise ConfigError("wanted recordings to learn from, found none that can be used")
        _say_counts(console, recorded.Counts.of(found.lessons))
        recorded.improve(found.lessons, base, how, out, cfg.seed, tell)
    console.print(f"wrote {escape(str(out / 'policy'))}", soft_wrap=True)
    return 1 if found.left_out else 0


def _say_counts(console: Console, n: recorded.Counts) -> None:
    own, helped, shown = n.decisions
    console.print(
        f"{n.episodes} episodes, {n.seconds / 60:.1f} robot-minutes; {n.right} of {n.known} with "
        f"an outcome went well; {n.lines} lines closed, {n.failures} failures; decisions: {own} of "
        f"the policy, {helped} of who took over, {shown} of demonstrators",
        soft_wrap=True,
    )


class _Shown:
    """A live table of a unit: a row for each round that has begun."""

    def __init__(self, console: Console, unit: Unit) -> None:
        self._unit = unit
        self._rows: dict[int, Told] = {}
        self._bar = _bar(console)
        self._task = self._bar.add_task("", total=1.0)
        self._live = Live(self._drawn(), console=console, refresh_per_second=2)

    def __enter__(self) -> _Shown:
        self._live.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._live.__exit__(*error)

    def told(self, now: Told) -> None:
        """Show where the unit is."""
        self._rows[now.round] = now
        self._bar.update(self._task, completed=now.share, description=now.doing)
        self._live.update(self._drawn())

    def _drawn(self) -> Group:
        table = Table(title=f"{self._unit.arm} on {self._unit.workflow}", box=box.SIMPLE_HEAD)
        for name in ("round", "robot-minutes", "doing", "orders right at the last test"):
            table.add_column(name, justify="right")
        for r, x in sorted(self._rows.items()):
            share = "" if x.success is None else f"{x.success:.0%}"
            table.add_row(str(r), f"{x.robot_s / 60:.1f}", x.doing, share)
        return Group(table, self._bar)


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:.0f} %"),
        TimeElapsedColumn(), console=console,
    )  # fmt: skip


def _table(found: UnitResult, unit: Unit) -> Table:
    """How each round went."""
    table = Table(title=f"{unit.arm} on {unit.workflow}, seed {unit.seed}", box=box.SIMPLE_HEAD)
    for name in (
        "round",
        "robot s",
        "by an operator",
        "orders",
        "right in training",
        "right at tests",
    ):
        table.add_column(name, justify="right")
    for r in range(unit.rounds + 1):
        tested = [o.success for o in found.orders if o.round == r and o.suite == "main"]
        said = ""
        if tested:
            low, high = wilson(sum(tested), len(tested))
            said = f"{sum(tested)}/{len(tested)} ({low:.0%} to {high:.0%})"
        if r == 0:
            table.add_row("0", "", "", "", "", said)
            continue
        x = found.rounds[r - 1]
        share = "" if math.isnan(x.success) else f"{x.success:.0%}"
        table.add_row(
            str(r), f"{x.robot_s:.0f}", f"{x.operator_s:.0f}", str(x.episodes), share, said
        )
    return table
