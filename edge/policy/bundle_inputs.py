"""Fills the inputs of a bundled policy from an observation: images, `state` and `instruction`, each
with the unit, mean and standard deviation that the bundle declares. `make_inputs` makes one `Input`
for each input of the model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from headway import units
from headway.bundle import Image, Manifest, Policy, Tensor
from headway.edge.engines.engine import Engine
from headway.edge.policy.observation import renamed, unit_of
from headway.errors import SpecMismatch
from headway.types import Frame, Observation

STATE, INSTRUCTION = "state", "instruction"
_INDICES = ("int64", "int32", "uint8", "uint16")


class Input(Protocol):
    """One input of the ONNX graph."""

    def fill(self, obs: Observation) -> None:
        """Write the part of `obs` that this input takes into the engine's buffer. Raises
        SpecMismatch for an image that does not fit."""


def make_inputs(manifest: Manifest, engine: Engine, where: str) -> list[Input]:
    """One `Input` for every input that `manifest`, a policy's, names; `engine` has their buffers,
    and `where` names the bundle in errors.

    Raises SpecMismatch for an input that the loop does not fill, for a `state` or `instruction`
    that the policy declares without an input for it, and for a wrong shape, dtype or unit.
    """
    info = manifest.policy
    assert info is not None
    images = {i.input: i for i in info.images}
    for declared, name in ((info.state_names, STATE), (info.instructions, INSTRUCTION)):
        if declared and name not in {t.name for t in manifest.inputs}:
            raise SpecMismatch(
                f"{where}: policy.{name}{'_names' if name == STATE else 's'} says what its input "
                f"`{name}` is given, found no such input: drop it, or export the model with one"
            )
    made: list[Input] = []
    for tensor in manifest.inputs:
        buffer = engine.bind(tensor.name)
        try:
            if tensor.name in images:
                made.append(_ImageInput(buffer, tensor, images[tensor.name]))
            elif tensor.name == STATE:
                made.append(_StateInput(buffer, tensor, info.state_names))
            elif tensor.name == INSTRUCTION:
                made.append(_InstructionInput(buffer, tensor, info))
            else:
                raise ValueError(
                    f"nobody fills it: the loop fills `{STATE}`, `{INSTRUCTION}` and the inputs "
                    "that policy.images names"
                )
        except ValueError as e:
            raise SpecMismatch(f"{where}: input `{tensor.name}`: {e}") from None
    return made


class Scaling:
    """Converts values x to what `tensor` holds: (x gain - mean) / std, with the tensor's mean and
    standard deviation. `gain` converts the unit: one number, or one per element of the last axis.
    """

    def __init__(self, tensor: Tensor, gain: float | NDArray[np.float64]) -> None:
        self._gain = gain
        self._mean = np.array(tensor.mean or (0.0,))
        self._std = np.array(tensor.std or (1.0,))
        self._plain = tensor.mean is None and bool(np.all(gain == 1.0))

    def into(self, buffer: NDArray[Any], values: NDArray[Any]) -> None:
        """Write `values`, of the buffer's shape, into it."""
        if self._plain:
            buffer[...] = values
        else:
            buffer[...] = (values * self._gain - self._mean) / self._std

    def back(self, values: NDArray[Any]) -> NDArray[Any]:
        """`values` of the tensor with mean and std taken back: values std + mean. The gain is not
        taken back."""
        return values if self._plain else values * self._std + self._mean


class _StateInput:
    """The state as floats (1, n), converted from SI units to those of the tensor."""

    def __init__(self, buffer: NDArray[Any], tensor: Tensor, names: Sequence[str]) -> None:
        want = (1, len(names))
        if tensor.shape != want or not tensor.floats:
            raise ValueError(
                f"wanted floats {want}, one per name of policy.state_names, found {tensor.dtype} "
                f"{tensor.shape}"
            )
        gains = [_gain(n, tensor.unit) for n in renamed(names)]
        self._buffer, self._scaling = buffer, Scaling(tensor, np.array(gains))

    def fill(self, obs: Observation) -> None:
        self._scaling.into(self._buffer[0], obs.state)


def _gain(name: str, unit: str) -> float:
    """The factor that converts the value `name` of the state from SI to `unit`; "": SI. Raises
    ValueError for a name that the loop does not know, and for a unit of another dimension."""
    try:
        si = unit_of(name)
    except SpecMismatch as e:
        raise ValueError(str(e)) from None
    if not unit:
        return 1.0
    try:
        return 1.0 / units.factor(unit, si)
    except ValueError as e:
        raise ValueError(f"for `{name}` {e}: leave the unit out for SI units") from None


class _InstructionInput:
    """The index of the instruction in the policy's vocabulary."""

    def __init__(self, buffer: NDArray[Any], tensor: Tensor, info: Policy) -> None:
        if math.prod(tensor.shape) != 1 or tensor.dtype not in _INDICES or tensor.unit:
            raise ValueError(
                f"wanted one whole number without a unit (one of {', '.join(_INDICES)}), found "
                f"{tensor.dtype} {tensor.shape} {tensor.unit}".rstrip()
            )
        most = int(np.iinfo(tensor.dtype).max) + 1
        if not 1 <= len(info.instructions) <= most:
            raise ValueError(
                f"it is the index in policy.instructions, wanted 1 to {most} of them, found "
                f"{len(info.instructions)}"
            )
        self._buffer = buffer

    def fill(self, obs: Observation) -> None:
        self._buffer[...] = obs.instruction


class _ImageInput:
    """A whole image, not resized. Loading the manifest has checked the tensor's shape and dtype."""

    def __init__(self, buffer: NDArray[Any], tensor: Tensor, image: Image) -> None:
        self._buffer, self._image = buffer, image
        depth = image.encoding == "depth_mm"
        gain = 1.0 / units.factor(tensor.unit, "mm") if depth and tensor.unit else 1.0
        self._scaling = Scaling(tensor, gain)

    def fill(self, obs: Observation) -> None:
        self._scaling.into(self._buffer[0], pixels(obs.images[self._image.camera], self._image))


def pixels(frame: Frame, image: Image) -> NDArray[Any]:
    """The pixels of `frame` that `image` wants: colour (h, w, 3) uint8 or depth (h, w) uint16 [mm].
    Raises SpecMismatch for another size, and for a frame without depth where depth is wanted."""
    found = frame.rgb if image.encoding == "rgb8" else frame.depth
    if found is None:
        raise SpecMismatch(f"the policy wants depth from camera {image.camera}, which gives none")
    height, width = found.shape[:2]
    if (height, width) != (image.height, image.width):
        raise SpecMismatch(
            f"the policy wants {image.width}x{image.height} from camera {image.camera}, found "
            f"{width}x{height}: set the camera's width and height"
        )
    return found
