"""Kinematics of a serial chain in Python: the readable reference for `drivers/cpp/kinematics.hpp`,
used where that was not compiled. `drivers/kinematics.py` chooses between the two.

Forward kinematics is written with scalars: for six joints this is several times faster than NumPy
products of small matrices.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from headway.drivers.rotations import Mat3, mat_to_quat, mat_to_rotvec, rotvec_to_mat
from headway.types import Vec

Twelve = tuple[
    float, float, float, float, float, float, float, float, float, float, float, float
]  # fmt: skip


class Chain:
    """`links` (n, 4) has rows (a [m], d [m], cos alpha, sin alpha). `base_cos` and `base_sin` are
    the cosine and sine of the angle that turns the base about the vertical. `tool` (3,) [m] is the
    TCP in the flange frame.

    The methods are those of `drivers.kinematics.Chain`, which explains their arguments, but they
    write results into arrays given to them: into `out`, `R`, `p`, `J`, `quat` and `twist`; in `ik`
    and `ik_chunk` into `q`, which holds the start, and the residual is returned."""

    def __init__(
        self,
        links: NDArray[np.float64],
        base_cos: float,
        base_sin: float,
        tool: NDArray[np.float64],
    ) -> None:
        self._links: list[tuple[float, float, float, float]] = [tuple(x) for x in links.tolist()]
        self._base = base_cos, base_sin
        self._tool: list[float] = tool.tolist()

    def transforms(self, q: list[float]) -> list[Twelve]:
        """Frames 0..n in the base frame (0 is the base, i + 1 is behind joint i), each as 12
        numbers: rotation row-major, then position [m]. Joint i turns about z of frame i. Raises
        ValueError for a wrong number of joints."""
        n = len(self._links)
        if len(q) != n:
            raise ValueError(f"wanted {n} joint positions, found {len(q)}")
        base_cos, base_sin = self._base
        r00, r01, r02 = base_cos, -base_sin, 0.0
        r10, r11, r12 = base_sin, base_cos, 0.0
        r20, r21, r22 = 0.0, 0.0, 1.0
        px = py = pz = 0.0
        out = [(r00, r01, r02, r10, r11, r12, r20, r21, r22, px, py, pz)]
        for (a, d, ca, sa), angle in zip(self._links, q, strict=True):
            c, s = math.cos(angle), math.sin(angle)
            # The first two columns of R * Rz(q).
            x0, x1, x2 = r00 * c + r01 * s, r10 * c + r11 * s, r20 * c + r21 * s
            y0, y1, y2 = r01 * c - r00 * s, r11 * c - r10 * s, r21 * c - r20 * s
            px += d * r02 + a * x0
            py += d * r12 + a * x1
            pz += d * r22 + a * x2
            z0, z1, z2 = r02, r12, r22
            r00, r10, r20 = x0, x1, x2
            r01, r11, r21 = y0 * ca + z0 * sa, y1 * ca + z1 * sa, y2 * ca + z2 * sa
            r02, r12, r22 = z0 * ca - y0 * sa, z1 * ca - y1 * sa, z2 * ca - y2 * sa
            out.append((r00, r01, r02, r10, r11, r12, r20, r21, r22, px, py, pz))
        return out

    def frames(self, q: Vec, out: NDArray[np.float64]) -> None:
        out[:] = self.transforms(q.tolist())

    def fk(self, q: Vec, R: Mat3, p: Vec) -> None:
        f = self.transforms(q.tolist())[-1]
        R[:] = f[0:3], f[3:6], f[6:9]
        p[:] = tcp(self._tool, f)

    def position(self, q: Vec, p: Vec) -> None:
        p[:] = tcp(self._tool, self.transforms(q.tolist())[-1])

    def state(self, q: Vec, R: Mat3, p: Vec, J: NDArray[np.float64]) -> None:
        frames = self.transforms(q.tolist())
        f = frames[-1]
        R[:] = f[0:3], f[3:6], f[6:9]
        p[:] = px, py, pz = tcp(self._tool, f)
        columns: list[float] = []
        for _, _, zx, _, _, zy, _, _, zz, ox, oy, oz in frames[:-1]:
            rx, ry, rz = px - ox, py - oy, pz - oz
            columns += (zy * rz - zz * ry, zz * rx - zx * rz, zx * ry - zy * rx, zx, zy, zz)
        J[:] = np.array(columns).reshape(-1, 6).T

    def pose(self, q: Vec, p: Vec, quat: Vec) -> None:
        R = np.empty((3, 3))
        self.fk(q, R, p)
        mat_to_quat(R, quat)

    def motion(self, q: Vec, dq: Vec, p: Vec, quat: Vec, twist: Vec) -> None:
        if len(dq) != len(self._links):
            raise ValueError(f"wanted {len(self._links)} joint velocities, found {len(dq)}")
        R, J = np.empty((3, 3)), np.empty((6, len(self._links)))
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
        Rc, pc, J = np.empty((3, 3)), np.empty(3), np.empty((6, len(q)))
        error = np.empty(6)
        for i in range(iterations + 1):
            self.state(q, Rc, pc, J)
            error[:3] = p - pc
            error[3:] = mat_to_rotvec(R @ Rc.T)
            residual = float(np.abs(error).max())
            if not math.isfinite(residual):
                q[:] = math.nan
                return math.inf
            if residual < tol or i == iterations:
                break
            step = J.T @ np.linalg.solve(J @ J.T + damping * np.eye(6), error)
            most = float(np.abs(step).max())
            q += step * (max_step / most if most > max_step else 1.0)
            if not np.isfinite(q).all():  # math.cos raises for infinity
                q[:] = math.nan
                return math.inf
        return residual

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


def tcp(tool: Sequence[float], flange: Sequence[float]) -> list[float]:
    """TCP position (3,) [m] in the base frame, of the offset `tool` (3,) [m] on the frame `flange`
    (12 numbers: rotation row-major, then position [m])."""
    tx, ty, tz = tool
    r00, r01, r02, r10, r11, r12, r20, r21, r22, px, py, pz = flange
    return [
        px + r00 * tx + r01 * ty + r02 * tz,
        py + r10 * tx + r11 * ty + r12 * tz,
        pz + r20 * tx + r21 * ty + r22 * tz,
    ]
