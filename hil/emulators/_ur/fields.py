"""The names that RTDE knows, with their types, and recipes of them.

Source: Universal Robots' RTDE guide. Big-endian; a package of data is one struct per recipe.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

Value = float | int | bool | tuple[float, ...] | tuple[int, ...]
Version = tuple[int, int, int, int]

FORMATS = {
    "BOOL": "?",
    "UINT8": "B",
    "UINT32": "I",
    "INT32": "i",
    "UINT64": "Q",
    "DOUBLE": "d",
    "VECTOR3D": "3d",
    "VECTOR6D": "6d",
    "VECTOR6INT32": "6i",
    "VECTOR6UINT32": "6I",
}

_OUTPUTS = {
    "DOUBLE": """timestamp actual_execution_time speed_scaling target_speed_fraction actual_momentum
        actual_main_voltage actual_robot_voltage actual_robot_current standard_analog_input0
        standard_analog_input1 standard_analog_output0 standard_analog_output1 io_current
        euromap67_24V_voltage euromap67_24V_current tool_analog_input0 tool_analog_input1
        tool_output_current tool_temperature tcp_force_scalar payload joint_position_deviation_ratio
        collision_detection_ratio""",
    "VECTOR6D": """target_q target_qd target_qdd target_current target_moment actual_q actual_qd
        actual_qdd actual_current actual_moment actual_current_as_torque actual_current_window
        joint_control_output actual_TCP_pose actual_TCP_speed actual_TCP_force target_TCP_pose
        target_TCP_speed joint_temperatures actual_joint_voltage ft_raw_wrench payload_inertia
        tcp_offset""",
    "VECTOR3D": "actual_tool_accelerometer elbow_position elbow_velocity payload_cog",
    "VECTOR6INT32": "joint_mode",
    "UINT64": "actual_digital_input_bits actual_digital_output_bits",
    "INT32": "robot_mode safety_mode safety_status tool_output_voltage time_scale_source",
    "UINT32": """runtime_state robot_status_bits safety_status_bits analog_io_types tool_mode
        tool_analog_input_types euromap67_input_bits euromap67_output_bits script_control_line
        output_bit_registers0_to_31 output_bit_registers32_to_63 input_bit_registers0_to_31
        input_bit_registers32_to_63""",
    "UINT8": "tool_output_mode tool_digital_output0_mode tool_digital_output1_mode",
}
_INPUTS = {
    "UINT32": """speed_slider_mask input_bit_registers0_to_31 input_bit_registers32_to_63""",
    "DOUBLE": "speed_slider_fraction standard_analog_output_0 standard_analog_output_1",
    "UINT8": """standard_digital_output_mask configurable_digital_output_mask
        standard_digital_output configurable_digital_output tool_digital_output_mask
        tool_digital_output standard_analog_output_mask standard_analog_output_type""",
    "VECTOR6D": "external_force_torque",
}
# The first version that has a field, of CB3 (3.x) and of e-Series (5.x); a field that is not here
# is in all. From the guide's column "introduced in version"; None: never.
_SINCE: dict[str, tuple[tuple[int, int] | None, tuple[int, int]]] = {
    "payload": ((3, 11), (5, 5)),
    "payload_cog": ((3, 11), (5, 5)),
    "payload_inertia": ((3, 15), (5, 10)),
    "script_control_line": (None, (5, 9)),
    "ft_raw_wrench": (None, (5, 9)),
    "joint_position_deviation_ratio": (None, (5, 10)),
    "collision_detection_ratio": (None, (5, 15)),
    "time_scale_source": (None, (5, 17)),
    "tool_output_mode": (None, (5, 0)),
    "tool_digital_output0_mode": (None, (5, 0)),
    "tool_digital_output1_mode": (None, (5, 0)),
    "external_force_torque": ((3, 3), (5, 0)),
    "actual_current_as_torque": (None, (5, 22)),
    "actual_qdd": (None, (5, 22)),
    "actual_moment": (None, (5, 22)),
    "tcp_offset": (None, (5, 20)),
}
_UPPER_SINCE = ((3, 9), (5, 3))  # registers 24..47


def outputs(version: Version) -> dict[str, str]:
    """The names that a controller of `version` sends, with their types."""
    found = {**_names(_OUTPUTS), **_registers("output"), **_registers("input")}
    return {name: kind for name, kind in found.items() if _known(name, version)}


def inputs(version: Version) -> dict[str, str]:
    """The names that a controller of `version` takes, with their types."""
    found = {**_names(_INPUTS), **_registers("input")}
    return {name: kind for name, kind in found.items() if _known(name, version)}


def _names(table: dict[str, str]) -> dict[str, str]:
    return {name: kind for kind, names in table.items() for name in names.split()}


def _registers(way: str) -> dict[str, str]:
    found = {f"{way}_bit_register_{i}": "BOOL" for i in range(64, 128)}
    found |= {f"{way}_int_register_{i}": "INT32" for i in range(48)}
    return found | {f"{way}_double_register_{i}": "DOUBLE" for i in range(48)}


def _known(name: str, version: Version) -> bool:
    since = _SINCE.get(name)
    if since is None and ("_int_register_" in name or "_double_register_" in name):
        since = _UPPER_SINCE if int(name.rsplit("_", 1)[1]) >= 24 else None
    if since is None:
        return True
    first = since[0] if version[0] < 5 else since[1]
    return first is not None and version[:2] >= first


class Recipe:
    """Fields of RTDE in the order of `names`, with their `kinds`."""

    def __init__(self, names: list[str], kinds: list[str]) -> None:
        self.names = names
        self._vector = [kind.startswith("VECTOR") for kind in kinds]
        self._length = [
            int(FORMATS[k][0]) if v else 1 for k, v in zip(kinds, self._vector, strict=True)
        ]
        self._struct = struct.Struct(">B" + "".join(FORMATS[kind] for kind in kinds))
        self._pairs = list(zip(names, self._vector, strict=True))

    @property
    def size(self) -> int:
        """Bytes of its data, with the number of the recipe before them."""
        return self._struct.size

    def pack(self, number: int, values: Mapping[str, Any]) -> bytes:
        """Its data from `values`, with the `number` of the recipe before them."""
        flat: list[Any] = [number]
        for name, vector in self._pairs:
            if vector:
                flat.extend(values[name])
            else:
                flat.append(values[name])
        return self._struct.pack(*flat)

    def unpack(self, data: bytes) -> dict[str, Value]:
        """The values of `data`, which has `size` bytes."""
        flat = self._struct.unpack(data)[1:]
        found: dict[str, Value] = {}
        at = 0
        for name, vector, n in zip(self.names, self._vector, self._length, strict=True):
            found[name] = flat[at : at + n] if vector else flat[at]
            at += n
        return found
