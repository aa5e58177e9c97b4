"""Fills the inputs of a bundled policy from an observation: images, numbers of the state, and the
instruction. `make_inputs` makes one `Input` for everything that the bundle's section `policy`
names. Loading the manifest has checked that the tensors fit."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from headway import units
from headway.bundle import Bundle, Image, StateInput, Tensor
from headway.edge.engines.engine import Engine, TensorSpec
from headway.edge.policy.images import Fitting
from headway.edge.policy.instructions import Encoder
from headway.edge.policy.observation import unit_of
from headway.errors import SpecMismatch
from headway.types import Observation, Vec

ACTION = "action."  # names of the state that are the policy's own previous action


class Input(Protocol):
    """A part of the graph's inputs."""

    def fill(self, obs: Observation, previous: Vec) -> None:
        """Write the part of `obs` that this input takes into the engine's buffers. `previous` (d,)
        is the policy's previous action, as it answered it. Raises SpecMismatch for an image or an
        instruction that does not fit."""


def make_inputs(bundle: Bundle, engine: Engine, encoder: Encoder | None) -> list[Input]:
    """What fills the inputs of `bundle`, a policy's; `engine` has their buffers. `encoder` is what
    `open_encoder` made of its instruction. Raises SpecMismatch for units that do not fit."""
    info = bundle.manifest.policy
    assert info is not None
    tensors = {t.name: t for t in bundle.manifest.inputs}
    names = loop_names(info.state)
    made: list[Input] = [
        _ImageInput(engine.bind(i.input), tensors[i.input], i) for i in info.images
    ]
    try:
        made += [
            _StateInput(engine.bind(p.input), tensors[p.input], p, names, info.actions.names)
            for p in info.state
        ]
    except ValueError as e:
        raise SpecMismatch(f"{bundle.path}: {e}") from None
    if encoder is not None:
        try:
            for name, spec in encoder.tensors.items():
                _check_instruction(tensors[name], spec, encoder)
        except ValueError as e:
            raise SpecMismatch(f"{bundle.path}: {e}") from None
        made.append(_InstructionInput({n: engine.bind(n) for n in encoder.tensors}, encoder))
    return made


def _check_instruction(tensor: Tensor, spec: TensorSpec, encoder: Encoder) -> None:
    """Raises ValueError for a tensor that cannot hold what the encoder writes, as `spec` says."""
    whole = np.dtype(spec.dtype).kind in "iu"
    fits = math.prod(tensor.shape) == math.prod(spec.shape)
    if not fits or tensor.unit or tensor.normalised or (whole and tensor.floats):
        raise ValueError(
            f"input `{tensor.name}`: wanted {spec.dtype} {spec.shape} for policy.instruction, "
            f"without a unit, mean and std, found {tensor.dtype} {tensor.shape} {tensor.unit}"
        )
    known = len(encoder.texts or ())
    if math.prod(spec.shape) == 1 and whole and known > np.iinfo(tensor.dtype).max:
        raise ValueError(
            f"input `{tensor.name}`: wanted a type that counts to {known} instructions, found "
            f"{tensor.dtype}"
        )


def loop_names(parts: Iterable[StateInput]) -> tuple[str, ...]:
    """The numbers of the state that the loop provides for `parts`, each once: the policy's
    `state_names`."""
    names = (n for part in parts for n in part.names if not n.startswith(ACTION))
    return tuple(dict.fromkeys(names))


