"""NVIDIA TensorRT-RTX, for GPUs of desktops; the same code as `tensorrt`. It builds on computers
without a GPU too, which is how the build is tested there. See docs/engines.md."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from headway.edge.engines.engine import Engine, TensorSpec
from headway.edge.engines.options import EngineOptions
from headway.edge.engines.trt import api, backend

KIND = "tensorrt_rtx"
RANK = None  # "auto" takes it for the models that it was measured to be fastest for
TAKES = backend.TAKES


def missing() -> str:
    """Why it cannot run here; "" where it can."""
    return api.missing(KIND)


def build(
    path: Path,
    inputs: Mapping[str, TensorSpec],
    outputs: Mapping[str, TensorSpec],
    options: EngineOptions,
    watch: backend.Watch,
) -> backend.Made:
    """Build the engine of the model at `path`. See `backend.make`."""
    return backend.make(backend.Library.here(KIND), path, inputs, outputs, options, watch)


def open_engine(
    path: Path,
    inputs: Mapping[str, TensorSpec],
    outputs: Mapping[str, TensorSpec],
    options: EngineOptions,
) -> Engine:
    """The engine that was built of the model at `path`. See `backend.open_built`."""
    return backend.open_built(backend.Library.here(KIND), path, inputs, outputs, options)
