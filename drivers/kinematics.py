"""Serial-chain kinematics from standard Denavit-Hartenberg rows (a, d, alpha).

T_i = Rz(q_i) Tz(d_i) Tx(a_i) Rx(alpha_i) (Denavit & Hartenberg 1955, "standard" convention, the one
Universal Robots publishes). Forward kinematics is written in scalar Python: at six joints this is
several times faster than a chain of NumPy matrix products, and the loop calls it every tick.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from headway.types import Pose, Vec

Mat3 = NDArray[np.float64]
Sixtuple = tuple[float, float, float, float, float, float]


def quat_to_mat(quat: Vec) -> Mat3:
    """Rotation matrix (3, 3) of a unit quaternion wxyz."""
    w, x, y, z = quat.tolist()
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def mat_to_quat(R: Mat3) -> Vec:
    """Unit quaternion wxyz of a rotation matrix (Shepperd's method, w >= 0)."""
    m00, m01, m02, m10, m11, m12, m20, m21, m22 = R.ravel().tolist()
    trace = m00 + m11 + m22
    if trace > 0:
        s = 2 * math.sqrt(trace + 1)
        q = (s / 4, (m21 - m12) / s, (m02 - m20) / s, (m10 - m01) / s)
    elif m00 > m11 and m00 > m22:
        s = 2 * math.sqrt(1 + m00 - m11 - m22)
        q = ((m21 - m12) / s, s / 4, (m01 + m10) / s, (m02 + m20) / s)
    elif m11 > m22:
        s = 2 * math.sqrt(1 + m11 - m00 - m22)
        q = ((m02 - m20) / s, (m01 + m10) / s, s / 4, (m12 + m21) / s)
    else:
        s = 2 * math.sqrt(1 + m22 - m00 - m11)
        q = ((m10 - m01) / s, (m02 + m20) / s, (m12 + m21) / s, s / 4)
    return np.array(q) if q[0] >= 0 else -np.array(q)


def rotvec_to_mat(r: Vec) -> Mat3:
    """Rotation matrix of a rotation vector [rad] (Rodrigues)."""
    angle = float(np.linalg.norm(r))
    if angle < 1e-12:
        return np.eye(3)
    x, y, z = r / angle
    K = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    R: Mat3 = np.eye(3) + math.sin(angle) * K + (1 - math.cos(angle)) * (K @ K)
    return R


def mat_to_rotvec(R: Mat3) -> Vec:
    """Rotation vector [rad] of a rotation matrix; angle in [0, pi]."""
    q = mat_to_quat(R)
    s = float(np.linalg.norm(q[1:]))
    if s < 1e-12:
        return np.zeros(3)
    axis: Vec = q[1:] / s
    rotation: Vec = axis * (2 * math.atan2(s, float(q[0])))
    return rotation


def tool_down(yaw: float) -> Mat3:
    """Tool z straight down, tool x at `yaw` about the base's z."""
    c, s = math.cos(yaw), math.sin(yaw)
    return np.array([[c, s, 0.0], [s, -c, 0.0], [0.0, 0.0, -1.0]])


@dataclass(frozen=True)
class Chain:
    """`dh` rows (a [m], d [m], alpha [rad]); `base_yaw` turns the first frame about the vertical;
    `tool` is the TCP in the flange frame."""

    dh: tuple[tuple[float, float, float], ...]
    base_yaw: float = 0.0
    tool: tuple[float, float, float] = (0.0, 0.0, 0.0)  # [m], no rotation

    @cached_property
    def _links(self) -> list[tuple[float, float, float, float]]:
        """(a, d, cos alpha, sin alpha) per joint."""
        return [(a, d, math.cos(alpha), math.sin(alpha)) for a, d, alpha in self.dh]

    @cached_property
    def _offset(self) -> Vec:
        return np.asarray(self.tool)

    def frames(self, q: Vec) -> tuple[list[Sixtuple], tuple[float, ...]]:
        """Per joint the axis and origin (zx, zy, zz, px, py, pz), and the flange as 12 numbers:
        rotation row-major, then position."""
        r00, r01, r02 = math.cos(self.base_yaw), -math.sin(self.base_yaw), 0.0
        r10, r11, r12 = math.sin(self.base_yaw), math.cos(self.base_yaw), 0.0
        r20, r21, r22 = 0.0, 0.0, 1.0
        px = py = pz = 0.0
        joints: list[Sixtuple] = []
        for (a, d, ca, sa), angle in zip(self._links, q.tolist(), strict=True):
            joints.append((r02, r12, r22, px, py, pz))
            c, s = math.cos(angle), math.sin(angle)
            # columns of R * Rz(q): x' and y'
            x0, x1, x2 = r00 * c + r01 * s, r10 * c + r11 * s, r20 * c + r21 * s
            y0, y1, y2 = r01 * c - r00 * s, r11 * c - r10 * s, r21 * c - r20 * s
            px += d * r02 + a * x0
            py += d * r12 + a * x1
            pz += d * r22 + a * x2
            z0, z1, z2 = r02, r12, r22
            r00, r10, r20 = x0, x1, x2
            r01, r11, r21 = y0 * ca + z0 * sa, y1 * ca + z1 * sa, y2 * ca + z2 * sa
            r02, r12, r22 = z0 * ca - y0 * sa, z1 * ca - y1 * sa, z2 * ca - y2 * sa
        return joints, (r00, r01, r02, r10, r11, r12, r20, r21, r22, px, py, pz)

    def fk(self, q: Vec) -> tuple[Mat3, Vec]:
        """TCP rotation (3, 3) and position (3,) [m] in the base frame; `q` (n,) [rad]."""
        _, f = self.frames(q)
        R = np.array(f[:9]).reshape(3, 3)
        return R, np.array(f[9:]) + R @ self._offset

    def position(self, q: Vec) -> Vec:
        """TCP position (3,) [m]; the quick form of `fk`."""
        _, f = self.frames(q)
        tx, ty, tz = self.tool
        return np.array(
            [
                f[9] + f[0] * tx + f[1] * ty + f[2] * tz,
                f[10] + f[3] * tx + f[4] * ty + f[5] * tz,
                f[11] + f[6] * tx + f[7] * ty + f[8] * tz,
            ]
        )

    def pose(self, q: Vec) -> Pose:
        R, p = self.fk(q)
        return Pose(p, mat_to_quat(R))

    def jacobian(self, q: Vec) -> NDArray[np.float64]:
        """Geometric Jacobian (6, n) of the TCP in the base frame: rows v [m/s], then w [rad/s]."""
        return self.state(q)[2]

    def state(self, q: Vec) -> tuple[Mat3, Vec, NDArray[np.float64]]:
        """TCP rotation, position and Jacobian in one pass."""
        joints, f = self.frames(q)
        R = np.array(f[:9]).reshape(3, 3)
        p = np.array(f[9:]) + R @ self._offset
        px, py, pz = p.tolist()
        columns: list[float] = []
        for zx, zy, zz, ox, oy, oz in joints:
            rx, ry, rz = px - ox, py - oy, pz - oz
            columns += (zy * rz - zz * ry, zz * rx - zx * rz, zx * ry - zy * rx, zx, zy, zz)
        return R, p, np.array(columns).reshape(-1, 6).T.copy()

    def ik(
        self,
        R: Mat3,
        p: Vec,
        q0: Vec,
        *,
        iterations: int = 12,
        tol: float = 2e-5,
        damping: float = 1e-4,
        max_step: float = 0.25,
    ) -> tuple[Vec, float]:
        """Damped least squares (Wampler 1986) from `q0` to TCP pose (R, p).

        Returns the joints (n,) and the residual: the larger of position [m] and rotation [rad]
        error. The caller decides what residual is a failure.
        """
        q = np.array(q0, dtype=np.float64)
        error = np.empty(6)
        residual = math.inf
        for i in range(iterations + 1):
            Rc, pc, J = self.state(q)
            error[:3] = p - pc
            error[3:] = mat_to_rotvec(R @ Rc.T)
            residual = float(np.abs(error).max())
            if residual < tol or i == iterations:
                break
            step = J.T @ np.linalg.solve(J @ J.T + damping * np.eye(6), error)
            q += step * min(1.0, max_step / float(np.abs(step).max()))
        return q, residual
