"""From a policy's answer to joint motion: chunks of 50 rows in every action space, for arms of 5, 6
and 7 joints, inverse kinematics included."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from headway.actions import ROTATIONS, ActionSpace
from headway.benchmarks._findings import PERCENTILES, Findings, Number, Table
from headway.benchmarks.parts import timed
from headway.drivers.model import load
from headway.edge.guard.config import GuardConfig
from headway.edge.guard.jaws import JawsCheck
from headway.edge.motion.actions import Limb, joint_actions, tcp_actions, to_joints
from headway.types import Chunk, Vec

CALLS = 1000  # per space and arm
ROWS = 50
_DT_S = 0.02
ARMS = {5: "so101", 6: "ur5e", 7: "franka"}  # by number of joints
Row = tuple[str, tuple[float, ...]]


def spaces(joints: tuple[str, ...]) -> dict[str, ActionSpace]:
    """Every action space of an arm with `joints`, by name."""
    modes: tuple[Any, ...] = ("absolute", "chunk", "step", "velocity")
    common: dict[str, Any] = {"chunk": ROWS, "dt_s": _DT_S, "grip": "normalised"}
    out = {
        f"joint, {mode}": ActionSpace(names=(*joints, "grip"), space="joint", mode=mode, **common)
        for mode in modes
    }
    axes: tuple[Any, ...] = ("tcp", "base")
    for mode, (rotation, parts), frame in itertools.product(modes, ROTATIONS.items(), axes):
        if (mode == "velocity" and rotation != "rotvec") or (mode == "absolute" and frame == "tcp"):
            continue
        out[f"tcp, {mode}, {rotation}, axes {frame}"] = ActionSpace(
            names=("x", "y", "z", *parts, "grip"), mode=mode, rotation=rotation, axes=frame,
            **common,
        )  # fmt: skip
    return out


def motion(home: Vec) -> Vec:
    """A slow motion (ROWS + 1, n) [rad] of all joints from `home` (n,) [rad]."""
    t = np.linspace(0.0, 1.0, ROWS + 1)[:, None]
    path: Vec = home + 0.1 * np.sin(t * np.linspace(1.0, 2.0, len(home)))
    return path


def conversions(n: int, calls: int) -> tuple[list[Row], float]:
    """Times [us] of the conversion to joint motion in every space, for an arm of `n` joints, and
    the largest residual of the inverse kinematics."""
    model = load(ARMS[n])
    chain = model.chain
    home, names = model.home, model.joints
    limb = Limb(chain, names, 0.08)
    q = motion(home)
    frames = [chain.fk(one) for one in q]
    R, p = np.array([f[0] for f in frames]), np.array([f[1] for f in frames])
    base, rows, worst = chain.pose(home), list[Row](), 0.0
    for name, space in spaces(names).items():
        joint = space.space == "joint"
        values = joint_actions(q, space, names) if joint else tcp_actions(R, p, space)
        chunk = Chunk(0, round(_DT_S * 1e9), values.astype(np.float32), base)

        def convert(i: int, chunk: Chunk = chunk, space: ActionSpace = space) -> None:
            to_joints(chunk, space, limb, home)

        worst = max(worst, to_joints(chunk, space, limb, home).residual)
        rows.append((name, timed(convert, calls, min(calls, 20))))
    return rows, worst


def beside(calls: int) -> list[Row]:
    """What else an answer and a tick cost."""
    joints = tuple(f"j{k}" for k in range(6))
    d = len(joints) + 1
    space = ActionSpace(
        names=(*joints, "grip"), space="joint", chunk=ROWS, dt_s=_DT_S,
        units=("deg",) * 6 + ("1",), scale=(0.5,) * d, offset=(0.1,) * d,
    )  # fmt: skip
    raw = np.zeros((ROWS, d), np.float32)
    box = (-1.0, -1.0, -1.0), (1.0, 1.0, 1.0)
    cfg = GuardConfig(workspace_min=box[0], workspace_max=box[1], force_max=80.0, torque_max=15.0)
    check = JawsCheck(cfg)
    return [
        ("raw numbers to SI units", timed(lambda i: space.to_si(raw), calls)),
        ("guard.jaws", timed(lambda i: check.apply(0.5, math.nan), 10 * calls)),
    ]


def measure(effort: float = 1.0) -> Findings:
    calls = max(5, round(CALLS * effort))
    numbers, tables = [], []
    for n in ARMS:
        rows, residual = conversions(n, calls)
        slowest = max(row[1][0] for row in rows)
        what = f"chunk of {ROWS}, {n} joints"
        numbers.append(Number(f"{what}, slowest space: p50", slowest * 1e-3, "ms", target=1.0))
        numbers.append(Number(f"{what}: largest residual", residual, "m or rad", target=1e-4))
        tables.append(Table(f"time per {what}", PERCENTILES, tuple(rows), "us"))
    tables.append(Table("beside it, time per call", PERCENTILES, tuple(beside(calls)), "us"))
    return Findings("From a policy's answer to joint motion", numbers, tables)
