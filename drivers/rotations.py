"""Rotation matrices (3, 3) from and to unit quaternions wxyz, rotation vectors [rad], roll, pitch
and yaw [rad], and the first two columns of the matrix."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from headway.types import Vec

Mat3 = NDArray[np.float64]


def quat_to_mat(quat: Vec, out: Mat3 | None = None) -> Mat3:
    """Rotation matrix (3, 3) of a unit quaternion wxyz, written into `out` where given."""
    R = np.empty((3, 3)) if out is None else out
    w, x, y, z = quat.tolist()
    R[:] = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )
    return R


def mat_to_quat(R: Mat3, out: Vec | None = None) -> Vec:
    """Unit quaternion wxyz of a rotation matrix (Shepperd's method, w >= 0), written into `out`
    (4,) where given."""
    quat = np.empty(4) if out is None else out
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
    quat[:] = q
    if not q[0] >= 0:
        np.negative(quat, quat)
    return quat


def rotvec_to_mat(r: Vec) -> Mat3:
    """Rotation matrix of a rotation vector [rad] (Rodrigues)."""
    angle = float(np.linalg.norm(r))
    if angle < 1e-12:
        return np.eye(3)
    if not math.isfinite(angle):
        return np.full((3, 3), math.nan)
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


def rpy_to_mat(roll: float, pitch: float, yaw: float) -> Mat3:
    """Rotation matrix of roll, pitch and yaw [rad], as in URDF: rotations about the fixed axes x,
    then y, then z, so R = Rz(yaw) Ry(pitch) Rx(roll). Not finite angles give NaN."""
    (cr, sr), (cp, sp), (cy, sy) = (_cos_sin(a) for a in (roll, pitch, yaw))
    return np.array(
        [
            [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
            [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
            [-sp, cp * sr, cp * cr],
        ]
    )


def _cos_sin(angle: float) -> tuple[float, float]:
    if not math.isfinite(angle):
        return math.nan, math.nan
    return math.cos(angle), math.sin(angle)


def mat_to_rpy(R: Mat3) -> Vec:
    """Roll, pitch and yaw [rad] of a rotation matrix, see `rpy_to_mat`; pitch in [-pi/2, pi/2], the
    others in [-pi, pi]. At a pitch of +-pi/2 only a combination of roll and yaw is determined: of
    the solutions the one with yaw = 0 is returned."""
    m00, _, _, m10, m11, m12, m20, m21, m22 = R.ravel().tolist()
    across = math.hypot(m00, m10)
    pitch = math.atan2(-m20, across)
    if across < 1e-9:  # of the size of rounding errors, so that their ratio says nothing
        return np.array([math.atan2(-m12, m11), pitch, 0.0])
    return np.array([math.atan2(m21, m22), pitch, math.atan2(m10, m00)])


def mat_to_rot6d(R: Mat3) -> Vec:
    """The first two columns of a rotation matrix, one after the other (6,)."""
    return np.concatenate([R[:, 0], R[:, 1]])


def tool_down(yaw: float) -> Mat3:
    """Tool z straight down, tool x at `yaw` about the base's z."""
    c, s = math.cos(yaw), math.sin(yaw)
    return np.array([[c, s, 0.0], [s, -c, 0.0], [0.0, 0.0, -1.0]])
