"""One unit of a study: an arm on a workflow with a seed, from demonstrations to a policy that has
learned from its own executions.

    beginning (demonstrations -> cloned head -> tests)
    -> [rollouts -> what they are worth -> head, critic -> tests] a round

All arms have the beginning in common, see `beginning`. Every episode, every network and every test
order is a file of its own as soon as it is there, and what is drawn depends on the unit's seed and
the number of the round alone. So a unit that is killed at any moment goes on from where it was,
nothing is counted twice, and it ends with what it would have ended with.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import torch
from torch import nn

from headway.errors import ConfigError
from headway.learn.execution import critic, extraction, gate, store, values
from headway.learn.execution.account import USUAL_S, Account
from headway.learn.execution.base import Base, open_base
from headway.learn.execution.beginning import EPISODES, MADE_OF, Beginning, Begun
from headway.learn.execution.episodes import Enough, Episodes
from headway.learn.execution.lessons import Lesson
from headway.learn.execution.process_bundle import save_head
from headway.learn.execution.settings import Learning, learning
from headway.learn.execution.site import Driver, Site
from headway.learn.study.units import Order, Report, Round, Unit, UnitResult

RESULT = "result.json"
OWN = "begun"  # folder of a beginning that is not shared


class Made(msgspec.Struct, frozen=True):
    """What a round ended with, in the folder of the round: `policy` and `critic` are folders from
    the unit's folder on, "" for no critic."""

    policy: str
    critic: str
    accepted: bool


def run_unit(unit: Unit, folder: Path, progress: Report, shared: Path | None = None) -> UnitResult:
    """Run `unit`, or go on with it, with its files in `folder`. See
    `headway.learn.study.units.UnitRunner`; without `shared`, all of its files are its own."""
    from headway.learn.execution.sim_site import SimSite

    torch.set_num_threads(1)
    how = learning(unit.arm, unit.settings, f"unit {unit.name}")
    base = open_base(Path(how.base))
    site = SimSite(unit.workflow, how, base)
    return Learner(unit, folder, progress, how, base, site, shared).result()


