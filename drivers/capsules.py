"""What an arm is made of, for checks of distance: segments with a radius on a chain's frames."""

from __future__ import annotations

from dataclasses import dataclass

Xyz = tuple[float, float, float]


@dataclass(frozen=True)
class Capsule:
    """All points within `radius` [m] of the segment from `a` to `b` [m] in frame number `frame` of
    a chain: 0 is the base's, i + 1 the one behind joint i (see `Chain.transforms`), the last one
    the flange. `contact`: made to touch what stands around, such as a finger."""

    name: str
    frame: int
    a: Xyz
    b: Xyz
    radius: float
    contact: bool = False
