"""Capsules on the frames of a kinematic chain: the shape of an arm in checks of distance."""

from __future__ import annotations

from dataclasses import dataclass

Xyz = tuple[float, float, float]


@dataclass(frozen=True)
class Capsule:
    """All points within `radius` [m] of the segment from `a` to `b` [m], both in frame number
    `frame` of a chain (see `Chain.transforms`): 0 is the base frame, i + 1 the frame of the link
    behind step i. `contact`: this part is meant to touch things, as a finger is."""

    name: str
    frame: int
    a: Xyz
    b: Xyz
    radius: float
    contact: bool = False
