"""A study without robots: its runner makes up orders whose true success is known, quickly and the
same every time, and keeps a file per round as a real one keeps its rounds."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import numpy as np

from headway.learn.study.units import Order, Progress, Round, UnitResult

# Success after each round, by arm.
TRUE = {
    "B0": (0.40, 0.45, 0.48),
    "1.5": (0.40, 0.50, 0.55),
    "1.6": (0.40, 0.60, 0.70),
    "1.6-clock": (0.40, 0.40, 0.40),
}


def orders(unit, test, shift=0.0):
    """One test's orders: an order's difficulty is its seed's, the same for every arm."""
    p = min(0.98, max(0.02, TRUE[unit.arm][test.round] + shift))
    made = []
    for seed in test.seeds:
        luck, other, count = np.random.default_rng([seed, 1]).uniform(size=3)
        own = np.random.default_rng([seed, test.round, *unit.arm.encode()]).uniform()
        success = bool((luck if other < 0.5 else own) < p)
        failed = int(count * 4 * (1.2 - p))
        lines = 2 + seed % 3
        made.append(
            Order(
                round=test.round, suite=test.suite, seed=seed, success=success, lines=lines,
                closed=lines if success else seed % lines, failed=failed,
                injected=test.suite == "injected", peak_n=10.0 + 20.0 * count,
                seconds=12.0 * lines + failed,
            )
        )  # fmt: skip
    return tuple(made)


def result(unit, shift=0.0):
    rounds = tuple(
        Round(
            round=r, robot_s=unit.robot_s + 5.5, operator_s=0.0 if unit.arm == "B0" else 30.0,
            episodes=20, interventions=4, success=0.5, accepted=True,
        )
        for r in range(1, unit.rounds + 1)
    )  # fmt: skip
    found = (o for test in unit.tests for o in orders(unit, test, shift))
    return UnitResult(rounds, tuple(found))


class Fake:
    """Works round by round, a file for each; `settings.trouble` is a list of troubles, each
    `[what, unit, round]` and met once: kill, fail, full."""

    def run(self, unit, folder: Path, progress, shared: Path):
        (shared / f"{unit.workflow}_{unit.seed}").mkdir(parents=True, exist_ok=True)
        for r in range(unit.rounds + 1):
            mark = folder / f"round{r}.json"
            if not mark.exists():
                with (folder / "worked.txt").open("a") as file:
                    file.write(f"{r}\n")
                self._trouble(unit, folder, r, progress)
                mark.write_text(json.dumps({"round": r}))
            share = (r + 1) / (unit.rounds + 1)
            progress(Progress(round=r, doing="test", share=share, robot_s=r * unit.robot_s))
        return result(unit)

    def _trouble(self, unit, folder, r, progress):
        for at, (what, name, when) in enumerate(unit.settings.get("trouble", ())):
            if (name, when) != (unit.name, r):
                continue
            met = folder / f"trouble{at}"
            if met.exists() and what != "fail":
                continue
            met.write_text("")
            if what == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if what == "hang":  # until it is stopped from outside
                progress(Progress(round=r, doing="waiting", share=0.5))
                signal.pause()
            if what == "full":
                raise OSError(28, "No space left on device")
            raise ValueError("this unit does not work")


fake = Fake()


PLAN = """
name = "fake"
runner = "study_fake:fake"
rounds = 2
robot_s = 900.0
slack_s = 60.0
frozen = ["cell.toml"]
[seeds]
units = [1, 2, 3]
development = [101]
[suites.main]
orders = [40, 20, 40]
[suites.injected]
orders = [20, 0, 20]
[measured]
primary_rounds = [1, 2]
compare = [["1.6", "1.5"], ["1.6", "B0"]]
draws = 400
[measured.level]
pick_place = 0.5
shoebox = 0.5
[learn]
steps = 1000
{learn}
[[arms]]
name = "B0"
workflows = ["pick_place", "shoebox"]
seeds = {seeds}
[[arms]]
name = "1.5"
workflows = ["pick_place", "shoebox"]
seeds = {seeds}
[[arms]]
name = "1.6"
workflows = ["pick_place", "shoebox"]
seeds = {seeds}
settings = {{ steps = 500 }}
[[arms]]
name = "1.6-clock"
workflows = ["shoebox"]
seeds = 1
priority = 2
"""


def write_plan(folder: Path, seeds=2, learn="", few=False):
    """A small plan in `folder`, with the file that it freezes; `few`: with three units."""
    (folder / "cell.toml").write_text("difficulty = 3\n")
    path = folder / "plan.toml"
    text = PLAN
    if few:
        seeds, text = 1, text[: text.rindex("[[arms]]")].replace(', "shoebox"]', "]")
        text = text.replace("shoebox = 0.5\n", "")
    path.write_text(text.format(seeds=seeds, learn=learn))
    return path
