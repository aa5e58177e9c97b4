"""The simulated tool: a parallel gripper behind an F/T sensor, in MuJoCo's MJCF.

It sits on a spring-loaded mount, as is usual in bin picking. That of the standard gripper is rigid
up to 20 N, and gives way at 2.5 N/mm beyond that. All of it is in the mount's frame, which is the
TCP's frame moved back to the arm's flange: z points to the fingertips, the jaws close along y.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from headway.drivers.capsules import Capsule
from headway.drivers.transforms import Transform, moved

Xyz = tuple[float, float, float]
FINGER_KP = 3000  # jaw servo [N/m]
FINGER_SPEED = 0.06  # of each jaw [m/s]
WRIST_TILT = 0.22  # the wrist camera leans towards the fingers [rad]


@dataclass(frozen=True)
class Gripper:
    """A gripper of the shape of `STANDARD`, with all lengths times `size`. `mass` [kg] is that of
    all that the F/T sensor carries and of the sensor itself, `finger_mass` [kg] that of each of the
    two fingers in it, and `force` [N] is the largest that the jaws press with."""

    size: float
    mass: float
    finger_mass: float
    force: float

    @property
    def stroke(self) -> float:
        """Largest opening of the jaws [m]."""
        return 0.085 * self.size

    @property
    def tcp(self) -> Xyz:
        """The middle between the fingertips [m]: behind an F/T sensor of 40 mm and a gripper of 145
        mm, times `size`."""
        return (0.0, 0.0, 0.185 * self.size)

    @property
    def com(self) -> Xyz:
        """Centre of mass of what the fingers are mounted on [m]."""
        return (0.0, 0.0, 0.06 * self.size)

    @property
    def sensor_z(self) -> float:
        """Where the measuring frame of the F/T sensor is on the z axis [m]."""
        return 0.02 * self.size

    @property
    def finger_z(self) -> float:
        """Where the middle of each finger is on the z axis [m]."""
        return 0.15 * self.size

    @property
    def wrist_camera(self) -> Xyz:
        """Where the wrist camera is [m]."""
        return (0.078 * self.size, 0.0, 0.055 * self.size)

    def body(self, frame: int, mount: Transform) -> tuple[Capsule, ...]:
        """F/T sensor, gripper and camera as capsules on frame number `frame` of a chain, in which
        the mount has the pose `mount`; the jaws are open."""
        s = self.size

        def capsule(name: str, a: Xyz, b: Xyz, radius: float, contact: bool = False) -> Capsule:
            start, end = (moved(mount, (x * s, y * s, z * s)) for x, y, z in (a, b))
            return Capsule(name, frame, start, end, radius * s, contact)

        return (
            capsule("F/T sensor", (0.0, 0.0, 0.02), (0.0, 0.0, 0.03), 0.038),
            capsule("gripper", (0.0, -0.045, 0.077), (0.0, 0.045, 0.077), 0.045),
            capsule("camera", (0.075, -0.012, 0.04), (0.075, 0.012, 0.04), 0.019),
            capsule("left finger", (0.0, 0.0485, 0.12), (0.0, 0.0485, 0.18), 0.0125, True),
            capsule("right finger", (0.0, -0.0485, 0.12), (0.0, -0.0485, 0.18), 0.0125, True),
        )

    def xml(self, pose: str, wrist_fovy: float) -> str:
        """MJCF of the tool's body. `pose`: the attributes pos and quat of the mount in the arm's
        last link; `wrist_fovy`: vertical field of view of the wrist camera [deg]."""
        s, (x, y, z) = self.size, self.com
        carrier = self.mass - 2 * self.finger_mass
        share = carrier / (STANDARD.mass - 2 * STANDARD.finger_mass) * s * s
        i, iz = 0.0016 * share, 0.0008 * share
        side = self.stroke / 2 + 0.006 * s
        return f"""
<body name="tool" {pose}>
 <joint name="mount" class="mount"/>
 <site name="ft" pos="0 0 {self.sensor_z}" group="4"/>
 <site name="tcp" pos="{_numbers(*self.tcp)}" group="4"/>
 <inertial pos="{_numbers(x, y, z)}" mass="{carrier}" diaginertia="{_numbers(i, i, iz)}"/>
 <geom class="visual" type="cylinder" size="{_numbers(0.0375 * s, 0.019 * s)}"
  pos="0 0 {0.02 * s}" rgba=".25 .25 .28 1"/>
 <geom name="palm" type="box" size="{_numbers(0.028 * s, 0.058 * s, 0.035 * s)}"
  pos="0 0 {0.077 * s}" rgba=".16 .16 .18 1"/>
 <geom class="visual" type="box" size="{_numbers(0.013 * s, 0.022 * s, 0.013 * s)}"
  pos="{_numbers(0.075 * s, 0.0, 0.04 * s)}" rgba=".1 .1 .1 1"/>
 <camera name="wrist" pos="{_numbers(*self.wrist_camera)}"
  xyaxes="0 1 0 {math.cos(WRIST_TILT)} 0 {math.sin(WRIST_TILT)}" fovy="{wrist_fovy}"/>
 <body name="left" pos="{_numbers(0.0, side, self.finger_z)}">
  <joint name="left" class="finger" axis="0 -1 0"/>
  <geom name="left" class="pad"/>
 </body>
 <body name="right" pos="{_numbers(0.0, -side, self.finger_z)}">
  <joint name="right" class="finger" axis="0 1 0"/>
  <geom name="right" class="pad"/>
 </body>
</body>"""

    def defaults_xml(self) -> str:
        """MJCF of the classes of the tool's joints and pads."""
        s = self.size
        return f"""
 <default class="finger">
  <joint type="slide" range="0 {self.stroke / 2}" damping="20" armature=".1"/>
 </default>
 <default class="mount">
  <joint type="slide" axis="0 0 1" range="{-0.025 * s} 0" stiffness="{2500 * s}"
   springref="{0.008 * s}" damping="{60 * s}"/>
 </default>
 <default class="pad">
  <geom type="box" size="{_numbers(0.011 * s, 0.006 * s, 0.04 * s)}" mass="{self.finger_mass}"
   friction="1 .05 .002" condim="4" solref=".01 1" rgba=".12 .12 .13 1"/>
 </default>"""

    def actuators_xml(self) -> str:
        """MJCF of a servo for each finger, left first."""
        return "".join(
            f'<position name="{side}" joint="{side}" kp="{FINGER_KP}" kv="60"'
            f' forcerange="{-self.force} {self.force}"/>'
            for side in ("left", "right")
        )


# The coupling of the two jaws, and the F/T sensor.
SENSOR_XML = """
<sensor><force name="force" site="ft"/><torque name="torque" site="ft"/></sensor>
<equality><joint joint1="left" joint2="right" solref=".005 1"/></equality>"""

STANDARD = Gripper(1.0, 0.925 + 0.3, 0.06, 40.0)  # like a Robotiq 2F-85 and a sensor of 0.3 kg
SMALL = Gripper(0.5, 0.05, 0.005, 10.0)  # instead of the jaws of a desktop arm


def _numbers(*values: float) -> str:
    return " ".join(map(repr, values))
