"""Kinematics of the robots from the DH parameters that Universal Robots publishes, in the
controller's own base frame. Written apart from the model of the robot that the driver uses, so that
a frame that is turned there is found."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from headway.drivers.rotations import mat_to_rotvec, rotvec_to_mat
from headway.types import Vec

_ALPHA = (math.pi / 2, 0.0, 0.0, math.pi / 2, -math.pi / 2, 0.0)


@dataclass(frozen=True, slots=True)
class Arm:
    """`a` and `d` [m] of the six joints, and their largest speeds `dq_max` [deg/s]."""

    a: tuple[float, ...]
    d: tuple[float, ...]
    dq_max: tuple[float, ...]


_SLOW = (180.0,) * 6
_WRISTS = (180.0, 180.0, 180.0, 360.0, 360.0, 360.0)
_LARGE = (120.0, 120.0, 180.0, 180.0, 180.0, 180.0)
ARMS = {
    "ur3": Arm((0, -0.24365, -0.21325, 0, 0, 0), (0.1519, 0, 0, 0.11235, 0.08535, 0.0819), _WRISTS),
    "ur5": Arm((0, -0.425, -0.39225, 0, 0, 0), (0.089159, 0, 0, 0.10915, 0.09465, 0.0823), _SLOW),
    "ur10": Arm((0, -0.612, -0.5723, 0, 0, 0), (0.1273, 0, 0, 0.163941, 0.1157, 0.0922), _LARGE),
    "ur3e": Arm(
        (0, -0.24355, -0.2132, 0, 0, 0), (0.15185, 0, 0, 0.13105, 0.08535, 0.0921), _WRISTS
    ),
    "ur5e": Arm((0, -0.425, -0.3922, 0, 0, 0), (0.1625, 0, 0, 0.1333, 0.0997, 0.0996), _SLOW),
    "ur10e": Arm(
        (0, -0.6127, -0.57155, 0, 0, 0), (0.1807, 0, 0, 0.17415, 0.11985, 0.11655), _LARGE
    ),
    "ur16e": Arm((0, -0.4784, -0.36, 0, 0, 0), (0.1807, 0, 0, 0.17415, 0.11985, 0.11655), _LARGE),
}


class Kinematics:
    """Of the robot `model`, with the TCP at `tcp` (6,): position [m] and rotation vector [rad] in
    the frame of the flange."""

    def __init__(self, model: str, tcp: tuple[float, ...]) -> None:
        arm = ARMS[model]
        self.dq_max: Vec = np.radians(arm.dq_max)
        self._links = [
            (a, d, math.cos(alpha), math.sin(alpha))
            for a, d, alpha in zip(arm.a, arm.d, _ALPHA, strict=True)
        ]
        self._tool = np.eye(4)
        self.set_tcp(tcp)

    def set_tcp(self, tcp: tuple[float, ...]) -> None:
        """The TCP is at `tcp` from now on. Raises ValueError for what is not finite."""
        if not all(map(math.isfinite, tcp)):
            raise ValueError("set_tcp wants finite numbers")
        tool = np.eye(4)
        tool[:3, :3] = rotvec_to_mat(np.array(tcp[3:], np.float64))
        tool[:3, 3] = tcp[:3]
        self._tool = tool

    def pose(self, q: Vec, dq: Vec) -> tuple[tuple[float, ...], tuple[float, ...], Vec]:
        """Pose of the TCP (6,), as position [m] and rotation vector [rad], its speed (6,) [m/s],
        [rad/s], and its rotation (3, 3), all in the base frame, at the joints `q` (6,) [rad] that
        move with `dq` (6,) [rad/s]."""
        T = np.eye(4)
        axes, points = [], []
        for (a, d, ca, sa), angle in zip(self._links, q.tolist(), strict=True):
            axes.append(T[:3, 2])
            points.append(T[:3, 3])
            c, s = math.cos(angle), math.sin(angle)
            step = ((c, -s * ca, s * sa, a * c), (s, c * ca, -c * sa, a * s), (0, sa, ca, d))
            T = T @ np.array((*step, (0, 0, 0, 1)), np.float64)
        T = T @ self._tool
        z = np.array(axes)
        w = dq @ z
        v = dq @ np.cross(z, T[:3, 3] - np.array(points))
        R = T[:3, :3]
        pose = (*T[:3, 3].tolist(), *mat_to_rotvec(R).tolist())
        return pose, (*v.tolist(), *w.tolist()), R
