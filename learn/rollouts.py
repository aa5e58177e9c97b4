"""Record episodes of a trained policy, with its failures, as training data for a PRO head.

    python -m headway.learn.rollouts --out runs/rollouts --episodes 800
    python -m headway.learn.rollouts --out runs/disturbed --episodes 1500 --disturbed

With `--disturbed`, something goes wrong in each episode (`headway.learn.disturb`). It can be
interrupted and started again: complete recordings are kept. `--workers` processes share the
episodes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import msgspec

from headway import shipped
from headway.clock import VirtualClock
from headway.edge.control import settings
from headway.edge.control.build import Built
from headway.edge.control.result import Result
from headway.edge.control.station import Station
from headway.edge.policy.policy import Policy
from headway.learn.collect import record_seeds, share
from headway.learn.disturb import Disturbed

ROLLOUT_SEEDS, DISTURBED_SEEDS = 2_000_000, 2_500_000


def run(config: Path, out: Path, disturbed: bool, seeds: Sequence[int]) -> list[Result]:
    """Record the episodes of `seeds` into the folder `out` and return their results. PRO is off,
    because they are its training data."""
    clock = VirtualClock(1)
    chosen = msgspec.structs.replace(settings.load(config), pro=None)
    before: list[Callable[[int], None]] = []

    def disturb(policy: Policy) -> Policy:
        other = Disturbed(policy)
        before.append(other.redraw)
        return other

    with Station(chosen, clock) as station:
        built = Built(chosen, station, clock, wrap=disturb if disturbed else None)
        return record_seeds(
            built.loop, seeds, out, metadata={**built.facts, "disturbed": str(disturbed)},
            before=before[0] if before else lambda seed: None, images=False,
        )  # fmt: skip


def main(
    out: Path = Path("runs/rollouts"),
    config: Path = shipped.CONFIG,
    episodes: int = 500,
    workers: int = 2,
    disturbed: bool = False,
) -> None:
    """Record episodes of the configured policy."""
    first = DISTURBED_SEEDS if disturbed else ROLLOUT_SEEDS
    share(partial(run, config, out, disturbed), out, first, episodes, workers, "rollouts")


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
