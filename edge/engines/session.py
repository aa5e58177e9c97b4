"""Sessions of ONNX Runtime: one thread, no spinning, buffers that are bound once.

One thread, unless more are asked for, because the model must not compete for cores with the loop
and other processes; no spinning, because a thread that spins while it waits takes time from the
loop beside it. The model is run once when it is opened: that finds models that cannot run, gives
the outputs' shapes, and lets ONNX Runtime allocate its memory before the loop starts.

The execution provider that was asked for runs every node, or the model is refused. Models are those
that `headway.bundle.onnx_file` has looked at: ONNX Runtime believes what a file says of sizes and
other files.
"""

from __future__ import annotations

import functools
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from headway.bundle.onnx_file import OnnxFile
from headway.edge.engines.engine import Buffers, Declared, TensorSpec
from headway.edge.engines.onnx_runtime import onnxruntime
from headway.errors import BundleError, Missing, SpecMismatch

CPU = "CPUExecutionProvider"
_PLACEMENT = "session.record_ep_graph_assignment_info"
_NO_INT8 = "session.disable_quant_qdq"
# These merge a Relu or Clip into the QuantizeLinear after it. With 8-bit floats the first takes the
# Relu away and negative numbers stay, seen from ONNX Runtime 1.18 to 1.32; the second ends in an
# error in 1.18.
_WRONG_FOR_FP8 = ["ReluQuantRewrite", "ClipQuantRewrite"]
_DTYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(int16)": "int16",
    "tensor(int8)": "int8",
    "tensor(uint64)": "uint64",
    "tensor(uint32)": "uint32",
    "tensor(uint16)": "uint16",
    "tensor(uint8)": "uint8",
    "tensor(bool)": "bool",
}


