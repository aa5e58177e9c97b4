"""Rotations of many rows at once, between the forms that action spaces know and matrices.

Forms and their components are those of `headway.actions.ROTATIONS`; angles are in rad. What is not
a rotation becomes NaN.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headway.actions import Rotation
from headway.types import Vec

QUAT_TOLERANCE = 0.2  # by which the norm of a quaternion may differ from 1
# Shortest first vector of a rot6d, and shortest part of the second one at right angles to it, that
# still give a direction.
ROT6D_LEAST = 0.1
Mats = NDArray[np.float64]  # (h, 3, 3)
Rows = NDArray[np.float64]  # (h, k)
_EYE = np.eye(3)


def to_mats(rows: Rows, kind: Rotation) -> Mats:
    """Rotation matrices (h, 3, 3) of `rows` (h, 3, 4 or 6) in the form `kind`.

    A quaternion is normalised, and its sign does not matter; it is NaN when its norm is not within
    1 +- `QUAT_TOLERANCE`. A rot6d is made orthonormal by Gram-Schmidt (Zhou et al. 2019, eq. 15);
    it is NaN when that is ill-conditioned, see `ROT6D_LEAST`. For rpy, R = Rz(yaw) Ry(pitch)
    Rx(roll): rotations about fixed axes, first x, then y, then z.
    """
    if kind == "rotvec":
        return _exp(rows)
    if kind == "quat":
        return _from_quats(rows)
    return _from_6d(rows) if kind == "rot6d" else _from_rpy(rows)


def from_mats(mats: Mats, kind: Rotation) -> Rows:
    """The inverse of `to_mats`, for rotation matrices (h, 3, 3). A quaternion has w >= 0. At a
    pitch of +-pi/2, where roll and yaw are not unique, yaw is 0."""
    if kind == "rotvec":
        return rotvecs(mats)
    if kind == "quat":
        return _quats(mats)
    if kind == "rot6d":
        return np.concatenate([mats[:, :, 0], mats[:, :, 1]], axis=1)
    flat = np.hypot(mats[:, 0, 0], mats[:, 1, 0])
    locked = flat < 1e-9
    roll = np.where(
        locked,
        np.arctan2(-mats[:, 1, 2], mats[:, 1, 1]),
        np.arctan2(mats[:, 2, 1], mats[:, 2, 2]),
    )
    yaw = np.where(locked, 0.0, np.arctan2(mats[:, 1, 0], mats[:, 0, 0]))
    return np.stack([roll, np.arctan2(-mats[:, 2, 0], flat), yaw], axis=1)


def to_rotvecs(rows: Rows, kind: Rotation) -> Rows:
    """Rotation vectors (h, 3) of `rows` in the form `kind`, see `to_mats`."""
    return rows if kind == "rotvec" else rotvecs(to_mats(rows, kind))


def rotvecs(mats: Mats) -> Rows:
    """Rotation vectors (h, 3) of rotation matrices (h, 3, 3); angles in [0, pi]."""
    quats = _quats(mats)
    axis = quats[:, 1:]
    s = np.sqrt((axis * axis).sum(axis=1))
    small = s < 1e-12
    angle = 2.0 * np.arctan2(s, quats[:, 0])
    out: Rows = axis * np.where(small, 2.0, angle / np.where(small, 1.0, s))[:, None]
    return out


def products(mats: Mats, *, left: bool) -> Mats:
    """Running products of `mats` (h, 3, 3): row k is M_0 M_1 .. M_k, and for `left`
    M_k .. M_1 M_0. Takes log2(h) multiplications of all rows at once (Hillis & Steele 1986)."""
    out, step = mats, 1
    while step < len(mats):
        first, second = out[:-step], out[step:]
        later = second @ first if left else first @ second
        out = np.concatenate([out[:step], later])
        step *= 2
    return out


def screw(r: Rows, v: Rows) -> Rows:
    """The displacements (h, 3) [m] of bodies that move with constant twists in their own axes: they
    turn by `r` (h, 3) [rad] while they go `v` (h, 3) [m]. Position part of the exponential map of
    SE(3) (Lynch & Park 2017, eq. 3.88)."""
    t2 = (r * r).sum(axis=1)
    small = t2 < 1e-6
    t = np.sqrt(np.where(small, 1.0, t2))
    a = np.where(small, 0.5 - t2 / 24.0, (1.0 - np.cos(t)) / (t * t))
    b = np.where(small, 1.0 / 6.0 - t2 / 120.0, (t - np.sin(t)) / (t * t * t))
    rv = np.cross(r, v)
    out: Rows = v + a[:, None] * rv + b[:, None] * np.cross(r, rv)
    return out


def unscrew(r: Rows, d: Rows) -> Rows:
    """The inverse of `screw`: `v` (h, 3) for the displacements `d` (h, 3) [m]; turns `r` (h, 3)
    [rad] of less than 2 pi."""
    t2 = (r * r).sum(axis=1)
    small = t2 < 1e-6
    half = 0.5 * np.sqrt(np.where(small, 1.0, t2))
    c = np.where(small, 1.0 / 12.0 + t2 / 720.0, (1.0 - half / np.tan(half)) / (4.0 * half * half))
    rd = np.cross(r, d)
    out: Rows = d - 0.5 * rd + c[:, None] * np.cross(r, rd)
    return out


def _exp(r: Rows) -> Mats:
    """Rodrigues: cos t I + (sin t / t) [r] + ((1 - cos t) / t^2) r r^T."""
    t = np.sqrt((r * r).sum(axis=1))
    a = np.sinc(t / np.pi)  # sin t / t
    b = 0.5 * np.sinc(t / (2.0 * np.pi)) ** 2
    out: Mats = np.cos(t)[:, None, None] * _EYE + b[:, None, None] * (r[:, :, None] * r[:, None, :])
    x, y, z = (a[:, None] * r).T
    out[:, 0, 1] -= z
    out[:, 0, 2] += y
    out[:, 1, 0] += z
    out[:, 1, 2] -= x
    out[:, 2, 0] -= y
    out[:, 2, 1] += x
    return out


def _from_quats(rows: Rows) -> Mats:
    norm = np.sqrt((rows * rows).sum(axis=1))
    near = np.abs(norm - 1.0) <= QUAT_TOLERANCE
    w, x, y, z = (rows / np.where(near, norm, np.nan)[:, None]).T
    out = np.empty((len(rows), 3, 3))
    out[:, 0, 0], out[:, 1, 1] = 1 - 2 * (y * y + z * z), 1 - 2 * (x * x + z * z)
    out[:, 2, 2] = 1 - 2 * (x * x + y * y)
    out[:, 0, 1], out[:, 1, 0] = 2 * (x * y - w * z), 2 * (x * y + w * z)
    out[:, 0, 2], out[:, 2, 0] = 2 * (x * z + w * y), 2 * (x * z - w * y)
    out[:, 1, 2], out[:, 2, 1] = 2 * (y * z - w * x), 2 * (y * z + w * x)
    return out


def _from_6d(rows: Rows) -> Mats:
    x = _unit(rows[:, :3])
    y = rows[:, 3:]
    y = _unit(y - (x * y).sum(axis=1)[:, None] * x)
    return np.stack([x, y, np.cross(x, y)], axis=2)


def _unit(v: Vec) -> Rows:
    norm = np.sqrt((v * v).sum(axis=1))
    out: Rows = v / np.where(norm >= ROT6D_LEAST, norm, np.nan)[:, None]
    return out


def _from_rpy(rows: Rows) -> Mats:
    (sr, sp, sy), (cr, cp, cy) = np.sin(rows).T, np.cos(rows).T
    out = np.empty((len(rows), 3, 3))
    out[:, 0, 0], out[:, 0, 1], out[:, 0, 2] = (
        cy * cp,
        cy * sp * sr - sy * cr,
        cy * sp * cr + sy * sr,
    )
    out[:, 1, 0], out[:, 1, 1], out[:, 1, 2] = (
        sy * cp,
        sy * sp * sr + cy * cr,
        sy * sp * cr - cy * sr,
    )
    out[:, 2, 0], out[:, 2, 1], out[:, 2, 2] = -sp, cp * sr, cp * cr
    return out


def _quats(mats: Mats) -> Rows:
    """Unit quaternions (h, 4) wxyz with w >= 0, from the best-conditioned row of 4 q q^T (Shepperd
    1978, as Bar-Itzhack 2000 arranges it)."""
    h = len(mats)
    m00, m11, m22 = mats[:, 0, 0], mats[:, 1, 1], mats[:, 2, 2]
    K = np.empty((h, 4, 4))
    K[:, 0, 0], K[:, 1, 1] = 1 + m00 + m11 + m22, 1 + m00 - m11 - m22
    K[:, 2, 2], K[:, 3, 3] = 1 - m00 + m11 - m22, 1 - m00 - m11 + m22
    K[:, 0, 1] = K[:, 1, 0] = mats[:, 2, 1] - mats[:, 1, 2]
    K[:, 0, 2] = K[:, 2, 0] = mats[:, 0, 2] - mats[:, 2, 0]
    K[:, 0, 3] = K[:, 3, 0] = mats[:, 1, 0] - mats[:, 0, 1]
    K[:, 1, 2] = K[:, 2, 1] = mats[:, 0, 1] + mats[:, 1, 0]
    K[:, 1, 3] = K[:, 3, 1] = mats[:, 0, 2] + mats[:, 2, 0]
    K[:, 2, 3] = K[:, 3, 2] = mats[:, 1, 2] + mats[:, 2, 1]
    at = np.arange(h)
    best = K[at, np.einsum("kii->ki", K).argmax(axis=1)]
    norm = np.sqrt((best * best).sum(axis=1))
    out: Rows = best / np.copysign(norm, best[:, 0])[:, None]
    return out