class Learner:
    """A unit that is being run."""

    def __init__(
        self,
        unit: Unit,
        folder: Path,
        progress: Report,
        how: Learning,
        base: Base,
        site: Site,
        shared: Path | None = None,
    ) -> None:
        """`base` is the policy whose head is taught, `site` runs the episodes, `shared` is a folder
        for what other units make too. Raises ConfigError for a unit that was begun with something
        else."""
        self.unit, self.folder, self.how, self.base = unit, folder, how, base
        self._shared = shared
        tests = sum(t.orders for t in unit.tests)
        whole_s = unit.rounds * unit.robot_s + USUAL_S * (tests + how.demonstrations.orders)
        self._account = Account(progress, whole_s)
        self._episodes = Episodes(unit.name, site, self._account)
        self.beginning = Beginning(unit, how, base, site)
        self._stride = unit.train_count // (unit.rounds + 1)  # seeds of training scenes a round
        if self._stride < how.demonstrations.scenes:
            raise ConfigError(
                f"unit {unit.name} wants at least {how.demonstrations.scenes} seeds a round, found "
                f"{unit.train_count} for {unit.rounds + 1}: enlarge `seeds.per_unit`"
            )
        # Where the policy lies does not matter, `eyes` says which one it is; nor whether episodes
        # are kept.
        alike = msgspec.structs.replace(how, base="", keep=False)
        made_of = {
            "unit": msgspec.json.encode(msgspec.structs.replace(unit, settings={})).decode(),
            "settings": msgspec.json.encode(alike).decode(),
            "eyes": base.eyes,
            **site.made_of,
        }
        store.in_one_state(folder / MADE_OF, made_of)

    def result(self) -> UnitResult:
        """Run what is left, and return all that was found."""
        path = self.folder / RESULT
        if path.exists():
            return msgspec.json.decode(path.read_bytes(), type=UnitResult)
        begun = self._begun()
        rounds, orders, lessons = [], [*begun.orders], begun.lessons
        # From the unit's folder on, so that all of them can be moved.
        made = Made(os.path.relpath(begun.policy, self.folder), "", True)
        for r in range(1, self.unit.rounds + 1):
            self._account.round = r
            before = made
            made, new = self._learn(r, before, begun.head, lessons)
            lessons = [*lessons, *new]
            rounds.append(self._summary(r, new, made))
            orders += self._tests(r, made)
            self._forget(before, made)
        found = UnitResult(tuple(rounds), tuple(orders))
        store.write(path, msgspec.json.encode(found))
        if not self.how.keep:
            shutil.rmtree(self.folder / OWN / EPISODES, ignore_errors=True)
            for r in range(1, self.unit.rounds + 1):
                shutil.rmtree(self._place(r) / "episodes", ignore_errors=True)
        return found

    def _begun(self) -> Begun:
        if self._shared is not None:
            return self.beginning.shared(self._shared, self._episodes, self._account)
        return self.beginning.begun(self.folder / OWN, self._episodes, self._account)

    def _learn(
        self, r: int, before: Made, head: nn.Module, lessons: Sequence[Lesson]
    ) -> tuple[Made, list[Lesson]]:
        """The round `r` with the policy `before`: what it ended with, and its new lessons. `head`
        is the cloned one."""
        arm, tried = self.how.arm, self.how.gate.share
        path = self._place(r) / "made.json"
        seconds = self.unit.robot_s
        driver = self._driver(before) if arm.learns else self._demonstrator()
        new = self._collect(r, "rollouts", driver, _until((1.0 - tried) * seconds))
        if not path.exists():
            self._improve(r, head, [*lessons, *new])
        fresh = Made(f"round-{r}/policy", f"round-{r}/critic" if self._deliberates else "", True)
        if tried:
            driver = self._driver(fresh) if arm.learns else self._demonstrator()
            spent = sum(x.end_s for x in new)
            trial = self._collect(r, "trial", driver, _until(seconds - spent), new)
            kept = gate.kept(trial, new, self.how.gate)
            fresh = fresh if kept else msgspec.structs.replace(before, accepted=False)
            new = [*new, *trial]
        if not path.exists():
            store.write(path, msgspec.json.encode(fresh))
        return msgspec.json.decode(path.read_bytes(), type=Made), new

    @property
    def _deliberates(self) -> bool:
        return self.how.arm.learns and self.how.arm.candidates > 1

    def _improve(self, r: int, head: nn.Module, lessons: Sequence[Lesson]) -> None:
        """Teach the head and the critic of round `r` by all `lessons` so far, and write both."""
        how, seed = self.how, self.unit.seed * 1000 + r
        policy, judge = self._place(r) / "policy", self._place(r) / "critic"
        if policy.exists() and (judge.exists() or not self._deliberates):
            return
        note = f"{self.unit.name}, round {r}"
        advantage = None
        if how.arm.learns:
            self._account.tell("judging")
            assert how.arm.credit != "demonstrations"
            judged = values.judge(lessons, how.arm.credit, how, seed)
            advantage = judged.advantage
            pro = self.folder / "pro"
            # A unit that was killed after it goes on with the same lessons: it would be the same.
            wanted = how.arm.credit == "pro" and r == self.unit.rounds and not pro.exists()
            if judged.heads and wanted:
                save_head(pro, lessons, judged.heads, how.process, seed, note)
        if self._deliberates:
            assert advantage is not None
            self._account.tell("critic")
            made = critic.teach(lessons, advantage, how.critic, seed)
            self.base.save_critic(made, judge, note)
        self._account.tell("head")
        weight = extraction.weights(lessons, advantage, how.mix)
        better = extraction.improved(head, self.base.loss, lessons, weight, how.head, seed)
        self.base.save(better, policy, note)

    def _collect(
        self, r: int, kind: str, driver: Driver, enough: Enough, before: Sequence[Lesson] = ()
    ) -> list[Lesson]:
        """Episodes of the round `r` with `driver` until `enough`, on the round's scenes after those
        of the lessons `before` of the same round."""
        first = self.unit.train_first + r * self._stride
        help_s = self.how.oracle.share * self.unit.robot_s - sum(x.helped_s for x in before)
        place = self._place(r) / "episodes" / kind
        seeds = range(max([first, *(x.seed + 1 for x in before)]), first + self._stride)
        return self._episodes.collect(place, driver, seeds, enough, "collecting", help_s)

    def _tests(self, r: int, made: Made) -> list[Order]:
        """The test orders after the round `r`, with the policy `made`."""
        out: list[Order] = []
        for test in self.unit.tests:
            if test.round == r:
                driver = self._driver(made, test=True)
                out += self._episodes.test(self.folder / "tests", test, driver)
        return out

    def _driver(self, made: Made, test: bool = False) -> Driver:
        judge = self.folder / made.critic if made.critic else None
        return Driver(
            "oracle" if self.how.arm.oracle and not test else "policy",
            self.folder / made.policy,
            judge,
            self.how.arm.candidates if judge is not None else 1,
            0.0 if test else self.how.temperature,
            self.how.noise if test else 1.0,
        )

    def _demonstrator(self) -> Driver:
        return Driver("demonstrator", self.base.folder)

    def _summary(self, r: int, new: Sequence[Lesson], made: Made) -> Round:
        known = [x.success for x in new if x.success is not None]
        robot_s = sum(x.end_s for x in new)
        return Round(
            round=r,
            robot_s=robot_s,
            # Who demonstrates drives all the time.
            operator_s=sum(x.helped_s for x in new) if self.how.arm.learns else robot_s,
            episodes=len(new),
            interventions=sum(x.interventions for x in new),
            success=float(np.mean(known)) if known else float("nan"),
            accepted=made.accepted,
        )

    def _forget(self, before: Made, made: Made) -> None:
        """Remove a policy that nothing is asked of any more. The cloned one stays."""
        for name in (before.policy, before.critic):
            if name.startswith("round-") and name not in (made.policy, made.critic):
                shutil.rmtree(self.folder / name, ignore_errors=True)

    def _place(self, r: int) -> Path:
        return self.folder / f"round-{r}"


def _until(seconds: float) -> Enough:
    """Whether lessons have lasted for `seconds` [s]."""
    return lambda lessons: sum(x.end_s for x in lessons) >= seconds
