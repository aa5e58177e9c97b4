"""Serial-chain kinematics from standard Denavit-Hartenberg rows (a, d, alpha).

Each row gives T_i = Rz(q_i) Tz(d_i) Tx(a_i) Rx(alpha_i) (Denavit & Hartenberg 1955, in the
"standard" convention, which Universal Robots publishes). `drivers/cpp/kinematics.hpp` computes it
where it was compiled at installation, else `drivers/kinematics_python.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.compiled import Computed, Impl
from headway.drivers import kinematics_python, native
from headway.drivers.capsules import Capsule
from headway.drivers.rotations import (
    Mat3,
    mat_to_quat,
    mat_to_rotvec,
    quat_to_mat,
    rotvec_to_mat,
    tool_down,
)
from headway.types import Pose, Vec

Sixtuple = tuple[float, float, float, float, float, float]

__all__ = [
    "Chain", "Mat3", "mat_to_quat", "mat_to_rotvec", "quat_to_mat", "rotvec_to_mat",
    "tool_down",
]  # fmt: skip


@dataclass(frozen=True)
class Chain:
    """The kinematics of an arm of n joints. `dh` has a row (a [m], d [m], alpha [rad]) per joint;
    `base_yaw` [rad] turns the first frame about the vertical; `tool` is the TCP in the flange
    frame; `body` is the arm's shape. `impl` chooses the implementation as `headway.compiled` says;
    a chain with more joints than the compiled code takes is computed in Python. Raises Missing.
    Threads may share a chain.

    The argument `q` of every method is (n,) [rad]; another number of joints raises ValueError.
    """

    dh: tuple[tuple[float, float, float], ...]
    base_yaw: float = 0.0
    tool: tuple[float, float, float] = (0.0, 0.0, 0.0)  # [m], no rotation
    impl: Impl = field(default="auto", compare=False)
    body: tuple[Capsule, ...] = ()
    # What computes: two classes of the same methods.
    _solver: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        given = (
            self.links, math.cos(self.base_yaw), math.sin(self.base_yaw),
            np.array(self.tool, np.float64),
        )  # fmt: skip
        compiled = native.module(self.impl)
        if self.impl == "auto" and compiled is not None and len(self.dh) > compiled.MAX_JOINTS:
            compiled = None
        made = (kinematics_python if compiled is None else compiled).Chain(*given)
        object.__setattr__(self, "_solver", made)  # the class is frozen

    @property
    def links(self) -> NDArray[np.float64]:
        """`dh` as an array (n, 4) of rows (a [m], d [m], cos alpha, sin alpha)."""
        rows = [(a, d, math.cos(alpha), math.sin(alpha)) for a, d, alpha in self.dh]
        return np.array(rows, np.float64).reshape(-1, 4)

    @property
    def computed_by(self) -> Computed:
        """The implementation in use, which "auto" chose for this machine."""
        return "python" if isinstance(self._solver, kinematics_python.Chain) else "cpp"

    def __reduce__(self) -> tuple[Any, ...]:
        given = (self.dh, self.base_yaw, self.tool, self.impl, self.body)  # the rest is made anew
        return Chain, given

    def transforms(self, q: Vec) -> NDArray[np.float64]:
        """Frames 0..n in the base frame, as rows (n + 1, 12): rotation row-major, then position
        [m]. Frame 0 is the base with `base_yaw`, frame i + 1 is behind joint i, and the last one is
        the flange. Joint i turns about z of frame i."""
        out = np.empty((len(self.dh) + 1, 12))
        self._solver.frames(q, out)
        return out

    def frames(self, q: Vec) -> tuple[list[Sixtuple], tuple[float, ...]]:
        """Per joint its axis and origin (zx, zy, zz, px, py, pz), and the flange as 12 numbers
        (rotation row-major, then position); positions in [m], all in the base frame."""
        rows = self.transforms(q).tolist()
        return [(f[2], f[5], f[8], f[9], f[10], f[11]) for f in rows[:-1]], tuple(rows[-1])

    def fk(self, q: Vec) -> tuple[Mat3, Vec]:
        """TCP rotation (3, 3) and position (3,) [m] in the base frame."""
        R, p = np.empty((3, 3)), np.empty(3)
        self._solver.fk(q, R, p)
        return R, p

    def fk_into(self, q: Vec, R: Mat3, p: Vec) -> None:
        """`fk`, written into float64 arrays `R` (3, 3) and `p` (3,)."""
        self._solver.fk(q, R, p)

    def position(self, q: Vec) -> Vec:
        """TCP position (3,) [m] in the base frame; faster than `fk`."""
        p = np.empty(3)
        self._solver.position(q, p)
        return p

    def pose(self, q: Vec) -> Pose:
        """TCP pose in the base frame."""
        p, quat = np.empty(3), np.empty(4)
        self._solver.pose(q, p, quat)
        return Pose(p, quat)

    def jacobian(self, q: Vec) -> NDArray[np.float64]:
        """Geometric Jacobian (6, n) of the TCP in the base frame: rows v [m/s], then w [rad/s]."""
        return self.state(q)[2]

    def state(self, q: Vec) -> tuple[Mat3, Vec, NDArray[np.float64]]:
        """TCP rotation (3, 3) and position (3,) [m] in the base frame, and `jacobian` (6, n)."""
        R, p, J = np.empty((3, 3)), np.empty(3), np.empty((6, len(self.dh)))
        self._solver.state(q, R, p, J)
        return R, p, J

    def state_into(self, q: Vec, R: Mat3, p: Vec, J: NDArray[np.float64]) -> None:
        """`state`, written into float64 arrays `R` (3, 3), `p` (3,) and `J` (6, n)."""
        self._solver.state(q, R, p, J)

    def motion(self, q: Vec, dq: Vec) -> tuple[Pose, Vec]:
        """TCP pose and twist (6,), v [m/s] then w [rad/s], both in the base frame, of an arm whose
        joints move with `dq` (n,) [rad/s]."""
        p, quat, twist = np.empty(3), np.empty(4), np.empty(6)
        self._solver.motion(q, dq, p, quat, twist)
        return Pose(p, quat), twist

    def ik(
        self,
        R: Mat3,
        p: Vec,
        q0: Vec,
        *,
        iterations: int = 12,
        tol: float = 2e-5,
        damping: float = 1e-4,
        max_step: float = 0.25,
    ) -> tuple[Vec, float]:
        """Inverse kinematics by damped least squares (Wampler 1986): joints for the TCP pose with
        rotation `R` (3, 3) and position `p` (3,) [m] in the base frame, starting at `q0` (n,)
        [rad].

        It ends when the residual is below `tol`, or after `iterations` steps, each of which turns
        no joint by more than `max_step` [rad]. `damping` is added to the diagonal of J J^T.

        Returns the joints (n,) [rad] and the residual: the largest component of the position error
        [m] and of the rotation error [rad]. The caller decides which residual is a failure. Inputs
        that are not finite give NaN joints and an infinite residual.
        """
        q = np.array(q0, dtype=np.float64)
        return q, self._solver.ik(R, p, q, iterations, tol, damping, max_step)

    def ik_chunk(
        self,
        R: Mat3,
        p: Vec,
        actions: NDArray[np.float64],
        q0: Vec,
        *,
        iterations: int = 8,
        tol: float = 2e-5,
        damping: float = 1e-4,
        max_step: float = 0.25,
    ) -> tuple[NDArray[np.float64], float]:
        """`ik` for a chunk of TCP poses: each starts from the joints of the pose before it, the
        first from `q0` (n,) [rad]. `actions` (h, 6 or more) holds a position [m] and a rotation
        vector [rad] per row, in the frame with rotation `R` (3, 3) and origin `p` (3,) [m].

        Returns joints (h + 1, n) [rad], whose row 0 is `q0`, and the largest residual. An action
        with a number that is not finite, in any column, makes its row and all later rows NaN; these
        do not count in the residual. The compiled code releases Python's global lock.
        """
        q = np.empty((len(actions) + 1, len(self.dh)))
        q[0] = q0
        return q, self._solver.ik_chunk(R, p, actions, q, iterations, tol, damping, max_step)
