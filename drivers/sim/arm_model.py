"""The MuJoCo model (MJCF) of the arm, the parallel gripper and the F/T sensor, made from the arm's
robot model.

The gripper sits on a spring-loaded mount, as is usual in bin picking: rigid up to 20 N, and beyond
that it gives way at 2.5 N/mm. Links are drawn as capsules, not meshes, so the model compiles in
milliseconds and needs no files under other licences.
"""

from __future__ import annotations

import math

from headway.drivers.capsules import Capsule
from headway.drivers.model import load
from headway.drivers.rotations import mat_to_quat
from headway.drivers.transforms import parts

TCP = (0.0, 0.0, 0.185)  # in the flange frame [m]: F/T sensor 40 mm, gripper 145 mm
ARM = load("ur5e", tool=TCP)
STROKE = 0.085  # largest jaw opening [m]
TOOL_MASS = 0.925 + 0.3  # gripper (Robotiq 2F-85) and F/T sensor [kg]
TOOL_COM = (0.0, 0.0, 0.06)  # in the flange frame [m]
WRIST_CAMERA = (0.078, 0.0, 0.055)  # in the flange frame [m]
WRIST_TILT = 0.22  # the wrist camera leans towards the fingers [rad]
FINGER_MASS = 0.06  # each [kg]
FINGER_QPOS = 7  # index of the left jaw in qpos, after 6 joints and the tool mount
FINGER_KP = 3000  # jaw servo [N/m]

# F/T sensor, gripper and camera as capsules in the flange frame, with open jaws.
TOOL_BODY = (
    Capsule("F/T sensor", 6, (0.0, 0.0, 0.02), (0.0, 0.0, 0.03), 0.038),
    Capsule("gripper", 6, (0.0, -0.045, 0.077), (0.0, 0.045, 0.077), 0.045),
    Capsule("camera", 6, (0.075, -0.012, 0.04), (0.075, 0.012, 0.04), 0.019),
    Capsule("left finger", 6, (0.0, 0.0485, 0.12), (0.0, 0.0485, 0.18), 0.0125, contact=True),
    Capsule("right finger", 6, (0.0, -0.0485, 0.12), (0.0, -0.0485, 0.18), 0.0125, contact=True),
)
_KP = (4000, 4000, 3000, 1000, 1000, 1000)  # servo stiffness [Nm/rad]
_KV = (300, 300, 200, 60, 60, 60)
_CLASS = ("big", "big", "big", "small", "small", "small")


def _vec(v: tuple[float, ...]) -> str:
    return " ".join(f"{x:.9g}" for x in v)


def _inertial(i: int) -> str:
    """The mass of what moves with frame `i` of the chain."""
    link = ARM.links[i]
    return (
        f'<inertial pos="{_vec(link.com)}" mass="{link.mass}" fullinertia="{_vec(link.inertia)}"/>'
    )


def arm_xml(wrist_fovy: float) -> str:
    """MJCF of the body tree from the base to the fingers. `wrist_fovy` is the vertical field of
    view of the wrist camera [deg]."""
    opened = [
        '<body name="base">'
        '<geom class="visual" type="cylinder" size=".075 .045" pos="0 0 .045" rgba=".3 .3 .34 1"/>'
    ]
    for i, step in enumerate(ARM.chain.steps):
        colour = ".55 .6 .66 1" if i % 2 else ".78 .8 .83 1"
        capsules = "".join(
            f'<geom class="visual" type="capsule" size="{c.radius}"'
            f' fromto="{_vec(c.a)} {_vec(c.b)}" rgba="{colour}"/>'
            for c in ARM.chain.body
            if c.frame == i + 1
        )
        lo, hi = ARM.limits.q_min[i], ARM.limits.q_max[i]
        R, p = parts(step.fixed)
        opened.append(
            f'<body name="link{i}" pos="{_vec(tuple(p))}" quat="{_vec(tuple(mat_to_quat(R)))}">'
            f'<joint name="j{i}" class="{_CLASS[i]}" axis="0 0 1" range="{lo:.6f} {hi:.6f}"/>'
            f"{_inertial(i + 1)}{capsules}"
        )
    return "".join(opened) + _tool_xml(wrist_fovy) + "</body>" * len(opened)


def _tool_xml(wrist_fovy: float) -> str:
    x, z = TOOL_COM[0], TOOL_COM[2]
    return f"""
<body name="tool">
 <joint name="mount" class="mount"/>
 <site name="ft" pos="0 0 .02" group="4"/>
 <site name="tcp" pos="{_vec(TCP)}" group="4"/>
 <inertial pos="{x} 0 {z}" mass="{TOOL_MASS - 2 * FINGER_MASS}" diaginertia=".0016 .0016 .0008"/>
 <geom class="visual" type="cylinder" size=".0375 .019" pos="0 0 .02" rgba=".25 .25 .28 1"/>
 <geom name="palm" type="box" size=".028 .058 .035" pos="0 0 .077" rgba=".16 .16 .18 1"/>
 <geom class="visual" type="box" size=".013 .022 .013" pos=".075 0 .04" rgba=".1 .1 .1 1"/>
 <camera name="wrist" pos="{_vec(WRIST_CAMERA)}"
  xyaxes="0 1 0 {math.cos(WRIST_TILT)} 0 {math.sin(WRIST_TILT)}"
  fovy="{wrist_fovy}"/>
 <body name="left" pos="0 {STROKE / 2 + 0.006} .15">
  <joint name="left" class="finger" axis="0 -1 0"/>
  <geom name="left" class="pad"/>
 </body>
 <body name="right" pos="0 {-STROKE / 2 - 0.006} .15">
  <joint name="right" class="finger" axis="0 1 0"/>
  <geom name="right" class="pad"/>
 </body>
</body>"""


DEFAULTS = f"""
<default>
 <default class="big"><joint armature=".1" damping="10"/></default>
 <default class="small"><joint armature=".1" damping="3"/></default>
 <default class="finger">
  <joint type="slide" range="0 {STROKE / 2}" damping="20" armature=".1"/>
 </default>
 <default class="mount">
  <joint type="slide" axis="0 0 1" range="-.025 0" stiffness="2500" springref=".008" damping="60"/>
 </default>
 <default class="visual"><geom contype="0" conaffinity="0" group="1" mass="0"/></default>
 <default class="pad">
  <geom type="box" size=".011 .006 .04" mass="{FINGER_MASS}" friction="1 .05 .002" condim="4"
   solref=".01 1" rgba=".12 .12 .13 1"/>
 </default>
 <default class="fixture"><geom friction=".8 .01 .001"/></default>
</default>"""


def actuators_xml() -> str:
    """MJCF of the actuators (joint servos in joint order, then one servo per finger), of the F/T
    sensor, and of the coupling of the two jaws."""
    servos = "".join(
        f'<position name="a{i}" joint="j{i}" kp="{kp}" kv="{kv}" forcerange="-{t} {t}"/>'
        for i, (kp, kv, t) in enumerate(zip(_KP, _KV, ARM.limits.tau_max, strict=True))
    )
    fingers = "".join(
        f'<position name="{side}" joint="{side}" kp="{FINGER_KP}" kv="60" forcerange="-40 40"/>'
        for side in ("left", "right")
    )
    return f"""<actuator>{servos}{fingers}</actuator>
<sensor><force name="force" site="ft"/><torque name="torque" site="ft"/></sensor>
<equality><joint joint1="left" joint2="right" solref=".005 1"/></equality>"""
