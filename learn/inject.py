"""A failure that is brought about on purpose in an order, the same for every policy: to see how
well it recovers. The jaws are opened for a moment once they have held something for a while."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace as replaced
from typing import Any

import numpy as np
from msgspec import structs

from headway.clock import NS
from headway.edge.control.events import Event, EventKind
from headway.edge.policy.policy import Policy
from headway.errors import ConfigError
from headway.learn.rollout import Rollout, Thought
from headway.types import Chunk, Observation

INJECT = "inject"  # key of a suite's settings
HELD_S = (0.4, 1.4)  # the jaws have held for so long when they are opened; drawn evenly
OPEN_S = 0.6
FORCE = 5.0  # grip force [N] above which the jaws hold something
_WATCHED = ("gripper.width", "gripper.width_ref", "gripper.force")
OPEN_JAWS = 0.004  # [m] jaws closer than this hold nothing


class Injector:
    """The policy `policy`, whose jaws are opened once in each order. Raises ConfigError for a
    policy that does not move jaws."""

    def __init__(self, policy: Policy) -> None:
        grip = policy.actions.columns.grip
        if grip is None or policy.actions.grip != "binary":
            raise ConfigError(
                f"wanted a policy that opens and closes jaws, to bring about a failure, found "
                f"{policy.name} with grip = {policy.actions.grip!r}"
            )
        self._policy, self._grip = policy, grip
        self.name, self.cameras, self.actions = policy.name, policy.cameras, policy.actions
        self.needs = policy.needs
        self.state_names = tuple(dict.fromkeys((*policy.state_names, *_WATCHED)))
        self._theirs = [self.state_names.index(n) for n in policy.state_names]
        self._ours = [self.state_names.index(n) for n in _WATCHED]
        self.reset()

    @property
    def thought(self) -> Thought | None:
        """What the policy thought."""
        return getattr(self._policy, "thought", None)

    def check_instruction(self, text: str) -> None:
        """As the policy."""
        self._policy.check_instruction(text)

    def reset(self) -> None:
        """Begin an episode."""
        self._policy.reset()
        self._held_since: float | None = None  # [s]
        self._open_from: float | None = None  # [s]

    def infer(self, obs: Observation) -> Chunk:
        chunk = self._policy.infer(structs.replace(obs, state=obs.state[self._theirs]))
        t = obs.t_ns / NS
        if self._open_from is None and self._due(obs, t):
            self._open_from = t
        if self._open_from is None or t - self._open_from >= OPEN_S:
            return chunk
        actions = chunk.actions.copy()
        actions[:, self._grip] = 0.0
        return structs.replace(chunk, actions=actions)

    def _due(self, obs: Observation, t: float) -> bool:
        width, wanted, force = obs.state[self._ours].tolist()
        if not (force > FORCE and wanted < width and width > OPEN_JAWS):
            self._held_since = None
            return False
        if self._held_since is None:
            self._held_since = t
        wait = np.random.default_rng((obs.seed, 19)).uniform(*HELD_S)
        return t - self._held_since >= wait

    def told(self, made: Rollout) -> Rollout:
        """The rollout `made` of the last episode, with an event at which the jaws were opened."""
        if self._open_from is None:
            return made
        event = Event(
            t_ns=round(self._open_from * NS), kind=EventKind.INJECTED, level="warning",
            text="inject: the jaws are opened", subject="jaws",
        )  # fmt: skip
        events: Sequence[Any] = sorted((*made.events, event), key=lambda e: e.t_ns)
        return replaced(made, events=tuple(events))
