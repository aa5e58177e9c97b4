"""A chunk of 50 waypoints of six joints, checked before it is adopted: what it costs and what is
found, beside `ActionGuard` of reflex-vla where that is installed (`pip install --no-deps
reflex-vla`). They are not alike: that guard looks for values that are no numbers and for joint
positions outside their range, and clamps them; ours also follows speed and acceleration from
waypoint to waypoint, the TCP through the workspace, and the arm past itself and the floor.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.benchmarks._findings import PERCENTILES, Findings, Number, Table, percentiles
from headway.benchmarks.parts import each
from headway.drivers.model import load
from headway.drivers.sim.arm_model import with_gripper
from headway.edge.guard import native as guard_native
from headway.edge.guard.guard import Guard, GuardConfig
from headway.edge.guard.reasons import Reason

UR5E = load("ur5e")

CALLS, TURNS = 4000, 20
PYTHON = "headway python"
DT = 0.1  # [s] between waypoints
_HOME = np.array([0.0, -1.9, 1.9, -1.57, -1.57, 0.0])
_ROWS = 50
Chunk = NDArray[np.float64]


def chunks() -> dict[str, tuple[Reason, Chunk]]:
    """A good chunk, and bad ones of one fault each, with what our guard is to say."""
    t = np.arange(_ROWS)[:, None] * DT
    good = _HOME + 0.15 * (1 - np.cos(0.8 * t))
    nan, wide, fast, hard, out, fold, low = (good.copy() for _ in range(7))
    nan[30, 2] = np.nan
    wide[:, 5] = np.linspace(0, 6.4, _ROWS)
    fast[30:, 0] += 2 * DT * UR5E.limits.dq_max[0]
    hard[30, 3] += 2 * DT**2 * UR5E.limits.ddq_max[3] / 2
    out[:, 0] = np.linspace(0, 2.8, _ROWS)
    fold[:, 2] = np.linspace(1.9, 2.9, _ROWS)
    low[:, 1] = np.linspace(-1.9, -3.4, _ROWS)
    return {
        "a good one": (Reason.OK, good),
        "a NaN": (Reason.NOT_FINITE, nan),
        "a joint out of range": (Reason.POSITION, wide),
        "twice the speed": (Reason.VELOCITY, fast),
        "twice the acceleration": (Reason.ACCELERATION, hard),
        "out of the workspace": (Reason.WORKSPACE, out),
        "gripper into the arm": (Reason.COLLISION, fold),
        "elbow into the floor": (Reason.COLLISION, low),
    }


def ours(impl: Any) -> Guard:
    """The guard of the simulated arm at 500 Hz, with a workspace, a floor, and limits of force and
    torque; `impl` computes it and the kinematics."""
    chain = replace(with_gripper("ur5e").robot.chain, impl=impl)
    cfg = GuardConfig(
        workspace_min=(-0.25, -1.0, 0.0),
        workspace_max=(1.0, 1.0, 1.5),
        force_max=80.0,
        torque_max=15.0,
        floor_z=0.0,
    )
    return Guard(cfg, UR5E.limits, 0.002, chain, impl)


def theirs() -> Callable[[Chunk], bool] | str:
    """Whether a chunk is safe, as reflex-vla says; or why that cannot be asked."""
    os.environ.setdefault("REFLEX_NO_LD_LIBRARY_PATH_PATCH", "1")  # it would load CUDA's libraries
    try:
        from reflex.safety.guard import ActionGuard, SafetyLimits  # type: ignore[import-not-found]
    except Exception as e:
        return f"no reflex-vla ({type(e).__name__}: {e})"
    lim = UR5E.limits
    guard = ActionGuard(
        SafetyLimits(
            joint_names=[f"j{i}" for i in range(6)],
            position_min=lim.q_min.tolist(),
            position_max=lim.q_max.tolist(),
            velocity_max=lim.dq_max.tolist(),
            effort_max=lim.tau_max.tolist(),
        ),
        max_consecutive_clamps=0,
    )
    return lambda chunk: all(r.safe for r in guard.check(chunk)[1])


def taken(asked: dict[str, Callable[[Chunk], bool]], good: Chunk, n: int) -> dict[str, Chunk]:
    """What calls took [us], `n` of each guard, of ours in Python a hundredth. They take turns, so
    that a machine that becomes slower becomes so for all."""
    took: dict[str, list[Chunk]] = {name: [] for name in asked}
    for turn in range(TURNS):
        for name, ask in asked.items():
            few = max(1, n // TURNS // (100 if name == PYTHON else 1))
            warm = min(few, 50) if turn == 0 else 1
            took[name].append(each(lambda i, ask=ask: ask(good), few, warm))  # type: ignore[misc]
    return {name: np.concatenate(times) for name, times in took.items()}


def measure(effort: float = 1.0) -> Findings:
    n = max(TURNS, round(CALLS * effort))
    given = chunks()
    good = given["a good one"][1]
    for what, (reason, q) in given.items():
        if (said := ours("auto").check_chunk(q, DT)).reason is not reason:
            raise RuntimeError(
                f"wanted {reason.name} for {what}, found {said.reason}: {said.detail}"
            )
    peer = theirs()
    asked: dict[str, Callable[[Chunk], bool]] = {}
    for impl in ("cpp", "python") if guard_native.module("auto") is not None else ("python",):
        check = ours(impl).check_chunk
        asked[f"headway {impl}"] = lambda q, check=check: check(q, DT).reason is Reason.OK  # type: ignore[misc]
    if not isinstance(peer, str):
        asked["reflex-vla ActionGuard"] = peer
    took = [(name, percentiles(times)) for name, times in taken(asked, good, n).items()]
    flags = tuple(
        (what, tuple(float(not ask(q)) for ask in asked.values())) for what, (_, q) in given.items()
    )
    p50 = {name: row[0] for name, row in took}
    numbers = []
    if "headway cpp" in p50:
        numbers.append(Number("chunk of 50, all checks: p50", p50["headway cpp"], "us", 50.0))
        if "reflex-vla ActionGuard" in p50:
            ratio = p50["reflex-vla ActionGuard"] / p50["headway cpp"]
            numbers.append(Number("reflex-vla / headway, which checks more", ratio, "x"))
    notes = [] if not isinstance(peer, str) else [f"peer skipped: {peer}"]
    return Findings(
        "Check of a chunk before it is adopted",
        numbers,
        [
            Table("time per chunk", PERCENTILES, tuple(took), "us"),
            Table("1: flagged", tuple(asked), flags),
        ],
        notes,
    )
