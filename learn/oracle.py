"""A scripted oracle that stands in for a person who watches the robot and takes over for a moment.

It is a script, and is called that wherever its numbers are shown. It decides when to take over by
what a person could see on the robot's own screen: failed attempts, a robot that gets nowhere, a
force that is too large. It needs a while to react, it misses some of the moments, and it has only
so much time. While it drives it plays the scripted expert, which sees the simulated world.

`Demonstrator` lets the expert drive all the time, beside the eyes of a policy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Protocol

import numpy as np
from msgspec import Meta, structs

from headway import config
from headway.clock import NS
from headway.config import Positive, Seconds, SecondsOrNone
from headway.edge.policy.policy import Policy
from headway.errors import ConfigError
from headway.learn.rollout import DEMONSTRATION, ORACLE, PUSHED, Thought
from headway.types import Chunk, Observation

_PHASES = tuple(f"phase.{k}" for k in range(8))
_CONFIRMS = ("station.place", "station.barcode", "station.scale")
_FORCES = ("wrench.fx", "wrench.fy", "wrench.fz")
WATCHED = ("retries", "recovering", *_PHASES, *_CONFIRMS, *_FORCES)
Share = Annotated[float, Meta(ge=0.0, le=1.0)]


class OracleConfig(config.Struct, frozen=True):
    """When the oracle takes over, and for how long."""

    attempts: Annotated[int, Meta(ge=1)] = 2  # failed ones since the last confirm
    patience_s: Seconds = 6.0  # without a confirm or a later phase
    force: Positive = 40.0  # |F| at the TCP [N]
    delay_s: tuple[SecondsOrNone, SecondsOrNone] = (0.5, 1.5)  # drawn evenly, before it acts
    misses: Share = 0.15  # of the moments at which it should act
    missed_s: Seconds = 3.0  # after one that it missed it looks away for so long
    longest_s: Seconds = 12.0  # of one intervention
    share: Share = 0.12  # of a round's robot time that it may act

    def __post_init__(self) -> None:
        if self.delay_s[0] > self.delay_s[1]:
            raise ValueError(f"delay_s wants the least first, found {list(self.delay_s)}")


class Thinking(Policy, Protocol):
    """A policy that tells what it thought, see `headway.learn.rollout.Thought`."""

    @property
    def thought(self) -> Thought | None: ...


class Teacher(Policy, Protocol):
    """An expert that can drive from any state on."""

    def take_over(self, recovering: bool) -> None:
        """Somebody else has driven until now; `recovering`: from a failed attempt."""


class _Beside:
    """A policy and an expert that are given the same observations, each its own state."""

    def __init__(self, policy: Thinking, expert: Teacher, more: Sequence[str] = ()) -> None:
        if policy.actions != expert.actions:
            raise ConfigError(
                f"wanted an expert with the actions of the policy {policy.name}, found others of "
                f"{expert.name}: both have to speak of the same chunks"
            )
        self.policy, self.expert = policy, expert
        self.cameras = tuple(dict.fromkeys((*policy.cameras, *expert.cameras)))
        names = dict.fromkeys((*policy.state_names, *expert.state_names, *more))
        self.state_names = tuple(names)
        self.actions, self.needs = policy.actions, policy.needs
        self.candidates = getattr(policy, "candidates", 0)
        self.thought: Thought | None = None
        self._of_policy = [self.state_names.index(n) for n in policy.state_names]
        self._of_expert = [self.state_names.index(n) for n in expert.state_names]

    def check_instruction(self, text: str) -> None:
        """As the policy."""
        self.policy.check_instruction(text)

    def reset(self) -> None:
        """Begin an episode."""
        self.policy.reset()
        self.expert.reset()
        self.thought = None

    def _driven(self, obs: Observation) -> Chunk:
        """The policy's chunk. It is asked even where it does not drive, for what its eyes see."""
        chunk = self.policy.infer(structs.replace(obs, state=obs.state[self._of_policy]))
        self.thought = self.policy.thought
        return chunk

    def _taught(self, obs: Observation) -> Chunk:
        return self.expert.infer(structs.replace(obs, state=obs.state[self._of_expert]))


class Demonstrator(_Beside):
    """The expert drives, and every chunk is a demonstration, except for those by which it was
    pushed off its way."""

    name = "scripted demonstrations"

    def infer(self, obs: Observation) -> Chunk:
        self._driven(obs)
        taught = self._taught(obs)
        pushed = taught.meta.get("demonstration", 1.0) == 0.0
        source = PUSHED if pushed else DEMONSTRATION
        return structs.replace(taught, meta={**taught.meta, "source": float(source)})


