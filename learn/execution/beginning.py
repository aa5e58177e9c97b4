"""What a unit begins with: demonstrations, the head that is cloned from them, and the tests of it.

    demonstrations -> cloned head -> tests

It is the same for all arms on a workflow with a seed. So it lies in a folder that they share, named
by all that decides it; whichever unit comes first makes it, and another one that comes meanwhile
waits. A beginning that was left unfinished is gone on with by the next who wants it. Where nothing
is shared, as on another computer, it is made again, and is the same.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from torch import nn

from headway.learn import files
from headway.learn.execution import extraction, store
from headway.learn.execution.account import Account
from headway.learn.execution.base import Base
from headway.learn.execution.episodes import Episodes
from headway.learn.execution.extraction import CloneFit, Mix
from headway.learn.execution.lessons import Lesson
from headway.learn.execution.settings import Demonstrations, Learning
from headway.learn.execution.site import Driver, Site
from headway.learn.study.units import Order, Test, Unit

MADE_OF = "made_of.json"
EPISODES = "demonstrations"


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """All of a unit and its settings that decides what it begins with."""

    workflow: str
    seed: int
    first: int  # scene of the first demonstration
    tests: tuple[Test, ...]
    demonstrations: Demonstrations
    clone: CloneFit
    mix: Mix
    scene: dict[str, Any]  # what is changed in the workflow's
    noise: float  # of the policy at tests


@dataclass(frozen=True)
class Begun:
    """A beginning that is there."""

    folder: Path
    lessons: list[Lesson]  # the demonstrations
    head: nn.Module  # the cloned one,
    policy: Path  # and the bundle with it
    orders: list[Order]


class Beginning:
    """The beginning of `unit`, which learns as `how` says, with the policy `base` at `site`."""

    def __init__(self, unit: Unit, how: Learning, base: Base, site: Site) -> None:
        self.wanted = Wanted(
            workflow=unit.workflow, seed=unit.seed, first=unit.train_first,
            tests=tuple(t for t in unit.tests if t.round == 0),
            demonstrations=how.demonstrations, clone=how.clone, mix=how.mix, scene=how.workflow,
            noise=how.noise,
        )  # fmt: skip
        self._base, self._unit = base, unit.name
        self._made_of = {
            "beginning": msgspec.json.encode(self.wanted).decode(),
            "eyes": base.eyes,
            **site.made_of,
        }

    @property
    def name(self) -> str:
        """Names its folder: two beginnings that differ in anything have two."""
        plain = json.dumps(self._made_of, sort_keys=True)
        key = hashlib.sha256(plain.encode()).hexdigest()[:16]
        return f"{self.wanted.workflow}_{self.wanted.seed}_{key}"

    def shared(self, folder: Path, episodes: Episodes, account: Account) -> Begun:
        """As `begun`, in the folder of its name in `folder`, which other units use too."""

        def wait(who: str) -> None:
            account.tell(f"waiting for {who}, which makes what both begin with", waits=True)

        place = folder / self.name
        by = f"{self._unit}, "  # whoever waits is told
        with files.alone(place, "what units begin with", by=by, wait=wait):
            return self.begun(place, episodes, account)

    def begun(self, folder: Path, episodes: Episodes, account: Account) -> Begun:
        """Make it in `folder`, or what is missing of it."""
        store.in_one_state(folder / MADE_OF, self._made_of)
        wanted = self.wanted
        count = wanted.demonstrations.orders
        scenes = range(wanted.first, wanted.first + wanted.demonstrations.scenes)
        lessons = episodes.collect(
            folder / EPISODES, Driver("demonstrator", self._base.folder), scenes,
            lambda found: len(found) >= count, "demonstrations",
        )  # fmt: skip
        head = self._cloned(folder / "clone.pt", lessons, account)
        policy = folder / "clone"
        if not policy.exists():
            self._base.save(head, policy, f"{wanted.workflow}, seed {wanted.seed}, clone")
        orders: list[Order] = []
        for test in wanted.tests:
            orders += episodes.test(
                folder / "tests", test, Driver("policy", policy, noise=wanted.noise)
            )
        return Begun(folder, lessons, head, policy, orders)

    def _cloned(self, path: Path, lessons: list[Lesson], account: Account) -> nn.Module:
        """The head that is cloned from the demonstrations `lessons`, with its file at `path`."""
        wanted = self.wanted
        head = self._base.head(wanted.seed, wanted.clone.width)
        if path.exists():
            return store.load_weights(path, head)
        account.tell("cloning")
        weight = extraction.weights(lessons, None, wanted.mix)
        made = extraction.improved(
            head, self._base.loss, lessons, weight, wanted.clone, wanted.seed * 1000
        )
        store.save_weights(path, made)
        return made
