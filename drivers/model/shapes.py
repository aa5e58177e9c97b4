"""The arm's shape as capsules on the frames of its chain."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from headway import config
from headway.drivers.capsules import Capsule, Xyz
from headway.drivers.model import urdf
from headway.drivers.model.file import CapsuleConfig
from headway.drivers.transforms import Transform, compose, moved
from headway.errors import ConfigError


@dataclass(frozen=True)
class Place:
    """Where a link is: at the pose `at` in frame number `frame` of the chain. `moves`: only while
    the joints of a hand are at zero."""

    frame: int
    at: Transform
    moves: bool


def from_file(given: Sequence[CapsuleConfig], places: Mapping[str, Place]) -> tuple[Capsule, ...]:
    """The capsules `given` in frames of links; `places` says where the links are. Raises
    ConfigError for a link that is not there."""
    made = []
    for i, c in enumerate(given):
        if c.link not in places:
            raise ConfigError(
                f"`capsules[{i}].link` wants a link of the arm, found {c.link!r}: "
                f"{config.suggest(c.link, places)}"
            )
        at = places[c.link].at
        made.append(
            Capsule(
                c.name, places[c.link].frame, moved(at, c.a), moved(at, c.b), c.radius, c.contact
            )
        )
    return tuple(made)


def from_urdf(
    robot: urdf.Urdf, places: Mapping[str, Place], missing: list[str]
) -> tuple[Capsule, ...]:
    """Capsules around the collision shapes of the URDF. Meshes are not opened; `missing` then says
    which links have no shape. What the joints of a hand move is meant for contact."""
    made = []
    meshes, bare = [], []
    for name, place in places.items():
        found = robot.links[name].shapes
        for shape in found:
            if (around := _around(shape)) is not None:
                a, b, radius = around
                at = compose(place.at, shape.at)
                capsule = Capsule(
                    name, place.frame, moved(at, a), moved(at, b), radius, place.moves
                )
                made.append(capsule)
        if any(s.kind == "mesh" for s in found):
            meshes.append(name)
        elif not found and robot.links[name].inertial is not None:
            bare.append(name)
    if meshes:
        missing.append(
            f"shape: the meshes of {', '.join(meshes)} are not opened; [[capsules]] in the TOML "
            "file give a shape for checks of distance"
        )
    if bare:
        missing.append(f"shape: none given for {', '.join(bare)}")
    return tuple(made)


def _around(shape: urdf.Shape) -> tuple[Xyz, Xyz, float] | None:
    """The two ends [m] and the radius [m] of a capsule around `shape`, in the shape's own frame;
    None for a mesh."""
    if shape.kind == "mesh":
        return None
    if shape.kind == "box":
        halves = [x / 2 for x in shape.size]
        longest = max(range(3), key=lambda i: halves[i])
        end = [0.0, 0.0, 0.0]
        end[longest] = halves[longest]
        radius = math.hypot(*(x for i, x in enumerate(halves) if i != longest))
        x, y, z = end
        return (-x, -y, -z), (x, y, z), radius
    half = shape.size[1] / 2 if len(shape.size) == 2 else 0.0
    return (0.0, 0.0, -half), (0.0, 0.0, half), shape.size[0]
