"""Collect demonstrations of the scripted expert as recordings, through the same loop as everything.

    python -m headway.learn.collect --out runs/demos --episodes 400

Resumable: a recording that is complete is kept. `--workers` processes share the episodes.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from headway.clock import VirtualClock
from headway.edge import settings
from headway.edge.loop import Loop, Result
from headway.edge.policy import PolicyWorker
from headway.edge.runner import record_episode
from headway.edge.station import Station
from headway.learn.experts.pick_place import HORIZON, Expert

# Seeds never meet: tests and `headway run` count from 0, these ranges start far above.
DEMO_SEEDS = 1_000_000
ACTION_DIM = 7


@dataclass(frozen=True)
class Job:
    config: str
    out: str
    seeds: tuple[int, ...]
    disturb: float


def collect(
    config: Path, out: Path, episodes: int, *, workers: int = 2, disturb: float = 0.04
) -> Iterator[Result]:
    """Yields results as episodes finish, in no particular order."""
    out.mkdir(parents=True, exist_ok=True)
    todo = [
        DEMO_SEEDS + i for i in range(episodes) if not (out / f"{DEMO_SEEDS + i}.mcap").exists()
    ]
    jobs = [
        Job(str(config), str(out), tuple(todo[i :: workers * 4]), disturb)
        for i in range(workers * 4)
    ]
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        for results in pool.imap_unordered(run, [j for j in jobs if j.seeds]):
            yield from results


def run(job: Job) -> list[Result]:
    """The episodes of one job, in one process."""
    clock = VirtualClock(1)
    results = []
    with Station(settings.load(job.config), clock) as station:
        assert station.cell is not None
        expert = Expert(station.cell, 0, disturb=job.disturb, cameras=("wrist",))
        worker = PolicyWorker(
            expert,
            station.chain,
            clock,
            station.settings.policy.latency_s if station.settings.policy else 0.02,
        )
        loop = Loop(station, worker, None)
        for seed in job.seeds:
            expert.reseed(seed)
            part = Path(job.out) / f"{seed}.part"
            result = record_episode(
                loop, seed, part, chunk_shape=(HORIZON, ACTION_DIM),
                metadata={"policy": expert.name}, overwrite=True,
            )  # fmt: skip
            part.rename(Path(job.out) / f"{seed}.mcap")
            results.append(result)
    return results


def main(
    out: Path = Path("runs/demos"),
    config: Path = Path("configs/pick_place_sim.toml"),
    episodes: int = 400,
    workers: int = 2,
) -> None:
    """Collect demonstrations of the scripted expert."""
    from rich.progress import track

    done = list(
        track(
            collect(config, out, episodes, workers=workers),
            total=episodes,
            description="demonstrations",
        )
    )
    print(f"{len(done)} new episodes, {sum(bool(r.success) for r in done)} successful")


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
