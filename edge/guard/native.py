"""The choice between the compiled core of the guard and the one in Python. The compiled module is
imported when it is first asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway import compiled
from headway.drivers.kinematics import Chain
from headway.edge.guard.collision import Scene
from headway.edge.guard.core import Core, Fk, PythonCore, position
from headway.edge.guard.joint import Joint
from headway.types import Vec

# The version goes up whenever what the compiled module offers changes.
VERSION = 5


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
    scene: Scene,
) -> Core:
    """The core that `impl` stands for (see `headway.compiled`). The other arguments are those of
    `PythonCore`, which says what they are. Raises Missing, and ValueError for a chain of another
    number of joints."""
    if isinstance(fk, Chain) and fk.n != len(joints):
        raise ValueError(f"guard wants a chain of its {len(joints)} joints, found one of {fk.n}")
    native = module(impl)
    if native is None:
        return PythonCore(joints, period_s, box, lever_m, clamp, command, out, fk, scene)
    n = len(joints)  # a function gets buffers for commands, and others for chunks
    where = fk.rows() if isinstance(fk, Chain) else (_filled(fk, n), _filled(fk, n))
    rows = np.array([joint.constants() for joint in joints])
    parts = (*scene.rows(), scene.floor, scene.margin, scene.names)
    core: Core = native.Core(rows, period_s, box, lever_m, clamp, command, out, where, parts)
    return core


def _filled(fk: Any, n: int) -> tuple[Any, Vec, Vec]:
    """`fk`, which maps q (n,) [rad] to the TCP's position (3,) [m], as a function without
    arguments, with the buffer (n,) that it reads and the one (3,) that it writes."""
    q, p = np.zeros(n), np.zeros(3)

    def call() -> None:
        p[:] = position(fk, q)

    return call, q, p
