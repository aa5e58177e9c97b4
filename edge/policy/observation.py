"""The state vector of an observation: a policy lists the names of the numbers that it wants, and
the loop fills them in from a telemetry row."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.errors import SpecMismatch
from headway.types import Pose

Row = Mapping[str, Any]  # telemetry by field name


def _yaw(row: Row) -> float:
    """Angle of the tool's x axis about the base's z [rad]."""
    w, x, y, z = row["tcp"][3:]
    return math.atan2(2 * (x * y + w * z), 1 - 2 * (y * y + z * z))


_SCALARS: dict[str, Callable[[Row, Pose], float]] = {
    "tcp_x": lambda r, b: r["tcp"][0],
    "tcp_y": lambda r, b: r["tcp"][1],
    "tcp_z": lambda r, b: r["tcp"][2],
    "yaw_sin": lambda r, b: math.sin(_yaw(r)),
    "yaw_cos": lambda r, b: math.cos(_yaw(r)),
    "vx": lambda r, b: r["twist"][0],
    "vy": lambda r, b: r["twist"][1],
    "vz": lambda r, b: r["twist"][2],
    "width": lambda r, b: r["width"],
    "width_ref": lambda r, b: r["width_ref"],
    "grip_force": lambda r, b: r["grip_force"],
    # how far the commanded TCP runs ahead of the measured one, base frame [m]
    "lead_x": lambda r, b: b.pos[0] - r["tcp"][0],
    "lead_y": lambda r, b: b.pos[1] - r["tcp"][1],
    "lead_z": lambda r, b: b.pos[2] - r["tcp"][2],
    "retried": lambda r, b: min(r["retries"], 3.0) / 3.0,
    "force_x": lambda r, b: r["wrench"][0],
    "force_y": lambda r, b: r["wrench"][1],
    "force_z": lambda r, b: r["wrench"][2],
}
_LENGTHS = ("tcp_x", "tcp_y", "tcp_z", "width", "width_ref", "lead_x", "lead_y", "lead_z")
_FORCES = ("grip_force", "force_x", "force_y", "force_z")
# Unit of each number of the state, as `headway.units` names it.
STATE_UNITS = (
    dict.fromkeys(_SCALARS, "1")
    | dict.fromkeys(_LENGTHS, "m")
    | dict.fromkeys(("vx", "vy", "vz"), "m/s")
    | dict.fromkeys(_FORCES, "N")
)
_FIELDS = ("tcp", "twist", "wrench", "width", "width_ref", "grip_force", "retries")
STATE_NAMES = tuple(_SCALARS)
# Behaviour cloning should not see the present motion: a policy that is given its own velocity
# learns to go on as before instead of using the images (de Haan, Jayaraman & Levine 2019).
_MOMENTUM = ("vx", "vy", "vz", "lead_x", "lead_y", "lead_z")
CLONING_STATE = tuple(n for n in STATE_NAMES if n not in _MOMENTUM)


class StateVector:
    """Fills the state vector with the numbers `names`, of STATE_NAMES. Raises SpecMismatch for
    other names."""

    def __init__(self, names: Sequence[str]) -> None:
        unknown = [n for n in names if n not in _SCALARS]
        if unknown:
            raise SpecMismatch(
                f"the policy wants state {unknown}, this loop provides {', '.join(_SCALARS)}"
            )
        self.names = tuple(names)
        self._read = [_SCALARS[n] for n in names]

    def fill(self, row: Row, base: Pose, out: NDArray[np.float32]) -> None:
        """Write the state, in SI units and in the order of `names`, into `out` (n,). `row`: the
        telemetry row by field name; `base`: the TCP pose, in the base frame, that the next chunk
        will be relative to."""
        # Reading an array item by item is slow, so each field becomes a list first.
        plain = {name: row[name].tolist() for name in _FIELDS}
        out[:] = [read(plain, base) for read in self._read]