class _StateInput:
    """Picks its numbers, converts them from SI units to those of the bundle, and normalises."""

    def __init__(
        self,
        buffer: NDArray[Any],
        tensor: Tensor,
        part: StateInput,
        state: tuple[str, ...],
        actions: tuple[str, ...],
    ) -> None:
        """`state` are the numbers of an observation, `actions` the columns of an action."""
        self._gain, self._offset = affine_of(tensor, part)
        self._plain = bool(np.all(self._gain == 1.0) and np.all(self._offset == 0.0))
        self._rows = buffer.reshape(part.steps, len(part.names))
        at = {name: i for i, name in enumerate(state)}
        self._pick = np.array([at.get(n, 0) for n in part.names])
        own = [(i, n.removeprefix(ACTION)) for i, n in enumerate(part.names) if n not in at]
        unknown = [n for _, n in own if n not in actions]
        if unknown:
            raise ValueError(
                f"input `{part.input}`: wanted `{ACTION}NAME` with a column of policy.actions "
                f"({', '.join(actions)}), found `{ACTION}{unknown[0]}`"
            )
        if own and part.steps > 1:
            raise ValueError(
                f"input `{part.input}`: the previous action has one step: give it an input of its "
                "own"
            )
        self._own = [i for i, _ in own]
        self._columns = [actions.index(n) for _, n in own]

    def fill(self, obs: Observation, previous: Vec) -> None:
        rows, last = self._rows, len(self._rows) - 1
        values = np.zeros(rows.shape)  # in float64: mean and std may be far from 1
        if len(obs.state):
            for k in range(last):
                values[k] = obs.history[k - last].state[self._pick]
            values[last] = obs.state[self._pick]
        if self._own:
            values[last, self._own] = previous[self._columns]
        rows[...] = values if self._plain else values * self._gain + self._offset


def affine_of(tensor: Tensor, part: StateInput) -> tuple[Vec, Vec]:
    """(gain, offset), each (n,), (1,) or (steps, n): a number x of the state, in SI units, is
    x * gain + offset in the input `tensor`, which `part` fills. Raises ValueError for a unit that
    does not fit its number."""
    given = part.units or (tensor.unit,) * len(part.names)
    factor = [_factor(name, unit) for name, unit in zip(part.names, given, strict=True)]
    scale = np.array(part.scale or (1.0,)) * factor
    offset = np.array(part.offset or (0.0,))
    gain, shift = tensor.affine
    if tensor.shape[-1:] != (len(part.names),) and gain.size > 1:
        # the numbers of several steps lie in one axis
        gain, shift = (x.reshape(part.steps, -1) for x in (gain, shift))
    # (x scale + offset - shift) / gain, in one product and one sum per number
    return scale / gain, (offset - shift) / gain


def _factor(name: str, unit: str) -> float:
    """The factor that converts the value `name` of the state from SI to `unit`; "": SI."""
    if not unit or name.startswith(ACTION):
        return 1.0
    try:
        return 1.0 / units.factor(unit, unit_of(name))
    except ValueError as e:
        raise ValueError(f"unit of the state `{name}`: {e}, or none for SI units") from None


class _InstructionInput:
    """The instruction as the bundle's encoder writes it, computed when the text changes."""

    def __init__(self, buffers: dict[str, NDArray[Any]], encoder: Encoder) -> None:
        self._buffers, self._encoder = buffers, encoder
        self._text: str | None = None

    def fill(self, obs: Observation, previous: Vec) -> None:
        if obs.instruction == self._text:
            return
        for name, values in self._encoder.encode(obs.instruction).items():
            buffer = self._buffers[name]
            buffer[...] = values.reshape(buffer.shape)
        self._text = obs.instruction


class _ImageInput:
    """The frames of one camera, fitted to the size and the numbers that the bundle declares."""

    def __init__(self, buffer: NDArray[Any], tensor: Tensor, image: Image) -> None:
        depth = image.encoding == "depth_mm"
        unit = 1.0 / units.factor(tensor.unit, "mm") if depth and tensor.unit else 1.0
        gain, shift = tensor.affine  # of the tensor's own mean and std
        mean, std = np.array(image.mean or (0.0,)), np.array(image.std or (1.0,))
        if tensor.normalised:
            mean, std = shift, gain
        self._camera = image.camera
        self._fitting = Fitting(
            image.camera, image.height, image.width,
            kind="depth" if depth else "rgb", fit=image.fit, filter=image.filter,
            order=image.order, layout=image.layout, scale=image.scale * unit,
            mean=tuple(mean.tolist()), std=tuple(std.tolist()),
        )  # fmt: skip
        # one buffer (1, ...) per step
        self._buffers = [row[None] for row in buffer[0]] if image.steps > 1 else [buffer]

    def fill(self, obs: Observation, previous: Vec) -> None:
        last = len(self._buffers) - 1
        for k, out in enumerate(self._buffers):
            images = obs.images if k == last else obs.history[k - last].images
            self._fitting.write(images[self._camera], out)
