"""What the names of RTDE hold: one value per output and input field, by name."""

from __future__ import annotations

import math

from headway.hil.emulators._ur import fields
from headway.hil.emulators._ur.fields import Value, Version

_ZEROS = {"VECTOR3D": (0.0,) * 3, "VECTOR6D": (0.0,) * 6, "VECTOR6INT32": (0,) * 6}
_ANALOG = {"standard_analog_output_0": 1, "standard_analog_output_1": 2}  # bits of their mask
_BITS = (("_bit_registers0_to_31", 0), ("_bit_registers32_to_63", 32))


class Memory:
    """The fields of a controller of `version`. `values` has all outputs and inputs by name;
    `written_ns` [ns] says when an input was last written over RTDE. `in_use`: inputs that another
    client, such as a fieldbus, holds."""

    def __init__(self, version: Version, in_use: tuple[str, ...]) -> None:
        self.outputs = fields.outputs(version)
        self.inputs = fields.inputs(version)
        self.values: dict[str, Value] = {}
        self.written_ns: dict[str, int] = {}
        self.clear()
        self._owners: dict[str, object] = dict.fromkeys(in_use, self)

    def clear(self) -> None:
        """All is zero, and nothing has been written."""
        both = {**self.inputs, **self.outputs}
        self.values.update({name: _zero(kind) for name, kind in both.items()})
        self.written_ns.clear()

    def claim(self, owner: object, names: list[str]) -> list[str]:
        """What RTDE answers to an `owner` that wants to write the inputs `names`: for each its
        type, NOT_FOUND or IN_USE. The names are its own from now on, if there is none of the
        latter."""
        answer = [
            "NOT_FOUND"
            if name not in self.inputs
            else "IN_USE"
            if self._owners.get(name, owner) is not owner
            else self.inputs[name]
            for name in names
        ]
        if not {"NOT_FOUND", "IN_USE"} & set(answer):
            self._owners.update(dict.fromkeys(names, owner))
        return answer

    def release(self, owner: object) -> None:
        """Forget what `owner` holds."""
        self._owners = {n: held for n, held in self._owners.items() if held is not owner}

    def write(self, values: dict[str, Value], now: int) -> None:
        """Inputs that came over RTDE at `now` [ns]. An output, or the speed slider, changes only
        where its mask in the same package has a one."""
        for name, value in values.items():
            self.written_ns[name] = now
            if name.endswith("_digital_output"):
                self.values[name] = self._masked(name, value, values.get(f"{name}_mask", 0))
            elif name in _ANALOG:
                mask = values.get("standard_analog_output_mask", 0)
                assert isinstance(mask, int)
                if mask & _ANALOG[name]:
                    self.values[name] = value
            elif not name.endswith("_mask"):
                self.values[name] = value
        if not values.get("speed_slider_mask"):
            return
        if "speed_slider_fraction" in values:
            fraction = values["speed_slider_fraction"]
            assert isinstance(fraction, float)
            if math.isfinite(fraction):
                self.values["target_speed_fraction"] = min(max(fraction, 0.0), 1.0)

    def _masked(self, name: str, value: Value, mask: Value) -> int:
        old = self.values[name]
        assert isinstance(old, int)
        assert isinstance(value, int)
        assert isinstance(mask, int)
        return (old & ~mask) | (value & mask)

    def bit(self, way: str, index: int) -> bool:
        """The boolean register `index` (0..127) of `way`, input or output."""
        if index >= 64:
            return bool(self.values[f"{way}_bit_register_{index}"])
        name, shift = self._word(way, index)
        word = self.values[name]
        assert isinstance(word, int)
        return bool(word >> shift & 1)

    def set_bit(self, way: str, index: int, value: bool) -> None:
        """Write the boolean register `index` (0..127) of `way`."""
        if index >= 64:
            self.values[f"{way}_bit_register_{index}"] = value
            return
        name, shift = self._word(way, index)
        word = self.values[name]
        assert isinstance(word, int)
        self.values[name] = (word & ~(1 << shift)) | (int(value) << shift)

    def _word(self, way: str, index: int) -> tuple[str, int]:
        suffix, first = _BITS[index // 32]
        return f"{way}{suffix}", index - first


def _zero(kind: str) -> Value:
    if kind in _ZEROS:
        return _ZEROS[kind]
    return 0.0 if kind == "DOUBLE" else False if kind == "BOOL" else 0