@functools.cache
def multiplies_int8() -> bool:
    """Whether this processor multiplies int8 as a model with Q/DQ nodes says. Those of x86 without
    VNNI saturate at 16 bits in between, and what ONNX Runtime answers there is plainly wrong (a
    cosine of 0.95 where it is 0.9999 elsewhere). Such a model is computed in float32 then, with the
    roundings that its Q/DQ nodes state. ONNX Runtime has another way out, products of uint8
    (`session.x64quantprecision`), but cannot load models with it in which nodes share a weight."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return True
    try:
        return "vnni" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


def declared(model: OnnxFile) -> tuple[dict[str, Declared], dict[str, Declared]]:
    """The inputs and outputs of `model` as its file has them; nothing is run. A batch,
    as `open_engine` understands it, is 1. Raises BundleError as `open_engine`."""
    session = _session(model)
    batch = _batch(session)

    def of(tensors: Any) -> dict[str, Declared]:
        return {
            t.name: Declared(
                tuple(
                    d
                    if isinstance(d, int) and d >= 0
                    else 1
                    if k == 0 or d in batch
                    else f"{d or '?'}"
                    for k, d in enumerate(t.shape)
                ),
                _DTYPES[t.type],
            )
            for t in tensors
        }

    return of(session.get_inputs()), of(session.get_outputs())


def open_session(
    model: OnnxFile,
    inputs: Mapping[str, TensorSpec],
    kind: str,
    provider: str,
    given: dict[str, str],
    threads: int = 1,
) -> OrtEngine:
    """Open `model` on the execution provider `provider` with its options `given` and that many
    `threads` of the CPU; the engine says that it is of the kind `kind`. `inputs` are those that the
    bundle names: they give the size of dimensions that the model leaves open.

    Raises BundleError for a file that is no model, does not run, or has inputs or outputs that are
    not arrays of numbers of fixed shapes; SpecMismatch for an open dimension that neither the model
    nor the bundle gives a size, and for nodes that the provider leaves to another one; Missing for
    a provider that does not start here."""
    opened, path = _session(model, provider, given, threads), model.path
    found = _inputs(opened, inputs, path)
    device = f"cuda, {provider}" if provider != CPU else "cpu"
    if threads > 1:
        device += f", {threads} threads"
    return OrtEngine(opened, found, _outputs(opened, found, path), path, kind, device)


def _session(
    model: OnnxFile, provider: str = CPU, given: dict[str, str] | None = None, threads: int = 1
) -> Any:
    """The session of `model`, whose inputs and outputs are arrays of numbers, all of
    whose nodes are on `provider`. Raises BundleError, SpecMismatch, Missing."""
    ort, path = onnxruntime(), model.path
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # ONNX Runtime 1.23 would make integer products of 8-bit floats, and then refuses the model.
    if provider == CPU and (model.float8 or not multiplies_int8()):
        options.add_session_config_entry(_NO_INT8, "1")
    options.log_severity_level = 3
    if provider != CPU:
        options.log_severity_level = 4  # what it says is in the errors below
        options.add_session_config_entry(_PLACEMENT, "1")
    try:
        session = ort.InferenceSession(
            str(path),
            options,
            providers=[(provider, given or {})],
            disabled_optimizers=_WRONG_FOR_FP8,
        )
    except Exception as e:  # ONNX Runtime's errors have no common base class
        raise BundleError(
            f"{path} is no model that ONNX Runtime {ort.__version__} can load: {_line(e)}: export "
            "it again, and keep all its files together"
        ) from None
    if provider != CPU:
        _placed(session, provider, path)
    _numbers(session, path)
    return session


def _placed(session: Any, provider: str, path: Path) -> None:
    """ONNX Runtime takes the CPU instead where a provider does not start, and for each node that it
    does not have: neither is accepted. Raises Missing, SpecMismatch."""
    found = session.get_providers()
    if provider not in found:
        raise Missing(
            f"wanted ONNX Runtime's {provider}, found that it does not start here, and "
            f"{', '.join(found)} instead: install the CUDA, cuDNN and TensorRT of its release "
            "(onnxruntime.ai/docs/execution-providers), or choose engine = ort"
        )
    try:
        parts = session.get_provider_graph_assignment_info()
    except AttributeError:
        raise Missing(
            f"wanted to know which nodes run on {provider}, found an ONNX Runtime that does not "
            "say: pip install -U onnxruntime-gpu (1.24 or newer)"
        ) from None
    away = [
        f"{node.op_type} (`{node.name}`)"
        for part in parts
        if part.ep_name != provider
        for node in part.get_nodes()
    ]
    if away:
        more = f" and {len(away) - 5} more" if len(away) > 5 else ""
        raise SpecMismatch(
            f"{path}: wanted all nodes on {provider}, found {', '.join(away[:5])}{more} on the "
            "CPU: export the model with fixed shapes and simplify it (onnxsim), or choose engine = "
            "ort"
        )


def _batch(session: Any) -> set[str]:
    """The symbols of the batch: those of open first dimensions of inputs."""
    return {i.shape[0] for i in session.get_inputs() if i.shape and isinstance(i.shape[0], str)}


def _numbers(session: Any, path: Path) -> None:
    """Raises BundleError for an input or output that is no array of numbers."""
    for what, tensors in (("input", session.get_inputs()), ("output", session.get_outputs())):
        for t in tensors:
            if t.type not in _DTYPES:
                raise BundleError(
                    f"{path}: wanted every {what} to be one of {', '.join(_DTYPES)}, found "
                    f"`{t.name}` of {t.type}: export the model without it, or with a cast"
                )


def _outputs(session: Any, inputs: Mapping[str, TensorSpec], path: Path) -> dict[str, TensorSpec]:
    """Names and shapes of the outputs, found by runs on made-up inputs. Raises BundleError where
    the run on zeros fails, and where the shapes depend on the values of the inputs."""
    names = [o.name for o in session.get_outputs()]

    def shapes(fill: int) -> dict[str, TensorSpec]:
        made = {n: np.full(s.shape, fill, s.dtype) for n, s in inputs.items()}
        for a in made.values():  # not all equal, so that data-dependent shapes show themselves
            a.reshape(-1)[1::3] = 0
        out = session.run(names, made)
        return {n: TensorSpec(x.shape, str(x.dtype)) for n, x in zip(names, out, strict=True)}

    try:
        found = shapes(0)
    except Exception as e:
        given = ", ".join(f"`{n}` {s.dtype} {s.shape}" for n, s in inputs.items())
        raise BundleError(
            f"{path} does not run on inputs of zeros, {given or 'none'}: {_line(e)}: export it "
            "again, and try it there with these shapes"
        ) from None
    fixed = all(isinstance(d, int) for o in session.get_outputs() for d in o.shape)
    for fill in () if fixed else (1, 2):
        try:
            other = shapes(fill)
        except Exception:  # made-up values may be invalid, such as an index out of range
            continue
        for n, spec in found.items():
            if other[n] != spec:
                raise BundleError(
                    f"{path}: wanted outputs of fixed shapes, found `{n}` as {spec.shape} on zeros "
                    f"and {other[n].shape} on other inputs: export the model without what depends "
                    "on the data (NonZero, Unique, NonMaxSuppression, ...), or pad its output"
                )
    for n, spec in found.items():
        _holds_something("output", n, spec.shape, path)
    return found


def _holds_something(what: str, name: str, shape: tuple[int, ...], path: Path) -> None:
    if 0 in shape:
        raise BundleError(
            f"{path}: wanted tensors that hold something, found {what} `{name}` of shape {shape}: "
            f"export the model without that {what}"
        )


def _inputs(session: Any, want: Mapping[str, TensorSpec], path: Path) -> dict[str, TensorSpec]:
    """Names and shapes of the inputs, with every dimension fixed. A dimension that the model leaves
    open gets the bundle's size; without one, an open first dimension, and any other with the same
    symbol, is a batch of 1. Raises SpecMismatch for every other open dimension."""
    batch = _batch(session)
    specs = {}
    for i in session.get_inputs():
        given = want[i.name].shape if i.name in want else ()
        shape = []
        for k, d in enumerate(i.shape):
            if isinstance(d, int) and d >= 0:
                shape.append(d)
            elif len(given) == len(i.shape):
                shape.append(given[k])
            elif k == 0 or d in batch:
                shape.append(1)
            else:
                raise SpecMismatch(
                    f"{path}: dimension {k} of input `{i.name}` is open ({d}): wanted a fixed size "
                    "in the model or in the bundle"
                )
        _holds_something("input", i.name, tuple(shape), path)
        specs[i.name] = TensorSpec(tuple(shape), _DTYPES[i.type])
    return specs


class OrtEngine(Buffers):
    """An `Engine` whose buffers are bound to `session`, an `onnxruntime.InferenceSession` on the
    `device` that it says. `path` names the model in errors."""

    def __init__(
        self,
        session: Any,
        inputs: Mapping[str, TensorSpec],
        outputs: Mapping[str, TensorSpec],
        path: Path,
        kind: str = "ort",
        device: str = "cpu",
    ) -> None:
        super().__init__(inputs, outputs, str(path))
        self.kind = kind
        self.device = device
        self._session: Any = session
        self._binding: Any = session.io_binding()
        for name in inputs:
            a = self._arrays[name]
            self._binding.bind_input(name, "cpu", 0, a.dtype, a.shape, a.ctypes.data)
        for name in outputs:
            a = self._arrays[name]
            self._binding.bind_output(name, "cpu", 0, a.dtype, a.shape, a.ctypes.data)

    def run(self) -> None:
        if self._session is None:
            raise BundleError(f"the engine of {self._where} is closed: open it again")
        try:
            self._session.run_with_iobinding(self._binding)
        except Exception as e:
            raise BundleError(
                f"{self._where} failed while running: {_line(e)}: it ran when it was opened, so "
                "look at what it was given, and at outputs whose shapes depend on that"
            ) from None

    def close(self) -> None:
        self._binding = self._session = None


def _line(e: Exception) -> str:
    return (str(e).strip() or type(e).__name__).splitlines()[0]
