"""ONNX Runtime on a CUDA device, by its CUDA execution provider: no build, more launches than
TensorRT. Every node runs there, or the model is refused; see `headway.edge.engines.session`."""

from __future__ import annotations

from collections.abc import Mapping

from headway.bundle.onnx_file import OnnxFile
from headway.edge.engines import providers
from headway.edge.engines.engine import Engine, TensorSpec
from headway.edge.engines.session import open_session

PROVIDER = "CUDAExecutionProvider"
RANK = None  # "auto" takes it for the models that it was measured to be fastest for


def missing() -> str:
    """Why it cannot run here; "" where it can."""
    return providers.missing(PROVIDER)


def open_engine(
    model: OnnxFile, inputs: Mapping[str, TensorSpec], outputs: Mapping[str, TensorSpec]
) -> Engine:
    """Open `model`. Raises as `session.open_session`."""
    # TF32 is on by default there, and 1e-3 off.
    return open_session(model, inputs, "ort_cuda", PROVIDER, {"use_tf32": "0"})
