"""Episodes of a unit, each of which is run once: it is a file as soon as it has ended, and what is
there already is read.

Now and then the simulated physics of a scene blows up. Nothing is learned from such an episode, and
the next scene takes its place; as a test order it counts as not done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from headway.edge.control.events import EventKind
from headway.errors import ConfigError, Unstable
from headway.learn.execution import store
from headway.learn.execution.account import Account
from headway.learn.execution.lessons import Lesson, happened, lesson
from headway.learn.execution.site import Driver, Session, Site
from headway.learn.rollout import Rollout
from headway.learn.study.plan import MAIN
from headway.learn.study.units import Order, Test

UNSTABLE = ".unstable"  # suffix of the empty file of such an episode
Enough = Callable[[Sequence[Lesson]], bool]


class Episodes:
    """Runs episodes at `site`, and counts them in `account`. `name` is the unit's, for errors."""

    def __init__(self, name: str, site: Site, account: Account) -> None:
        self._name, self._site, self._account = name, site, account

    def collect(
        self,
        place: Path,
        driver: Driver,
        seeds: range,
        enough: Enough,
        doing: str,
        help_s: float = 0.0,
    ) -> list[Lesson]:
        """Lessons from the scenes `seeds`, one after the other until there are `enough`, with their
        files in the folder `place`. `help_s` [s]: how long the oracle may act in all of them.
        `doing` is what is told. Raises ConfigError when the scenes do not suffice."""
        out: list[Lesson] = []
        with _Opened(self._site, driver, {}) as session:
            for k, seed in enumerate(seeds):
                if enough(out):
                    return out
                path = place / f"{k:04d}.npz"
                passed = path.with_suffix(UNSTABLE)
                if passed.exists():
                    continue
                if path.exists():
                    found = store.load_lesson(path)
                else:
                    left = help_s - sum(x.helped_s for x in out)
                    made = session.episode(seed, max(0.0, left))
                    if made is None:
                        store.write(passed, b"")
                        continue
                    found = lesson(made)
                    store.save_lesson(path, found)
                out.append(found)
                self._account.trained(doing, found.end_s)
        if enough(out):
            return out
        raise ConfigError(
            f"unit {self._name} wants more than the scenes {seeds.start} to {seeds.stop - 1} for "
            f"{place.name}: enlarge `seeds.per_unit`"
        )

    def test(self, folder: Path, test: Test, driver: Driver) -> list[Order]:
        """The orders of `test` with `driver`, with their file in `folder`."""
        path = folder / f"{test.round}-{test.suite}.jsonl"
        doing = f"testing {test.suite}"
        done: list[Order] = store.lines(path, Order)
        if done:
            self._account.worked(doing, sum(o.seconds for o in done))
        left = [seed for seed in test.seeds if seed not in {o.seed for o in done}]
        if left:
            with _Opened(self._site, driver, test.settings) as session:
                for seed in left:
                    made = session.episode(seed)
                    order = not_done(test, seed) if made is None else order_of(test, made)
                    done.append(order)
                    store.append(path, order)
                    self._account.worked(doing, order.seconds)
        if test.suite == MAIN:
            self._account.success = float(np.mean([o.success for o in done]))
        return done


class _Opened:
    """A session at `site` that is opened when an episode is to be run, and again after one whose
    physics blew up."""

    def __init__(self, site: Site, driver: Driver, scene: Mapping[str, Any]) -> None:
        self._site, self._driver, self._scene = site, driver, scene
        self._stack = ExitStack()
        self._session: Session | None = None

    def __enter__(self) -> _Opened:
        return self

    def __exit__(self, *of: object) -> None:
        self._stack.close()

    def episode(self, seed: int, left_s: float = 0.0) -> Rollout | None:
        """As `Session.episode`; None where the physics blew up."""
        if self._session is None:
            self._session = self._stack.enter_context(self._site.open(self._driver, self._scene))
        try:
            return self._session.episode(seed, left_s)
        except Unstable:
            self._session = None
            self._stack.close()
            return None


def not_done(test: Test, seed: int) -> Order:
    """The test order `seed` whose physics blew up: no line is known of it."""
    return Order(
        round=test.round, suite=test.suite, seed=seed, success=False, lines=0, closed=0, failed=0,
        injected=False, peak_n=0.0, seconds=0.0,
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
