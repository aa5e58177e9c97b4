"""The MuJoCo model (MJCF) of an arm with its gripper, made from the arm's robot model.

Links are drawn as capsules, not meshes, so the model compiles in milliseconds and needs no files
under other licences. They do not collide; the guard keeps them clear of things.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from headway.drivers.capsules import Capsule
from headway.drivers.model import LinkMass, RobotModel, load
from headway.drivers.rotations import Mat3, mat_to_quat
from headway.drivers.sim.gripper import SENSOR_XML, SMALL, STANDARD, Gripper
from headway.drivers.transforms import Transform, compose, parts, transform
from headway.errors import ConfigError
from headway.types import Vec

STRONG = 5.0  # an arm all of whose joints have this torque [Nm] carries the standard gripper
DENSITY = 1500.0  # of links of unknown mass [kg/m^3], about that of arms of known mass
LEAST_MASS = 0.02  # of a link of which neither mass nor shape is known [kg]
SERVO_RAD_S = 40.0  # natural frequency of the joint servos where the joint feels most inertia
# Per Nm of a joint's largest torque: inertia of its rotor behind the gears [kg m^2], and its
# viscous friction [Nm s/rad]. This project's choice, of the size of what is published for arms.
ROTOR, FRICTION = 0.002, 0.08
POSTURES = 50  # random ones, of which the inertia is looked at


@dataclass(frozen=True)
class Servo:
    """A joint's position servo, `kp` [Nm/rad] and `kv` [Nm s/rad], with the inertia of its rotor
    behind the gears, `armature` [kg m^2], and its viscous friction, `damping` [Nm s/rad]."""

    kp: float
    kv: float
    armature: float
    damping: float


# The policy that comes with Headway has learned with these.
_TUNED = {
    "ur5e": (
        Servo(4000, 300, 0.1, 10), Servo(4000, 300, 0.1, 10), Servo(3000, 200, 0.1, 10),
        Servo(1000, 60, 0.1, 3), Servo(1000, 60, 0.1, 3), Servo(1000, 60, 0.1, 3),
    )
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class SimArm:
    """An arm with a gripper. `robot` is the arm's model up to the gripper's TCP, with the gripper
    in its shape but not in its links; `mount` is the pose of the gripper's mount in the last frame
    of the chain. `shape` is the arm alone. `masses` has one body per step of the chain, and
    `servos` one servo."""

    robot: RobotModel
    gripper: Gripper
    mount: Transform
    shape: tuple[Capsule, ...]
    masses: tuple[LinkMass, ...]
    servos: tuple[Servo, ...]

    @property
    def reach(self) -> float:
        """Distance of the TCP from the base along the links [m], whatever the joints are."""
        chain = self.robot.chain
        return sum(math.hypot(*at[9:]) for at in (*(s.fixed for s in chain.steps), chain.tool))

    def defaults_xml(self) -> str:
        """MJCF of the default classes."""
        return f"""
