"""Reads URDF, the XML description of robots that ROS uses: links, joints, masses and simple
collision shapes. Meshes are never opened. Nothing is decided here about what the robot is used for;
`drivers/model/build.py` does that.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np

from headway.config import suggest
from headway.drivers.rotations import Mat3, rpy_to_mat
from headway.drivers.transforms import IDENTITY, Transform, transform
from headway.errors import ConfigError
from headway.types import Vec

LARGEST = 16_000_000  # bytes of a file that is read
TURNING = ("revolute", "continuous")
MOVING = (*TURNING, "prismatic")
KINDS = (*MOVING, "fixed", "floating", "planar")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


@dataclass(frozen=True)
class Inertial:
    """`mass` [kg]; the pose `at` of the frame of the centre of mass in the link's frame; `inertia`
    (3, 3) [kg m^2] about the centre of mass, in the axes of that frame."""

    mass: float
    at: Transform
    inertia: Mat3


@dataclass(frozen=True)
class Shape:
    """A collision shape at the pose `at` in the link's frame: `kind` "sphere" (radius), "cylinder"
    and "capsule" (radius, length along z), "box" (three sides), all [m], or "mesh" ()."""

    kind: str
    size: tuple[float, ...]
    at: Transform


@dataclass(frozen=True)
class Link:
    """The link `name`: what it weighs, None where the file does not say it, and its collision
    shapes."""

    name: str
    inertial: Inertial | None
    shapes: tuple[Shape, ...]


@dataclass(frozen=True)
class Mimic:
    """The joint follows another: position = `multiplier` * position of `joint` + `offset`."""

    joint: str
    multiplier: float
    offset: float


@dataclass(frozen=True)
class Joint:
    """A joint from the link `parent` to the link `child`. `origin` is the pose of the child's frame
    in the parent's at position zero, and `axis` (3,) the unit vector in the child's frame about or
    along which it moves. `lower`, `upper` [rad] or [m], `velocity` [rad/s] or [m/s] and `effort`
    [Nm] or [N] are None where the file does not say."""

    name: str
    kind: str
    parent: str
    child: str
    origin: Transform
    axis: Vec
    lower: float | None
    upper: float | None
    velocity: float | None
    effort: float | None
    mimic: Mimic | None


@dataclass(frozen=True)
class Urdf:
    """The robot `name` of a file: a tree of `links` and `joints`, by name. `root` is the link
    without a parent; `into` has the joint that leads to each other link."""

    name: str
    links: dict[str, Link]
    joints: dict[str, Joint]
    root: str
    into: dict[str, Joint]

    def path(self, start: str, end: str) -> list[Joint] | None:
        """The joints from the link `start` outwards to the link `end`; None if `end` does not hang
        on `start`."""
        found: list[Joint] = []
        while end != start:
            joint = self.into.get(end)
            if joint is None:
                return None
            found.append(joint)
            end = joint.parent
        return found[::-1]


class _NoDoctype(ET.TreeBuilder):
    """Builds the tree, and refuses a document type: entities, which could grow without bound or
    name other files, can only be declared there."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ConfigError("wanted a URDF without a document type, found <!DOCTYPE>: remove it")


def read(path: Path) -> Urdf:
    """Read the file at `path`. Raises ConfigError, which names the file, for a file that cannot be
    read, is not XML or not URDF, has numbers that are none, or does not describe one tree."""
    try:
        return _robot(_parse(path))
    except ConfigError as e:
        raise ConfigError(f"{path}: {e}") from None


def _parse(path: Path) -> ET.Element:
    try:
        if path.stat().st_size > LARGEST:
            raise ConfigError(f"wanted a URDF of at most {LARGEST} bytes, found a larger file")
        data = path.read_bytes()
    except FileNotFoundError:
        near = sorted(p.name for p in path.parent.glob("*.urdf")) if path.parent.is_dir() else []
        found = f"that folder has {', '.join(near)}" if near else "there is no URDF there"
        raise ConfigError(f"wanted a URDF, found none: {found}") from None
    except OSError as e:
        raise ConfigError(f"cannot be read: {e.strerror}") from None
    try:
        return ET.fromstring(data, parser=ET.XMLParser(target=_NoDoctype()))
    except (ET.ParseError, LookupError, ValueError) as e:
        raise ConfigError(
            f"wanted URDF, which is XML, found that it does not parse: {e} (a xacro file must be "
            "expanded first: xacro NAME.xacro > NAME.urdf)"
        ) from None


