"""Kinematics of a serial chain in Python: the readable reference for `drivers/cpp/kinematics.hpp`,
used where that was not compiled. `drivers/kinematics.py` chooses between the two.

Forward kinematics is written with scalars: for a handful of joints this is several times faster
than NumPy products of small matrices.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from headway.drivers.rotations import Mat3, mat_to_quat, mat_to_rotvec, rotvec_to_mat
from headway.drivers.transforms import IDENTITY, Transform
from headway.types import Vec

# The pull of inverse kinematics towards the posture: this part of the way per step while the
# residual is at least PULL_FROM, less in proportion below it. So an arm that is where it should be
# is not moved, and the pull does not keep the residual from becoming small.
PULL, PULL_FROM = 0.1, 0.02


class Chain:
    """`steps` (m, 15) has rows of a transform (12 numbers), the index of a joint, its multiplier
    and its offset [rad]. `tool` (12,) is the TCP in the last frame. `joints` (n, 3) has rows
    (lowest position, highest position, posture) [rad]; a posture of NaN means none. `task` (7,) has
    the six weights of inverse kinematics and the number of the frame in whose axes they are, -1 for
    the TCP's.

    The methods are those of `drivers.kinematics.Chain`, which explains their arguments, but they
    write results into arrays given to them: into `out`, `R`, `p`, `J`, `quat` and `twist`; in `ik`
    and `ik_chunk` into `q`, which holds the start, and the residual is returned."""

    def __init__(
        self,
        steps: NDArray[np.float64],
        tool: NDArray[np.float64],
        joints: NDArray[np.float64],
        task: NDArray[np.float64],
    ) -> None:
        self._steps: list[tuple[list[float], int, float, float]] = [
            (row[:12], int(row[12]), row[13], row[14]) for row in steps.tolist()
        ]
        self._tool: list[float] = tool.tolist()
        self._n = len(joints)
        self._lo, self._hi, self._posture = joints.T.copy()
        self._active = np.flatnonzero(task[:6])
        self._weights = task[:6][self._active][:, None]
        self._axes = int(task[6])
        redundant = self._n > len(self._active)
        self._pulls = redundant and bool(np.isfinite(self._posture).all())

    def transforms(self, q: list[float]) -> list[Transform]:
        """Frames 0..m in the base frame (0 is the base, i + 1 is behind step i), each as 12
        numbers: rotation row-major, then position [m]. Step i turns about z of frame i + 1. Raises
        ValueError for a wrong number of joints."""
        if len(q) != self._n:
            raise ValueError(f"wanted {self._n} joint positions, found {len(q)}")
        r00, r01, r02, r10, r11, r12, r20, r21, r22, px, py, pz = IDENTITY
        out = [IDENTITY]
        for (f00, f01, f02, f10, f11, f12, f20, f21, f22, fx, fy, fz), k, by, at in self._steps:
            px += r00 * fx + r01 * fy + r02 * fz
            py += r10 * fx + r11 * fy + r12 * fz
            pz += r20 * fx + r21 * fy + r22 * fz
            x0 = r00 * f00 + r01 * f10 + r02 * f20
            x1 = r10 * f00 + r11 * f10 + r12 * f20
            x2 = r20 * f00 + r21 * f10 + r22 * f20
            y0 = r00 * f01 + r01 * f11 + r02 * f21
            y1 = r10 * f01 + r11 * f11 + r12 * f21
            y2 = r20 * f01 + r21 * f11 + r22 * f21
            z0 = r00 * f02 + r01 * f12 + r02 * f22
            z1 = r10 * f02 + r11 * f12 + r12 * f22
            z2 = r20 * f02 + r21 * f12 + r22 * f22
            angle = by * q[k] + at
            c, s = math.cos(angle), math.sin(angle)
            r00, r01, r02 = x0 * c + y0 * s, y0 * c - x0 * s, z0
            r10, r11, r12 = x1 * c + y1 * s, y1 * c - x1 * s, z1
            r20, r21, r22 = x2 * c + y2 * s, y2 * c - x2 * s, z2
            out.append((r00, r01, r02, r10, r11, r12, r20, r21, r22, px, py, pz))
        return out

    def frames(self, q: Vec, out: NDArray[np.float64]) -> None:
        out[:] = self.transforms(q.tolist())

    def fk(self, q: Vec, R: Mat3, p: Vec) -> None:
        self._tcp(self.transforms(q.tolist())[-1], R, p)

    def position(self, q: Vec, p: Vec) -> None:
        p[:] = tcp(self._tool[9:], self.transforms(q.tolist())[-1])

    def _tcp(self, last: Transform, R: Mat3, p: Vec) -> None:
        a, t = last, self._tool
        R[:] = [
            [a[i] * t[j] + a[i + 1] * t[3 + j] + a[i + 2] * t[6 + j] for j in range(3)]
            for i in (0, 3, 6)
        ]
        p[:] = tcp(t[9:], a)

    def state(self, q: Vec, R: Mat3, p: Vec, J: NDArray[np.float64]) -> None:
        self._state(q, R, p, J)

    def _state(self, q: Vec, R: Mat3, p: Vec, J: NDArray[np.float64]) -> list[Transform]:
        frames = self.transforms(q.tolist())
        self._tcp(frames[-1], R, p)
        px, py, pz = p.tolist()
        columns = [[0.0] * 6 for _ in range(self._n)]
        steps = zip(frames[1:], self._steps, strict=True)
        for (_, _, zx, _, _, zy, _, _, zz, ox, oy, oz), (_, k, by, _) in steps:
            rx, ry, rz = px - ox, py - oy, pz - oz
            turned = (zy * rz - zz * ry, zz * rx - zx * rz, zx * ry - zy * rx, zx, zy, zz)
            column = columns[k]
            for i, x in enumerate(turned):
                column[i] += by * x
        J[:] = np.array(columns).T
        return frames

    def pose(self, q: Vec, p: Vec, quat: Vec) -> None:
        R = np.empty((3, 3))
        self.fk(q, R, p)
        mat_to_quat(R, quat)

    def motion(self, q: Vec, dq: Vec, p: Vec, quat: Vec, twist: Vec) -> None:
        if len(dq) != self._n:
            raise ValueError(f"wanted {self._n} joint velocities, found {len(dq)}")
        R, J = np.empty((3, 3)), np.empty((6, self._n))
        self.state(q, R, p, J)
        mat_to_quat(R, quat)
        twist[:] = J @ dq

    def ik(
        self,
        R: Mat3,
        p: Vec,
        q: Vec,
        iterations: int,
        tol: float,
        damping: float,
        max_step: float,
    ) -> float:
        Rc, pc, J = np.empty((3, 3)), np.empty(3), np.empty((6, self._n))
        for i in range(iterations + 1):
            frames = self._state(q, Rc, pc, J)
            A = Rc if self._axes < 0 else np.array(frames[self._axes][:9]).reshape(3, 3)
            e = np.array([p - pc, mat_to_rotvec(R @ Rc.T)])
            error = (e @ A).ravel()  # in the axes of the weights
            counted = e if len(self._active) == 6 else error[self._active]
            residual = float(np.abs(counted).max(initial=0.0))
            if not np.isfinite(error).all():
                q[:] = math.nan
                return math.inf
            if residual < tol or i == iterations:
                break
            rows = np.concatenate([A.T @ J[:3], A.T @ J[3:]])[self._active] * self._weights
            wanted = error[self._active] * self._weights[:, 0]
            pull = np.zeros(self._n)
            if self._pulls:
                pull = PULL * min(1.0, residual / PULL_FROM) * (self._posture - q)
            step = self._step(rows, wanted, pull, q, damping, max_step)
            if not np.isfinite(step).all():
                q[:] = math.nan
                return math.inf
            q += step
            np.clip(q, self._lo, self._hi, out=q)
        return residual

    def _step(self, J: Vec, wanted: Vec, pull: Vec, q: Vec, damping: float, max_step: float) -> Vec:
        """The damped least-squares step of the joints (n,) [rad]. `J` (r, n) are the weighted rows
        of the Jacobian, `wanted` (r,) the weighted error and `pull` (n,) the step wanted beside
        the task. A joint that the step would take beyond its limit goes to the limit, and the step
        is solved again for the other joints and what is left of the error."""
        free = np.ones(self._n, bool)
        step = np.zeros(self._n)
        for _ in range(self._n + 1):
            F = J[:, free]
            A = F @ F.T
            A[np.diag_indices(len(A))] += damping
            left = wanted - J[:, ~free] @ step[~free] - F @ pull[free]
            step[free] = pull[free] + F.T @ np.linalg.solve(A, left)
            most = float(np.abs(step[free]).max(initial=0.0))
            if most > max_step:
                step[free] *= max_step / most
            beyond = free & ((q + step < self._lo) | (q + step > self._hi))
            if not beyond.any():
                break
            ends = np.where(q + step < self._lo, self._lo, self._hi)
            step[beyond] = (ends - q)[beyond]
            free &= ~beyond
        return step

    def ik_chunk(
        self,
        R: Mat3,
        p: Vec,
        actions: NDArray[np.float64],
        q: NDArray[np.float64],
        iterations: int,
        tol: float,
        damping: float,
        max_step: float,
    ) -> float:
        worst = 0.0
        for k, a in enumerate(actions):
            if not np.isfinite(a).all() or not math.isfinite(worst):
                q[k + 1 :] = math.nan
                break
            q[k + 1] = q[k]
            with np.errstate(over="ignore", invalid="ignore"):  # numbers too large give NaN
                goal, turned = p + R @ a[:3], R @ rotvec_to_mat(a[3:6])
                residual = self.ik(turned, goal, q[k + 1], iterations, tol, damping, max_step)
            worst = max(worst, residual)
        return worst


def tcp(tool: Sequence[float], last: Sequence[float]) -> list[float]:
    """TCP position (3,) [m] in the base frame, of the offset `tool` (3,) [m] in the frame `last`
    (12 numbers: rotation row-major, then position [m])."""
    tx, ty, tz = tool
    r00, r01, r02, r10, r11, r12, r20, r21, r22, px, py, pz = last
    return [
        px + r00 * tx + r01 * ty + r02 * tz,
        py + r10 * tx + r11 * ty + r12 * tz,
        pz + r20 * tx + r21 * ty + r22 * tz,
    ]
