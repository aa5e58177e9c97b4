"""A station and a policy for tests of whole units: made-up executions (`learning_rig`), whose skill
follows from what the head of the policy would play."""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from learning_rig import CODE, LATENT, rollout
from torch import nn

from headway.errors import Unstable
from headway.learn.execution import store
from headway.learn.rollout import DEMONSTRATION, POLICY


class Head(nn.Module):
    """A chunk as the linear answer to a code, with noise."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = nn.Linear(CODE, LATENT)

    def sample(self, code, noise):
        return self.answer(code) + 0.1 * noise


def loss(head, code, latent, weight):
    each = (head.answer(code) - latent).square().mean(dim=1)
    return (each * weight).sum() / weight.sum()


class FakeBase:
    """The policy; its bundles are folders with the weights of the head."""

    eyes = "made up"

    def __init__(self, folder: Path) -> None:
        self.folder, self.loss = folder, loss
        self.saved: list[str] = []

    def head(self, seed, width):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return Head()

    def to_latent(self, actions):
        return actions.reshape(-1)

    def save(self, head, out, note):
        self.saved.append(note)
        store.save_weights(out / "head.pt", head)

    def save_critic(self, critic, out, note):
        self.saved.append(f"critic: {note}")
        (out).mkdir(parents=True)
        (out / "critic.json").write_text(json.dumps(note))


class FakeSite:
    """The station. `fail_after`: so many episodes, and then the process dies."""

    def __init__(self, fail_after: float = float("inf")) -> None:
        self.made_of = {"workflow": "made up"}
        self.ran: list[tuple[str, int]] = []
        self.left: list[float] = []
        self.fail_after = fail_after
        self.unstable: set[int] = set()  # scenes whose physics blows up

    @contextmanager
    def open(self, driver, scene):
        yield _Session(self, driver)


class Killed(BaseException):
    """The process is gone."""


class _Session:
    def __init__(self, site, driver) -> None:
        self._site, self._driver = site, driver
        self._skill = 0.9
        if driver.who != "demonstrator":
            head = store.load_weights(driver.policy / "head.pt", Head())
            self._skill = skill(head)

    def episode(self, seed, left_s=0.0):
        if len(self._site.ran) >= self._site.fail_after:
            raise Killed
        self._site.ran.append((self._driver.who, seed))
        self._site.left.append(left_s)
        if seed in self._site.unstable:
            raise Unstable("made up")
        source = DEMONSTRATION if self._driver.who == "demonstrator" else POLICY
        helped = 0.8 if self._driver.who == "oracle" and left_s > 0 else 2.0
        return rollout(seed, self._skill, source, helped)[0]


def skill(head) -> float:
    """How often the first number of the head's answer has the sign of that of the code."""
    code = torch.from_numpy(np.random.default_rng(0).normal(0, 1, (500, CODE)).astype(np.float32))
    with torch.no_grad():
        right = (head.answer(code)[:, 0] * code[:, 0] > 0).float().mean()
    return 0.5 + 0.45 * float(right * 2 - 1)
