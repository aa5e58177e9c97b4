"""One unit of a study: an arm on a workflow with a seed, from demonstrations to a policy that has
learned from its own executions.

    demonstrations -> cloned head -> tests -> [rollouts -> what they are worth -> head, critic ->
    tests] a round

Every episode, every network and every test order is a file of its own as soon as it is there, and
what is drawn depends on the unit's seed and the number of the round alone. So a unit that is killed
at any moment goes on from where it was, nothing is counted twice, and it ends with what it would
have ended with.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec
import numpy as np
import torch
from torch import nn

from headway.edge.control.events import EventKind
from headway.errors import ConfigError
from headway.learn.execution import critic, extraction, gate, store, values
from headway.learn.execution.base import Base, open_base
from headway.learn.execution.lessons import Lesson, happened, lesson
from headway.learn.execution.process_bundle import save_head
from headway.learn.execution.settings import Learning, learning
from headway.learn.execution.site import Driver, Session, Site
from headway.learn.rollout import Rollout
from headway.learn.study.units import Order, Progress, Report, Round, Test, Unit, UnitResult

MADE_OF, RESULT = "made_of.json", "result.json"


class Made(msgspec.Struct, frozen=True):
    """What a round ended with, in the folder of the round: `policy` and `critic` are folders from
    the unit's folder on, "" for no critic."""

    policy: str
    critic: str
    accepted: bool


