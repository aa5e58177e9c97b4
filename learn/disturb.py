"""A trained policy that goes wrong for a while, so that PRO sees more trouble than the policy makes
by itself: what deployment brings along (items moved by hand, a camera knocked, a bad chunk).

Kind, moment, size, length and repetition are drawn from the scene's seed. PRO is told nothing of
it: its labels come from telemetry, the controller's events and the outcome as ever.
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

KINDS = {"press": 0.5, "aside": 0.2, "open": 0.15, "still": 0.15}  # and how often


@dataclass(frozen=True)
class Disturbance:
    """From `start` [s] on, for `length` [s], every `period` [s]; `size` [m] at the chunk's end,
    larger by `growth` each time up to `largest`, towards `angle` [rad] in the tool's plane."""

    kind: str
    start: float
    length: float
    period: float  # inf: once
    size: float
    growth: float
    angle: float = 0.0
    largest: float = 0.12

    def share(self, t: float) -> float:
        """How much of `size`, at `t` [s] into the episode; 0 where the policy is left alone."""
        since = t - self.start
        if since < 0.0:
            return 0.0
        count = 0 if math.isinf(self.period) else int(since // self.period)
        if since - count * (self.period if count else 0.0) >= self.length:
            return 0.0
        return 1.0 + count * self.growth

    def apply(self, actions: NDArray[Any], t: float) -> NDArray[Any]:
        """Waypoints (h, 7) as `headway.edge.motion.chunks.ACTION_NAMES` at `t` [s]."""
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
            if self.kind == "press":  # along the tool
                actions[:, 2] += away
            else:
                actions[:, 0] += math.cos(self.angle) * away
                actions[:, 1] += math.sin(self.angle) * away
        return actions


def drawn(seed: int) -> Disturbance:
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
    """`policy` with a disturbance, which is `what`; `redraw`, or set it, before each episode."""

    what: Disturbance

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.name, self.chunk_shape = policy.name, policy.chunk_shape
        self.needs = policy.needs
        self.cameras, self.state_names = policy.cameras, policy.state_names
        self.instruction = policy.instruction
        self._begun: int | None = None

    def redraw(self, seed: int) -> None:
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
