"""The state vector of an observation: a policy lists the names of the numbers that it wants, and
the loop fills them in from what it knows at that tick.

| names | what | unit |
|---|---|---|
| `q.JOINT`, `q_ref.JOINT` | measured position of a joint, and the reference of its servo | rad |
| `dq.JOINT`, `tau.JOINT` | velocity; torque beyond the driver's model of free motion | rad/s, Nm |
| `tcp.x .y .z` | measured TCP in the base frame | m |
| `tcp.qw .qx .qy .qz` | its orientation as a unit quaternion | 1 |
| `tcp.rx .ry .rz` | as a rotation vector, angle in 0..pi | rad |
| `tcp.r1` to `tcp.r6` | as the first two columns of the rotation matrix (Zhou et al. 2019) | 1 |
| `tcp.roll .pitch .yaw` | as angles about the fixed axes x, y, z | rad |
| `tcp.yaw_sin .yaw_cos` | of the angle of the tool's x axis about the base's z | 1 |
| `goal.` and the names of `tcp.` | the pose that the task is working towards, in the base frame | |
| `twist.vx .vy .vz`, `.wx .wy .wz` | velocity of the TCP in the base frame | m/s, rad/s |
| `lead.x .y .z` | commanded minus measured TCP, in the base frame | m |
| `wrench.fx .fy .fz`, `.tx .ty .tz` | on the tool, TCP frame, gravity and bias taken out | N, Nm |
| `gripper.width`, `.width_ref` | opening of the jaws, and the commanded one | m |
| `gripper.force` | grip force | N |
| `gripper.closed` | 1 - width / stroke | 1 |
| `gripper.vacuum` | vacuum of a suction cup, 0..1 | 1 |
| `phase.0` to `phase.7` | 1 for the task's phase, as the controller knows it, 0 for others | 1 |
| `elapsed` | time since the episode began | s |
| `retried` | failed attempts, of at most three: 0, 1/3, 2/3, 1 | 1 |
| `retries` | failed attempts so far | 1 |
| `recovering` | whether the robot gets ready to try again: 0 or 1 | 1 |
| `station.place .barcode .scale` | whether a sensor of the station confirms: 0 or 1 | 1 |
| `pro.progress .stability .completion .risk` | signals of the PRO head | 1 |
| `pro.time_to_go` | as PRO expects it | s |

A tool that points straight down is half a turn away from the base's axes. There the quaternion and
the rotation vector jump between two equivalent values; `r1` to `r6` do not.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway import config
from headway.bundle.schema1 import RENAMED
from headway.drivers.rotations import mat_to_rot6d, mat_to_rotvec, mat_to_rpy, quat_to_mat
from headway.errors import SpecMismatch, refuse
from headway.types import Pose, Signals

Row = Mapping[str, Any]  # telemetry by field name
Plain = dict[str, Any]  # fields of the row, and what else is known, as numbers and lists


@dataclass(frozen=True, slots=True)
class _Group:
    """Numbers that are read together: `read` returns one per name, from the entries `needs` of what
    is known."""

    names: tuple[str, ...]
    units: tuple[str, ...]
    needs: tuple[str, ...]
    read: Callable[[Plain], Iterable[float]]


# Per prefix of the names, the field with a number per joint, and its unit.
_OF_JOINTS = {
    "q": ("q", "rad"),
    "dq": ("dq", "rad/s"),
    "tau": ("tau_ext", "Nm"),
    "q_ref": ("q_ref", "rad"),
}


def _rotation(pose: list[float]) -> NDArray[np.float64]:
    return quat_to_mat(np.array(pose[3:]))


def _yaw(pose: list[float]) -> tuple[float, float]:
    """Sine and cosine of the angle of the tool's x axis about the base's z."""
    _, _, _, w, x, y, z = pose
    yaw = math.atan2(2 * (x * y + w * z), 1 - 2 * (y * y + z * z))
    return math.sin(yaw), math.cos(yaw)


# Forms of a pose (x, y, z, qw, qx, qy, qz): names, units and the conversion.
_FORMS: tuple[tuple[str, str, Callable[[list[float]], Iterable[float]]], ...] = (
    ("x y z qw qx qy qz", "m m m 1 1 1 1", lambda p: p),
    ("rx ry rz", "rad rad rad", lambda p: mat_to_rotvec(_rotation(p)).tolist()),
    ("r1 r2 r3 r4 r5 r6", "1 1 1 1 1 1", lambda p: mat_to_rot6d(_rotation(p)).tolist()),
    ("roll pitch yaw", "rad rad rad", lambda p: mat_to_rpy(_rotation(p)).tolist()),
    ("yaw_sin yaw_cos", "1 1", _yaw),
)


def _pose_group(
    prefix: str, names: str, units: str, convert: Callable[[list[float]], Iterable[float]]
) -> _Group:
    full = tuple(f"{prefix}.{n}" for n in names.split())
    return _Group(full, tuple(units.split()), (prefix,), lambda plain: convert(plain[prefix]))


def _field(name: str, unit: str, field: str) -> _Group:
    """A number that is a field of the row by itself."""
    return _Group((name,), (unit,), (field,), lambda plain: (plain[field],))


def _one_hot(phase: float) -> list[float]:
    """1 for the phase with the index `phase`, 0 for the others; NaN where it is not known."""
    return [math.nan if phase != phase else float(k == phase) for k in range(_PHASES)]


_LINEAR, _ANGULAR = ("vx", "vy", "vz"), ("wx", "wy", "wz")
_FORCE, _TORQUE = ("fx", "fy", "fz"), ("tx", "ty", "tz")
_PHASES = 8  # PRO's features have one bit for each, too
_SIGNALS = ("progress", "stability", "completion", "risk", "time_to_go")
_GROUPS: tuple[_Group, ...] = (
    *(_pose_group(prefix, *form) for prefix in ("tcp", "goal") for form in _FORMS),
    _Group(
        tuple(f"twist.{n}" for n in (*_LINEAR, *_ANGULAR)), ("m/s",) * 3 + ("rad/s",) * 3,
        ("twist",), itemgetter("twist"),
    ),
    _Group(
        ("lead.x", "lead.y", "lead.z"), ("m",) * 3, ("tcp", "base"),
        lambda plain: (b - p for b, p in zip(plain["base"], plain["tcp"], strict=False)),
    ),
    _Group(
        tuple(f"wrench.{n}" for n in (*_FORCE, *_TORQUE)), ("N",) * 3 + ("Nm",) * 3,
        ("wrench",), itemgetter("wrench"),
    ),
    _field("gripper.width", "m", "width"),
    _field("gripper.width_ref", "m", "width_ref"),
    _field("gripper.force", "N", "grip_force"),
    _Group(
        ("gripper.closed",), ("1",), ("width", "stroke"),
        lambda plain: (1.0 - plain["width"] / plain["stroke"],),
    ),
    _field("gripper.vacuum", "1", "vacuum"),
    _Group(
        tuple(f"phase.{k}" for k in range(_PHASES)), ("1",) * _PHASES, ("phase",),
        lambda plain: _one_hot(plain["phase"]),
    ),
    _field("elapsed", "s", "elapsed"),
    _Group(("retried",), ("1",), ("retries",), lambda plain: (min(plain["retries"], 3.0) / 3.0,)),
    _field("retries", "1", "retries"),
    _field("recovering", "1", "recovery"),
    _field("station.place", "1", "place_confirm"),
    _field("station.barcode", "1", "barcode"),
    _field("station.scale", "1", "scale_match"),
    _Group(
        tuple(f"pro.{n}" for n in _SIGNALS), ("1", "1", "1", "1", "s"), ("pro",), itemgetter("pro"),
    ),
)  # fmt: skip
PAGE = "docs/bundle.md"  # where the names are explained to people
_NOT_FIELDS = ("base", "goal", "stroke", "pro")  # what a group needs beside fields of the row
_UNIT = {n: u for g in _GROUPS for n, u in zip(g.names, g.units, strict=True)}
_NO_POSE = (math.nan,) * 7


def _groups(joints: Sequence[str]) -> list[_Group]:
    of_joints = [
        _Group(tuple(f"{p}.{j}" for j in joints), (unit,) * len(joints), (f,), itemgetter(f))
        for p, (f, unit) in _OF_JOINTS.items()
    ]
    return [*of_joints, *_GROUPS]


def known_names(joints: Sequence[str] = ()) -> tuple[str, ...]:
    """The names of all numbers that the loop can fill in, for a robot with these `joints`."""
    return tuple(n for g in _groups(joints) for n in g.names)


def unit_of(name: str) -> str:
    """The SI unit of the number `name`, as `headway.units` calls it. Any joint is accepted, since
    the unit does not depend on which joints the robot has. Raises SpecMismatch for a name that the
    loop does not know."""
    if name in _UNIT:
        return _UNIT[name]
    prefix, dot, joint = name.partition(".")
    if prefix in _OF_JOINTS and dot and joint:
        return _OF_JOINTS[prefix][1]
    raise _unknown(name, None)


def _unknown(name: str, joints: Sequence[str] | None) -> SpecMismatch:
    """The error for an unknown `name`; `joints` of the robot, None where they are not known."""
    prefix, _, rest = name.partition(".")
    known = known_names()
    same = [n.partition(".")[2] for n in known if n.startswith(f"{prefix}.")]
    if name in RENAMED:
        hint = f"it is called `{RENAMED[name]}` now"
    elif prefix in _OF_JOINTS and joints:
        hint = config.suggest(rest, joints, f"{prefix}.")
    elif prefix in _OF_JOINTS:
        hint = f"wanted the name of a joint, as in `{prefix}.JOINT`"
    elif same:
        hint = config.suggest(rest, same, f"{prefix}.")
    else:
        all_names = (*(f"{p}.JOINT" for p in _OF_JOINTS), *known)
        near = difflib.get_close_matches(name, all_names, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(f'`{n}`' for n in near)}? " if near else ""
        hint += f"{PAGE} says which there are"
    return SpecMismatch(
        f"the policy wants the state `{name}`, which the loop does not know: {hint}"
    )


def name_misfits(names: Iterable[str], joints: Sequence[str]) -> Iterator[SpecMismatch]:
    """An error for each of `names` that the loop cannot fill in for a robot with these `joints`;
    the message has the nearest one that it can."""
    known = set(known_names(joints))
    return (_unknown(name, joints) for name in names if name not in known)


class StateVector:
    """Fills the state vector with the numbers `names`, see the table above.

    `joints`: the names of the robot's joints, in the order of its telemetry. `stroke` [m]: the
    opening of the gripper's jaws, None where there is no gripper. Raises SpecMismatch for a name
    that is not among `known_names(joints)`; the message has the nearest one."""

    def __init__(
        self, names: Sequence[str], joints: Sequence[str] = (), stroke: float | None = None
    ) -> None:
        refuse(name_misfits(names, joints))
        known = {name: g for g in _groups(joints) for name in g.names}
        self.names = tuple(names)
        groups = list({id(known[n]): known[n] for n in names}.values())
        places = {n: i for i, n in enumerate(n for g in groups for n in g.names)}
        self._places = [places[n] for n in names]
        self._reads = [g.read for g in groups]
        needs = dict.fromkeys(n for g in groups for n in g.needs)
        self._fields = tuple(n for n in needs if n not in _NOT_FIELDS)
        self._beside = tuple(n for n in needs if n in _NOT_FIELDS)
        self._stroke = math.nan if stroke is None else stroke

    def fill(
        self,
        row: Row,
        out: NDArray[np.float32],
        *,
        base: Pose,
        goal: Pose | None = None,
        signals: Signals | None = None,
    ) -> None:
        """Write the state, in SI units and in the order of `names`, into `out` (n,). What is not
        known is NaN.

        `row`: the telemetry row by field name. `base`: the commanded TCP pose in the base frame,
        which the next chunk will be relative to. `goal`: the pose in the base frame that the task
        is working towards, None where there is none. `signals`: the newest ones of the PRO head,
        None without it."""
        # Reading an array item by item is slow, so each field becomes a list first.
        plain: Plain = {name: row[name].tolist() for name in self._fields}
        for name in self._beside:
            if name == "base":
                plain[name] = base.pos.tolist()
            elif name == "goal":
                plain[name] = [*goal.pos.tolist(), *goal.quat.tolist()] if goal else _NO_POSE
            elif name == "stroke":
                plain[name] = self._stroke
            else:
                plain[name] = [getattr(signals, n, math.nan) for n in _SIGNALS]
        found: list[float] = []
        for read in self._reads:
            found += read(plain)
        out[:] = [found[i] for i in self._places]
