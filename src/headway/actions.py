"""The action space of a policy: what each number of its answer means, in which frame and unit.

`ActionSpace` describes the answer; a file of a run, a bundle or a server declares it. It also turns
the policy's raw numbers into SI units and back. `headway.edge.motion.actions` turns the result into
joint motion.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from headway import config, units
from headway.config import Seconds, SecondsOrNone
from headway.errors import SpecMismatch
from headway.types import Vec

LONGEST = 4096  # rows of a chunk at most, those of `hold_s` included
UNUSED = "-"  # name of a column that is not used
GRIP = "grip"
Space = Literal["joint", "tcp"]
Mode = Literal["absolute", "chunk", "step", "velocity"]
Rotation = Literal["rotvec", "quat", "rot6d", "rpy"]
POSITION = ("x", "y", "z")
# The names of a rotation's components, in the order in which `ActionSpace.columns` gives them.
ROTATIONS: dict[Rotation, tuple[str, ...]] = {
    "rotvec": ("rx", "ry", "rz"),
    "quat": ("qw", "qx", "qy", "qz"),
    "rot6d": ("r1", "r2", "r3", "r4", "r5", "r6"),
    "rpy": ("roll", "pitch", "yaw"),
}


class Columns(NamedTuple):
    """Which columns of an answer hold what: `joints` in the order of their names (() for TCP
    actions), `position` x y z and `rotation` in the order of `ROTATIONS` (() for joint actions),
    `grip` and `ends`, None where there is no such column."""

    joints: tuple[int, ...]
    position: tuple[int, ...]
    rotation: tuple[int, ...]
    grip: int | None
    ends: int | None

    @property
    def used(self) -> tuple[int, ...]:
        """All columns that mean something, each once."""
        single = [k for k in (self.grip, self.ends) if k is not None]
        return (*self.joints, *self.position, *self.rotation, *single)


class ActionSpace(config.Struct, frozen=True, kw_only=True):
    """What the rows and columns of a policy's answer mean.

    Columns. `names` has one name per column. With `space` "joint" these are the names of the arm's
    joints. With "tcp" they are x y z and the components of the `rotation`: rx ry rz of a rotation
    vector, qw qx qy qz of a unit quaternion, r1 .. r6 of the first two columns of the rotation
    matrix (Zhou et al. 2019, "On the continuity of rotation representations"), or roll pitch yaw
    with R = Rz(yaw) Ry(pitch) Rx(roll), the convention of URDF. The order is free. Both spaces may
    have the column `grip`. Columns named "-" or listed in `ignored` are not used. The column
    named by `ends` ends the episode when its value is above `ends_above`.

    Values. A column's value is raw * `scale` + `offset` in the unit that `units` names; without
    `units` it is in SI units (rad, m, for velocities rad/s, m/s). See `with_mean_std` and
    `with_range` for normalisation by statistics.

    Motion, by `mode`. "absolute": joints, or the pose of the TCP in the base frame. "chunk":
    relative to what was commanded at the chunk's start. "step": each row relative to the row
    before. "velocity": joint velocities, or the twist of the TCP; its rotation is "rotvec", where
    rx ry rz are the angular velocity. `axes` says for TCP actions of the last three modes whether
    their vectors are in the axes of the "tcp" (at the chunk's start, or at the row before) or in
    those of the robot's "base".

    Grip. "binary": the jaws open or close, with hysteresis. "normalised": the jaws move in
    proportion. `grip_open` and `grip_closed` are the values for open and closed jaws, 0 and 1 by
    default. "width": the opening of the jaws [m]; `grip_open` is then the robot's own stroke and
    `grip_closed` is 0 m, where they are not given. "force": the jaws close with that force [N];
    they open at `grip_open` (0 N) and close at `grip_closed` (1 N), with hysteresis between them.

    Time. `chunk` rows are used, which are `dt_s` apart. `hold_s` is how long after the last row its
    target stays valid (velocities: the motion goes on), so that the arm does not stop between two
    answers. By default it is 0 for chunks, and 3 `dt_s` for single steps (`chunk` = 1).
    """

    names: tuple[str, ...]
    chunk: Annotated[int, Meta(ge=1, le=LONGEST)]
    dt_s: Seconds
    space: Space = "tcp"
    mode: Mode = "chunk"
    rotation: Rotation = "rotvec"
    axes: Literal["tcp", "base"] = "tcp"
    units: tuple[str, ...] | None = None
    scale: tuple[float, ...] | None = None
    offset: tuple[float, ...] | None = None
    grip: Literal["binary", "normalised", "width", "force"] = "binary"
    grip_open: float | None = None
    grip_closed: float | None = None
    hold_s: SecondsOrNone | None = None
    ignored: tuple[str, ...] = ()
    ends: str | None = None
    ends_above: float = 0.5

    def __post_init__(self) -> None:
        names, used = self.names, self._used
        for name in self.ignored:
            if name not in names:
                raise ValueError(
                    f"actions: wanted the `ignored` among the names, found {name!r}: "
                    f"{config.suggest(name, names)}"
                )
        if self.ends is not None and self.ends not in used:
            raise ValueError(
                f"actions: wanted `ends` to be one of the names that are used, found "
                f"{self.ends!r}: {config.suggest(self.ends, used)}"
            )
        twice = sorted({name for name in used if used.count(name) > 1})
        if twice:
            raise ValueError(
                f"actions: wanted each name once, found {', '.join(twice)} more than once: name "
                f"columns that are not used {UNUSED!r}"
            )
        motion = [name for name in used if name not in (GRIP, self.ends)]
        if self.space == "joint" and not motion:
            raise ValueError(
                f"actions: wanted the names of joints, found {_listed(names)}: name them as the "
                "robot's model does"
            )
        if self.space == "tcp":
            self._check_tcp(motion)
        self._check_values()
        self._check_grip()
        if self.chunk + self.hold_rows > LONGEST:
            raise ValueError(
                f"actions: wanted at most {LONGEST} rows, found chunk = {self.chunk} and "
                f"{self.hold_rows} more for hold_s: make hold_s shorter"
            )

    def _check_tcp(self, motion: list[str]) -> None:
        wanted = (*POSITION, *ROTATIONS[self.rotation])
        if sorted(motion) != sorted(wanted):
            other = next(
                (kind for kind, parts in ROTATIONS.items() if set(parts) <= set(motion)), None
            )
            hint = f"list others in `ignored`, or name them {UNUSED!r}"
            if other not in (None, self.rotation):
                hint = f'the names are those of rotation = "{other}"'
            raise ValueError(
                f"actions: wanted the names {' '.join(wanted)} in any order for TCP actions with "
                f'rotation = "{self.rotation}", found {_listed(motion)}: {hint}'
            )
        if self.mode == "velocity" and self.rotation != "rotvec":
            raise ValueError(
                "actions: wanted an angular velocity rx ry rz for TCP velocities, found rotation = "
                f'"{self.rotation}": there is no velocity in this form, use mode = "step" for '
                "changes from row to row"
            )

    def _check_values(self) -> None:
        n = len(self.names)
        for key in ("units", "scale", "offset"):
            given = getattr(self, key)
            if given is not None and len(given) != n:
                raise ValueError(
                    f"actions: wanted one of `{key}` for each of the {n} names, found {len(given)}"
                )
        for k in self.columns.used:
            name = self.names[k]
            scale = 1.0 if self.scale is None else self.scale[k]
            offset = 0.0 if self.offset is None else self.offset[k]
            if scale == 0.0 or not (math.isfinite(scale) and math.isfinite(offset)):
                raise ValueError(
                    f"actions: wanted a finite scale other than 0 and a finite offset for {name}, "
                    f"found {scale} and {offset}: put the column in `ignored` if it is constant"
                )
            try:
                self._factor(k)
            except ValueError as e:
                raise ValueError(f"actions: unit of {name}: {e}") from None
        if not math.isfinite(self.ends_above):
            raise ValueError(f"actions: wanted a finite ends_above, found {self.ends_above}")

    def _check_grip(self) -> None:
        given = (self.grip_open, self.grip_closed)
        if not all(x is None or math.isfinite(x) for x in given):
            raise ValueError(f"actions: wanted finite grip_open and grip_closed, found {given}")
        opened, closed = self.grip_range(None)
        if opened == closed:
            raise ValueError(
                f"actions: wanted grip_open and grip_closed to differ, found {opened} for both: "
                "give the policy's values for open and for closed jaws"
            )
        if self.grip == "force" and not max(opened, 0.0) < closed:
            raise ValueError(
                "actions: wanted grip_closed > 0 N and above grip_open for a grip by force, found "
                f"{closed} and {opened}"
            )

    @property
    def _used(self) -> list[str]:
        return [name for name in self.names if name != UNUSED and name not in self.ignored]

    @property
    def columns(self) -> Columns:
        """Which columns hold what."""
        at = {name: k for k, name in enumerate(self.names) if name not in (UNUSED, *self.ignored)}
        grip, ends = at.pop(GRIP, None), at.pop(self.ends, None) if self.ends else None
        if self.space == "joint":
            return Columns(tuple(at.values()), (), (), grip, ends)
        position = tuple(at[name] for name in POSITION)
        rotation = tuple(at[name] for name in ROTATIONS[self.rotation])
        return Columns((), position, rotation, grip, ends)

    @property
    def joints(self) -> tuple[str, ...]:
        """The names of the joints that joint actions move, () for TCP actions."""
        return tuple(self.names[k] for k in self.columns.joints)

    @property
    def hold_rows(self) -> int:
        """How many rows `hold_s` adds after those of the chunk."""
        hold = self.hold_s
        if hold is None:
            return 3 if self.chunk == 1 else 0
        # Bounded, for a dt_s so small that the quotient is infinite.
        return math.ceil(min(hold / self.dt_s, 1e15) - 1e-9)

    @property
    def rows(self) -> int:
        """How many waypoints a chunk has in joint space: its start, its rows, and those held."""
        return 1 + self.chunk + self.hold_rows

    @property
    def duration_s(self) -> float:
        """Time [s] from a chunk's start to its last waypoint, `hold_s` included."""
        return (self.rows - 1) * self.dt_s

    def check_joints(self, joints: Sequence[str]) -> tuple[int, ...]:
        """Check joint actions against a robot whose arm has the joints `joints`, in its order.
        Returns the column of each of them; () for TCP actions, which fit any arm. Raises
        SpecMismatch when the actions do not name exactly these joints."""
        if self.space != "joint":
            return ()
        columns = self.columns.joints
        at = {self.names[k]: k for k in columns}
        if sorted(at) != sorted(joints):
            missing = [name for name in joints if name not in at]
            strange = [name for name in at if name not in joints]
            raise SpecMismatch(
                f"wanted actions for the robot's joints {_listed(joints)}; the policy's "
                f"{f'lack {_listed(missing)}' if missing else ''}"
                f"{' and ' if missing and strange else ''}"
                f"{f'name {_listed(strange)}, which it does not have' if strange else ''}: name "
                "them as the robot's model does, and list what is not used in `ignored`"
            )
        return tuple(at[name] for name in joints)

    def grip_range(self, stroke: float | None) -> tuple[float, float]:
        """The values of `grip` for open and for closed jaws, where defaults are filled in. `stroke`
        [m] of the robot's gripper; None where it is not known, which counts as 1 m."""
        by_kind = {"width": (1.0 if stroke is None else stroke, 0.0), "force": (0.0, 1.0)}
        opened, closed = by_kind.get(self.grip, (0.0, 1.0))
        return (
            opened if self.grip_open is None else self.grip_open,
            closed if self.grip_closed is None else self.grip_closed,
        )

    def si_unit(self, k: int) -> str:
        """The SI unit of column `k`, "1" for a number without one and for a column that is not
        used."""
        columns = self.columns
        if k == columns.grip:
            return {"width": "m", "force": "N"}.get(self.grip, "1")
        rate = "/s" if self.mode == "velocity" else ""
        if k in columns.position:
            return f"m{rate}"
        angles = k in columns.rotation and self.rotation in ("rotvec", "rpy")
        return f"rad{rate}" if angles or k in columns.joints else "1"

    def to_si(self, raw: NDArray[Any]) -> NDArray[np.float32]:
        """The first `chunk` rows of the policy's answer `raw` (>= chunk, columns), in SI units:
        (raw * scale + offset) times the unit's factor. Columns that are not used pass as they are.
        Raises SpecMismatch for fewer rows, other columns, or a type that is not of floats."""
        found = np.asarray(raw)
        d = len(self.names)
        if found.dtype.kind != "f" or found.ndim != 2 or found.shape[1] != d:
            raise SpecMismatch(
                f"wanted the policy's actions as floats (rows, {d}): {_listed(self.names)}; found "
                f"{found.shape} of {found.dtype}: check the names of its actions"
            )
        if len(found) < self.chunk:
            raise SpecMismatch(
                f"wanted at least chunk = {self.chunk} rows of actions, found {len(found)}: make "
                "`chunk` smaller"
            )
        gain, shift = self._affine()
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray(found[: self.chunk] * gain + shift, np.float32)

    def from_si(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """The inverse of `to_si`: the raw numbers that stand for `values` (h, columns) [SI]."""
        gain, shift = self._affine()
        return np.asarray((np.asarray(values, np.float64) - shift) / gain, np.float32)

    def with_mean_std(self, mean: Sequence[float], std: Sequence[float]) -> ActionSpace:
        """This space for a policy whose raw numbers are (value - mean) / std, with one number per
        column. Raises ValueError for other lengths, and for a std of a used column that is not a
        positive number."""
        return self._normalised("mean", mean, "std", std, mean, std)

    def with_range(
        self, low: Sequence[float], high: Sequence[float], raw: tuple[float, float] = (-1.0, 1.0)
    ) -> ActionSpace:
        """This space for a policy whose raw numbers run from `raw`[0] to `raw`[1] where the values
        run from `low` to `high`, one number per column: the smallest and largest values of the data
        or two of its quantiles. Raises ValueError for other lengths, for a width `high` - `low` of
        a used column that is not a positive number, and for two equal numbers in `raw`."""
        first, last = raw
        if first == last or not (math.isfinite(first) and math.isfinite(last)):
            raise ValueError(f"actions: wanted raw numbers from one to another, found {raw}")
        n = min(len(low), len(high))
        scale = [(high[k] - low[k]) / (last - first) for k in range(n)]
        offset = [low[k] - first * scale[k] for k in range(n)]
        return self._normalised("low", low, "high", high, offset, scale)

    def _normalised(
        self,
        a: str,
        at_a: Sequence[float],
        b: str,
        at_b: Sequence[float],
        offset: Sequence[float],
        scale: Sequence[float],
    ) -> ActionSpace:
        """This space with `offset` and `scale`, which were made of the declared lists `at_a` and
        `at_b` with the names `a` and `b`."""
        n = len(self.names)
        if self.scale is not None or self.offset is not None:
            raise ValueError(
                f"actions: wanted either scale and offset or {a} and {b}, found both: leave one out"
            )
        if len(at_a) != n or len(at_b) != n:
            raise ValueError(
                f"actions: wanted one of `{a}` and of `{b}` for each of the {n} names, found "
                f"{len(at_a)} and {len(at_b)}"
            )
        used = self.columns.used
        for k in used:
            wide = at_b[k] > (at_a[k] if b == "high" else 0.0)
            if not (wide and math.isfinite(at_a[k]) and math.isfinite(at_b[k])):
                rule = f"{a} < {b}" if b == "high" else f"{b} > 0"
                raise ValueError(
                    f"actions: wanted finite numbers with {rule} for {self.names[k]}, found {a} = "
                    f"{at_a[k]} and {b} = {at_b[k]}: a column that was constant in the data says "
                    "nothing, put it in `ignored` or give it another range"
                )
        return msgspec.structs.replace(
            self,
            scale=tuple(float(scale[k]) if k in used else 1.0 for k in range(n)),
            offset=tuple(float(offset[k]) if k in used else 0.0 for k in range(n)),
        )

    def _affine(self) -> tuple[Vec, Vec]:
        """Per column gain and shift: a value in SI units is raw * gain + shift."""
        n = len(self.names)
        gain, shift = np.ones(n), np.zeros(n)
        for k in self.columns.used:
            factor = self._factor(k)
            gain[k] = factor * (1.0 if self.scale is None else self.scale[k])
            shift[k] = factor * (0.0 if self.offset is None else self.offset[k])
        return gain, shift

    def _factor(self, k: int) -> float:
        """What brings column `k` from its unit to the SI unit. Raises ValueError."""
        return 1.0 if self.units is None else units.factor(self.units[k], self.si_unit(k))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"
