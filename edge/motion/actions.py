"""From a policy's actions to joint motion, for every action space (`headway.actions`), and back.

`to_joints` converts a chunk to waypoints in joint space. `joint_actions` and `tcp_actions` are
its inverses: they give the actions that would make a known motion, as labels for learning.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headway.actions import ActionSpace
from headway.clock import NS
from headway.drivers.kinematics import Chain, quat_to_mat
from headway.edge.motion import rotation_rows as rot
from headway.edge.motion.chunks import GripKind, JointChunk
from headway.errors import SpecMismatch
from headway.types import Chunk, Pose, Vec


@dataclass(frozen=True)
class Limb:
    """An arm and its jaws, as far as a chunk has to know them: the kinematics `chain`, the names of
    its `joints` in order, and the `stroke` [m] of the gripper, None without one. `name` tells it
    apart where a robot has several."""

    chain: Chain
    joints: tuple[str, ...]
    stroke: float | None = None
    name: str = "arm"


def to_joints(chunk: Chunk, space: ActionSpace, limb: Limb, q0: Vec) -> JointChunk:
    """The waypoints in joint space of a `chunk` whose actions (space.chunk, columns) are in SI
    units, as `space.to_si` gives them.

    `limb` is the arm that is to move, `q0` (n,) [rad] its joints as commanded at the chunk's start,
    whose TCP pose is `chunk.base`.

    From the first row on that has a number that is not finite, or whose rotation is none
    (`headway.edge.motion.rotation_rows.to_mats`), the waypoints are NaN, and the guard refuses them
    with a reason. Columns that are not used do not count.

    Steps in the axes of the TCP compose as T_k = T_(k-1) S_k; in the axes of the base, p_k =
    p_(k-1) + dp_k and R_k = S_k R_(k-1). Joint velocities integrate to q_k = q_(k-1) + dq_k dt.
    A twist in the axes of the TCP moves it along the screw T_k = T_(k-1) exp(twist_k dt); in the
    axes of the base, it gives the velocity of the TCP and its angular velocity, p_k = p_(k-1) +
    v_k dt and R_k = exp(w_k dt) R_(k-1).

    Raises SpecMismatch for actions of another shape or type, a time step that is not positive, and
    actions of joints that are not those of the arm.
    """
    values = _values(chunk, space)
    columns, n = space.columns, len(q0)
    order = space.check_joints(limb.joints)
    rows = values if space.mode != "velocity" else _held(values, space.hold_rows)
    good = _finite(rows[:, columns.used])
    dt = chunk.dt_ns / NS
    q = np.full((space.rows, n), np.nan)
    q[0] = q0
    with np.errstate(over="ignore", invalid="ignore"):
        if space.space == "joint":
            made, residual = _joints(rows[:good, order], space, q0, dt), 0.0
        else:
            path = tcp_path(rows[:good], space, chunk.base, dt)
            solved, residual = limb.chain.ik_chunk(path.R, path.p, path.rows, q0)
            made, good = solved[1:], len(path.rows)
        q[1 : good + 1] = made
        if good == space.chunk:
            q[good + 1 :] = q[good]
        sure = min(good, space.chunk)
        grip, force = _grip(values[:sure], space, limb.stroke)
    ends = () if columns.ends is None else values[:sure, columns.ends] > space.ends_above
    return JointChunk(
        chunk.t0_ns,
        chunk.dt_ns,
        q,
        grip,
        residual,
        grip_force=force,
        grip_kind=grip_kind(space),
        ends_at=int(np.argmax(ends)) + 1 if np.any(ends) else None,
    )


def grip_kind(space: ActionSpace) -> GripKind:
    """What chunks of `space` do with the jaws."""
    if space.columns.grip is None:
        return "none"
    return "binary" if space.grip in ("binary", "force") else "continuous"


class TcpPath(NamedTuple):
    """Poses of the TCP: `rows` (h, 6) of positions [m] and rotation vectors [rad] in the frame with
    the rotation `R` (3, 3) and the origin `p` (3,) [m] in the base frame."""

    R: NDArray[np.float64]
    p: Vec
    rows: NDArray[np.float64]


def tcp_path(rows: NDArray[np.float64], space: ActionSpace, base: Pose, dt_s: float) -> TcpPath:
    """The poses that finite `rows` (h, columns) of TCP actions [SI] lead to, up to the first row
    whose rotation is none. `base` is the TCP pose at the chunk's start; velocities last `dt_s` [s].
    """
    columns = space.columns
    v, r = rows[:, columns.position], rot.to_rotvecs(rows[:, columns.rotation], space.rotation)
    good = _finite(r)
    v, r = v[:good], r[:good]
    if space.mode == "absolute":
        return TcpPath(np.eye(3), np.zeros(3), np.concatenate([v, r], axis=1))
    R = quat_to_mat(base.quat)
    in_base = space.axes == "base"
    if in_base:  # seen in the axes of the frame that the rows are given in
        v, r = v @ R, r @ R
    if space.mode != "chunk":
        if space.mode == "velocity":
            v, r = v * dt_s, r * dt_s
            v = v if in_base else rot.screw(r, v)
        turned = rot.products(rot.to_mats(r, "rotvec"), left=in_base)
        if not in_base and good:  # each step is in the axes of the row before
            v = np.concatenate([v[:1], (turned[:-1] @ v[1:, :, None])[:, :, 0]])
        v, r = v.cumsum(axis=0), rot.rotvecs(turned)
    return TcpPath(R, base.pos, np.concatenate([v, r], axis=1))


def joint_actions(
    q: NDArray[np.float64], space: ActionSpace, joints: Sequence[str]
) -> NDArray[np.float64]:
    """The joint actions (h, columns) [SI] that make an arm with the joints `joints` go through `q`
    (h + 1, n) [rad], whose first row is where it starts. Other columns than those of joints are 0.
    Raises SpecMismatch for a space of other joints."""
    wanted = {"absolute": q[1:], "chunk": q[1:] - q[0]}.get(space.mode)
    if wanted is None:
        wanted = np.diff(q, axis=0) / (space.dt_s if space.mode == "velocity" else 1.0)
    out = np.zeros((len(wanted), len(space.names)))
    out[:, space.check_joints(joints)] = wanted
    return out


def tcp_actions(
    R: NDArray[np.float64], p: NDArray[np.float64], space: ActionSpace
) -> NDArray[np.float64]:
    """The TCP actions (h, columns) [SI] that make the TCP go through the poses with the rotations
    `R` (h + 1, 3, 3) and the positions `p` (h + 1, 3) [m] in the base frame, the first of which is
    where it starts. Other columns than those of position and rotation are 0."""
    back = R[:1] if space.mode == "chunk" else R[:-1]  # what each row is relative to
    if space.mode == "absolute":
        v, turn = p[1:], R[1:]
    else:
        v = p[1:] - (p[:1] if space.mode == "chunk" else p[:-1])
        inverse = back.transpose(0, 2, 1)
        if space.axes == "tcp":
            v, turn = (inverse @ v[:, :, None])[:, :, 0], inverse @ R[1:]
        else:
            turn = R[1:] @ inverse
    rotation = rot.from_mats(turn, space.rotation)
    if space.mode == "velocity":
        v = v if space.axes == "base" else rot.unscrew(rotation, v)
        v, rotation = v / space.dt_s, rotation / space.dt_s
    out = np.zeros((len(v), len(space.names)))
    out[:, space.columns.position], out[:, space.columns.rotation] = v, rotation
    return out


def _values(chunk: Chunk, space: ActionSpace) -> NDArray[np.float64]:
    given, wanted = np.asarray(chunk.actions), (space.chunk, len(space.names))
    if given.dtype.kind != "f" or given.shape != wanted:
        raise SpecMismatch(
            f"wanted a chunk of actions {wanted} of floats, with the columns "
            f"{', '.join(space.names)}; found {given.shape} of {given.dtype}: check the policy"
        )
    if chunk.dt_ns <= 0:
        raise SpecMismatch(f"wanted a chunk with dt > 0, found {chunk.dt_ns} ns: check the policy")
    return given.astype(np.float64)


def _held(rows: NDArray[np.float64], more: int) -> NDArray[np.float64]:
    """`rows` with the last one `more` times again."""
    return np.concatenate([rows, np.repeat(rows[-1:], more, axis=0)]) if more else rows


def _finite(rows: NDArray[np.float64]) -> int:
    """How many of the first rows are finite without a gap."""
    bad = ~np.isfinite(rows).all(axis=1)
    return int(bad.argmax()) if bad.any() else len(rows)


def _joints(
    rows: NDArray[np.float64], space: ActionSpace, q0: Vec, dt_s: float
) -> NDArray[np.float64]:
    """The joints (h, n) [rad] that `rows` (h, n) of joint actions lead to from `q0` (n,) [rad]."""
    if space.mode == "absolute":
        return rows
    if space.mode == "chunk":
        return q0 + rows
    made: NDArray[np.float64] = q0 + (rows * dt_s if space.mode == "velocity" else rows).cumsum(0)
    return made


def _grip(
    values: NDArray[np.float64], space: ActionSpace, stroke: float | None
) -> tuple[Vec, Vec | None]:
    """Grip and force of all waypoints. `values` (h, columns) are the rows up to the first one that
    is not sound; waypoints of later rows are NaN."""
    column = space.columns.grip
    out = np.full(space.rows, np.nan)
    if column is None:
        return out, None
    given = values[:, column]
    opened, closed = space.grip_range(stroke)
    grip = (given - opened) / (closed - opened)
    if space.grip == "force":  # a greater force does not close the jaws any further
        grip = np.clip(grip, 0.0, 1.0)
    _spread(grip, out, space)
    if space.grip != "force":
        return out, None
    force = np.full(space.rows, np.nan)
    _spread(np.where(given > 0.0, given, np.nan), force, space)
    return out, force


def _spread(given: Vec, out: Vec, space: ActionSpace) -> None:
    """Fill `out` (rows,) with what is `given` per row of the chunk: the chunk's start has what its
    first row has, and what is held has what its last row has."""
    h = len(given)
    if h:
        out[0], out[1 : h + 1] = given[0], given
    if h == space.chunk:
        out[h + 1 :] = given[-1]
