"""Record episodes of a trained policy, for training PRO: what the robot does on its own, failures
included.

    python -m headway.learn.rollouts --out runs/rollouts --episodes 800
    python -m headway.learn.rollouts --out runs/disturbed --episodes 1500 --disturbed

With `--disturbed` each episode has something that goes wrong (`headway.learn.disturb`).
Resumable: recordings that are complete are kept. `--workers` processes share the episodes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from headway import shipped
from headway.clock import VirtualClock
from headway.edge.control import settings
from headway.edge.control.build import Built
from headway.edge.control.result import Result
from headway.edge.control.station import Station
from headway.edge.policy.policy import InlineWorker
from headway.learn.collect import record_seeds, share
from headway.learn.disturb import Disturbed
from headway.tools.run.summary import success_line

ROLLOUT_SEEDS, DISTURBED_SEEDS = 2_000_000, 2_500_000


@dataclass(frozen=True)
class Job:
    config: str
    out: str
    seeds: tuple[int, ...]
    disturbed: bool


def run(job: Job) -> list[Result]:
    """The episodes of one job, in one process; without PRO, which is what they will train."""
    clock = VirtualClock(1)
    config = Path(job.config)
    chosen = msgspec.structs.replace(settings.load(config), pro=None)
    with Station(chosen, clock) as station:
        built = Built(chosen, station, clock)
        before: Callable[[int], None] = lambda seed: None  # noqa: E731
        if job.disturbed:
            assert isinstance(built.worker, InlineWorker)
            policy = Disturbed(built.worker.policy)
            built.loop.worker = InlineWorker(policy, station.chain, built.worker.latency_s)
            before = policy.redraw
        return record_seeds(
            built.loop, job.seeds, Path(job.out),
            metadata={**built.facts, "disturbed": str(job.disturbed)}, before=before, images=False,
        )  # fmt: skip


def main(
    out: Path = Path("runs/rollouts"),
    config: Path = shipped.CONFIG,
    episodes: int = 500,
    workers: int = 2,
    disturbed: bool = False,
) -> None:
    """Record episodes of the configured policy."""
    jobs = lambda seeds: Job(str(config), str(out), seeds, disturbed)  # noqa: E731
    first = DISTURBED_SEEDS if disturbed else ROLLOUT_SEEDS
    results = share(run, jobs, out, first, episodes, workers, "rollouts")
    print(success_line(results))


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
