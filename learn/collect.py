"""Collect demonstrations of the scripted expert as recordings, through the same loop as everything.

    python -m headway.learn.collect --out runs/demos --episodes 500

Resumable: a recording that is complete is kept. `--workers` processes share the episodes.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from rich.progress import Progress

from headway import shipped
from headway.clock import VirtualClock
from headway.drivers.sim.cell import Cell
from headway.edge.control import settings
from headway.edge.control.loop import Loop
from headway.edge.control.result import Result
from headway.edge.control.runner import record_episode
from headway.edge.control.station import Station
from headway.edge.policy.policy import InlineWorker
from headway.learn.experts.pick_place import Expert
from headway.tools.run.summary import success_line

# Seeds never meet: `headway run` counts from 0, training data from millions.
DEMO_SEEDS = 1_000_000
ACTION_DIM = 7
LATENCY_S = 0.02

J = TypeVar("J")


@dataclass(frozen=True)
class Job:
    config: str
    out: str
    seeds: tuple[int, ...]
    disturb: float


def share(
    work: Callable[[J], list[Result]],
    job: Callable[[tuple[int, ...]], J],
    out: Path,
    first: int,
    episodes: int,
    workers: int,
    title: str,
) -> list[Result]:
    """Spread the seeds without a recording in `out` over processes; returns their results."""
    out.mkdir(parents=True, exist_ok=True)
    seeds = range(first, first + episodes)
    todo = [s for s in seeds if not (out / f"{s}.mcap").exists()]
    size = 5
    jobs = [job(tuple(todo[i : i + size])) for i in range(0, len(todo), size)]
    results: list[Result] = []
    with Progress() as progress, multiprocessing.get_context("spawn").Pool(workers) as pool:
        bar = progress.add_task(title, total=episodes, completed=episodes - len(todo))
        for part in pool.imap_unordered(work, jobs):
            results += part
            progress.advance(bar, len(part))
    return results


def record_seeds(
    loop: Loop,
    seeds: Sequence[int],
    out: Path,
    *,
    metadata: Mapping[str, str],
    before: Callable[[int], None] = lambda seed: None,
    images: bool = True,
) -> list[Result]:
    """One recording per seed, renamed into place when it is complete; `before` each episode."""
    results = []
    for seed in seeds:
        before(seed)
        part = out / f"{seed}.part"
        result = record_episode(loop, seed, part, metadata=metadata, overwrite=True, images=images)
        part.rename(out / f"{seed}.mcap")
        results.append(result)
    return results


def run(job: Job) -> list[Result]:
    """The episodes of one job, in one process."""
    clock = VirtualClock(1)
    with Station(settings.load(job.config), clock) as station:
        assert isinstance(station.world, Cell)
        expert = Expert(station.world, 0, disturb=job.disturb, cameras=("wrist",))
        loop = Loop(station, InlineWorker(expert, station.chain, LATENCY_S), None)
        return record_seeds(
            loop, job.seeds, Path(job.out), metadata={"policy": expert.name},
            before=expert.reseed,
        )  # fmt: skip


def main(
    out: Path = Path("runs/demos"),
    config: Path = shipped.CONFIG,
    episodes: int = 500,
    workers: int = 2,
    disturb: float = 0.04,
) -> None:
    """Collect demonstrations of the scripted expert."""
    jobs = lambda seeds: Job(str(config), str(out), seeds, disturb)  # noqa: E731
    results = share(run, jobs, out, DEMO_SEEDS, episodes, workers, "demonstrations")
    print(success_line(results))


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
