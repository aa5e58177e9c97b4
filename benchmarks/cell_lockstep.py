"""How much faster than real time does the cell run with the whole loop, on one core?

Physics, drivers, PRO, policy stub, guard and recorder in lock-step, no camera. The process and the
recorder's writer, which it starts, are pinned to one core; time counts from the first tick until
the recording is closed.
"""

from __future__ import annotations

import resource
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np

from headway.benchmarks import _child
from headway.benchmarks._findings import PERCENTILES, Findings, Number, Table, percentiles
from headway.benchmarks._robot import CHUNK_SHAPE, cell_settings, robot
from headway.clock import VirtualClock
from headway.edge.control.audit import STAGES
from headway.edge.control.log import EpisodeLog, NullLog
from headway.edge.control.loop import Loop
from headway.edge.control.result import Result
from headway.errors import Missing

EPISODE_S = 10.0  # simulated
REPEATS = 5


def episodes(seconds: float, repeats: int, features: str) -> dict[str, Any]:
    """Run in the pinned process. Per repeat the simulated seconds per wall second with recorder and
    without, the same per second of processor time, and the stages [us]."""
    clock = VirtualClock(1)
    stages: list[Any] = []
    wall, busy, unrecorded = [], [], []
    with (
        TemporaryDirectory() as folder,
        robot(cell_settings(seconds), clock, features=features) as (loop, what),
    ):
        for i in range(repeats):
            path = Path(folder) / f"{i}.mcap"
            instruction = loop.station.reset(i)
            with _log(loop, path) as log:
                begun = perf_counter()
                used = _used() + _child.used_by(
                    log.recorder.writer_pid
                )  # its start is not the loop's
                result = loop.episode(instruction, log)
            took = perf_counter() - begun
            wall.append(result.seconds / took)
            busy.append(result.seconds / (_used() - used))
            rows = np.load(path.with_suffix(".timing.npy"))
            stages.append(np.stack([rows[s] for s in STAGES]) / 1e3)
            stages[-1] = np.vstack([stages[-1], stages[-1].sum(axis=0)])
            _check(result)
            loop.station.reset(i)
            begun = perf_counter()
            result = loop.episode(instruction, NullLog())
            unrecorded.append(result.seconds / (perf_counter() - begun))
    table = np.hstack(stages)
    return {
        "what": what,
        "wall": wall,
        "busy": busy,
        "unrecorded": unrecorded,
        "stages": {
            name: percentiles(x) for name, x in zip((*STAGES, "all stages"), table, strict=True)
        },
    }


def _log(loop: Loop, path: Path) -> EpisodeLog:
    return EpisodeLog(
        path, joints=loop.station.joints, cameras={}, chunk_shape=CHUNK_SHAPE,
        pro=loop.pro, realtime=False, max_ticks=round(loop.task.limit_s * loop.cfg.hz) + 2,
        metadata={},
    )  # fmt: skip


def _used() -> float:
    """Processor time of this process and of its children that have ended [s]."""
    usages = [resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in usages)


def _check(result: Result) -> None:
    """A loop whose guard brakes does less work than one that runs."""
    if result.end != "time limit" or result.rejected > 0.01 * result.ticks:
        raise RuntimeError(f"wanted an episode of free motion, found {result}")


def measure(effort: float = 1.0) -> Findings:
    title = "The cell in lock-step with the whole loop, one core, no camera"
    try:
        from headway.drivers.sim.gl import import_mujoco

        import_mujoco()
    except Missing as e:
        return Findings(title, skipped=str(e))
    core = _child.quiet_core()
    seconds, repeats = EPISODE_S * max(effort, 0.02), max(1, round(REPEATS * effort))
    # NumPy first, so that the one with a target does not have the core while it is still cool.
    found = {
        kind: _child.call(
            "cell_lockstep", "episodes", core=core, seconds=seconds, repeats=n, features=kind
        )
        for kind, n in (("numpy", max(1, repeats // 2)), ("auto", repeats))
    }
    best = found["auto"]
    numbers = [
        Number("real-time factor", float(np.median(best["wall"])), "x", 10.0, at_most=False),
        Number("the same per processor second", float(np.median(best["busy"])), "x"),
        Number("without a recorder", float(np.median(best["unrecorded"])), "x"),
        Number("features on numpy", float(np.median(found["numpy"]["wall"])), "x"),
    ]
    tables = [
        Table(f"stages per tick, {f['what']}", PERCENTILES, tuple(f["stages"].items()), "us")
        for f in found.values()
    ]
    notes = (
        best["what"],
        "the stage `read` contains the physics; the writer's share is in none of the stages",
        "per processor second: without the time that other processes had on this core",
    )
    return Findings(title, numbers, tables, notes)
