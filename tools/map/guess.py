"""What the things in a file are likely to be, by their names, types and ranges.

A rule gives a `Guess`: the keys of a section [channels.FIELD], each with a comment where it is a
guess. What only a person can tell is a hint: text for the file, commented out.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from headway.kernels.telemetry import FIELDS
from headway.tools.map.groups import Group, groups
from headway.tools.map.survey import Survey
from headway.units import UNITS

# Words of names and topics that say that a value is wanted, not measured.
WANTED = {
    "command", "commands", "cmd", "target", "desired", "des", "reference", "ref", "goal", "leader",
    "setpoint", "action", "actions", "master",
}  # fmt: skip
HAND = {"gripper", "finger", "fingers", "hand"}
NOT_THE_ARM = {*HAND, "camera", "cam", "object", "objects", "base"}
TOOL = {"tcp", "eef", "ee", "tool", "endeffector", "effector", "flange", "cartesian", "pose"}
_OWN = ("elapsed", "limit", "task", "phase")  # fields that are more than a column
POSITIONS = {"pos", "position", "positions", "angle", "angles"}
SPEEDS = {"vel", "velocity", "velocities", "speed", "speeds"}
Line = tuple[Any, str]  # a value, and why it is a guess; "" where it is none


@dataclass
class Guess:
    """A section [channels.FIELD]."""

    field: str
    group: Group
    rank: int  # of several guesses for a field the lowest is taken
    lines: dict[str, Line] = dataclasses.field(default_factory=dict)

    @property
    def topic(self) -> str | None:
        return self.group.topic


Rule = Callable[[Group], "Guess | None"]


def guesses(found: Survey) -> tuple[list[Guess], list[Guess]]:
    """For each field the best guess, and the others."""
    made: list[Guess] = []
    for group in groups(found.entries):
        if group.topic is None or not group.low == group.high == 0.0:  # else nobody fills it in
            made += [g for rule in RULES if (g := rule(group)) is not None]
    made.sort(key=lambda g: g.rank)  # stable: as in the file where ranks are equal
    best: dict[str, Guess] = {}
    for guess in made:
        best.setdefault(guess.field, guess)
    _same_joints(best)
    if "wrench" in best:  # what its norm is follows from it
        best.pop("force_norm", None)
    order = list(best.values())
    return order, [g for g in made if g not in order]


def _same_joints(best: dict[str, Guess]) -> None:
    """Leave out fields of joints that have another number of joints than `q`."""
    first = best.get("q")
    for name in ("dq", "q_ref"):
        if first is not None and name in best and _joints(best[name]) != _joints(first):
            del best[name]


def _joints(guess: Guess) -> int:
    chosen = guess.lines.get("names", (None, ""))[0]
    return len(chosen) if chosen else guess.group.width


def _type(group: Group) -> str:
    """The type of the messages without its package, "" in tables."""
    return group.first.kind.rpartition("/")[2].rpartition(".")[2] if group.topic else ""


def _joint_state(g: Group) -> Guess | None:
    """A JointState has names and units by its definition."""
    if _type(g) not in ("JointState", "JointStates"):
        return None
    wanted = bool(WANTED & set(g.words[:-1]))
    which = {"position": "q_ref" if wanted else "q", "velocity": "dq_ref" if wanted else "dq"}
    name = which.get(g.name)
    if name is None:
        return None
    other = bool(NOT_THE_ARM & set(g.words))
    guess = Guess(name, g, 20 if other else 0 if g.width > 2 else 10)
    if g.labels:
        arm = _of_the_arm(g.labels)
        some = "guess: all but what is no joint of the arm" if len(arm) < len(g.labels) else ""
        guess.lines["names"] = (arm or list(g.labels), some if arm else "")
    return guess


def _of_the_arm(labels: Sequence[str]) -> list[str]:
    """The names that are not those of a gripper's parts."""
    return [n for n in labels if not HAND & set(re.split(r"[^a-z]+", n.lower()))]