def run_unit(unit: Unit, folder: Path, progress: Report) -> UnitResult:
    """Run `unit`, or go on with it, with its files in `folder`. See
    `headway.learn.study.units.UnitRunner`."""
    from headway.learn.execution.sim_site import SimSite

    torch.set_num_threads(1)
    how = learning(unit.arm, unit.settings, f"unit {unit.name}")
    base = open_base(Path(how.base))
    return Learner(unit, folder, progress, how, base, SimSite(unit.workflow, how, base)).result()


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
    ) -> None:
        """`base` is the policy whose head is taught, `site` runs the episodes. Raises ConfigError
        for a unit that was begun with something else."""
        self.unit, self.folder, self.how, self.base, self.site = unit, folder, how, base, site
        self._report = progress
        self._round, self._robot_s, self._simulated = 0, 0.0, 0.0
        self._success, self._told = math.nan, -math.inf
        self._stride = unit.train_count // (unit.rounds + 1)  # seeds of training scenes a round
        if self._stride < how.demonstrations.orders:
            raise ConfigError(
                f"unit {unit.name} wants at least {how.demonstrations.orders} seeds a round, found "
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
        rounds, orders = [], []
        lessons = self._collect(0, "demonstrations", self._demonstrator(), self._all_orders)
        head = self._clone(lessons)
        made = Made(self._saved("clone", head), "", True)
        orders += self._tests(0, made)
        for r in range(1, self.unit.rounds + 1):
            self._round = r
            before = made
            made, new = self._learn(r, before, head, lessons)
            lessons = [*lessons, *new]
            rounds.append(self._summary(r, new, made))
            orders += self._tests(r, made)
            self._forget(before, made)
        found = UnitResult(tuple(rounds), tuple(orders))
        store.write(path, msgspec.json.encode(found))
        if not self.how.keep:
            for r in range(self.unit.rounds + 1):
                shutil.rmtree(self._place(r) / "episodes", ignore_errors=True)
        return found

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
            self._tell("judging")
            assert how.arm.credit != "demonstrations"
            judged = values.judge(lessons, how.arm.credit, how, seed)
            advantage = judged.advantage
            if judged.heads and how.arm.credit == "pro" and r == self.unit.rounds:
                save_head(self.folder / "pro", lessons, judged.heads, how.process, seed, note)
        if self._deliberates:
            assert advantage is not None
            self._tell("critic")
            made = critic.teach(lessons, advantage, how.critic, seed)
            self.base.save_critic(made, judge, note)
        self._tell("head")
        weight = extraction.weights(lessons, advantage, how.mix)
        better = extraction.improved(head, self.base.loss, lessons, weight, how.head, seed)
        self.base.save(better, policy, note)

    def _clone(self, lessons: Sequence[Lesson]) -> nn.Module:
        """The head that is cloned from the first demonstrations."""
        head, path = self.base.head(self.unit.seed), self.folder / "clone.pt"
        if path.exists():
            return store.load_weights(path, head)
        self._tell("cloning")
        weight = extraction.weights(lessons, None, self.how.mix)
        seed = self.unit.seed * 1000
        made = extraction.improved(head, self.base.loss, lessons, weight, self.how.clone, seed)
        store.save_weights(path, made)
        return made

    def _saved(self, name: str, head: nn.Module) -> str:
        """Write the policy with `head` into the folder `name` of the unit, if it is not there."""
        if not (self.folder / name).exists():
            self.base.save(head, self.folder / name, f"{self.unit.name}, {name}")
        return name

    def _collect(
        self,
        r: int,
        kind: str,
        driver: Driver,
        enough: Callable[[Sequence[Lesson]], bool],
        before: Sequence[Lesson] = (),
    ) -> list[Lesson]:
        """Episodes of the round `r` with `driver` until `enough`, those first that are there. They
        work on the round's scenes, after those of the lessons `before` of the same round."""
        out: list[Lesson] = []
        place = self._place(r) / "episodes" / kind
        first = self.unit.train_first + r * self._stride + len(before)
        budget = self.how.oracle.share * self.unit.robot_s
        with ExitStack() as stack:
            session: Session | None = None
            while not enough(out):
                if len(before) + len(out) >= self._stride:
                    raise ConfigError(
                        f"unit {self.unit.name} wants over {self._stride} scenes in round {r}: "
                        "enlarge `seeds.per_unit`"
                    )
                path = place / f"{len(out):04d}.npz"
                if path.exists():
                    found = store.load_lesson(path)
                else:
                    if session is None:
                        session = stack.enter_context(self.site.open(driver, {}))
                    left = budget - sum(x.helped_s for x in (*before, *out))
                    found = lesson(session.episode(first + len(out), max(0.0, left)))
                    store.save_lesson(path, found)
                out.append(found)
                self._robot_s += found.end_s
                self._tell(kind if r == 0 else "collecting", found.end_s)
        return out

    def _tests(self, r: int, made: Made) -> list[Order]:
        """The test orders after the round `r`, with the policy `made`."""
        out: list[Order] = []
        for test in self.unit.tests:
            if test.round == r:
                out += self._test(test, made)
        return out

    def _test(self, test: Test, made: Made) -> list[Order]:
        path = self.folder / "tests" / f"{test.round}-{test.suite}.jsonl"
        done: list[Order] = store.lines(path, Order)
        left = [seed for seed in test.seeds if seed not in {o.seed for o in done}]
        if left:
            with self.site.open(self._driver(made, test=True), test.settings) as session:
                for seed in left:
                    done.append(order_of(test, session.episode(seed)))
                    store.append(path, done[-1])
                    self._tell(f"testing {test.suite}", done[-1].seconds)
        if test.suite == "main":
            self._success = float(np.mean([o.success for o in done]))
        return done

    def _driver(self, made: Made, test: bool = False) -> Driver:
        judge = self.folder / made.critic if made.critic else None
        return Driver(
            "oracle" if self.how.arm.oracle and not test else "policy",
            self.folder / made.policy,
            judge,
            self.how.arm.candidates if judge is not None else 1,
            0.0 if test else self.how.temperature,
        )

    def _demonstrator(self) -> Driver:
        return Driver("demonstrator", self.base.folder)

    def _all_orders(self, lessons: Sequence[Lesson]) -> bool:
        return len(lessons) >= self.how.demonstrations.orders

    def _summary(self, r: int, new: Sequence[Lesson], made: Made) -> Round:
        known = [x.success for x in new if x.success is not None]
        return Round(
            round=r,
            robot_s=sum(x.end_s for x in new),
            operator_s=sum(x.helped_s for x in new),
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

    def _tell(self, doing: str, seconds: float = 0.0) -> None:
        """Report what is done, `seconds` [s] of simulated time after the last report."""
        self._simulated += seconds
        unit, usual = self.unit, 40.0  # [s] of an order
        tests = sum(t.orders for t in unit.tests)
        whole = unit.rounds * unit.robot_s + usual * (tests + self.how.demonstrations.orders)
        now = time.monotonic()
        if seconds and now - self._told < 1.0:
            return
        self._told = now
        self._report(
            Progress(
                round=self._round, doing=doing, share=min(0.999, self._simulated / whole),
                robot_s=self._robot_s,
                success=None if math.isnan(self._success) else self._success,
            )
        )  # fmt: skip


def order_of(test: Test, made: Rollout) -> Order:
    """How a test order went."""
    x = happened(made.events, int(made.rows["t_ns"][0]), made.result.seconds, made.result.success)
    return Order(
        round=test.round,
        suite=test.suite,
        seed=made.seed,
        success=bool(made.result.success),
        lines=x.lines,
        closed=len(x.closed),
        failed=made.result.retries,
        injected=any(e.kind is EventKind.INJECTED for e in made.events),
        peak_n=made.result.peak_force,
        seconds=made.result.seconds,
    )


def _until(seconds: float) -> Callable[[Sequence[Lesson]], bool]:
    """Whether lessons have lasted for `seconds` [s]."""
    return lambda lessons: sum(x.end_s for x in lessons) >= seconds
