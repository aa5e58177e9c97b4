"""What a policy becomes when it learns otherwise from the same executions: an experiment for each
hypothesis, without running the rollouts again.

    cd configs/development
    headway learn shoebox.toml                   # keep = true: its executions stay
    python -m headway.learn.variants shoebox.toml mix_variants.toml

The second file names the variants, each by what is changed in `[learn]` of the first (`arm` names
another arm, `draw` another training of the same head, to see what chance does), and how many test
orders each head gets. All heads get the same orders, so they are
compared pair by pair with the first variant. A variant without changes is the head of the unit's
last round once more; one with `clone` begins with a clone of its own.

    orders = 120
    [variants.as-learned]
    [variants.no-corrections]
    mix = { correction = 0.0 }

Every head and every order is a file as soon as it is there: the same command goes on after an
interruption. Test orders are of the seeds that `headway learn` tests with, and no rollout is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
import torch
import tyro
from msgspec import Meta
from rich import box
from rich.console import Console
from rich.table import Table
from torch import nn

from headway import config
from headway.config import Struct
from headway.errors import ConfigError, PolicyError, RecordingError
from headway.learn import files
from headway.learn.execution import extraction, store, values
from headway.learn.execution.account import USUAL_S, Account
from headway.learn.execution.base import Base, open_base
from headway.learn.execution.beginning import EPISODES
from headway.learn.execution.command import SEEDS, TEST_FROM, LearnConfig
from headway.learn.execution.episodes import Episodes
from headway.learn.execution.lessons import Lesson
from headway.learn.execution.settings import Learning, learning
from headway.learn.execution.site import Driver, Site
from headway.learn.execution.unit import OWN
from headway.learn.executors import processes
from headway.learn.executors.executor import Tell, gather
from headway.learn.paired import paired
from headway.learn.study.plan import MAIN
from headway.learn.study.units import Order, Progress, Test
from headway.tools.statistics import wilson

MADE_OF = "made_of.json"
WIDTH = 110  # of the table where it goes to a file
DRAW = 10_000_000  # seeds of trainings of the same head are so far apart


class Variants(Struct, frozen=True, kw_only=True):
    """A file of variants: `orders` test orders for each, and what is changed, by name."""

    orders: Annotated[int, Meta(ge=1)] = 120
    variants: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Variant:
    """A call of an executor: teach the head of one variant, and test it. Returns its orders.

    `unit` is the folder of the unit whose executions are learned from, `out` that of the variant;
    `seed` is the unit's, and the round of the `test` is its last one.
    """

    name: str
    unit: Path
    out: Path
    workflow: str
    how: Learning
    clones: bool  # it begins with a clone of its own
    seed: int
    test: Test
    draw: int = 0  # trainings with another one differ by chance alone

    def __call__(self, tell: Tell) -> list[Order]:
        from headway.learn.execution.sim_site import SimSite

        torch.set_num_threads(1)
        base = open_base(Path(self.how.base))
        return self.made(tell, base, SimSite(self.workflow, self.how, base))

    def made(self, tell: Tell, base: Base, site: Site) -> list[Order]:
        """The orders of the test with the variant's head, on the eyes of `base`, at `site`."""
        account = Account(tell, USUAL_S * self.test.orders)
        account.tell("reading")
        lessons = executions(self.unit)
        alike = msgspec.structs.replace(self.how, base="", keep=False)
        store.in_one_state(
            self.out / MADE_OF,
            {
                "settings": msgspec.json.encode(alike).decode(),
                "draw": str(self.draw),
                "eyes": base.eyes,
                "executions": " ".join(f"{x.name}:{x.end_s:.3f}" for x in lessons),
                **site.made_of,
            },
        )
        policy = self.out / "policy"
        if not policy.exists():
            base.save(self._taught(lessons, base, account), policy, f"variant {self.name}")
        with_it = Driver("policy", policy, noise=self.how.noise)
        return Episodes(self.name, site, account).test(self.out, self.test, with_it)

    def _taught(self, lessons: Sequence[Lesson], base: Base, account: Account) -> nn.Module:
        how, blank = self.how, base.head(self.seed, self.how.clone.width)
        if self.clones:
            account.tell("cloning")
            shown = [x for x in lessons if x.demonstration]
            weight = extraction.weights(shown, None, how.mix)
            clone = extraction.improved(
                blank, base.loss, shown, weight, how.clone, self.seed * 1000
            )  # as `beginning.Beginning` does it, so that nothing else differs
        else:
            clone = store.load_weights(self.unit / OWN / "clone.pt", blank)
        if not how.head.steps:
            return clone
        advantage = None
        seed = self.seed * 1000 + self.test.round + DRAW * self.draw
        # What decisions were worth is of no use where none of the policy's own is taken.
        if how.arm.credit != "demonstrations" and how.mix.top > 0.0:
            account.tell("judging")
            advantage = values.judge(lessons, how.arm.credit, how, seed).advantage
        account.tell("teaching")
        weight = extraction.weights(lessons, advantage, how.mix)
        return extraction.improved(clone, base.loss, lessons, weight, how.head, seed)


