"""The compiled guard, imported on first use."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway import compiled
from headway.drivers.kinematics import Chain
from headway.edge.guard.collision import Scene
from headway.edge.guard.core import Core, Fk, PythonCore, position
from headway.edge.guard.joint import Joint
from headway.types import Vec

VERSION = 2  # of what the compiled module offers


def module(impl: compiled.Impl) -> Any:
    """The compiled module where it computes, None where Python does. Raises Missing."""
    return compiled.choose(impl, "headway.edge.guard._guard", VERSION, "the compiled guard")


def make(
    impl: compiled.Impl,
    joints: list[Joint],
    period_s: float,
    box: NDArray[np.float64],
    lever_m: float,
    clamp: bool,
    command: Vec,
    out: Vec,
    fk: Fk,
    scene: Scene | None,
) -> Core:
    """The core that `impl` stands for (see `headway.compiled`): compiled and Python ones take the
    same arguments. Raises Missing, and ValueError for a chain of another number of joints."""
    if isinstance(fk, Chain) and len(fk.dh) != len(joints):
        raise ValueError(
            f"guard wants a chain of its {len(joints)} joints, found one of {len(fk.dh)}"
        )
    native = module(impl)
    if native is None:
        return PythonCore(joints, period_s, box, lever_m, clamp, command, out, fk, scene)
    where: tuple[Any, ...]
    if isinstance(fk, Chain):
        where = (
            fk.links, math.cos(fk.base_yaw), math.sin(fk.base_yaw), np.array(fk.tool, np.float64)
        )  # fmt: skip
    else:
        where = _filled(fk, len(joints))
    rows = np.array([joint.constants() for joint in joints])
    parts = None if scene is None else (*scene.rows(), scene.floor, scene.margin)
    core: Core = native.Core(rows, period_s, box, lever_m, clamp, command, out, where, parts)
    return core


def _filled(fk: Any, n: int) -> tuple[Any, Vec, Vec]:
    """`fk` as a function that reads one buffer and writes another."""
    q, p = np.zeros(n), np.zeros(3)

    def call() -> None:
        p[:] = position(fk, q)

    return call, q, p