def _joints_by_name(g: Group) -> Guess | None:
    """Arrays and numbered columns that are called as joints are."""
    words = set(g.words)
    last = g.words[-1] if g.words else ""
    other = NOT_THE_ARM | {"sin", "cos", "error", "err"}
    arm = not other & words and _type(g) != "JointState"
    if not arm or g.width < 2:
        return None
    joints = bool({"joint", "joints", "arm", "axis", "motor", "motors", "robot"} & words)
    name = ""
    if last in ("qpos", "q", "jpos", "joints", "joint") or (joints and POSITIONS & words):
        name = "q"
    elif last in ("qvel", "dq", "qd", "qdot", "jvel") or (joints and SPEEDS & words):
        name = "dq"
    elif g.parts == "joints" and last in ("j", "a", "axis", "theta", "pos", "position", "angle"):
        name = "q"
    if not name or (TOOL - {"tool"}) & words:
        return None
    rank = 1 if g.parts == "joints" or last in ("qpos", "qvel", "q", "dq") else 3
    if WANTED & words:
        name = {"q": "q_ref", "dq": "dq_ref"}[name]
    guess = Guess(name, g, rank)
    _angles(guess, "rad" if name.startswith("q") else "rad/s")
    return guess


def _lerobot(g: Group) -> Guess | None:
    """The features that every LeRobotDataset has, and the actions of other data sets."""
    names = {
        "observation.state": ("q", 2),
        "observation.velocity": ("dq", 2),
        "action": ("q_ref", 4),
        "actions": ("q_ref", 5),
    }
    if g.topic is not None or g.name not in names or g.width < 2 or g.unit is not None:
        return None
    name, rank = names[g.name]
    guess = Guess(name, g, rank)
    arm = _of_the_arm(g.labels or ())
    if g.labels and 0 < len(arm) < len(g.labels):
        guess.lines["names"] = (arm, "guess: all but what is no joint of the arm")
    _angles(guess, "rad/s" if name == "dq" else "rad")
    unit, why = guess.lines["unit"]
    if unit == "deg":
        why += "; LeRobot's range of -100..100 is no angle, and wants `scale`"
    if name == "q_ref":
        why += "; leave q_ref out where actions are no joint positions"
    guess.lines["unit"] = (unit, why)
    return guess


def _angles(guess: Guess, si: str) -> None:
    """The unit of angles or their speeds, by how large they are."""
    if guess.group.unit is not None:
        return
    group, chosen = guess.group, guess.lines.get("names", (None, ""))[0]
    most = group.largest
    if chosen and group.labels and len(group.labels) == len(group.first.each):
        most = max(group.first.each[group.labels.index(n)] for n in chosen)
    # More than two turns, or more than 10 rad/s, are seldom meant.
    degrees = most > (4 * math.pi if si == "rad" else 10.0)
    unit = si.replace("rad", "deg") if degrees else si
    guess.lines["unit"] = (unit, f"guess: values reach {most:.3g}")


def _wrench(g: Group) -> Guess | None:
    words = set(g.words)
    message = _type(g) in ("WrenchStamped", "Wrench", "ForceTorque") and g.width == 6
    named = {"wrench", "ft", "wrenches"} & words or {"force", "torque"} <= words
    named = named or ("force" in words and TOOL & words)
    if g.width == 6 and (message or named or g.parts.startswith("fx")) and not WANTED & words:
        guess = Guess("wrench", g, 0 if message else 1 if g.parts else 2)
        frame = g.first.frame
        base = any(w in frame.lower() for w in ("base", "world", "map", "link0"))
        why = f"the messages name the frame `{frame}`" if frame else "the components' axes"
        guess.lines["frame"] = ("base" if base else "tcp", f"guess: {why}; tcp or base")
        guess.lines["force"] = ("on tool", "guess: whose sign it has; on tool or by tool")
        if g.unit is None and not message:
            guess.lines["unit"] = (["N", "Nm"], f"guess: values reach {g.largest:.3g}")
        return guess
    forces = {"force", "forces", "fxyz"} & words or g.parts == "fx fy fz"
    if g.width == 3 and forces and not WANTED & words:
        guess = Guess("force_norm", g, 5, {"combine": ("norm", "")})
    elif g.width == 1 and "force" in words and {"grip", "gripper"} & words:
        guess = Guess("grip_force", g, 1)
    elif g.width == 1 and g.words[-1:] == ("force",) and g.low >= 0:
        guess = Guess("force_norm", g, 6)
    elif g.width == 1 and {"force", "norm"} <= words:
        guess = Guess("force_norm", g, 4)
    else:
        return None
    if g.unit is None:
        guess.lines["unit"] = ("N", f"guess: values reach {g.largest:.3g}")
    return guess


