"""Take the tool's weight and the sensor's bias out of a wrench, and move it to the TCP.

Newton's third law and a free-body diagram of the tool at rest: measured = external + weight + bias.
The bias is what is left when the arm stands still and touches nothing (`tare`). Inertial forces are
not removed: at the accelerations of this arm they are below 3 N with a 1.2 kg tool.
"""

from __future__ import annotations

import numpy as np

from headway import config
from headway.drivers.kinematics import Mat3
from headway.types import Vec, Wrench

_G = np.array([0.0, 0.0, -9.80665])


class ToolConfig(config.Struct, frozen=True):
    """The `[tool]` section; the sensor frame is aligned with the TCP frame."""

    mass: float = 0.0  # beyond the sensor's measuring face [kg]
    com: tuple[float, float, float] = (0.0, 0.0, 0.0)  # in the sensor frame [m]
    tcp: tuple[float, float, float] = (0.0, 0.0, 0.0)  # TCP in the sensor frame [m]


class Payload:
    """`compensate(wrench, R)` -> (6,) external wrench at the TCP, in the TCP frame [N, Nm]."""

    def __init__(self, cfg: ToolConfig) -> None:
        self.mass = cfg.mass
        self._weight = cfg.mass * _G
        self._com = np.array(cfg.com)
        self._tcp = np.array(cfg.tcp)
        self.bias = np.zeros(6)

    def tare(self, samples: list[tuple[Wrench, Mat3]]) -> None:
        """Set the bias to the mean of what is left of samples taken at rest, touching nothing."""
        self.bias[:] = 0.0
        self.bias = np.mean([self.at_sensor(w, R) for w, R in samples], axis=0)

    def compensate(self, wrench: Wrench, R: Mat3) -> Vec:
        """`R` (3, 3): sensor frame in the base frame."""
        w = self.at_sensor(wrench, R)
        fx, fy, fz = w[0], w[1], w[2]
        x, y, z = self._tcp
        # moment at the TCP = moment at the sensor - tcp x force
        w[3] -= y * fz - z * fy
        w[4] -= z * fx - x * fz
        w[5] -= x * fy - y * fx
        return w

    def at_sensor(self, wrench: Wrench, R: Mat3) -> Vec:
        """(6,) without weight and bias, at the sensor [N, Nm]."""
        w = np.empty(6)
        weight = self._weight @ R  # R^T g
        w[:3] = wrench.force
        w[3:] = wrench.torque
        w -= self.bias
        w[:3] -= weight
        cx, cy, cz = self._com
        w[3] -= cy * weight[2] - cz * weight[1]
        w[4] -= cz * weight[0] - cx * weight[2]
        w[5] -= cx * weight[1] - cy * weight[0]
        return w
