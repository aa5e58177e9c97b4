"""Execution providers of ONNX Runtime beside the CPU: whether they are here, their cache key."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from headway.edge.engines.engine import TensorSpec
from headway.edge.engines.key import EngineKey, model_digest, options_part
from headway.edge.engines.onnx_runtime import onnxruntime
from headway.edge.engines.options import EngineOptions
from headway.edge.engines.trt import api, graph
from headway.edge.engines.trt.build import profiles
from headway.errors import Missing
from headway.kernels.cuda.driver import devices
from headway.kernels.cuda.machine import machine

_TENSORRT = "libonnxruntime_providers_tensorrt.so"  # beside the module of ONNX Runtime
_INSTALL = (
    "install onnxruntime-gpu in the place of onnxruntime (on a Jetson, NVIDIA's build of it for "
    "that JetPack)"
)


def missing(provider: str) -> str:
    """Why engines of `provider` cannot run here; "" where they can."""
    if find_spec("onnxruntime") is None:
        return f"no onnxruntime: {_INSTALL}"
    have = onnxruntime().get_available_providers()
    if provider not in have:
        return f"ONNX Runtime here has {', '.join(have)} and not {provider}: {_INSTALL}"
    try:
        devices()
    except Missing as e:
        return str(e)
    return ""


def key(
    kind: str, path: Path, inputs: Mapping[str, TensorSpec], options: EngineOptions
) -> EngineKey:
    """The key of an engine that ONNX Runtime builds by TensorRT of the model at `path`. Raises as
    `graph.read`."""
    ort, here = onnxruntime(), machine()
    model = graph.read(path)
    # ONNX Runtime says nothing of the TensorRT below it, which can be exchanged alone.
    tensorrt = api.linked(Path(ort.__file__).parent / "capi" / _TENSORRT) or "unknown"
    return EngineKey(
        model=model_digest(path, graph.files(path)), graph=0, kind=kind,
        library=f"onnxruntime {ort.__version__}, {ort.get_build_info()}, TensorRT {tensorrt}",
        sm=here.sm, gpu=here.gpu, driver=here.driver, jetpack=here.jetpack,
        precision=graph.precision_of(model), profile=profiles(inputs, options),
        options=options_part(options),
    )  # fmt: skip
