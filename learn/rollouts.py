"""Record episodes of a trained policy, for training PRO: what the robot does on its own, failures
included.

    python -m headway.learn.rollouts --out runs/rollouts --episodes 500

Resumable: recordings that are complete are kept. `--workers` processes share the episodes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from headway.clock import VirtualClock
from headway.edge import settings
from headway.edge.build import Built
from headway.edge.result import Result
from headway.edge.station import Station
from headway.edge.summary import success_line
from headway.learn.collect import record_seeds, share

ROLLOUT_SEEDS = 2_000_000


@dataclass(frozen=True)
class Job:
    config: str
    out: str
    seeds: tuple[int, ...]


def run(job: Job) -> list[Result]:
    """The episodes of one job, in one process; without PRO, which is what they will train."""
    clock = VirtualClock(1)
    config = Path(job.config)
    chosen = msgspec.structs.replace(settings.load(config), pro=None)
    with Station(chosen, clock) as station:
        built = Built(chosen, config.parent, station, clock)
        return record_seeds(
            built.loop, job.seeds, Path(job.out), chunk_shape=built.chunk_shape,
            metadata=built.facts, images=False,
        )  # fmt: skip


def main(
    out: Path = Path("runs/rollouts"),
    config: Path = Path("configs/pick_place_sim.toml"),
    episodes: int = 500,
    workers: int = 2,
) -> None:
    """Record episodes of the configured policy."""
    jobs = lambda seeds: Job(str(config), str(out), seeds)  # noqa: E731
    results = share(run, jobs, out, ROLLOUT_SEEDS, episodes, workers, "rollouts")
    print(success_line(results))


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
