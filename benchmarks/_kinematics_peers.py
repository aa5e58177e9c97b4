"""Kinematics of the same URDFs by MuJoCo and by Pinocchio, with the damped least squares that their
users write around them in Python, rotation vectors by each library itself: for comparison with our
own."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np

from headway.drivers.model import ROBOTS, RobotModel
from headway.errors import Missing
from headway.types import Vec

DAMPING, MAX_STEP = 1e-4, 0.25


class Peer(Protocol):
    """Kinematics of one robot up to its `tool_link`."""

    name: str

    def fk(self, q: Vec) -> tuple[Vec, Vec]:
        """Rotation (3, 3) and position (3,) [m] at `q` (n,) [rad]."""

    def jacobian(self) -> Vec:
        """(6, n) at the `q` of the last `fk`: rows v, then w, in the base frame."""

    def rotvec(self, R: Vec) -> Vec:
        """Rotation vector (3,) [rad] of the rotation matrix `R` (3, 3)."""


class Mujoco:
    """MuJoCo's reader of URDF, `mj_kinematics` and `mj_jacBody`."""

    name = "MuJoCo"

    def __init__(self, model: RobotModel) -> None:
        try:
            import mujoco
        except ImportError as e:
            raise Missing(f"MuJoCo was not measured: {e}") from None
        self._mj: Any = mujoco
        path = ROBOTS / f"{model.name}.urdf"
        keep = '<mujoco><compiler fusestatic="false" balanceinertia="true"/></mujoco>'
        head, rest = path.read_text().split(f'<robot name="{model.name}">')
        text = f'{head}<robot name="{model.name}">{keep}{rest}'
        self._model: Any = mujoco.MjModel.from_xml_string(text)
        self._data: Any = mujoco.MjData(self._model)
        self._body = self._model.body(model.tool_link).id
        joints = [self._model.joint(j) for j in model.joints]
        self._q = np.array([j.qposadr[0] for j in joints])
        self._v = np.array([j.dofadr[0] for j in joints])
        self._jac = np.zeros((6, self._model.nv))
        self._quat, self._rotvec = np.zeros(4), np.zeros(3)

    def fk(self, q: Vec) -> tuple[Vec, Vec]:
        data = self._data
        data.qpos[self._q] = q
        self._mj.mj_kinematics(self._model, data)
        return data.xmat[self._body].reshape(3, 3), data.xpos[self._body]

    def jacobian(self) -> Vec:
        self._mj.mj_comPos(self._model, self._data)
        self._mj.mj_jacBody(self._model, self._data, self._jac[:3], self._jac[3:], self._body)
        found: Vec = self._jac[:, self._v]
        return found

    def rotvec(self, R: Vec) -> Vec:
        self._mj.mju_mat2Quat(self._quat, R.ravel())
        self._mj.mju_quat2Vel(self._rotvec, self._quat, 1.0)  # turned in one second
        return self._rotvec


class Pinocchio:
    """Pinocchio's reader of URDF, `framesForwardKinematics` and `getFrameJacobian`."""

    name = "Pinocchio"

    def __init__(self, model: RobotModel) -> None:
        try:
            import pinocchio  # type: ignore[import-not-found,unused-ignore]
        except ImportError as e:
            raise Missing(f"Pinocchio was not measured: {e} (pip install pin)") from None
        self._pin: Any = pinocchio
        path: Path = ROBOTS / f"{model.name}.urdf"
        self._model: Any = pinocchio.buildModelFromUrdf(str(path))
        self._data: Any = self._model.createData()
        self._frame = self._model.getFrameId(model.tool_link)
        joints = [self._model.joints[self._model.getJointId(j)] for j in model.joints]
        self._at = np.array([j.idx_q for j in joints])
        self._full = np.zeros(self._model.nq)

    def fk(self, q: Vec) -> tuple[Vec, Vec]:
        self._full[self._at] = q
        self._pin.framesForwardKinematics(self._model, self._data, self._full)
        at = self._data.oMf[self._frame]
        return at.rotation, at.translation

    def jacobian(self) -> Vec:
        self._pin.computeJointJacobians(self._model, self._data, self._full)
        how = self._pin.ReferenceFrame.LOCAL_WORLD_ALIGNED
        found: Vec = self._pin.getFrameJacobian(self._model, self._data, self._frame, how)
        return found[:, self._at]

    def rotvec(self, R: Vec) -> Vec:
        found: Vec = self._pin.log3(R)
        return found


def ik(peer: Peer, R: Vec, p: Vec, q0: Vec, iterations: int, tol: float) -> tuple[Vec, float]:
    """Damped least squares with the damping and step limit of our own, without joint limits.
    Returns the joints (n,) [rad] and the largest error left, [m] or [rad]."""
    q = q0.copy()
    for i in range(iterations + 1):
        Rc, pc = peer.fk(q)
        error = np.concatenate([p - pc, peer.rotvec(R @ Rc.T)])
        left = float(np.abs(error).max())
        if left < tol or i == iterations:
            break
        J = peer.jacobian()
        step = J.T @ np.linalg.solve(J @ J.T + DAMPING * np.eye(6), error)
        most = float(np.abs(step).max())
        q += step * (MAX_STEP / most if most > MAX_STEP else 1.0)
    return q, left
