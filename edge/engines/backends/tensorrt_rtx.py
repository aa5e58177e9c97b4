"""NVIDIA TensorRT-RTX, for GPUs of desktops; the same code as `tensorrt`. It builds on computers
without a GPU too, which is how the build is tested there. See docs/engines.md."""

from __future__ import annotations

from headway.edge.engines.trt.backend import TAKES
from headway.edge.engines.trt.kind import Kind

__all__ = ["RANK", "TAKES", "build", "missing", "open_engine"]

RANK = None  # "auto" takes it for the models that it was measured to be fastest for
_KIND = Kind("tensorrt_rtx")
missing, build, open_engine = _KIND.missing, _KIND.build, _KIND.open_engine