def _pose(g: Group) -> Guess | None:
    words = set(g.words)
    message = _type(g) in ("PoseStamped", "Pose", "TransformStamped") and g.width == 7
    if WANTED & words or NOT_THE_ARM & words:
        return None
    if message:
        return Guess("tcp", g, 0, {"layout": ("xyz quat xyzw", "")})
    layout: Line | None = None
    if g.parts.startswith("x y z"):
        orientation = g.parts.removeprefix("x y z ")
        layout = {
            "qx qy qz qw": ("xyz quat xyzw", ""),
            "roll pitch yaw": ("xyz rpy", ""),
            "rx ry rz": ("xyz rotvec", "guess: or xyz rpy"),
        }[orientation]
    elif g.parts == "pos quat":
        layout = _quaternion(g) if (TOOL - {"pose"}) & words else None
    elif TOOL & words and (g.width == 7 or "pose" in " ".join(g.words)):
        if g.width == 7:
            layout = _quaternion(g)
        elif g.width == 6:
            rpy = {"rpy", "euler"} & words or "rpy" in g.name.lower()
            layout = ("xyz rpy", "") if rpy else ("xyz rotvec", "guess: or xyz rpy")
    if layout is None:
        return None
    guess = Guess("tcp", g, 1 if g.parts else 2, {"layout": layout})
    if g.unit is None:
        unit = "mm" if g.largest > 20 else "m"
        guess.lines["unit"] = ([unit, "rad"], f"guess: values reach {g.largest:.3g}")
    return guess


def _quaternion(g: Group) -> Line:
    """The layout of a pose with a quaternion, by the names of its last four values if any."""
    order = "".join(n[-1:] for n in g.entries[-1].labels or ())[-4:].lower()
    if order in ("wxyz", "xyzw"):
        return f"xyz quat {order}", ""
    return "xyz quat xyzw", "guess: or xyz quat wxyz"


def _twist(g: Group) -> Guess | None:
    words = set(g.words)
    if g.width != 6 or WANTED & words:
        return None
    if _type(g) in ("TwistStamped", "Twist"):
        return Guess("twist", g, 0)
    if g.topic is not None or not (TOOL & words and SPEEDS & words):
        return None
    guess = Guess("twist", g, 2)
    if g.unit is None:
        guess.lines["unit"] = (["m/s", "rad/s"], f"guess: values reach {g.largest:.3g}")
    return guess


def _width(g: Group) -> Guess | None:
    words = set(g.words)
    named = "width" in words or (words & {"gripper", "finger"} and words & {"opening", "gap"})
    if g.width != 1 or not named or {"height", "image", "camera"} & words:
        return None
    guess = Guess("width_ref" if WANTED & words else "width", g, 1)
    if g.unit is None:
        unit = "mm" if g.largest > 1 else "m"
        guess.lines["unit"] = (unit, f"guess: values reach {g.largest:.3g}; a share wants `scale`")
    return guess


def _as_a_field(g: Group) -> Guess | None:
    """A column with the very name of a telemetry field of one value."""
    if g.topic is not None or g.width != 1 or g.keys[0] not in FIELDS or g.keys[0] in _OWN:
        return None
    width, unit = FIELDS[g.keys[0]]
    if width != 0:
        return None
    guess = Guess(g.keys[0], g, 0)
    if g.unit is None and unit in UNITS:
        guess.lines["unit"] = (unit, f"guess: values reach {g.largest:.3g}")
    return guess


def _phase(g: Group) -> Guess | None:
    named = g.words[-1:] in (("phase",), ("stage",), ("segment",))
    if not named or g.width != 1 or not 0 <= g.low <= g.high <= 7:
        return None
    return Guess("phase", g, 1)


RULES: tuple[Rule, ...] = (
    _as_a_field, _joint_state, _joints_by_name, _lerobot, _wrench, _pose, _twist, _width, _phase
)  # fmt: skip
