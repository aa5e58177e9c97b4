"""How well values tell what comes of executions, on made-up ones whose truth is known."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="wants headway[learn]")

import learning_rig as rig
import msgspec
from rich.console import Console

from headway.learn import credit
from headway.learn.execution.arms import ARMS
from headway.learn.execution.lessons import lesson
from headway.learn.execution.outcome import OutcomeFit
from headway.learn.execution.process import ProcessFit
from headway.learn.execution.settings import Learning
from headway.learn.rollout import DEMONSTRATION


@pytest.fixture(scope="module")
def lessons():
    shown = [lesson(rig.demonstration(seed)[0]) for seed in range(6)]
    return [*shown, *rig.lessons(16, first=900, skill=0.56)[0]]


def test_an_interval_draws_whole_episodes():
    episode = np.repeat(np.arange(40), 50)
    truth = episode % 2 == 0
    said = np.where(truth, 1.0, 0.0) + np.random.default_rng(0).normal(size=40)[episode]
    found, low, high = credit.interval(said, truth, episode, 0)
    assert low < found < high
    # 2000 decisions of 40 episodes are no more than 40 numbers.
    alone = credit.interval(said[::50], truth[::50], episode[::50], 0)
    assert (found, high - low) == pytest.approx((alone[0], alone[2] - alone[1]), abs=0.02)


def test_truth_is_known_where_the_policy_drove_or_could_have(lessons):
    closes, well = credit.line_is_closed(lessons), credit.ends_well(lessons)
    assert len(closes) == len(well) == sum(len(x.at) for x in lessons)
    parts = np.split(well, np.cumsum([len(x.at) for x in lessons])[:-1])
    assert all((part == float(x.success)).all() for x, part in zip(lessons, parts, strict=True))


def test_all_values_stand_beside_the_time_alone(lessons):
    how = msgspec.structs.replace(
        Learning(base="", arm=ARMS["1.6"]),
        process=ProcessFit(steps=40, pieces=12, lr=1e-2), outcome=OutcomeFit(members=2, steps=60),
    )  # fmt: skip
    rows = credit.judged(lessons, how, 0)
    for name in ("closes (PRO)", "outcome"):
        taught, alone, time = (r for r in rows if r.value == name)
        assert taught.taught_by != alone.taught_by != time.taught_by
        assert taught.auroc != alone.auroc
        assert taught.auroc[0] > 0.5
        for row in (taught, alone, time):
            value, low, high = row.auroc
            assert low <= value <= high
            assert 0.0 <= row.apart <= 1.0
    console = Console(record=True, width=120, file=open(os.devnull, "w"))  # noqa: SIM115
    with console.file:
        console.print(credit.table(rows, "made up"))
    text = console.export_text()
    assert all(f"{row.auroc[0]:.3f} ({row.auroc[1]:.3f}" in text for row in rows)


def test_who_drove_is_told_apart(lessons):
    drove = [x.source[0] == DEMONSTRATION for x in lessons]
    assert [x.demonstration for x in lessons] == drove
    other = replace(lessons[0], source=np.zeros_like(lessons[0].source))
    assert not other.demonstration