def _robot(tree: ET.Element) -> Urdf:
    if tree.tag != "robot":
        raise ConfigError(f"wanted a <robot>, found <{tree.tag}>: choose the robot's URDF")
    macro = next((e.tag for e in tree.iter() if "xacro}" in str(e.tag)), None)
    if macro is not None:
        raise ConfigError(
            f"wanted a URDF, found a xacro file, with <xacro:{macro.partition('}')[2]}>: expand it "
            "first: xacro NAME.xacro > NAME.urdf"
        )
    links: dict[str, Link] = {}
    joints: dict[str, Joint] = {}
    for element in tree.findall("link"):
        link = _link(element)
        if link.name in links:
            raise ConfigError(f"wanted every link once, found two links {link.name!r}: rename one")
        links[link.name] = link
    for element in tree.findall("joint"):
        joint = _joint(element)
        if joint.name in joints:
            raise ConfigError(
                f"wanted every joint once, found two joints {joint.name!r}: rename one"
            )
        joints[joint.name] = joint
    return _tree(tree.get("name", ""), links, joints)


def _tree(name: str, links: dict[str, Link], joints: dict[str, Joint]) -> Urdf:
    """Check that `links` and `joints` are one tree. Raises ConfigError."""
    if not links:
        raise ConfigError("wanted links, found none: choose the robot's URDF")
    into: dict[str, Joint] = {}
    for joint in joints.values():
        for link in (joint.parent, joint.child):
            if link not in links:
                raise ConfigError(
                    f"joint {joint.name}: wanted a link that the file has, found {link!r}: "
                    f"{suggest(link, links)}"
                )
        if (other := into.get(joint.child)) is not None:
            raise ConfigError(
                f"wanted a tree, found that the link {joint.child} has two parents, by the joints "
                f"{other.name} and {joint.name}: cut the loop open, remove one of them"
            )
        into[joint.child] = joint
        mimic = joint.mimic
        if mimic is not None and mimic.joint not in joints:
            raise ConfigError(
                f"joint {joint.name} mimics a joint that is not there, {mimic.joint!r}: "
                f"{suggest(mimic.joint, joints)}"
            )
    roots = [link for link in links if link not in into]
    if len(roots) != 1:
        found = ", ".join(roots) if roots else "none, the joints go round in a circle"
        raise ConfigError(
            f"wanted one link without a parent, found {found}: join all links into one tree"
        )
    made = Urdf(name, links, joints, roots[0], into)
    lost = [link for link in links if not _reaches(into, roots[0], link)]
    if lost:
        raise ConfigError(
            f"wanted a tree, found that the joints of {', '.join(lost)} go round in a circle: cut "
            "it open"
        )
    return made


def _reaches(into: dict[str, Joint], root: str, link: str) -> bool:
    for _ in range(len(into) + 1):
        if link == root:
            return True
        link = into[link].parent
    return False


def _link(element: ET.Element) -> Link:
    name = _text(element, "name", "a link")
    where = f"link {name}"
    inertial = element.find("inertial")
    shapes = tuple(_shapes(element.findall("collision"), where))
    return Link(name, None if inertial is None else _inertial(inertial, where), shapes)


def _inertial(element: ET.Element, where: str) -> Inertial:
    mass = _number(_child(element, "mass", where), "value", where)
    inertia = _child(element, "inertia", where)
    xx, xy, xz, yy, yz, zz = (
        _number(inertia, key, where) for key in ("ixx", "ixy", "ixz", "iyy", "iyz", "izz")
    )
    if mass < 0.0:
        raise ConfigError(f"{where}: wanted a mass >= 0, found {mass:g}")
    return Inertial(
        mass, _origin(element, where), np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    )


