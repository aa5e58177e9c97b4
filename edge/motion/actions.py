"""From a policy's actions to joint motion, for every action space (`headway.actions`), and back.

`joint_chunk` converts a chunk to waypoints in joint space. `joint_actions` and `tcp_actions` are
its inverses: they give the actions that would make a known motion, as labels for learning.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from headway import bundle, config, units
from headway.actions import ActionSpace
from headway.clock import NS
from headway.config import Seconds
from headway.drivers.kinematics import Chain, mat_to_rotvec, quat_to_mat, rotvec_to_mat
from headway.edge.motion import rotation_rows as rot
from headway.edge.motion.chunks import ACTION_NAMES, GripKind, JointChunk
from headway.errors import SpecMismatch
from headway.types import Chunk, Pose, Vec


def joint_chunk(
    chunk: Chunk,
    space: ActionSpace,
    chain: Chain,
    q0: Vec,
    joints: Sequence[str],
    stroke: float | None,
) -> JointChunk:
    """The waypoints in joint space of a `chunk` whose actions (space.chunk, columns) are in SI
    units, as `space.to_si` gives them.

    `chain` and `joints` are the kinematics and the joint names of the arm, `q0` (n,) [rad] the
    joints commanded at the chunk's start, whose TCP pose is `chunk.base`. `stroke` [m] of the
    gripper, None without one.

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
    order = space.check_joints(joints)
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
            solved, residual = chain.ik_chunk(path.R, path.p, path.rows, q0)
            made, good = solved[1:], len(path.rows)
        q[1 : good + 1] = made
        if good == space.chunk:
            q[good + 1 :] = q[good]
        sure = min(good, space.chunk)
        grip, force = _grip(values[:sure], space, stroke)
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


# What follows is for policies that are still described by `Actions`.

LONGEST = 4096  # rows of a chunk at most: each record of /chunk has room for a whole chunk
IGNORED = "-"  # name of a column of the answer that is not used
# Unit of `grip` -> its values for open and for closed jaws.
GRIPS = {"closed 0..1": (0.0, 1.0), "open 0..1": (1.0, 0.0), "closed -1..1": (-1.0, 1.0)}
_SI = dict.fromkeys(ACTION_NAMES[:3], "m") | dict.fromkeys(ACTION_NAMES[3:6], "rad")


class Actions(config.Struct, frozen=True, kw_only=True):
    """What a row of the answer means. Headway plays TCP motion relative to the TCP pose at the
    chunk's start: position [m], rotation vector [rad], and grip, 0 open to 1 closed.

    `key` of the rows in a server's answer. `names`: what each column is. `dt_s`: time from row to
    row. `relative_to`: "chunk" for poses relative to the one at the chunk's start, "previous"
    for steps from row to row. `axes`: a row's vectors are in the axes of the "tcp" (at the chunk's
    start, or for steps at the previous row) or in those of the robot's "base". `scale`: one factor
    per column, applied before anything else. `grip_open`, `grip_closed`: the policy's values for
    open and closed jaws.
    """

    chunk: Annotated[int, Meta(ge=1, le=LONGEST)]  # rows used; a server may send more
    dt_s: Seconds
    key: str = "actions"
    names: tuple[str, ...] = ACTION_NAMES
    relative_to: Literal["chunk", "previous"] = "chunk"
    axes: Literal["tcp", "base"] = "tcp"
    scale: tuple[float, ...] | None = None
    grip_open: float = 0.0
    grip_closed: float = 1.0

    def __post_init__(self) -> None:
        used = [n for n in self.names if n != IGNORED]
        if sorted(used) != sorted(ACTION_NAMES):
            raise ValueError(
                f"actions: wanted the names {', '.join(ACTION_NAMES)} in any order, and "
                f"{IGNORED!r} for columns to ignore; found {', '.join(self.names)}"
            )
        if self.scale is not None and len(self.scale) != len(self.names):
            raise ValueError(f"actions: {len(self.names)} names, {len(self.scale)} scales")
        if self.grip_open == self.grip_closed:
            raise ValueError("actions: wanted grip_open and grip_closed to differ")

    @property
    def plain(self) -> bool:
        """Whether rows are already what Headway plays, so that they pass unchanged."""
        return (
            self.names == ACTION_NAMES
            and (self.relative_to, self.axes, self.scale) == ("chunk", "tcp", None)
            and (self.grip_open, self.grip_closed) == (0.0, 1.0)
        )


def of_policy(info: bundle.Policy) -> Actions:
    """What the actions of a bundled policy mean. Raises ValueError for names and units of actions
    that Headway cannot play."""
    unit_of = dict(zip(info.action_names, info.action_units, strict=True))
    grip = unit_of.get("grip", "")
    if "grip" in unit_of and grip not in GRIPS:
        raise ValueError(
            f"action_units of `grip`: wanted how it says open and closed, found {grip!r}: "
            f"{config.suggest(grip, GRIPS)}"
        )
    scale = tuple(_factor(name, unit) for name, unit in unit_of.items())
    opened, closed = GRIPS.get(grip, (0.0, 1.0))
    return Actions(
        chunk=info.chunk,
        dt_s=info.dt_s,
        names=info.action_names,
        axes=info.axes,
        scale=scale if set(scale) != {1.0} else None,
        grip_open=opened,
        grip_closed=closed,
    )


def _factor(name: str, unit: str) -> float:
    if name not in _SI:
        return 1.0
    try:
        return units.factor(unit, _SI[name])
    except ValueError as e:
        raise ValueError(f"action_units of `{name}`: {e}") from None


def to_actions(rows: NDArray[Any], spec: Actions, base: Pose) -> NDArray[np.float32]:
    """Convert `rows` (>= chunk, d), as a policy gave them, to actions (chunk, 7) as Headway plays
    them. `spec` says what the rows mean; `base` is the TCP pose at the chunk's start, in the base
    frame. Steps in the axes of the TCP compose as T_k = T_(k-1) * S_k; in the axes of the base,
    p_k = p_(k-1) + dp_k and R_k = exp(r_k) R_(k-1).

    A row with a number that is not finite becomes an action of NaN. With steps, all later actions
    become NaN too.
    """
    used = rows[: spec.chunk]
    with np.errstate(over="ignore", invalid="ignore"):
        if spec.plain:
            return used.astype(np.float32)
        table = used.astype(np.float64)
        if spec.scale is not None:
            table *= spec.scale
        bad = ~np.isfinite(table.astype(np.float32)).all(axis=1)
        table[bad] = 0.0
        out = _played(table, spec, base).astype(np.float32)
    if spec.relative_to == "previous":
        bad = np.maximum.accumulate(bad)
    out[bad] = np.nan
    return out


def _played(table: Vec, spec: Actions, base: Pose) -> Vec:
    table = table[:, [spec.names.index(n) for n in ACTION_NAMES]]
    out: Vec = table.copy()
    out[:, 6] = (table[:, 6] - spec.grip_open) / (spec.grip_closed - spec.grip_open)
    if spec.axes == "base":  # R^T v: vectors and rotation vectors seen in the axes of the TCP
        R = quat_to_mat(base.quat)
        out[:, :3], out[:, 3:6] = table[:, :3] @ R, table[:, 3:6] @ R
    if spec.relative_to == "previous":
        p, R_k = np.zeros(3), np.eye(3)
        for row in out:
            step = rotvec_to_mat(row[3:6])
            p = p + (R_k @ row[:3] if spec.axes == "tcp" else row[:3])
            R_k = R_k @ step if spec.axes == "tcp" else step @ R_k
            row[:3], row[3:6] = p, mat_to_rotvec(R_k)
    return out
