"""How well PRO and the value of the outcome tell what comes of the policy's own executions: of a
unit whose executions were kept, each episode by networks that were not taught it.

    cd configs/development
    headway learn shoebox.toml                   # keep = true: its executions stay
    python -m headway.learn.credit shoebox.toml

Both are taught once by everything, and once without the demonstrations, which end well though no
policy drove. The AUROC is over decisions of the policy in its rollouts: of `closes` for whether the
station closes the line that is due in time, of the outcome for whether the order ends well without
help. The last column is over all decisions: how surely demonstrations are told from rollouts by the
value alone. A value that knows nothing but who drove would have 1 there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.table import Table

from headway import config
from headway.learn.execution import outcome, process
from headway.learn.execution.command import LearnConfig
from headway.learn.execution.lessons import Lesson, Singles, episode_of
from headway.learn.execution.settings import Learning, learning
from headway.learn.execution.targets import targets
from headway.learn.pro.card import measures
from headway.learn.rollout import POLICY
from headway.learn.variants import WIDTH, executions
from headway.tools.statistics import auroc


def by_pro(
    lessons: Sequence[Lesson], how: Learning, seed: int, teaches: NDArray[np.bool_]
) -> Singles:
    """PRO's probability (D,) that the line which is due is closed, at all decisions."""
    signals = process.cross_fitted(lessons, how.process, seed, teaches)[0]
    return np.concatenate([s.at(x.step).closes for x, s in zip(lessons, signals, strict=True)])


def by_outcome(
    lessons: Sequence[Lesson], how: Learning, seed: int, teaches: NDArray[np.bool_]
) -> Singles:
    """The probability (D,) that the order ends well without help, at all decisions."""
    return np.concatenate(outcome.cross_fitted(lessons, how.outcome, seed, teaches))


def line_is_closed(lessons: Sequence[Lesson]) -> Singles:
    """What `by_pro` is to tell (D,): 1, 0, or NaN where nobody knows."""
    return np.concatenate([targets(x).closes[x.step] for x in lessons])


def ends_well(lessons: Sequence[Lesson]) -> Singles:
    """What `by_outcome` is to tell (D,): 1, 0, or NaN where nobody knows."""
    return np.concatenate([outcome.by_itself(x) for x in lessons])


def interval(
    said: Singles, truth: NDArray[np.bool_], episode: NDArray[np.int64], seed: int
) -> tuple[float, float, float]:
    """AUROC of `said` (n,) for `truth` (n,), and its 95 % interval from drawing whole episodes:
    the decisions of one say nearly the same."""
    episodes = np.unique(episode)
    of = [np.asarray(said[episode == e], np.float64) for e in episodes]
    good = [truth[episode == e] for e in episodes]
    found = measures.wins(
        [s[g] for s, g in zip(of, good, strict=True)],
        [s[~g] for s, g in zip(of, good, strict=True)],
    )
    drawn = found.drawn(measures.draws(len(episodes), np.random.default_rng(seed)))
    low, high = measures.interval(drawn)
    nothing = float("nan")
    return (
        found.auroc(), nothing if low is None else low, nothing if high is None else high
    )  # fmt: skip


class Row(NamedTuple):
    """How well one value tells: `auroc` within rollouts with its 95 % interval, and `apart`, how
    surely it tells demonstrations from rollouts."""

    value: str
    taught_by: str
    auroc: tuple[float, float, float]
    apart: float


def judged(lessons: Sequence[Lesson], how: Learning, seed: int) -> list[Row]:
    """How well each value tells what came of the rollouts in `lessons`, beside the time alone."""
    own = np.concatenate([x.source == POLICY for x in lessons])
    shown = np.concatenate([np.full(len(x.at), x.demonstration) for x in lessons])
    rolled = np.array([not x.demonstration for x in lessons])
    episode = episode_of(lessons)
    elapsed = np.concatenate([-x.at / x.limit_s for x in lessons]).astype(np.float32)
    made = []
    for name, truth, told in (
        ("closes (PRO)", line_is_closed(lessons), by_pro),
        ("outcome", ends_well(lessons), by_outcome),
    ):
        known = own & np.isfinite(truth)
        for by, said in (
            ("everything", told(lessons, how, seed, np.full(len(lessons), True))),
            ("rollouts alone", told(lessons, how, seed, rolled)),
            ("nothing: the time left", elapsed),
        ):
            found = interval(said[known], truth[known] > 0.5, episode[known], seed)
            made.append(Row(name, by, found, auroc(said[own | shown], shown[own | shown])))
    return made


def table(rows: Sequence[Row], title: str) -> Table:
    """`rows` as a table."""
    made = Table(title=title, box=box.SIMPLE_HEAD)
    for column in ("value", "taught by", "AUROC in rollouts, 95 %", "demonstrations apart"):
        made.add_column(column)
    for row in rows:
        value, low, high = row.auroc
        said = f"{value:.3f} ({low:.3f} to {high:.3f})"
        made.add_row(row.value, row.taught_by, said, f"{row.apart:.3f}")
    return made


def main(unit: tyro.conf.Positional[Path]) -> None:
    """Print how well values tell what comes of the policy's own executions.

    Args:
        unit: file of `headway learn`, which has ended, with `keep = true`.
    """
    cfg = config.load(unit, LearnConfig)
    folder = unit.resolve().parent
    torch.set_num_threads(1)
    how = learning(cfg.arm, {**cfg.learn, "base": str(folder / cfg.base)}, str(unit))
    console = Console()
    if not console.is_terminal:
        console.width = WIDTH
    lessons = executions(folder / cfg.out)
    shown = sum(x.demonstration for x in lessons)
    title = f"{unit.stem}: {len(lessons) - shown} rollouts, {shown} demonstrations"
    console.print(table(judged(lessons, how, cfg.seed), title))


if __name__ == "__main__":
    tyro.cli(main)