def _shapes(elements: Iterable[ET.Element], where: str) -> Iterable[Shape]:
    for element in elements:
        geometry = _child(element, "geometry", where)
        if not len(geometry):
            raise ConfigError(f"{where}: wanted a shape in <geometry>, found none: add one")
        shape = geometry[0]
        place = f"{where} <{shape.tag}>"
        if shape.tag == "box":
            size = _numbers(_text(shape, "size", place), 3, place)
        elif shape.tag in ("cylinder", "capsule"):
            size = (_number(shape, "radius", place), _number(shape, "length", place))
        elif shape.tag == "sphere":
            size = (_number(shape, "radius", place),)
        elif shape.tag == "mesh":
            size = ()
        else:
            raise ConfigError(
                f"{where}: wanted a box, cylinder, sphere, capsule or mesh, found <{shape.tag}>"
            )
        if min(size, default=1.0) < 0.0:
            raise ConfigError(f"{place}: wanted sizes >= 0, found {size}")
        yield Shape(shape.tag, size, _origin(element, where))


def _joint(element: ET.Element) -> Joint:
    name = _text(element, "name", "a joint")
    where = f"joint {name}"
    kind = _text(element, "type", where)
    if kind not in KINDS:
        raise ConfigError(
            f"{where}: wanted a type of joint, found {kind!r}: {suggest(kind, KINDS)}"
        )
    parent = _text(_child(element, "parent", where), "link", where)
    child = _text(_child(element, "child", where), "link", where)
    axis = np.array([1.0, 0.0, 0.0])
    given = element.find("axis")
    if kind in MOVING and given is not None:
        axis = np.array(_numbers(_text(given, "xyz", where), 3, where))
        length = float(np.linalg.norm(axis))
        if not 1e-9 < length < math.inf:
            raise ConfigError(f"{where}: wanted an axis with a direction, found {given.get('xyz')}")
        axis = axis / length
    limit = element.find("limit")
    lower, upper, velocity, effort = (
        None if limit is None or limit.get(key) is None else _number(limit, key, where)
        for key in ("lower", "upper", "velocity", "effort")
    )
    mimic, follows = None, element.find("mimic")
    if follows is not None:
        by = 1.0 if follows.get("multiplier") is None else _number(follows, "multiplier", where)
        at = 0.0 if follows.get("offset") is None else _number(follows, "offset", where)
        mimic = Mimic(_text(follows, "joint", where), by, at)
    return Joint(
        name, kind, parent, child, _origin(element, where), axis, lower, upper, velocity, effort,
        mimic,
    )  # fmt: skip


def _origin(element: ET.Element, where: str) -> Transform:
    origin = element.find("origin")
    if origin is None:
        return IDENTITY
    xyz = _numbers(origin.get("xyz", "0 0 0"), 3, where)
    roll, pitch, yaw = _numbers(origin.get("rpy", "0 0 0"), 3, where)
    return transform(rpy_to_mat(roll, pitch, yaw), xyz)


def _child(element: ET.Element, tag: str, where: str) -> ET.Element:
    child = element.find(tag)
    if child is None:
        raise ConfigError(f"{where}: wanted <{tag}>, found none: add it")
    return child


def _text(element: ET.Element, key: str, where: str) -> str:
    text = element.get(key)
    if not text:
        raise ConfigError(f"{where}: wanted {key} in <{element.tag}>, found none: add it")
    return text


def _number(element: ET.Element, key: str, where: str) -> float:
    return _numbers(_text(element, key, where), 1, f"{where} {key}")[0]


def _numbers(text: str, count: int, where: str) -> tuple[float, ...]:
    words = text.split()
    # Python's float() would also take nan, inf and 1_000.
    values = tuple(float(w) if _NUMBER.fullmatch(w) else math.nan for w in words)
    if len(words) != count or not all(map(math.isfinite, values)):
        what = "a number" if count == 1 else f"{count} numbers"
        raise ConfigError(f"{where}: wanted {what}, found {text[:60]!r}")
    return values
