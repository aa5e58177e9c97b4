"""How much faster than real time do rollouts for learning run, on one core?

Physics, sensors, policy, guard and telemetry at 125 Hz in lock-step, kept in memory
(`learn.rollout`): without PRO and without a recorder. Once the shipped policy network sees through
the wrist camera five times a second, and once the scripted expert drives without a camera. The
process is pinned to one core.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from time import perf_counter
from typing import Any

import msgspec
import numpy as np

from headway import shipped
from headway.benchmarks import _child
from headway.benchmarks._findings import Findings, Number, Table
from headway.drivers.sim import gl
from headway.edge.control import settings as run_settings
from headway.edge.control.settings import Settings
from headway.edge.policy.policy import Policy
from headway.errors import Missing

POLICY_HZ = 5.0
FIRST_SEED = 4_000_000  # a range of its own
EPISODES = 12  # of 6 to 18 s
PARTS = ("physics", "camera", "policy", "new scene", "all the rest")


def rollout_settings(camera: bool, timestep: float) -> Settings:
    """The shipped cell at 125 Hz with physics steps of `timestep` [s]: with the shipped policy and
    the wrist `camera`, else with the scripted expert and without."""
    made = run_settings.load(shipped.CONFIG)
    loop = msgspec.structs.replace(made.loop, hz=125.0, policy_hz=POLICY_HZ, pro_hz=25.0)
    driver = made.policy if camera else {"kind": "expert", "expert": "pick_place"}
    return msgspec.structs.replace(
        made, pro=None, loop=loop, policy=driver, camera=made.camera if camera else (),
        cell={**(made.cell or {}), "timestep": timestep},
    )  # fmt: skip


def at_any_rate(policy: Policy) -> Policy:
    """`policy`, which is made for 10 Hz, asked at another rate: what it costs is the same."""
    policy.needs = msgspec.structs.replace(policy.needs, rate_hz=None)
    return policy


def episodes(camera: bool, timestep: float, count: int, parts: bool) -> dict[str, Any]:
    """Run in the pinned process. Per episode the simulated seconds per wall second and per second
    of processor time, and how many succeed. With `parts`, also the milliseconds per simulated
    second that each of PARTS takes; measuring that makes the rest slower."""
    from headway.learn.rollout import Runner

    wall, busy, succeeded, simulated, spent = [], [], 0, 0.0, dict.fromkeys(PARTS[:-1], 0.0)
    with Runner(rollout_settings(camera, timestep), wrap=at_any_rate) as runner:
        runner.episode(FIRST_SEED)  # fills caches
        if parts:
            _time_parts(runner, spent)
        begun_all = perf_counter()
        for i in range(count):
            begun, used = perf_counter(), time.process_time()
            result = runner.episode(FIRST_SEED + 1 + i).result
            wall.append(result.seconds / (perf_counter() - begun))
            busy.append(result.seconds / (time.process_time() - used))
            simulated += result.seconds
            succeeded += result.success is True
        took = perf_counter() - begun_all
    rest = took - sum(spent.values())
    return {
        "wall": wall, "busy": busy, "succeeded": succeeded,
        "parts": [1e3 * s / simulated for s in (*spent.values(), rest)],
    }  # fmt: skip


def _time_parts(runner: Any, spent: dict[str, float]) -> None:
    """Add to `spent` [s] what each part of the episodes of `runner` takes from now on."""

    def timed(part: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def measured(*args: Any, **kwargs: Any) -> Any:
            begun = perf_counter()
            try:
                return call(*args, **kwargs)
            finally:
                spent[part] += perf_counter() - begun

        return measured

    station, worker = runner.station, runner.built.worker
    station.world.sync = timed("physics", station.world.sync)
    for camera in station.cameras.values():
        camera.source.read = timed("camera", camera.source.read)
    worker.policy.infer = timed("policy", worker.policy.infer)
    station.reset = timed("new scene", station.reset)


def measure(effort: float = 1.0) -> Findings:
    title = "Rollouts for learning at 125 Hz, one core, no recorder, no PRO"
    try:
        gl.import_mujoco()
    except Missing as e:
        return Findings(title, skipped=str(e))
    core = _child.quiet_core()
    count = max(1, round(EPISODES * effort))
    numbers, rows, notes = [], [], []
    for camera, name, target in (
        (True, "policy network, 96 px wrist camera", 25.0),
        (False, "scripted expert, no camera", 40.0),
    ):
        if camera and gl.backend() is None:
            notes.append("no renderer here, so no rollouts with a camera")
            continue
        for timestep in (0.004, 0.002):
            about = {"camera": camera, "timestep": timestep, "count": count}
            found = _child.call("rollouts", "episodes", core=core, parts=False, **about)
            of = f"{name}, physics of {1e3 * timestep:g} ms"
            aim = target if timestep == 0.004 else None
            numbers += [
                Number(of, float(np.median(found["wall"])), "x", aim, at_most=False),
                Number(f"{of}, per processor second", float(np.median(found["busy"])), "x"),
            ]
            notes.append(f"{of}: {found['succeeded']} of {count} episodes succeed")
        split = _child.call(
            "rollouts", "episodes", core=core, camera=camera, timestep=0.004,
            count=max(1, count // 3), parts=True,
        )  # fmt: skip
        rows.append((name, tuple(split["parts"])))
    table = Table("time per simulated second, physics of 4 ms", PARTS, tuple(rows), "ms")
    notes.append("medians over episodes; a new scene is part of its episode")
    return Findings(title, numbers, [table], notes)
