"""The fields that are read from a controller of Universal Robots, and what their bits mean (RTDE
guide, "Robot controller outputs")."""

from __future__ import annotations

import msgspec
import numpy as np

from headway.drivers.codecs.rtde import Recipe
from headway.errors import BadMessage
from headway.types import Vec

# Bits of safety_status_bits.
NORMAL, REDUCED, PROTECTIVE, RECOVERY, SAFEGUARD = 0, 1, 2, 3, 4
SYSTEM_ESTOP, ROBOT_ESTOP, ESTOP, VIOLATION, FAULT, SAFETY_STOP = 5, 6, 7, 8, 9, 10
_STOPS = {
    PROTECTIVE: "protective stop", SAFEGUARD: "safeguard stop", SYSTEM_ESTOP: "system emergency "
    "stop", ROBOT_ESTOP: "robot emergency stop", ESTOP: "emergency stop",
    VIOLATION: "safety violation", FAULT: "safety fault",
    SAFETY_STOP: "stopped by safety",  # the last one: it goes with the others and says no more
}  # fmt: skip
STOPPED = sum(1 << bit for bit in _STOPS)
ESTOPS = 1 << SYSTEM_ESTOP | 1 << ROBOT_ESTOP | 1 << ESTOP

# robot_mode and bits of robot_status_bits.
RUNNING = 7
MODES = {
    -1: "no controller", 0: "disconnected", 1: "confirm safety", 2: "booting", 3: "power off",
    4: "power on", 5: "idle (brakes on)", 6: "backdrive", 7: "running", 8: "updating firmware",
}  # fmt: skip
POWER_ON, PROGRAM_RUNNING = 1, 2

TYPES = {
    "timestamp": "DOUBLE",
    "actual_q": "VECTOR6D",
    "actual_qd": "VECTOR6D",
    "target_q": "VECTOR6D",
    "actual_current": "VECTOR6D",
    "target_current": "VECTOR6D",
    "actual_TCP_pose": "VECTOR6D",
    "actual_TCP_force": "VECTOR6D",
    "speed_scaling": "DOUBLE",
    "robot_mode": "INT32",
    "runtime_state": "UINT32",
    "robot_status_bits": "UINT32",
    "safety_status_bits": "UINT32",
    "actual_digital_input_bits": "UINT64",
    "actual_digital_output_bits": "UINT64",
}


def outputs(registers: int) -> tuple[str, ...]:
    """The fields to ask for, where the program's registers begin at `registers`."""
    return (
        *TYPES, f"output_int_register_{registers}", f"output_int_register_{registers + 1}",
    )  # fmt: skip


class State(msgspec.Struct, frozen=True):
    """What a package of the controller says. Arrays are (6,), float64. `pose` is the position [m]
    of the controller's TCP and a rotation vector [rad] in its frame `base`; `wrench` [N, Nm] acts
    at the TCP, in the axes of `base`. `program` and `session`: what our program says of itself."""

    timestamp: float  # of the controller's clock [s]
    q: Vec  # [rad]
    dq: Vec  # [rad/s]
    q_ref: Vec  # [rad]
    current: Vec  # of the motors [A]
    current_ref: Vec  # that the controller's model wants [A]
    pose: Vec
    wrench: Vec
    speed_scaling: float  # 0..1
    mode: int
    runtime: int
    status: int
    safety: int
    inputs: int
    outputs: int
    program: int
    session: int

    @property
    def stopped(self) -> str:
        """The names of the safety stops that hold the robot, "" for none."""
        if not self.safety & STOPPED:
            return ""
        names = [name for bit, name in _STOPS.items() if self.safety >> bit & 1]
        return ", ".join(names[:-1] if len(names) > 1 and self.safety >> SAFETY_STOP & 1 else names)

    @property
    def running(self) -> bool:
        """Whether a program runs."""
        return bool(self.status & PROGRAM_RUNNING)

    @property
    def powered(self) -> bool:
        """Whether the joints are powered and their brakes off."""
        return self.mode == RUNNING and bool(self.status & POWER_ON)


class Reader:
    """Makes states of packages of `recipe`, which has the fields of `outputs`. Raises BadMessage
    where the controller gave a field another type than the guide says."""

    def __init__(self, recipe: Recipe) -> None:
        for name, kind in zip(recipe.names, recipe.types, strict=True):
            wanted = TYPES.get(name, "INT32")
            if kind != wanted:
                raise BadMessage(f"RTDE: wanted {name} as {wanted}, found {kind}")
        self.recipe = recipe

    def state(self, payload: bytes) -> State:
        """The state that the payload of a DATA package holds. Raises BadMessage."""
        v = self.recipe.unpack(payload)
        a = np.array(v[1:43]).reshape(7, 6)
        a.flags.writeable = False
        mode, runtime, status, safety, inputs, outs, program, session = map(int, v[44:])
        return State(
            v[0], a[0], a[1], a[2], a[3], a[4], a[5], a[6], v[43], mode, runtime, status, safety,
            inputs, outs, program, session,
        )  # fmt: skip
