"""ONNX Runtime on the CPU: one thread, no spinning, buffers bound once.

One thread because the control loop owns the other cores; no spinning because a waiting pool that
spins takes the time of the loop beside it. The first run happens here, at opening: it finds
models that cannot run, tells the outputs' shapes, and makes the arenas before the loop starts.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from headway.edge.engine import Buffers, Engine, TensorSpec
from headway.errors import BundleError, SpecMismatch

RANK = 10
_DTYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(uint8)": "uint8",
    "tensor(uint16)": "uint16",
    "tensor(bool)": "bool",
}


def missing() -> str:
    return "" if find_spec("onnxruntime") else "pip install onnxruntime"


def open_engine(
    path: Path, inputs: Mapping[str, TensorSpec], outputs: Mapping[str, TensorSpec]
) -> Engine:
    """Raises BundleError for a file that is no model or does not run, SpecMismatch for a dimension
    that nobody fixes."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as e:  # ORT's errors share no base of their own
        raise BundleError(f"{path} is no model that ONNX Runtime can load: {_line(e)}") from None
    found = _inputs(session, inputs, path)
    names = [o.name for o in session.get_outputs()]
    try:
        first = session.run(names, {n: np.zeros(s.shape, s.dtype) for n, s in found.items()})
    except Exception as e:
        raise BundleError(f"{path} does not run on inputs of {found}: {_line(e)}") from None
    odd = [n for n, x in zip(names, first, strict=True) if not isinstance(x, np.ndarray)]
    if odd:
        raise BundleError(f"{path}: wanted outputs that are arrays, found others: {', '.join(odd)}")
    shapes = {n: TensorSpec(x.shape, str(x.dtype)) for n, x in zip(names, first, strict=True)}
    return OrtEngine(session, found, shapes, path)


def _inputs(session: Any, want: Mapping[str, TensorSpec], path: Path) -> dict[str, TensorSpec]:
    """Shapes with every dimension fixed: a leading one that is open is a batch of 1, wherever its
    symbol appears; any other has to be named by the bundle."""
    batch = {i.shape[0] for i in session.get_inputs() if i.shape and isinstance(i.shape[0], str)}
    specs = {}
    for i in session.get_inputs():
        if i.type not in _DTYPES:
            raise BundleError(f"{path}: input `{i.name}` is {i.type}, valid: {', '.join(_DTYPES)}")
        given = want[i.name].shape if i.name in want else ()
        shape = []
        for k, d in enumerate(i.shape):
            if isinstance(d, int) and d > 0:
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
        specs[i.name] = TensorSpec(tuple(shape), _DTYPES[i.type])
    return specs


class OrtEngine(Buffers):
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
            raise BundleError(f"{self._where} failed while running: {_line(e)}") from None

    def close(self) -> None:
        self._binding = self._session = None


def _line(e: Exception) -> str:
    return (str(e).strip() or type(e).__name__).splitlines()[0]
