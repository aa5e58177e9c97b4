"""Record demonstrations of the scripted expert, with the same control loop as every run.

    python -m headway.learn.collect --out runs/demos --episodes 500
    python -m headway.learn.collect --out runs/shoebox --episodes 200 --workflow shoebox

The expert is the one that is called as the cell's scene. It can be interrupted and started again:
complete recordings are kept. `--workers` processes share the episodes.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

from rich.progress import Progress

from headway import plugins, shipped
from headway.clock import VirtualClock
from headway.drivers import World
from headway.drivers.sim.cell import Cell
from headway.edge.control import settings
from headway.edge.control.loop import Loop
from headway.edge.control.result import Result
from headway.edge.control.runner import record_episode
from headway.edge.control.station import Station
from headway.edge.policy.policy import InlineWorker, Policy
from headway.errors import ConfigError
from headway.files import whole
from headway.tools.run.summary import success_line
from headway.workflows import config_of

# Training data have other seeds than `headway run`, which counts from 0.
DEMO_SEEDS = 1_000_000
LATENCY_S = 0.02  # simulated time of an inference [s]


def share(
    record: Callable[[Sequence[int]], list[Result]],
    out: Path,
    first: int,
    episodes: int,
    workers: int,
    title: str,
) -> None:
    """Record `episodes` seeds from `first` on, except those that have a recording in `out`, with
    `workers` processes, and print how many succeeded. `record` records the episodes of some seeds
    in one process; it must be possible to pickle it. `title` is for the progress bar."""
    out.mkdir(parents=True, exist_ok=True)
    seeds = range(first, first + episodes)
    todo = [s for s in seeds if not (out / f"{s}.mcap").exists()]
    size = 5
    jobs = [todo[i : i + size] for i in range(0, len(todo), size)]
    results: list[Result] = []
    with Progress() as progress, multiprocessing.get_context("spawn").Pool(workers) as pool:
        bar = progress.add_task(title, total=episodes, completed=episodes - len(todo))
        for part in pool.imap_unordered(record, jobs):
            results += part
            progress.advance(bar, len(part))
    print(success_line(results))


def record_seeds(
    loop: Loop,
    seeds: Sequence[int],
    out: Path,
    *,
    metadata: Mapping[str, str],
    before: Callable[[int], None] = lambda seed: None,
    images: bool = True,
) -> list[Result]:
    """Record one episode per seed into `out`, as SEED.mcap once it is complete, and return the
    results. `before` is called with the seed before each episode; `metadata` and `images` are as in
    `record_episode`."""
    results = []
    for seed in seeds:
        before(seed)
        with whole(out / f"{seed}.mcap") as part:
            result = record_episode(loop, seed, part, metadata=metadata, images=images)
        results.append(result)
    return results


class Expert(Policy, Protocol):
    """A scripted expert, which looks into its `cell`."""

    cell: Cell


def expert_of(world: World | None, *, disturb: float, cameras: tuple[str, ...]) -> Expert:
    """The scripted expert for the scene of `world`, which has the same name; `disturb` and
    `cameras` as in its `connect`. Raises ConfigError for a world that is no simulated cell, or for
    whose scene there is no expert."""
    if not isinstance(world, Cell):
        raise ConfigError(
            "demonstrations want a simulated cell, which an expert can look into, found none: add "
            "a section [cell]"
        )
    module = plugins.load("learn.experts", world.cfg.scene)
    made: Expert = module.connect(world, disturb=disturb, cameras=cameras)
    return made


def run(config: Path, out: Path, disturb: float, seeds: Sequence[int]) -> list[Result]:
    """Record the demonstrations of `seeds` into the folder `out` and return their results;
    `disturb` as in `Expert`."""
    clock = VirtualClock(1)
    with Station(settings.load(config), clock) as station:
        expert = expert_of(station.world, disturb=disturb, cameras=("wrist",))
        loop = Loop(station, InlineWorker(expert, station.limb, LATENCY_S), None)
        return record_seeds(loop, seeds, out, metadata={"policy": expert.name})


def main(
    out: Path = Path("runs/demos"),
    config: Path = shipped.CONFIG,
    episodes: int = 500,
    workers: int = 2,
    disturb: float = 0.04,
    workflow: str | None = None,
) -> None:
    """Collect demonstrations of the scripted expert, with the run configuration at `config`, or
    with that of `workflow`. Raises ConfigError for a workflow that there is not."""
    if workflow is not None:
        config = config_of(workflow)
    record = partial(run, config, out, disturb)
    share(record, out, DEMO_SEEDS, episodes, workers, "demonstrations")


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