def executions(unit: Path) -> list[Lesson]:
    """The demonstrations and all rollouts of the unit in the folder `unit`, in the order in which
    they were made. Raises ConfigError where they are not there."""
    begun = sorted((unit / OWN / EPISODES).glob("*.npz"))
    rounds = sorted(unit.glob("round-*/episodes"), key=lambda p: int(p.parent.name[6:]))
    rolled = [p for r in rounds for kind in ("rollouts", "trial") for p in _in(r / kind)]
    if not begun or not rolled:
        raise ConfigError(
            f"wanted the executions of a unit at {unit}, found {len(begun)} demonstrations and "
            f"{len(rolled)} rollouts: run `headway learn` with `keep = true` in its [learn] first"
        )
    return [store.load_lesson(p) for p in [*begun, *rolled]]


def _in(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.npz"))


def variants_of(unit_file: Path, variants_file: Path) -> list[Variant]:
    """The variants in `variants_file` of the unit in `unit_file`. Raises ConfigError."""
    cfg, wanted = config.load(unit_file, LearnConfig), config.load(variants_file, Variants)
    if cfg.workflow is None:
        raise ConfigError(
            f"{unit_file}: wanted a `workflow`, in which heads can be tested, found none"
        )
    if not wanted.variants:
        raise ConfigError(f"{variants_file}: wanted at least one [variants.NAME], found none")
    folder = unit_file.resolve().parent
    unit = folder / cfg.out
    first = TEST_FROM + cfg.seed * SEEDS
    test = Test(round=cfg.rounds, suite=MAIN, first=first, orders=wanted.orders)
    made = []
    for name, change in wanted.variants.items():
        settings = {**config.over(cfg.learn, change), "base": str(folder / cfg.base)}
        arm, draw = str(settings.pop("arm", cfg.arm)), settings.pop("draw", 0)
        if not isinstance(draw, int) or draw < 0:
            raise ConfigError(
                f"{variants_file}, variant {name}: `draw` wants a number from 0 on, found {draw!r}"
            )
        how = learning(arm, settings, f"{variants_file}, variant {name}")
        made.append(
            Variant(
                name=name, unit=unit, out=unit / "variants" / name, workflow=cfg.workflow, how=how,
                clones="clone" in change, seed=cfg.seed, test=test, draw=draw,
            )
        )  # fmt: skip
    return made


def table(found: dict[str, list[Order]], title: str) -> Table:
    """What became of the heads, each beside the first one, on the same orders."""
    made = Table(title=title, box=box.SIMPLE_HEAD)
    for column in ("head", "orders right", "95 %", "beside the first, 95 %", "lines closed",
                   "failed attempts a line"):  # fmt: skip
        made.add_column(column, justify="left" if column == "head" else "right")
    first = next(iter(found))
    for name, orders in found.items():
        good, n, lines = sum(o.success for o in orders), len(orders), sum(o.lines for o in orders)
        low, high = wilson(good, n)
        beside = ""
        if name != first:
            p = paired(
                {o.seed: o.success for o in found[first]}, {o.seed: o.success for o in orders}
            )
            a, b = p.interval
            beside = f"{100 * p.difference:+.1f} ({100 * a:+.1f} to {100 * b:+.1f})"
        made.add_row(
            name, f"{good} of {n}", f"{100 * low:.0f} to {100 * high:.0f} %", beside,
            f"{sum(o.closed for o in orders)} of {lines}",
            f"{sum(o.failed for o in orders) / max(1, lines):.2f}",
        )  # fmt: skip
    return made


def main(
    unit: tyro.conf.Positional[Path], variants: tyro.conf.Positional[Path], workers: int = 2
) -> None:
    """Teach and test the heads of all variants, and print how they did.

    Args:
        unit: file of `headway learn`, which has ended.
        variants: file with the variants.
        workers: processes.
    """
    calls = {v.name: v for v in variants_of(unit, variants)}
    found = run(calls, workers)
    console = Console()
    if not console.is_terminal:
        console.width = WIDTH
    console.print(table({n: found[n] for n in calls}, f"{unit.stem}, {variants.stem}"))


def run(calls: dict[str, Variant], workers: int) -> dict[str, list[Order]]:
    """The orders of each of `calls`, so many at a time. Raises RecordingError where one failed."""
    place = next(iter(calls.values())).out.parent
    found: dict[str, list[Order]] = {}
    said: dict[str, str] = {}

    def told(name: str, note: Progress) -> None:
        if said.get(name) != note.doing:
            said[name] = note.doing
            print(f"{name}: {note.doing}", flush=True)

    def log(name: str) -> str:
        return str(place / f"{name}.log")

    with files.alone(place, "the variants"), processes.connect(workers) as executor:
        try:
            for name, orders in gather(executor, calls, told, log):
                found[name] = orders
                good = sum(o.success for o in orders)
                print(f"{name}: {good} of {len(orders)} orders right", flush=True)
        except PolicyError as e:
            raise RecordingError(f"the variant {e}") from None
    return found


if __name__ == "__main__":
    tyro.cli(main)
