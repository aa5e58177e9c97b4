"""ONNX Runtime on a CUDA device, by its TensorRT execution provider. Every node runs there, or the
model is refused; see `headway.edge.engines.session`.

It builds its engine when the model is opened, and would keep it under a name that does not cover
the weights; so each key of ours has a folder of its own.
"""

from __future__ import annotations

from collections.abc import Mapping

from headway.bundle.onnx_file import OnnxFile
from headway.bundle.private import made_private
from headway.edge.engines import choice, providers
from headway.edge.engines.engine import Engine, TensorSpec
from headway.edge.engines.options import EngineOptions
from headway.edge.engines.session import open_session

PROVIDER = "TensorrtExecutionProvider"
RANK = None  # "auto" takes it for the models that it was measured to be fastest for
TAKES = ("cache", "workspace_mb", "level")


def missing() -> str:
    """Why it cannot run here; "" where it can."""
    return providers.missing(PROVIDER)


def open_engine(
    model: OnnxFile,
    inputs: Mapping[str, TensorSpec],
    outputs: Mapping[str, TensorSpec],
    options: EngineOptions,
) -> Engine:
    """Open `model`; the first time takes minutes. Raises as `session.open_session`, and
    Untrusted for a cache that others can write to."""
    key = providers.key("ort_tensorrt", model.path, inputs, options)
    folder = choice.folder(model.path, options) / f"ort-{key.digest}"
    given = {
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(made_private(folder)),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(folder),
    }
    if options.workspace_mb is not None:
        given["trt_max_workspace_size"] = str(options.workspace_mb << 20)
    if options.level is not None:
        given["trt_builder_optimization_level"] = str(options.level)
    return open_session(model, inputs, "ort_tensorrt", PROVIDER, given)
