"""Episodes of a unit, each of which is run once: it is a file as soon as it has ended, and what is
there already is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from headway.edge.control.events import EventKind
from headway.errors import ConfigError
from headway.learn.execution import store
from headway.learn.execution.account import Account
from headway.learn.execution.lessons import Lesson, happened, lesson
from headway.learn.execution.site import Driver, Session, Site
from headway.learn.rollout import Rollout
from headway.learn.study.plan import MAIN
from headway.learn.study.units import Order, Test

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
        with ExitStack() as stack:
            session: Session | None = None
            while not enough(out):
                if len(out) >= len(seeds):
                    raise ConfigError(
                        f"unit {self._name} wants more than the scenes {seeds.start} to "
                        f"{seeds.stop - 1} for {place.name}: enlarge `seeds.per_unit`"
                    )
                path = place / f"{len(out):04d}.npz"
                if path.exists():
                    found = store.load_lesson(path)
                else:
                    if session is None:
                        session = stack.enter_context(self._site.open(driver, {}))
                    left = help_s - sum(x.helped_s for x in out)
                    found = lesson(session.episode(seeds[len(out)], max(0.0, left)))
                    store.save_lesson(path, found)
                out.append(found)
                self._account.trained(doing, found.end_s)
        return out

    def test(self, folder: Path, test: Test, driver: Driver) -> list[Order]:
        """The orders of `test` with `driver`, with their file in `folder`."""
        path = folder / f"{test.round}-{test.suite}.jsonl"
        doing = f"testing {test.suite}"
        done: list[Order] = store.lines(path, Order)
        if done:
            self._account.worked(doing, sum(o.seconds for o in done))
        left = [seed for seed in test.seeds if seed not in {o.seed for o in done}]
        if left:
            with self._site.open(driver, test.settings) as session:
                for seed in left:
                    done.append(order_of(test, session.episode(seed)))
                    store.append(path, done[-1])
                    self._account.worked(doing, done[-1].seconds)
        if test.suite == MAIN:
            self._account.success = float(np.mean([o.success for o in done]))
        return done


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
