"""Record episodes in which a trained policy drives and the scripted expert labels every chunk with
what it would have done (DAgger, Ross, Gordon & Bagnell 2011). They teach a policy to recover from
its own mistakes.

    python -m headway.learn.corrections --out runs/corrections --episodes 200
    python -m headway.learn.corrections --out runs/shoebox_corrections \\
        --config configs/workflows/shoebox.toml --policy models/policy

Policy and expert take turns of 8 to 24 chunks, so that the episodes reach the later parts of the
task even if the policy is still poor. Chunks of the expert's turns are labelled, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
from msgspec import structs

from headway import shipped
from headway.clock import VirtualClock
from headway.edge.control import settings
from headway.edge.control.build import Built
from headway.edge.control.result import Result
from headway.edge.control.station import Station
from headway.edge.policy.policy import Policy
from headway.learn.collect import Expert, expert_of, record_seeds, share
from headway.types import Chunk, Observation

CORRECTION_SEEDS = 1_500_000


class TakingTurns:
    """A policy that gives the chunks of `policy` in a share `policy_share` (0..1) of the turns, and
    those of `expert` in the others. Every chunk has the expert's actions as its label."""

    name = "policy with scripted corrections"

    def __init__(self, policy: Policy, expert: Expert, policy_share: float) -> None:
        self.policy, self.expert, self.share = policy, expert, policy_share
        self.cameras = policy.cameras
        self.state_names = tuple(dict.fromkeys((*expert.state_names, *policy.state_names)))
        self.actions, self.needs = policy.actions, policy.needs
        self._pick = [self.state_names.index(n) for n in policy.state_names]
        self._show = [self.state_names.index(n) for n in expert.state_names]
        self.reset()

    def check_instruction(self, text: str) -> None:
        """As the policy."""
        self.policy.check_instruction(text)

    def reset(self) -> None:
        """Begin an episode, whose turns follow from the seed of the cell's scene."""
        self.policy.reset()
        self.expert.reset()
        self._rng = np.random.default_rng([self.expert.cell.seed, 11])
        self._left, self._policy_drives = 0, False

    def infer(self, obs: Observation) -> Chunk:
        if self._left == 0:
            self._policy_drives = bool(self._rng.random() < self.share)
            self._left = int(self._rng.integers(8, 25))
        self._left -= 1
        taught = self.expert.infer(structs.replace(obs, state=obs.state[self._show]))
        if not self._policy_drives:
            return structs.replace(taught, label=taught.actions)
        driven = self.policy.infer(structs.replace(obs, state=obs.state[self._pick]))
        return structs.replace(driven, label=taught.actions)


def run(
    config: Path, out: Path, policy: Path | None, policy_share: float, seeds: Sequence[int]
) -> list[Result]:
    """Record the episodes of `seeds` into the folder `out` and return their results; `policy` is
    the bundle of the policy, None for the one of `config`, and `policy_share` (0..1) as in
    `TakingTurns`."""
    clock = VirtualClock(1)
    chosen = msgspec.structs.replace(settings.load(config), pro=None)
    if policy is not None:
        table = {"kind": "bundle", "bundle": str(policy.resolve())}
        chosen = msgspec.structs.replace(chosen, policy=table)
    with Station(chosen, clock) as station:

        def take_turns(policy: Policy) -> Policy:
            expert = expert_of(station.world, disturb=0.0, cameras=policy.cameras)
            return TakingTurns(policy, expert, policy_share)

        built = Built(chosen, station, clock, wrap=take_turns)
        return record_seeds(built.loop, seeds, out, metadata=built.facts)


def main(
    out: Path = Path("runs/corrections"),
    config: Path = shipped.CONFIG,
    policy: Path | None = None,
    episodes: int = 200,
    workers: int = 2,
    policy_share: float = 0.7,
    first_seed: int = CORRECTION_SEEDS,
) -> None:
    """Record episodes in which policy and scripted expert take turns."""
    record = partial(run, config, out, policy, policy_share)
    share(record, out, first_seed, episodes, workers, "corrections")


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
