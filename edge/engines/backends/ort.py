"""ONNX Runtime on the CPU, see `headway.edge.engines.session`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec

from headway.bundle.onnx_file import OnnxFile
from headway.edge.engines.engine import Engine, TensorSpec
from headway.edge.engines.session import CPU, declared, open_session

__all__ = ["RANK", "declared", "missing", "open_engine"]

RANK = 10


def missing() -> str:
    """How to install ONNX Runtime; "" where it is installed."""
    return "" if find_spec("onnxruntime") else "pip install onnxruntime"


def open_engine(
    model: OnnxFile, inputs: Mapping[str, TensorSpec], outputs: Mapping[str, TensorSpec]
) -> Engine:
    """Open `model`; `outputs` are not needed here. Raises as `session.open_session`."""
    return open_session(model, inputs, "ort", CPU, {})
