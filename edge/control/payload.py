"""Take the tool's weight and the sensor's bias out of a wrench, and move it to the TCP.

Newton's third law and a free-body diagram of the tool at rest: measured = external + weight + bias.
The bias is what is left when the arm stands still and touches nothing (`tare`). Inertial forces are
not removed: at the accelerations of this arm they are below 3 N with a 1.2 kg tool.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from msgspec import Meta

from headway import config
from headway.compiled import Computed, Impl
from headway.edge.recording.tick import twin
from headway.types import Vec, Wrench

_G = 9.80665  # [m/s^2]
Length = Annotated[float, Meta(ge=-5.0, le=5.0)]  # [m]; millimetres typed by mistake are refused


class ToolConfig(config.Struct, frozen=True):
    """The `[tool]` section; the sensor frame is aligned with the TCP frame."""

    # beyond the sensor's measuring face [kg]
    mass: Annotated[float, Meta(ge=0.0, le=1000.0)] = 0.0
    com: tuple[Length, Length, Length] = (0.0, 0.0, 0.0)  # in the sensor frame [m]
    tcp: tuple[Length, Length, Length] = (0.0, 0.0, 0.0)  # TCP in the sensor frame [m]


class PythonTool:
    """Wrenches of the sensor in plain floats; in C++ in `edge/recording/cpp/tick.cpp`."""

    def __init__(self, weight: float, com: Vec, tcp: Vec) -> None:
        """`weight` along the base's z [N]; centre of mass and TCP in the sensor frame [m]."""
        self._weight, self._com, self._tcp = weight, com.tolist(), tcp.tolist()

    def at_sensor(self, force: Vec, torque: Vec, bias: Vec, quat: Vec, out: Vec) -> None:
        """`out` (6,): without weight and bias, at the sensor."""
        fx, fy, fz = force.tolist()
        mx, my, mz = torque.tolist()
        bfx, bfy, bfz, bmx, bmy, bmz = bias.tolist()
        w, x, y, z = quat.tolist()
        weight = self._weight  # in the sensor frame: R^T (0, 0, weight), the last row of R times it
        gx, gy, gz = (
            2 * weight * (x * z - w * y),
            2 * weight * (y * z + w * x),
            weight * (1 - 2 * (x * x + y * y)),
        )
        cx, cy, cz = self._com
        out[:] = (
            fx - bfx - gx,
            fy - bfy - gy,
            fz - bfz - gz,
            mx - bmx - (cy * gz - cz * gy),
            my - bmy - (cz * gx - cx * gz),
            mz - bmz - (cx * gy - cy * gx),
        )

    def at_tcp(self, force: Vec, torque: Vec, bias: Vec, quat: Vec, out: Vec) -> None:
        """The same, at the TCP."""
        self.at_sensor(force, torque, bias, quat, out)
        fx, fy, fz, mx, my, mz = out.tolist()
        x, y, z = self._tcp
        # moment at the TCP = moment at the sensor - tcp x force
        out[3:] = mx - (y * fz - z * fy), my - (z * fx - x * fz), mz - (x * fy - y * fx)


class Payload:
    """The external wrench at the TCP, in the TCP frame [N, Nm]. Orientations of the sensor in the
    base frame are unit quaternions wxyz (4,)."""

    def __init__(self, cfg: ToolConfig, impl: Impl = "auto") -> None:
        self.mass = cfg.mass
        tool = twin("Tool", PythonTool, impl)
        self._tool = tool(-cfg.mass * _G, np.array(cfg.com), np.array(cfg.tcp))
        self.computed_by: Computed = "python" if isinstance(self._tool, PythonTool) else "cpp"
        self.bias = np.zeros(6)

    def tare(self, samples: list[tuple[Wrench, Vec]]) -> None:
        """Set the bias to the mean of what is left of samples taken at rest, touching nothing."""
        self.bias[:] = 0.0
        self.bias = np.mean([self.at_sensor(w, quat) for w, quat in samples], axis=0)

    def compensate(self, wrench: Wrench, quat: Vec, out: Vec | None = None) -> Vec:
        """(6,), written into `out` where given."""
        out = np.empty(6) if out is None else out
        self._tool.at_tcp(wrench.force, wrench.torque, self.bias, quat, out)
        return out

    def at_sensor(self, wrench: Wrench, quat: Vec) -> Vec:
        """(6,) without weight and bias, at the sensor [N, Nm]."""
        out = np.empty(6)
        self._tool.at_sensor(wrench.force, wrench.torque, self.bias, quat, out)
        return out
