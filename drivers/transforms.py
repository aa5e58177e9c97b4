"""Rigid transforms as 12 numbers: the rotation matrix row by row, then the position [m].

`T = (R, p)` maps a point x of the inner frame to R x + p in the outer one; it is the pose of the
inner frame in the outer frame.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from headway.drivers.rotations import Mat3, rotvec_to_mat
from headway.types import Vec

Transform = tuple[
    float, float, float, float, float, float, float, float, float, float, float, float
]  # fmt: skip
IDENTITY: Transform = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0)


def transform(R: Mat3, p: Sequence[float] | Vec) -> Transform:
    """The transform with rotation `R` (3, 3) and position `p` (3,) [m]."""
    numbers = [*np.asarray(R, np.float64).ravel().tolist(), *map(float, p)]
    return tuple(numbers)  # type: ignore[return-value]  # nine and three


def parts(T: Transform) -> tuple[Mat3, Vec]:
    """Rotation (3, 3) and position (3,) [m] of `T`."""
    return np.array(T[:9]).reshape(3, 3), np.array(T[9:])


def compose(A: Transform, B: Transform) -> Transform:
    """The transform that applies `B` first, then `A`: the pose in A's outer frame of a frame that
    `B` places in A's inner frame."""
    (RA, pA), (RB, pB) = parts(A), parts(B)
    return transform(RA @ RB, RA @ pB + pA)


def inverse(T: Transform) -> Transform:
    """The transform that undoes `T`."""
    R, p = parts(T)
    return transform(R.T, -R.T @ p)


def moved(T: Transform, point: Sequence[float]) -> tuple[float, float, float]:
    """`point` (3,) [m] of T's inner frame, in its outer frame."""
    R, p = parts(T)
    x, y, z = (R @ np.array(point) + p).tolist()
    return x, y, z


def offset(numbers: Sequence[float]) -> Transform:
    """The transform of a position [m] (3 numbers), or of a position and a rotation vector [rad] (6
    numbers). Raises ValueError for another count."""
    if len(numbers) not in (3, 6):
        raise ValueError(
            f"wanted a position of 3 numbers, or with a rotation vector 6, found {len(numbers)}"
        )
    turn = rotvec_to_mat(np.array(numbers[3:], np.float64)) if len(numbers) == 6 else np.eye(3)
    return transform(turn, numbers[:3])


def axis_to_z(axis: Vec) -> Mat3:
    """The rotation (3, 3) of a frame whose z axis is the unit vector `axis` (3,): the smallest one;
    for the opposite of z, half a turn about x."""
    x, y, z = axis.tolist()
    if z < -1.0 + 1e-12:
        return np.diag([1.0, -1.0, -1.0])
    sine = math.hypot(x, y)
    if sine < 1e-12:
        return np.eye(3)
    return rotvec_to_mat(np.array([-y, x, 0.0]) / sine * math.atan2(sine, z))
