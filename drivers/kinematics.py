"""Kinematics of a serial chain of turning joints.

The chain is a list of steps from the base outwards. Each is a fixed transform, then a turn about
the z axis of the frame that it leads to: T_i = F_i Rz(multiplier * q[joint] + offset). So every
chain of turning joints can be written, whatever the directions of their axes.
`drivers/cpp/kinematics.hpp` computes it where it was compiled at installation, else
`drivers/kinematics_python.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
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
    rpy_to_mat,
    tool_down,
)
from headway.drivers.transforms import (
    IDENTITY,
    Transform,
    compose,
    offset,
    transform,
)
from headway.types import Pose, Vec

__all__ = [
    "Chain", "Mat3", "Step", "Transform", "mat_to_quat", "mat_to_rotvec", "quat_to_mat",
    "rotvec_to_mat", "tool_down",
]  # fmt: skip

TCP_AXES = -1  # `Chain.ik_axes`: the axes of the TCP


@dataclass(frozen=True)
class Step:
    """The transform `fixed` from the frame before, then a turn about z by `multiplier` * q[`joint`]
    + `offset` [rad]. Two steps of one joint are a joint and another that mimics it."""

    fixed: Transform
    joint: int
    multiplier: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True)
class Chain:
    """The kinematics of an arm of n joints.

    `steps` lead from the base to the last link; `tool` is the pose of the TCP in the last frame;
    `body` is the arm's shape. `q_min` and `q_max` (n,) [rad] are limits that inverse kinematics
    keeps, () for none. `ik_weights` (6,) are its weights of the errors: position x, y, z [1/m] and
    rotation about x, y, z [1/rad], in the axes of frame number `ik_axes` (see `transforms`), by
    default in those of the TCP. An error of weight 0 is left as it is. `posture` (n,) [rad], () for
    none, is where an arm with more joints than weighted errors tends to.

    `impl` chooses the implementation as `headway.compiled` says; a chain with more joints than the
    compiled code takes is computed in Python. Raises Missing, and ValueError for a chain that makes
    no sense. Threads may share a chain.

    The argument `q` of every method is (n,) [rad]; another number of joints raises ValueError.
    """

    steps: tuple[Step, ...]
    tool: Transform = IDENTITY
    impl: Impl = field(default="auto", compare=False)
    body: tuple[Capsule, ...] = ()
    q_min: tuple[float, ...] = ()
    q_max: tuple[float, ...] = ()
    posture: tuple[float, ...] = ()
    ik_weights: tuple[float, ...] = (1.0,) * 6
    ik_axes: int = TCP_AXES
    n: int = field(init=False, repr=False, compare=False)  # how many joints
    # What computes: two classes of the same methods.
    _solver: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        joints = {step.joint for step in self.steps}
        n = len(joints)
        object.__setattr__(self, "n", n)  # the class is frozen
        if not joints or joints != set(range(n)):
            raise ValueError(f"wanted steps of joints 0..n - 1, found joints {sorted(joints)}")
        for name in ("q_min", "q_max", "posture"):
            if len(getattr(self, name)) not in (0, n):
                raise ValueError(f"wanted {n} numbers in {name}, found {getattr(self, name)}")
        if len(self.ik_weights) != 6 or not all(0.0 <= w < math.inf for w in self.ik_weights):
            raise ValueError(f"wanted six ik_weights >= 0, found {self.ik_weights}")
        if not TCP_AXES <= self.ik_axes <= len(self.steps):
            raise ValueError(f"wanted ik_axes of a frame, found {self.ik_axes}")
        compiled = native.module(self.impl)
        longest = len(self.steps)
        if self.impl == "auto" and compiled is not None and longest > compiled.MAX_JOINTS:
            compiled = None
        made = (kinematics_python if compiled is None else compiled).Chain(*self.rows())
        object.__setattr__(self, "_solver", made)

    @classmethod
    def from_dh(
        cls,
        dh: Sequence[tuple[float, float, float]],
        base_yaw: float = 0.0,
        tool: Sequence[float] = (0.0, 0.0, 0.0),
        impl: Impl = "auto",
        body: tuple[Capsule, ...] = (),
    ) -> Chain:
        """The chain of standard Denavit-Hartenberg rows (a [m], d [m], alpha [rad]), one per joint:
        T_i = Rz(q_i) Tz(d_i) Tx(a_i) Rx(alpha_i) (Denavit & Hartenberg 1955). `base_yaw` [rad]
        turns the first frame about the vertical. `tool` (3,) [m], or (6,) with a rotation vector
        [rad], is the TCP in the frame behind the last row. `impl` and `body` as of the class; the
        capsules are on this chain's frames, of which number i is at the far end of d_i, on the axis
        of joint i - 1, before a_i and alpha_i."""
        steps, before = [], transform(rpy_to_mat(0.0, 0.0, base_yaw), (0.0, 0.0, 0.0))
        for i, (a, d, alpha) in enumerate(dh):
            along = transform(np.eye(3), (0.0, 0.0, d))  # along z, so it may as well come first
            steps.append(Step(compose(before, along), i))
            before = transform(rpy_to_mat(alpha, 0.0, 0.0), (a, 0.0, 0.0))
        return cls(tuple(steps), compose(before, offset(tool)), impl, body)

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Chain:
        """The chain that `plain` gives, made of lists and numbers as they come out of JSON."""
        rows = [(tuple(r[:12]), int(r[12]), r[13], r[14]) for r in plain["steps"]]
        return cls(
            tuple(Step(*row) for row in rows),
            tuple(plain["tool"]),
            q_min=tuple(plain["q_min"]),
            q_max=tuple(plain["q_max"]),
            posture=tuple(plain["posture"]),
            ik_weights=tuple(plain["ik_weights"]),
            ik_axes=plain["ik_axes"],
        )

    def plain(self) -> dict[str, Any]:
        """Everything but `impl` and `body` as lists and numbers, which fit into JSON."""
        return {
            "steps": [[*s.fixed, s.joint, s.multiplier, s.offset] for s in self.steps],
            "tool": list(self.tool), "q_min": list(self.q_min), "q_max": list(self.q_max),
            "posture": list(self.posture), "ik_weights": list(self.ik_weights),
            "ik_axes": self.ik_axes,
        }  # fmt: skip

    @property
    def upright(self) -> bool:
        """Whether the first joint turns about the vertical of the base frame."""
        return math.hypot(self.steps[0].fixed[2], self.steps[0].fixed[5]) < 1e-6

    def rows(self) -> tuple[NDArray[np.float64], ...]:
        """The chain as arrays, for what computes: `steps` (m, 15), `tool` (12,), `joints` (n, 3)
        and `task` (7,), as `kinematics_python.Chain` explains."""
        n = self.n
        joints = np.tile([-math.inf, math.inf, math.nan], (n, 1))
        for column, values in enumerate((self.q_min, self.q_max, self.posture)):
            if values:
                joints[:, column] = values
        steps = [(*s.fixed, s.joint, s.multiplier, s.offset) for s in self.steps]
        task = [*self.ik_weights, self.ik_axes]
        return (
            np.array(steps, np.float64), np.array(self.tool, np.float64), joints,
            np.array(task, np.float64),
        )  # fmt: skip

    @property
    def computed_by(self) -> Computed:
        """The implementation in use, which "auto" chose for this machine."""
        return "python" if isinstance(self._solver, kinematics_python.Chain) else "cpp"

    def __reduce__(self) -> tuple[Any, ...]:
        given = (
            self.steps, self.tool, self.impl, self.body, self.q_min, self.q_max, self.posture,
            self.ik_weights, self.ik_axes,
        )  # fmt: skip
        return Chain, given  # the solver is made anew

    def transforms(self, q: Vec) -> NDArray[np.float64]:
        """Frames 0..m of a chain of m steps in the base frame, as rows (m + 1, 12): rotation
        row-major, then position [m]. Frame 0 is the base, frame i + 1 belongs to the link behind
        step i, and that step turns about its z axis."""
        out = np.empty((len(self.steps) + 1, 12))
        self._solver.frames(q, out)
        return out

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
        R, p, J = np.empty((3, 3)), np.empty(3), np.empty((6, self.n))
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
        no joint by more than `max_step` [rad]. `damping` is added to the diagonal of J J^T. A joint
        that would pass its limit goes to the limit, and the others are solved for again. Joints
        beyond what the task needs are drawn towards `posture` by a term in the null space of the
        task (Liegeois 1977), in proportion to the residual: so a pose that is reached already
        leaves the joints where they are.

        Returns the joints (n,) [rad] and the residual: the largest component of the position error
        [m] and of the rotation error [rad], in the base frame; where some have no weight, of those
        that have one, in the axes of the weights. The caller decides which residual is a failure.
        Inputs that are not finite give NaN joints and an infinite residual.
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
        vector [rad] per row, in the frame with rotation `R` (3, 3) and origin `p` (3,) [m]: a TCP
        pose for poses relative to it, the identity and zero for poses in the base frame.

        Returns joints (h + 1, n) [rad], whose row 0 is `q0`, and the largest residual. An action
        with a number that is not finite, in any column, makes its row and all later rows NaN; these
        do not count in the residual. The compiled code releases Python's global lock.
        """
        q = np.empty((len(actions) + 1, self.n))
        q[0] = q0
        return q, self._solver.ik_chunk(R, p, actions, q, iterations, tol, damping, max_step)