class Oracle(_Beside):
    """The policy drives until the scripted oracle takes over, and again after a line was closed, or
    after `longest_s`. `left_s` [s] is how long it may still act: whoever runs episodes sets it.
    `taken` counts how often it took over."""

    name = "policy with a scripted oracle"

    def __init__(self, policy: Thinking, expert: Teacher, cfg: OracleConfig) -> None:
        super().__init__(policy, expert, WATCHED)
        self.cfg, self.left_s, self.taken = cfg, 0.0, 0
        self._at = {n: self.state_names.index(n) for n in WATCHED}
        self._begin()

    def reset(self) -> None:
        """Begin an episode: the oracle watches, and nothing has happened yet."""
        super().reset()
        self._begin()

    def _begin(self) -> None:
        self._instruction = ""
        self._confirmed = (0.0,) * len(_CONFIRMS)
        self._failed = 0.0  # attempts at the last confirm
        self._phase = -1  # the latest since then
        self._since: float | None = None  # [s] when there was progress last
        self._quiet_until = -np.inf  # [s] it looks away
        self._acts_from: float | None = None  # [s] it has decided to take over
        self._acts_until: float | None = None  # [s] it drives
        self._last: float | None = None  # [s] of the decision before
        self._rng = np.random.default_rng(0)

    def infer(self, obs: Observation) -> Chunk:
        t = obs.t_ns / NS
        if self._since is None:
            self._since = t
            self._rng = np.random.default_rng((obs.seed, 13))
        step, self._last = t - (t if self._last is None else self._last), t
        driven = self._driven(obs)
        seen = {n: float(obs.state[i]) for n, i in self._at.items()}
        closed = self._progress(seen, obs.instruction, t)
        if self._acts_until is not None:
            self.left_s -= step
            if closed or t >= self._acts_until or self.left_s <= 0.0:
                self._forget(seen, t)
        elif self._acts_from is not None:
            if closed:  # it did without help
                self._forget(seen, t)
            elif t >= self._acts_from:
                self._acts_until = t + self.cfg.longest_s
                self.taken += 1
                self.expert.take_over(seen["recovering"] == 1.0)
        elif t >= self._quiet_until and self.left_s > 0.0 and self._wanted(seen, t):
            if self._rng.random() < self.cfg.misses:
                self._forget(seen, t)
                self._quiet_until = t + self.cfg.missed_s
            else:
                self._acts_from = t + float(self._rng.uniform(*self.cfg.delay_s))
        if self._acts_until is None:
            return driven
        taught = self._taught(obs)
        return structs.replace(taught, meta={**taught.meta, "source": float(ORACLE)})

    def _progress(self, seen: dict[str, float], instruction: str, t: float) -> bool:
        """Take note of progress at `t` [s]. Returns whether a line was closed, as far as can be
        seen: another one is asked for, or something was confirmed."""
        confirmed = tuple(seen[n] for n in _CONFIRMS)
        new = any(c == 1.0 > b for c, b in zip(confirmed, self._confirmed, strict=True))
        other = instruction != self._instruction and self._instruction != ""
        self._confirmed = tuple(0.0 if c != c else c for c in confirmed)
        self._instruction = instruction
        phase = next((k for k, n in enumerate(_PHASES) if seen[n] == 1.0), -1)
        if seen["recovering"] == 1.0:  # the phases begin anew; how often is told by `retries`
            phase = self._phase = -1
        if new or other:
            self._failed, self._phase, self._since = seen["retries"], phase, t
        elif phase > self._phase:
            self._phase, self._since = phase, t
        return new or other

    def _wanted(self, seen: dict[str, float], t: float) -> bool:
        """Whether somebody who watches would take over at `t` [s]."""
        assert self._since is not None
        force = float(np.linalg.norm([seen[n] for n in _FORCES]))
        return (
            seen["retries"] - self._failed >= self.cfg.attempts
            or t - self._since > self.cfg.patience_s
            or force > self.cfg.force
        )

    def _forget(self, seen: dict[str, float], t: float) -> None:
        """Watch anew from `t` [s] on: what happened until now is no reason any more."""
        self._acts_from = self._acts_until = None
        self._failed, self._phase, self._since = seen["retries"], -1, t
