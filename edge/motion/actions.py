"""What the numbers of a policy's answer mean, and their conversion to the actions that Headway
plays: motion of the TCP relative to its pose at the chunk's start, in the axes of that pose, and
grip.

`to_actions` converts the answers of both kinds of policies: those of bundles, which `of_policy`
describes, and those that a server runs (`headway.edge.policy.remote.layout`).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from headway import bundle, config, units
from headway.config import Seconds
from headway.drivers.kinematics import mat_to_rotvec, quat_to_mat, rotvec_to_mat
from headway.edge.motion.chunks import ACTION_NAMES
from headway.types import Pose, Vec

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
