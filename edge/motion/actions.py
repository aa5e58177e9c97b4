"""What a policy's answer means, and its conversion to the actions that Headway plays: motion of the
TCP relative to its pose at the chunk's start, in the axes it had there, and grip.

One conversion for both kinds of policies: those of bundles (`of_policy`) and those that a server
runs (`headway.edge.policy.remote.layout`).
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

LONGEST = 4096  # rows of a chunk; recordings have room for all of them
IGNORED = "-"  # name of a column of the answer that is not used
# What the units of `grip` say for open and for closed jaws.
GRIPS = {"closed 0..1": (0.0, 1.0), "open 0..1": (1.0, 0.0), "closed -1..1": (-1.0, 1.0)}
_SI = dict.fromkeys(ACTION_NAMES[:3], "m") | dict.fromkeys(ACTION_NAMES[3:6], "rad")


class Actions(config.Struct, frozen=True, kw_only=True):
    """What a row of the answer means. Headway plays TCP motion: position [m], rotation vector
    [rad] and grip, 0 open to 1 closed, relative to the TCP pose at the chunk's start.

    `relative_to`: "chunk", or "previous" for steps that add up. `axes`: those of the "tcp" at the
    chunk's start (of the previous pose, for steps), or of the robot's "base". `scale`: factors, one
    per column, before anything else. `grip_open` and `grip_closed`: what the policy says for them.
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
        """Rows are what Headway plays: they pass unchanged, bit for bit."""
        return (
            self.names == ACTION_NAMES
            and (self.relative_to, self.axes, self.scale) == ("chunk", "tcp", None)
            and (self.grip_open, self.grip_closed) == (0.0, 1.0)
        )


def of_policy(info: bundle.Policy) -> Actions:
    """The actions of a bundle. Raises ValueError for names and units that are not played."""
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
    """Rows (>= chunk, d) as a policy gave them -> actions (chunk, 7) as Headway plays them, at the
    TCP pose `base`. Steps compose as T_k = T_(k-1) * S_k in the axes of the TCP; in those of the
    base, p_k = p_(k-1) + dp_k and R_k = exp(r_k) R_(k-1).

    The action of a row that is not finite is NaN, and with steps so are those after it.
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
    if spec.axes == "base":  # a rotation about base axes is one about the same axes, seen from R
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
