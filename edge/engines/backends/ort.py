"""ONNX Runtime on the CPU, see `headway.edge.engines.session`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from headway.edge.engines.engine import Engine, TensorSpec
from headway.edge.engines.session import CPU, declared, open_session

<<<<<<< HEAD
from headway.bundle import onnx_file
from headway.edge.engines.engine import Buffers, Declared, Engine, TensorSpec
from headway.edge.engines.onnx_runtime import onnxruntime
from headway.errors import BundleError, SpecMismatch
=======
__all__ = ["RANK", "declared", "missing", "open_engine"]
>>>>>>> engines

RANK = 10


def missing() -> str:
    """How to install ONNX Runtime; "" where it is installed."""
    return "" if find_spec("onnxruntime") else "pip install onnxruntime"


def open_engine(
    path: Path, inputs: Mapping[str, TensorSpec], outputs: Mapping[str, TensorSpec]
) -> Engine:
<<<<<<< HEAD
    """Open the model at `path`. `inputs` are those that the bundle names: they give the size of
    dimensions that the model leaves open; `outputs` are not needed here.

    Raises BundleError for a file that is no model, does not run, or has inputs or outputs that are
    not arrays of numbers of fixed shapes; SpecMismatch for an open dimension that neither the model
    nor the bundle gives a size."""
    session = _session(path)
    found = _inputs(session, inputs, path)
    return OrtEngine(session, found, _outputs(session, found, path), path)


def declared(path: Path) -> tuple[dict[str, Declared], dict[str, Declared]]:
    """The inputs and outputs of the model at `path` as its file has them; nothing is run. A batch,
    as `open_engine` understands it, is 1. Raises BundleError as `open_engine`."""
    session = _session(path)
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


def _session(path: Path) -> Any:
    """The session of the model at `path`, whose inputs and outputs are arrays of numbers. Raises
    BundleError."""
    onnx_file.check(path)  # ONNX Runtime believes what a file says of sizes and other files
    ort = onnxruntime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as e:  # ONNX Runtime's errors have no common base class
        raise BundleError(
            f"{path} is no model that ONNX Runtime {ort.__version__} can load: {_line(e)}: export "
            "it again, and keep all its files together"
        ) from None
    _numbers(session, path)
    return session


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
    CPU. `path` names the model in errors."""

    kind = "ort"
    device = "cpu"

    def __init__(
        self,
        session: Any,
        inputs: Mapping[str, TensorSpec],
        outputs: Mapping[str, TensorSpec],
        path: Path,
    ) -> None:
        super().__init__(inputs, outputs, str(path))
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
=======
    """Open the model at `path`; `outputs` are not needed here. Raises as `session.open_session`."""
    return open_session(path, inputs, "ort", CPU, {})
>>>>>>> engines
