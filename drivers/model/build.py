"""Makes a `RobotModel` of a URDF and the TOML beside it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headway import config
from headway.drivers.kinematics import TCP_AXES, Chain, Step
from headway.drivers.model import shapes, urdf
from headway.drivers.model.file import ModelFile, PerJoint
from headway.drivers.model.robot import LinkMass, RobotModel
from headway.drivers.model.shapes import Place
from headway.drivers.rotations import Mat3, rpy_to_mat
from headway.drivers.transforms import (
    IDENTITY,
    Transform,
    axis_to_z,
    compose,
    inverse,
    parts,
    transform,
)
from headway.errors import ConfigError
from headway.types import Limits, Vec

# A continuous joint may turn for ever, but cables may not: this far [rad] to either side.
ENDLESS = 2 * math.pi
# Where nothing is said: the times to full speed and to full acceleration.
TO_SPEED_S, TO_ACCELERATION_S = 0.25, 0.05
# Arms that are shorter or longer [m] than these were probably not measured in metres.
SHORTEST, LONGEST = 0.05, 20.0


@dataclass(frozen=True)
class Driven:
    """A joint that has a motor: the limits of its position [rad] and speed [rad/s], and its torque
    [Nm], 0 where the URDF does not say."""

    name: str
    lower: float
    upper: float
    velocity: float
    effort: float


def build(
    name: str, robot: urdf.Urdf, said: ModelFile, urdf_path: Path, hand: bool = True
) -> RobotModel:
    """The model called `name` of the URDF `robot`, read from `urdf_path`, and of the TOML file
    `said`; without `hand`, what is mounted on the tool link is left out. Raises ConfigError, which
    names the file at fault."""
    toml_path = urdf_path.with_suffix(".toml")
    try:
        base = _known(said.base_link or robot.root, robot, "base_link")
        tool_link = _known(said.tool_link or _only_end(robot, base), robot, "tool_link")
        path = robot.path(base, tool_link)
        if path is None:
            raise ConfigError(
                f"wanted a tool link that hangs on the base link {base}, found {tool_link}: choose "
                f"base_link and tool_link in {toml_path.name} beside it"
            )
        missing: list[str] = []
        driven = _driven(robot, path, missing)
        steps, end = _steps(path, list(driven))
    except ConfigError as e:
        raise ConfigError(f"{urdf_path}: {e}") from None
    try:
        limits = _limits(list(driven.values()), said, toml_path.name, missing)
        home = _home(said, limits, missing)
        places = _places(robot, base, path)
        tools = {tool_link: end}
        for key, frame in said.tools.items():
            on_link = transform(rpy_to_mat(*frame.rpy), frame.xyz)
            tools[key] = compose(end, on_link)
        if said.tool is not None and said.tool not in tools:
            raise ConfigError(
                f"`tool` wants one of the frames [tools], found {said.tool!r}: "
                f"{config.suggest(said.tool, tools)}"
            )
        axes = TCP_AXES
        if said.ik_axes is not None:
            axes = places[_known(said.ik_axes, robot, "ik_axes", places)].frame
        capsules = said.capsules
        if not hand:
            mounted = {x for x in places if x != tool_link and robot.path(tool_link, x) is not None}
            places = {link: place for link, place in places.items() if link not in mounted}
            capsules = tuple(c for c in capsules if c.link not in mounted)
        if said.capsules:
            body = shapes.from_file(capsules, places)
        else:
            body = shapes.from_urdf(robot, places, missing)
    except ConfigError as e:
        # Without a TOML the URDF is at fault, or the missing TOML.
        raise ConfigError(f"{toml_path if toml_path.is_file() else urdf_path}: {e}") from None
    jaw = tuple(
        j.name
        for j in robot.joints.values()
        if j.kind in urdf.MOVING and j.mimic is None and j not in path and j.child in places
    )
    links = _masses(robot, places, len(steps) + 1, missing)
    errors = sum(weight > 0.0 for weight in said.ik_weights)
    if errors > len(driven):
        missing.append(
            f"ik_weights: {len(driven)} joints cannot follow {errors} errors of a pose at a time; "
            "give a weight of 0 to those that do not matter, else the residual counts them all"
        )
    if not said.source:
        missing.append(
            "source: not given; say where the numbers come from by the key `source` in "
            f"{toml_path.name} beside the URDF"
        )
    chain = Chain(
        steps, tools[said.tool or tool_link], body=body,
        q_min=tuple(limits.q_min.tolist()), q_max=tuple(limits.q_max.tolist()),
        posture=tuple(home.tolist()), ik_weights=said.ik_weights, ik_axes=axes,
    )  # fmt: skip
    reach = sum(
        float(np.linalg.norm(parts(at)[1])) for at in (*(s.fixed for s in steps), chain.tool)
    )
    if not SHORTEST < reach < LONGEST:
        missing.append(
            f"units: from the base to the TCP it is {reach:.3g} along the links, and URDF is in "
            "metres: are these metres?"
        )
    return RobotModel(
        name, said.source, tuple(driven), limits, chain, home, jaw, links, tools, base, tool_link,
        tuple(missing),
    )  # fmt: skip


def _known(link: str, robot: urdf.Urdf, key: str, places: dict[str, Place] | None = None) -> str:
    have = robot.links if places is None else places
    if link not in have:
        raise ConfigError(
            f"`{key}` wants a link of the URDF, found {link!r}: {config.suggest(link, have)}"
        )
    return link


def _only_end(robot: urdf.Urdf, base: str) -> str:
    """The one link at an end of the tree that moves. Raises ConfigError for none and for
    several."""
    parents = {j.parent for j in robot.joints.values()}
    ends = []
    for link in robot.links:
        path = robot.path(base, link)
        if link not in parents and path and any(j.kind in urdf.MOVING for j in path):
            ends.append(link)
    if len(ends) == 1:
        return ends[0]
    if not ends:
        raise ConfigError(
            f"wanted a joint that moves behind {base}, found none: choose the URDF of an arm"
        )
    raise ConfigError(
        f"wanted one end of the arm, found {', '.join(ends)}: say which link carries the tool, by "
        "the key `tool_link` in a TOML file of the URDF's name beside it"
    )


def _driven(robot: urdf.Urdf, path: list[urdf.Joint], missing: list[str]) -> dict[str, Driven]:
    """The joints on `path` that have a motor, by name in their order, with limits in which the
    joints that mimic them stay within theirs, too."""
    moving = [j for j in path if j.kind != "fixed"]
    if not moving:
        raise ConfigError("wanted joints that move from the base to the tool, found none")
    for joint in moving:
        if joint.kind not in urdf.TURNING:
            raise ConfigError(
                f"joint {joint.name}: wanted joints that turn from the base to the tool, found a "
                f"{joint.kind} one: choose base_link and tool_link between which all joints are "
                f"{' or '.join(urdf.TURNING)}"
            )
    found = {j.name: _motor(j, missing) for j in moving if j.mimic is None}
    for joint in moving:
        if joint.mimic is None:
            continue
        leader = found.get(joint.mimic.joint)
        by, at = joint.mimic.multiplier, joint.mimic.offset
        if leader is None or by == 0.0:
            raise ConfigError(
                f"joint {joint.name}: wanted a joint to mimic that has a motor and lies between "
                f"the base and the tool, by a multiplier other than 0, found {joint.mimic}"
            )
        own = _motor(joint, missing)
        ends = sorted(((own.lower - at) / by, (own.upper - at) / by))
        found[leader.name] = Driven(
            leader.name, max(leader.lower, ends[0]), min(leader.upper, ends[1]),
            min(leader.velocity, own.velocity / abs(by)), leader.effort,
        )  # fmt: skip
    return found


def _motor(joint: urdf.Joint, missing: list[str]) -> Driven:
    where = f"joint {joint.name}"
    lower, upper = joint.lower, joint.upper
    if joint.kind == "continuous":
        lower, upper = -ENDLESS, ENDLESS
        missing.append(f"{where}: turns without end; limited to one turn to either side")
    if lower is None or upper is None:
        key = "lower" if lower is None else "upper"
        raise ConfigError(f'{where}: wanted its limits, found none: add <limit {key}="..."> [rad]')
    if not lower < upper:
        raise ConfigError(f"{where}: wanted lower < upper, found {lower:g} and {upper:g} rad")
    return Driven(joint.name, lower, upper, joint.velocity or 0.0, joint.effort or 0.0)


def _steps(path: list[urdf.Joint], names: list[str]) -> tuple[tuple[Step, ...], Transform]:
    """The steps of the chain along `path`, and the pose of the path's last link in the last frame.
    `names` are the joints with motors. The z axis of each frame is the axis of its joint, so a
    frame is that of its URDF link except for a turn."""
    steps = []
    at = IDENTITY
    for joint in path:
        at = compose(at, joint.origin)
        if joint.kind == "fixed":
            continue
        align = transform(axis_to_z(joint.axis), (0.0, 0.0, 0.0))
        by, offset, leader = 1.0, 0.0, joint.name
        if joint.mimic is not None:
            by, offset, leader = joint.mimic.multiplier, joint.mimic.offset, joint.mimic.joint
        steps.append(Step(compose(at, align), names.index(leader), by, offset))
        at = inverse(align)
    return tuple(steps), at


def _places(robot: urdf.Urdf, base: str, path: list[urdf.Joint]) -> dict[str, Place]:
    """Where every link is that hangs on the base. What carries the base is left out."""
    places = {base: Place(0, IDENTITY, False)}
    outwards: dict[str, list[urdf.Joint]] = {}
    for joint in robot.joints.values():
        outwards.setdefault(joint.parent, []).append(joint)
    todo = [base]
    while todo:
        parent = todo.pop()
        at = places[parent]
        for joint in outwards.get(parent, []):
            todo.append(joint.child)
            if joint in path and joint.kind != "fixed":
                align = transform(axis_to_z(joint.axis), (0.0, 0.0, 0.0))
                places[joint.child] = Place(at.frame + 1, inverse(align), False)
            else:
                moves = at.moves or joint.kind != "fixed"
                places[joint.child] = Place(at.frame, compose(at.at, joint.origin), moves)
    return places


def _limits(driven: list[Driven], said: ModelFile, toml: str, missing: list[str]) -> Limits:
    n = len(driven)
    velocity = _per_joint(said.velocity, n, "velocity")
    if velocity is None:
        velocity = np.array([d.velocity for d in driven])
    torque = _per_joint(said.torque, n, "torque")
    if torque is None:
        torque = np.array([d.effort for d in driven])
    for key, attribute, values in (
        ("velocity", "velocity", velocity), ("torque", "effort", torque),
    ):  # fmt: skip
        for joint, x in zip(driven, values.tolist(), strict=True):
            if not x > 0.0:
                raise ConfigError(
                    f"joint {joint.name}: wanted a limit of its {key} > 0, found {x:g}: give it as "
                    f"<limit {attribute}=...> in the URDF, or for all joints by the key `{key}` "
                    f"in {toml} beside it"
                )
    acceleration = _per_joint(said.acceleration, n, "acceleration")
    if acceleration is None:
        acceleration = velocity / TO_SPEED_S
        missing.append(f"acceleration: not given; full speed in {TO_SPEED_S} s is taken")
    jerk = _per_joint(said.jerk, n, "jerk")
    if jerk is None:
        jerk = acceleration / TO_ACCELERATION_S
        missing.append(f"jerk: not given; full acceleration in {TO_ACCELERATION_S} s is taken")
    rows = np.array([[d.lower for d in driven], [d.upper for d in driven]])
    for x in (rows, velocity, acceleration, jerk, torque):
        x.flags.writeable = False  # models are shared
    return Limits(rows[0], rows[1], velocity, acceleration, jerk, torque)


def _per_joint(given: PerJoint | None, n: int, key: str) -> Vec | None:
    if given is None:
        return None
    if isinstance(given, float | int):
        return np.full(n, float(given))
    if len(given) != n:
        raise ConfigError(f"`{key}` wants one number, or {n}, one per joint, found {len(given)}")
    return np.array(given, np.float64)


def _home(said: ModelFile, limits: Limits, missing: list[str]) -> Vec:
    if said.home is None:
        home = 0.5 * (limits.q_min + limits.q_max)
        missing.append("home: not given; the middle of each joint's range is taken")
    else:
        home = np.array(said.home, np.float64)
        if home.shape != limits.q_min.shape:
            raise ConfigError(f"`home` wants {len(limits.q_min)} numbers, found {len(home)}")
        outside = np.flatnonzero((home < limits.q_min) | (home > limits.q_max))
        if len(outside):
            k = int(outside[0])
            raise ConfigError(
                f"`home[{k}]` wants a position within the joint's limits, {limits.q_min[k]:g} to "
                f"{limits.q_max[k]:g} rad, found {home[k]:g}"
            )
    home.flags.writeable = False
    return home


def _masses(
    robot: urdf.Urdf, places: dict[str, Place], frames: int, missing: list[str]
) -> tuple[LinkMass, ...]:
    """Per frame, all links on it as one body, by the parallel axis theorem."""
    found = []
    bare = list(range(frames))
    for frame in range(frames):
        names = tuple(name for name, p in places.items() if p.frame == frame)
        bodies: list[tuple[float, Vec, Mat3]] = []
        for name in names:
            inertial = robot.links[name].inertial
            if inertial is not None and inertial.mass > 0.0:
                R, p = parts(compose(places[name].at, inertial.at))
                bodies.append((inertial.mass, p, R @ inertial.inertia @ R.T))
        mass = sum(m for m, _, _ in bodies)
        com = sum((m * p for m, p, _ in bodies), np.zeros(3)) / mass if mass else np.zeros(3)
        total = np.zeros((3, 3))
        for m, p, inertia in bodies:
            d = p - com
            total += inertia + m * (d @ d * np.eye(3) - np.outer(d, d))
        i = total.tolist()
        found.append(
            LinkMass(
                names, mass, tuple(com.tolist()),
                (i[0][0], i[1][1], i[2][2], i[0][1], i[0][2], i[1][2]),
            )
        )  # fmt: skip
        if mass:
            bare.remove(frame)
    without = [n for k in bare if k for n in found[k].names[:1]]
    if without:
        missing.append(f"masses: the URDF gives none for {', '.join(without)}")
    return tuple(found)
