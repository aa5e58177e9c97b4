"""NVIDIA TensorRT 10.3 to 11.4, on a Jetson or another computer with an NVIDIA GPU. `headway build`
builds the engines beforehand. See `headway.edge.engines.trt` and docs/engines.md."""

from __future__ import annotations

from headway.edge.engines.trt.backend import TAKES
from headway.edge.engines.trt.kind import Kind

__all__ = ["RANK", "TAKES", "build", "missing", "open_engine"]

RANK = None  # "auto" takes it for the models that it was measured to be fastest for
_KIND = Kind("tensorrt")
missing, build, open_engine = _KIND.missing, _KIND.build, _KIND.open_engine
