"""Inference engines behind one Protocol: `open_bundle` opens the model of a bundle, `open_engine`
any ONNX model. The folder `edge/engines/backends` is the registry of backends.

A backend is a module with `open_engine(model, inputs, outputs) -> Engine`, `missing() -> str` (why
it cannot run on this computer, "" when it can) and `RANK`. Its `model` is an `OnnxFile`, which was
checked already. One that takes options names them in `TAKES`, and is given the `EngineOptions` as a
fourth argument. One that compiles models beforehand also has `build`, which `headway build` calls
(`headway.edge.engines.trt.backend`).

"auto" is a choice per model: the backend that `headway build` measured to be fastest for this model
with inputs of these shapes on this computer; where nothing was measured, the backend with the
highest rank among those that can run (rank None: only by measurement, or by name). `Engine.chosen`
says which backend was chosen, and why the others were not.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from headway import plugins
from headway.bundle import Bundle, Tensor, onnx_file
from headway.bundle.onnx_file import OnnxFile
from headway.edge.engines import choice
from headway.edge.engines.cache import Shapes
from headway.edge.engines.options import DEFAULT, EngineOptions, refuse_others
from headway.errors import BundleError, Missing, SpecMismatch

FOLDER = "edge.engines.backends"


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Shape and NumPy dtype name of an input or output; every dimension is fixed."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, slots=True)
class Declared:
    """What a model's file says of an input or output: NumPy dtype name, and the size of each
    dimension, or its symbol where the file leaves it open."""

    shape: tuple[int | str, ...]
    dtype: str


class Engine(Protocol):
    """A model with buffers that are bound once: write the inputs, `run`, read the outputs. `kind`
    is the backend's name, `device` what it computes on, `chosen` the reason for the choice."""

    kind: str
    device: str
    chosen: str
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]

    def bind(self, name: str) -> NDArray[Any]:
        """The buffer of the input or output `name`: the same array for the engine's whole life.
        NumPy casts values that are assigned to its elements. Raises SpecMismatch for an unknown
        name."""

    def write(self, name: str, value: NDArray[Any]) -> None:
        """Copy `value` into the input `name`. Raises SpecMismatch, and leaves the buffer as it was,
        unless shape and dtype are exactly those of the input."""

    def run(self) -> None:
        """Compute the outputs from the inputs, in their buffers. Raises BundleError where the model
        fails or the engine is closed. Our own code allocates nothing here."""

    def close(self) -> None:
        """Free the model. Idempotent."""


class Buffers:
    """The part of an engine that all backends share: named arrays of fixed shapes, zero at first:
    `arrays`, where the backend has memory of its own. `where` names the model in errors."""

    chosen = ""

    def __init__(
        self,
        inputs: Mapping[str, TensorSpec],
        outputs: Mapping[str, TensorSpec],
        where: str,
        arrays: dict[str, NDArray[Any]] | None = None,
    ) -> None:
        self.inputs: Mapping[str, TensorSpec] = dict(inputs)
        self.outputs: Mapping[str, TensorSpec] = dict(outputs)
        self._where = where
        self._arrays: dict[str, NDArray[Any]] = arrays or {
            name: np.zeros(spec.shape, spec.dtype)
            for name, spec in (*self.inputs.items(), *self.outputs.items())
        }

    def bind(self, name: str) -> NDArray[Any]:
        if name not in self._arrays:
            near = difflib.get_close_matches(name, self._arrays, n=1)
            hint = f"did you mean `{near[0]}`?" if near else f"it has {', '.join(self._arrays)}"
            raise SpecMismatch(f"wanted the tensor `{name}` of {self._where}, found none: {hint}")
        return self._arrays[name]

    def write(self, name: str, value: NDArray[Any]) -> None:
        spec = self.inputs.get(name)
        if spec is None:
            self.bind(name)
            raise SpecMismatch(f"`{name}` of {self._where} is an output: it is read, not written")
        array = np.asarray(value)
        if array.shape != spec.shape or array.dtype != np.dtype(spec.dtype):
            raise SpecMismatch(
                f"input `{name}` of {self._where} wants {spec.dtype} {spec.shape}, found "
                f"{array.dtype} {array.shape}: convert it where it is made"
            )
        np.copyto(self._arrays[name], array)


def specs(tensors: Sequence[Tensor]) -> dict[str, TensorSpec]:
    """The specs, by name, of a bundle's inputs or outputs."""
    return {t.name: TensorSpec(tuple(t.shape), t.dtype) for t in tensors}


def check(found: Mapping[str, TensorSpec], want: Mapping[str, TensorSpec], where: str) -> None:
    """Check that the model's tensors `found` are those that the bundle wants, with the same names,
    shapes and dtypes. `where` names the model in errors. Raises SpecMismatch."""
    for name, spec in want.items():
        if name not in found:
            raise SpecMismatch(
                f"{where}: the bundle wants a tensor `{name}`, the model has {', '.join(found)}: "
                "export it again"
            )
        if found[name] != spec:
            raise SpecMismatch(
                f"{where}: the bundle wants `{name}` as {spec.dtype} {spec.shape}, the model has "
                f"{found[name].dtype} {found[name].shape}: export it again"
            )
    extra = [name for name in found if name not in want]
    if extra:
        raise SpecMismatch(
            f"{where}: the model has tensors that the bundle does not name: {', '.join(extra)}: "
            "export it again"
        )