<default>
 <default class="visual"><geom contype="0" conaffinity="0" group="1" mass="0"/></default>
 <default class="fixture"><geom friction=".8 .01 .001"/></default>
{self.gripper.defaults_xml()}
</default>"""

    def body_xml(self, wrist_fovy: float) -> str:
        """MJCF of the body tree from the base to the fingers. The joints are named j0, j1 and so
        on. `wrist_fovy` is the vertical field of view of the wrist camera [deg]."""
        chain, limits = self.robot.chain, self.robot.limits
        opened = [f'<body name="base">{_pedestal_xml(self.shape)}']
        for i, (step, servo, link) in enumerate(
            zip(chain.steps, self.servos, self.masses, strict=True)
        ):
            drawn = _capsules_xml((c for c in self.shape if c.frame == i + 1), i)
            opened.append(
                f'<body name="link{i}" {_pose(step.fixed)}>'
                f'<joint name="j{i}" axis="0 0 1" range="{limits.q_min[i]} {limits.q_max[i]}"'
                f' armature="{servo.armature}" damping="{servo.damping}"/>'
                f'<inertial pos="{_numbers(link.com)}" mass="{link.mass}"'
                f' fullinertia="{_numbers(link.inertia, 9)}"/>{drawn}'
            )
        tool_xml = self.gripper.xml(_pose(self.mount), wrist_fovy)
        return "".join(opened) + tool_xml + "</body>" * len(opened)

    def actuators_xml(self) -> str:
        """MJCF of the actuators (joint servos in joint order, then one servo per finger), of the
        F/T sensor, and of the coupling of the two jaws."""
        servos = "".join(
            f'<position name="a{i}" joint="j{i}" kp="{s.kp}" kv="{s.kv}" forcerange="{-t} {t}"/>'
            for i, (s, t) in enumerate(
                zip(self.servos, self.robot.limits.tau_max.tolist(), strict=True)
            )
        )
        return f"<actuator>{servos}{self.gripper.actuators_xml()}</actuator>{SENSOR_XML}"


def with_gripper(name_or_path: str | Path) -> SimArm:
    """The arm of a robot model (see `headway.drivers.model.load`), with a gripper on its tool link
    instead of what hand it has.

    The gripper has the axes of the model's TCP, whose z must point away from the arm. Arms with a
    joint weaker than `STRONG` get the small one. An arm whose jaws are part of its last link, as
    those of the SO-101 are, keeps its TCP: the gripper is set so far back that its fingertips are
    there. Raises ConfigError.
    """
    model = load(name_or_path, hand=False)
    chain = model.chain
    if len(chain.steps) != model.n or any(step.multiplier != 1.0 for step in chain.steps):
        raise ConfigError(
            f"[cell] robot {model.name}: wanted a motor at each joint from the base to the tool, "
            "found a joint that mimics another: the simulated cell cannot couple joints of an arm"
        )
    gripper = STANDARD if model.limits.tau_max.min() >= STRONG else SMALL
    axes, tcp = parts(chain.tool)
    at = parts(model.tools[model.tool_link])[1] if not model.jaw else tcp - axes @ gripper.tcp
    mount = transform(axes, at)
    tool = compose(mount, transform(np.eye(3), gripper.tcp))
    arm = tuple(c for c in chain.body if not c.contact)
    body = (*arm, *gripper.body(len(chain.steps), mount))
    robot = replace(model, chain=replace(chain, tool=tool, body=body))
    masses = tuple(
        link if link.mass > 0.0 else estimated(link, [c for c in arm if c.frame == i])
        for i, link in enumerate(model.links)
    )[1:]
    servos = _TUNED.get(str(name_or_path)) or _servos(robot, gripper, mount, masses)
    return SimArm(robot, gripper, mount, arm, masses, servos)


def estimated(link: LinkMass, shape: Iterable[Capsule]) -> LinkMass:
    """`link` with the mass, centre of mass and inertia of its `shape`, if each capsule were a solid
    cylinder of the capsule's volume and of `DENSITY`. Without a shape, it is a ball of `LEAST_MASS`
    and 2 cm radius."""
    total, moment = 0.0, np.zeros(3)
    about_origin: Mat3 = np.zeros((3, 3))
    for c in shape:
        a, b, r = np.array(c.a), np.array(c.b), c.radius
        along = b - a
        length = float(np.linalg.norm(along))
        axis = along / length if length > 0.0 else np.array([0.0, 0.0, 1.0])
        tall = length + 4.0 / 3.0 * r
        mass = DENSITY * math.pi * r * r * tall
        centre = 0.5 * (a + b)
        across = mass * (3.0 * r * r + tall * tall) / 12.0
        own = across * np.eye(3) + (0.5 * mass * r * r - across) * np.outer(axis, axis)
        total += mass
        moment += mass * centre
        about_origin += own + _steiner(mass, centre)
    if total == 0.0:
        total, about_origin = LEAST_MASS, 0.4 * LEAST_MASS * 0.02**2 * np.eye(3)
    com = moment / total
    (xx, xy, xz), (_, yy, yz), (_, _, zz) = (about_origin - _steiner(total, com)).tolist()
    return replace(link, mass=total, com=tuple(com.tolist()), inertia=(xx, yy, zz, xy, xz, yz))


def inertia_at_joints(
    robot: RobotModel, gripper: Gripper, mount: Transform, masses: tuple[LinkMass, ...], q: Vec
) -> Vec:
    """The inertia (n,) [kg m^2] that each joint of an arm alone has to turn at the joints `q` (n,)
    [rad], without the rotors: the diagonal of the mass matrix. The arguments are those of `SimArm`;
    the gripper counts as a point."""
    frames = robot.chain.transforms(q)
    bodies = []
    for row, link in zip(frames[1:], masses, strict=True):
        R, p = row[:9].reshape(3, 3), row[9:]
        bodies.append((link.mass, R @ link.com + p, R @ _matrix(link) @ R.T))
    R, p = parts(compose(tuple(frames[-1].tolist()), mount))
    bodies.append((gripper.mass, R @ gripper.com + p, np.zeros((3, 3))))
    found = np.zeros(robot.n)
    for i, row in enumerate(frames[1:]):
        axis, origin = row[[2, 5, 8]], row[9:]
        for mass, com, inertia in bodies[i:]:
            lever = np.cross(axis, com - origin)
            found[i] += mass * (lever @ lever) + axis @ inertia @ axis
    return found


def _servos(
    robot: RobotModel, gripper: Gripper, mount: Transform, masses: tuple[LinkMass, ...]
) -> tuple[Servo, ...]:
    """Servos that are critically damped where their joint feels the most inertia, and more than
    that elsewhere, so none oscillates."""
    limits = robot.limits
    rng = np.random.default_rng(0)
    postures = [robot.home, *rng.uniform(limits.q_min, limits.q_max, (POSTURES, robot.n))]
    felt = [inertia_at_joints(robot, gripper, mount, masses, q) for q in postures]
    rotors = ROTOR * limits.tau_max
    most = np.max(felt, axis=0) + rotors
    kp, kv = most * SERVO_RAD_S**2, most * 2.0 * SERVO_RAD_S
    rows = zip(kp, kv, rotors, FRICTION * limits.tau_max, strict=True)
    return tuple(Servo(*map(float, row)) for row in rows)


def _steiner(mass: float, at: Vec) -> Mat3:
    return mass * (at @ at * np.eye(3) - np.outer(at, at))


def _matrix(link: LinkMass) -> Mat3:
    xx, yy, zz, xy, xz, yz = link.inertia
    return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])


def _pedestal_xml(shape: tuple[Capsule, ...]) -> str:
    """The first capsule of the base stands on the table as a cylinder."""
    base = [c for c in shape if c.frame == 0]
    if not base:
        return ""
    c = base[0]
    x, y = 0.5 * (c.a[0] + c.b[0]), 0.5 * (c.a[1] + c.b[1])
    half = 0.6 * c.radius
    return (
        f'<geom class="visual" type="cylinder" size="{c.radius} {half}" pos="{x} {y} {half}"'
        f' rgba=".3 .3 .34 1"/>{_capsules_xml(base[1:], 0)}'
    )


def _capsules_xml(capsules: Iterable[Capsule], i: int) -> str:
    colour = ".55 .6 .66 1" if i % 2 else ".78 .8 .83 1"
    return "".join(
        f'<geom class="visual" {_place(c)} size="{c.radius}" rgba="{colour}"/>' for c in capsules
    )


def _place(c: Capsule) -> str:
    if c.a == c.b:
        return f'type="sphere" pos="{_numbers(c.a)}"'
    return f'type="capsule" fromto="{_numbers((*c.a, *c.b))}"'


def _pose(at: Transform) -> str:
    R, p = parts(at)
    return f'pos="{_numbers(p.tolist())}" quat="{_numbers(mat_to_quat(R).tolist())}"'


def _numbers(values: Iterable[float], digits: int = 11) -> str:
    """With 11 digits, MuJoCo's kinematics is that of the chain to less than a nanometre."""
    return " ".join(f"{x:.{digits}g}" for x in values)
