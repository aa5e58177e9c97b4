"""The TOML file beside a URDF: what a URDF cannot say, and what it often leaves out."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from headway import config

Triple = tuple[float, float, float]
Size = Annotated[float, Meta(gt=0.0, le=100.0)]
# One number for all joints, or one per joint in the order of the chain.
PerJoint = config.Positive | tuple[config.Positive, ...]
Weight = Annotated[float, Meta(ge=0.0, le=1e6)]


class FrameConfig(config.Struct, frozen=True):
    """A frame `[tools.NAME]` on the tool link: position `xyz` [m] and, as in URDF, the angles `rpy`
    [rad] about the fixed axes x, y and z."""

    xyz: Triple = (0.0, 0.0, 0.0)
    rpy: Triple = (0.0, 0.0, 0.0)


class CapsuleConfig(config.Struct, frozen=True):
    """A `[[capsules]]`: all points within `radius` [m] of the segment from `a` to `b` [m], in the
    frame of the URDF's link `link`. `contact`: it is meant to touch things."""

    name: str
    link: str
    a: Triple
    b: Triple
    radius: Size
    contact: bool = False


class ModelFile(config.Struct, frozen=True, kw_only=True):
    """NAME.toml, beside NAME.urdf.

    `source`: where the numbers come from. `base_link`: the link that stands still [the root];
    `tool_link`: the link that tools are mounted on [the only end of the tree that moves].
    `tools`: named tool frames on it, of which `tool` is the one in use unless told otherwise [the
    tool link itself]. `home` (n,) [rad]: a posture to start from [the middle of each range].

    `velocity` [rad/s], `acceleration` [rad/s^2], `jerk` [rad/s^3], `torque` [Nm]: limits per joint
    or one for all; the first and the last replace those of the URDF.

    `ik_weights`: weights of the errors of inverse kinematics: position x, y, z, rotation about x,
    y, z, in the axes of the link `ik_axes` [of the TCP]. `capsules`: the arm's shape, instead of
    the shapes in the URDF.
    """

    source: str = ""
    base_link: str | None = None
    tool_link: str | None = None
    tool: str | None = None
    tools: dict[str, FrameConfig] = {}  # noqa: RUF012 - msgspec copies defaults
    home: tuple[float, ...] | None = None
    velocity: PerJoint | None = None
    acceleration: PerJoint | None = None
    jerk: PerJoint | None = None
    torque: PerJoint | None = None
    ik_weights: tuple[Weight, Weight, Weight, Weight, Weight, Weight] = (1.0,) * 6
    ik_axes: str | None = None
    capsules: tuple[CapsuleConfig, ...] = ()