def open_engine(
    kind: str,
    onnx: OnnxFile | Path | str,
    *,
    require: str | None = None,
    inputs: Sequence[Tensor] = (),
    outputs: Sequence[Tensor] = (),
    options: EngineOptions = DEFAULT,
) -> Engine:
    """Open the model `onnx` with the backend `kind`; "auto" takes the best one for it that can run
    on this computer. A path is checked first (`headway.bundle.onnx_file`), an `OnnxFile` was.
    `require`: the only backend that is accepted, None for any. `options` that the backend does not
    have are refused; "auto" takes the `cache` alone.

    `inputs` and `outputs` are those that a bundle declares; if they are given, the model must have
    exactly these. Raises ConfigError for an unknown kind or option, Missing for a backend that
    cannot run here or is not the required one, BundleError for a file that is no model, and
    SpecMismatch for a model with other inputs or outputs.
    """
    path, named = onnx.path if isinstance(onnx, OnnxFile) else Path(onnx), kind != "auto"
    shapes = {t.name: tuple(t.shape) for t in inputs}
    kind, chosen = _choose(kind, path, options, shapes)
    if require is not None and kind != require:
        raise Missing(
            f"wanted the engine `{require}`, found `{kind}` ({chosen}): install what it needs, or "
            "do not require it"
        )
    if not path.is_file():
        raise BundleError(f"wanted an ONNX model at {path}, found none: check the bundle's folder")
    model = onnx if isinstance(onnx, OnnxFile) else _checked(kind, path)
    want_in, want_out = specs(inputs), specs(outputs)
    module = plugins.load(FOLDER, kind)
    given = (options if named or "cache" in takes(module) else DEFAULT,) if takes(module) else ()
    engine: Engine = module.open_engine(model, want_in, want_out, *given)
    try:
        if want_in:
            check(engine.inputs, want_in, f"{path} inputs")
        if want_out:
            check(engine.outputs, want_out, f"{path} outputs")
    except SpecMismatch:
        engine.close()
        raise
    engine.chosen = chosen
    return engine


def _checked(kind: str, path: Path) -> OnnxFile:
    """The model at `path`, which the null engine does not read. Raises BundleError."""
    return OnnxFile(path, 0) if kind == "null" else onnx_file.check(path)


def takes(backend: ModuleType) -> tuple[str, ...]:
    """The options that a backend takes."""
    named: tuple[str, ...] = getattr(backend, "TAKES", ())
    return named


def _choose(kind: str, path: Path, options: EngineOptions, shapes: Shapes) -> tuple[str, str]:
    """The name of the backend, and the reason for the choice in words. `shapes` are those of the
    inputs."""
    if kind != "auto":
        if why := plugins.load(FOLDER, kind).missing():
            raise Missing(f"wanted the engine `{kind}`, which cannot run here: {why}")
        refuse_others(kind, options, takes(plugins.load(FOLDER, kind)))
        return kind, f"{kind}: as configured"
    refuse_others("auto", options, ("cache",))
    measured, note = choice.measured(path, options, shapes)
    notes = [note] if note else []
    able = []
    for name in plugins.kinds(FOLDER):
        module = plugins.load(FOLDER, name)
        if module.RANK is None and name != measured:
            continue
        if why := module.missing():
            notes.append(f"{name}: {why}")
        elif name == measured:
            return name, note
        else:
            able.append((module.RANK, name))
    if not able:
        raise Missing(f"wanted an inference engine, found none that can run: {'; '.join(notes)}")
    name = max(able)[1]
    return name, "; ".join([f"{name}: best that can run here", *notes])


def open_bundle(
    bundle: Bundle, kind: str = "auto", candidates: int = 1, options: EngineOptions = DEFAULT
) -> Engine:
    """Open the model of `bundle` with the backend `kind` and the `options`. The model must have the
    inputs and outputs that the bundle's manifest declares; those that hold a row per chunk get
    `candidates` rows, for policies with noise and critics. Raises what `open_engine` raises, and
    SpecMismatch for several candidates of a bundle that cannot have them."""
    model = OnnxFile(bundle.onnx, 0) if kind == "null" else onnx_file.check_bundle(bundle)
    inputs, outputs = tensors(bundle, candidates)
    try:
        return open_engine(kind, model, inputs=inputs, outputs=outputs, options=options)
    except BundleError as e:
        if candidates == 1:
            raise
        rows = ", ".join(per_chunk(bundle))
        raise SpecMismatch(
            f"{bundle.manifest.name} does not run with {candidates} chunks at a time: {e}; a model "
            f"that does leaves the first dimension of {rows} open"
        ) from None


def per_chunk(bundle: Bundle) -> tuple[str, ...]:
    """The inputs and outputs that hold a row per chunk; none for a policy without noise."""
    m = bundle.manifest
    if m.policy is not None and m.policy.noise is not None:
        noise = m.policy.noise
        if not noise.thought:  # without it nobody could choose among several chunks
            return ()
        return noise.input, noise.latent, m.policy.output
    return (m.critic.latent, m.critic.score) if m.critic is not None else ()


def tensors(bundle: Bundle, candidates: int = 1) -> tuple[list[Tensor], list[Tensor]]:
    """The inputs and outputs of the bundle's model where it makes `candidates` chunks at a time.
    Raises SpecMismatch for several of a bundle that cannot have them."""
    m, rows = bundle.manifest, per_chunk(bundle)
    if candidates > 1 and not rows:
        raise SpecMismatch(
            f"{m.name} makes no chunks from noise with a code to judge them by, so it cannot make "
            f"{candidates} to choose from: set candidates = 1"
        )

    def sized(of: Sequence[Tensor]) -> list[Tensor]:
        return [
            msgspec.structs.replace(t, shape=(candidates, *t.shape[1:]))
            if t.name in rows and candidates > 1
            else t
            for t in of
        ]

    return sized(m.inputs), sized(m.outputs)
