"""What a fleet of robots would send and cost: bytes per robot-hour, and processor time to make
rewards of them. docs/scale.md says what follows for a thousand robots.

Episodes of the simulated cell at 125 Hz with the 96 px wrist camera, the same seeds in every form:
recorded with and without images, kept for learning, as PRO's features. A robot with larger cameras
sends more: images scale with their pixels, the rest does not.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import numpy as np

from headway import bundle
from headway.benchmarks._findings import Findings, Number, Table
from headway.benchmarks._robot import PRO_BUNDLE
from headway.benchmarks.rollouts import at_any_rate, rollout_settings
from headway.clock import VirtualClock
from headway.drivers.sim import gl
from headway.edge.control.build import Built
from headway.edge.control.settings import Settings
from headway.edge.control.station import Station
from headway.errors import Missing
from headway.learn.collect import record_seeds
from headway.learn.executors import parts
from headway.learn.rollout import Rollout, Runner, save

FIRST_SEED = 4_100_000  # a range of its own
EPISODES = 8
STUDY_HZ = 25.0  # of features for learning
ROBOTS = 1000


def recorded(settings: Settings, seeds: range, folder: Path, images: bool) -> tuple[int, float]:
    """Bytes of the recordings of `seeds`, and how many seconds they last."""
    clock = VirtualClock(1)
    folder.mkdir()
    with (
        Station(settings, clock) as station,
        closing(Built(settings, station, clock, wrap=at_any_rate)) as built,
    ):
        made = record_seeds(built.loop, seeds, folder, metadata=built.facts, images=images)
    return sum(p.stat().st_size for p in folder.glob("*.mcap")), sum(r.seconds for r in made)


def kept(settings: Settings, seeds: range) -> list[Rollout]:
    """The rollouts of `seeds`."""
    with Runner(settings, wrap=at_any_rate) as runner:
        return [runner.episode(seed) for seed in seeds]


def labelling(settings: Settings, seeds: range, head: bundle.Bundle, hz: float) -> float:
    """Processor seconds per second of work for the features and signals of `head`, of rollouts with
    `hz` ticks a second, which has to be a multiple of the head's rate."""
    loop = msgspec.structs.replace(settings.loop, hz=hz)
    made = kept(msgspec.structs.replace(settings, loop=loop), seeds[:1])
    _, spent = timed(lambda: parts.label(head, made))
    return spent / sum(r.result.seconds for r in made)


def timed(call: Callable[[], Any], repeats: int = 3) -> tuple[Any, float]:
    """What `call` returns, and the least processor seconds that it takes."""
    spent = []
    found = None
    for _ in range(repeats):
        begun = time.process_time()
        found = call()
        spent.append(time.process_time() - begun)
    return found, min(spent)


def measure(effort: float = 1.0) -> Findings:
    title = "What a robot sends per hour of work, and what rewards for it cost"
    try:
        gl.import_mujoco()
    except Missing as e:
        return Findings(title, skipped=str(e))
    if gl.backend() is None:
        return Findings(title, skipped="no renderer here, so no images to record")
    settings = rollout_settings(True, 0.004)
    seeds = range(FIRST_SEED, FIRST_SEED + max(1, round(EPISODES * effort)))
    sizes: dict[str, float] = {}  # bytes per second of work
    with TemporaryDirectory() as folder:
        root = Path(folder)
        for name, images in (("recording", True), ("recording without images", False)):
            size, seconds = recorded(settings, seeds, root / name.replace(" ", "_"), images)
            sizes[name] = size / seconds
        made = kept(settings, seeds)
        save(root / "rollouts.npz", made)
        seconds = sum(r.result.seconds for r in made)
        sizes["rollout for learning"] = (root / "rollouts.npz").stat().st_size / seconds
        found, features_s = timed(lambda: [parts.features(r, STUDY_HZ) for r in made])
        np.savez_compressed(
            root / "features.npz",
            **{f"{i}": x.astype(np.float16) for i, (x, _, _) in enumerate(found)},
        )
        sizes["features at 25 Hz in half precision"] = (
            root / "features.npz"
        ).stat().st_size / seconds
    numbers = [Number(f"{name}, per robot-hour", 3.6e-3 * b, "MB") for name, b in sizes.items()]
    costs = {"features at 25 Hz": features_s / seconds}
    notes = [f"{len(made)} episodes, {seconds:.0f} s of work; processor time of one core"]
    if (PRO_BUNDLE / bundle.MANIFEST).is_file():
        head = bundle.load(PRO_BUNDLE)
        assert head.manifest.pro is not None
        hz = head.manifest.pro.rate_hz
        costs[f"features and head at {hz:g} Hz"] = labelling(settings, seeds, head, 5 * hz)
        notes.append(f"the head is that of {head.manifest.name}, with {5 * hz:g} ticks a second")
    else:
        notes.append("no PRO bundle here: the cost of a head was not measured")
    numbers += [Number(f"{name}, per robot-hour", 3600.0 * c, "s") for name, c in costs.items()]
    what = f"{ROBOTS} robots that work all day"
    tables = [
        _fleet(f"{what}: sent", "Mbit/s", sizes, 8e-6),
        _fleet(f"{what}: kept per day", "TB", sizes, 86400e-12),
        _fleet(f"{what}: to label as fast", "cores", costs, 1.0),
    ]
    return Findings(title, numbers, tables, notes)


def _fleet(title: str, unit: str, of_one: dict[str, float], factor: float) -> Table:
    rows = tuple((name, (ROBOTS * factor * x,)) for name, x in of_one.items())
    return Table(title, ("all",), rows, unit)
