"""ONNX Runtime on the CPU, see `headway.edge.engines.session`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec

from headway.bundle.onnx_file import OnnxFile
from headway.edge.engines.engine import Engine, TensorSpec
from headway.edge.engines.options import DEFAULT, EngineOptions
from headway.edge.engines.session import CPU, declared, open_session
from headway.errors import ConfigError

__all__ = ["RANK", "TAKES", "declared", "missing", "open_engine"]

RANK = 10
TAKES = ("threads",)


def missing() -> str:
    """How to install ONNX Runtime; "" where it is installed."""
    return "" if find_spec("onnxruntime") else "pip install onnxruntime"


def open_engine(
    model: OnnxFile,
    inputs: Mapping[str, TensorSpec],
    outputs: Mapping[str, TensorSpec],
    options: EngineOptions = DEFAULT,
) -> Engine:
    """Open `model`; `outputs` are not needed here. Raises as `session.open_session`, and
    ConfigError for more threads than this computer has cores."""
    cores = os.cpu_count() or 1
    if options.threads > cores:
        raise ConfigError(
            f"wanted at most {cores} threads for the engine `ort`, as many as this computer has "
            f"cores, found {options.threads}: give it fewer"
        )
    return open_session(model, inputs, "ort", CPU, {}, options.threads)
