"""Disturb a trained policy for a while, so that the training data of PRO contain more failures than
the policy causes by itself, like those of a real deployment (items moved by hand, a knocked camera,
a bad chunk).

Kind, time, size, length and repetition of a disturbance are drawn from the scene's seed. PRO gets
no information about it: its labels come from telemetry, the controller's events and the outcome, as
for every episode.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from headway.clock import NS
from headway.edge.policy.policy import Policy
from headway.types import Chunk, Observation

KINDS = {"press": 0.5, "aside": 0.2, "open": 0.15, "still": 0.15}  # kind: probability


@dataclass(frozen=True)
class Disturbance:
    """A disturbance of the actions from `start` [s] of the episode on, for `length` [s], repeated
    every `period` [s]. "press" moves waypoints along the tool's z, and "aside" in the direction
    `angle` [rad] of its x-y plane: by up to `size` [m] at the chunk's end, and by `growth` * `size`
    more each time, at most `largest` [m]. "open" opens the jaws; "still" stops the motion."""

    kind: str
    start: float
    length: float
    period: float  # inf for only once
    size: float
    growth: float
    angle: float = 0.0
    largest: float = 0.12

    def share(self, t: float) -> float:
        """The factor on `size` at `t` [s] of the episode; 0 while the policy is not disturbed."""
        since = t - self.start
        if since < 0.0:
            return 0.0
        count = 0 if math.isinf(self.period) else int(since // self.period)
        if since - count * (self.period if count else 0.0) >= self.length:
            return 0.0
        return 1.0 + count * self.growth

    def apply(self, actions: NDArray[Any], t: float) -> NDArray[Any]:
        """The disturbed `actions` (h, 7), whose columns are those of the shipped policy (x y z rx
        ry rz grip, relative to the chunk's start), of a chunk at `t` [s] of the episode."""
        share = self.share(t)
        if not share:
            return actions
        actions = actions.copy()
        if self.kind == "open":
            actions[:, 6] = 0.0
        elif self.kind == "still":
            actions[:, :6] = 0.0
        else:
            away = min(self.largest, share * self.size) * np.linspace(
                1 / len(actions), 1.0, len(actions)
            )
            if self.kind == "press":  # along the tool's z
                actions[:, 2] += away
            else:
                actions[:, 0] += math.cos(self.angle) * away
                actions[:, 1] += math.sin(self.angle) * away
        return actions


def drawn(seed: int) -> Disturbance:
    """The disturbance of the scene with this `seed`, always the same for the same seed."""
    rng = np.random.default_rng(seed)
    kind = str(rng.choice(list(KINDS), p=list(KINDS.values())))
    again = rng.random() < 0.4
    return Disturbance(
        kind=kind,
        start=float(rng.uniform(0.5, 9.0)),
        length=float(rng.uniform(0.3, 1.5)) * (2.0 if kind == "still" else 1.0),
        period=float(rng.uniform(3.2, 5.0) if kind == "still" else rng.uniform(1.6, 2.5))
        if again else math.inf,
        size=float(rng.uniform(0.02, 0.10)),
        growth=float(rng.uniform(0.0, 0.5)),
        angle=float(rng.uniform(0.0, 2 * math.pi)),
    )  # fmt: skip


class Disturbed:
    """`policy` with the disturbance `what`. Before each episode, call `redraw` with its seed, or
    set `what`."""

    what: Disturbance

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.name, self.actions, self.needs = policy.name, policy.actions, policy.needs
        self.cameras, self.state_names = policy.cameras, policy.state_names
        self.check_instruction = policy.check_instruction
        self._begun: int | None = None

    def redraw(self, seed: int) -> None:
        """Draw the disturbance of the next episode, whose scene has this `seed`."""
        self.what = drawn(seed)

    def reset(self) -> None:
        self._policy.reset()
        self._begun = None

    def infer(self, obs: Observation) -> Chunk:
        chunk = self._policy.infer(obs)
        if self._begun is None:
            self._begun = obs.t_ns
        actions = self.what.apply(chunk.actions, (obs.t_ns - self._begun) / NS)
        return structs.replace(chunk, actions=actions)
