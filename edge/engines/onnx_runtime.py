"""Imports ONNX Runtime with its telemetry off; nothing else imports it.

The packages that Microsoft publishes send usage events: a thread of the library asks a name server,
posts events, and writes to ~/.cache/Microsoft/DeveloperTools. None of that belongs into a process
that controls a robot. `ORT_DISABLE_TELEMETRY` keeps it from starting, but only if it is set before
the library is loaded. `disable_telemetry_events` is the documented switch; by itself it comes too
late, when the thread and the folder already exist.
"""

from __future__ import annotations

import os
from typing import Any

SWITCH = "ORT_DISABLE_TELEMETRY"


def onnxruntime() -> Any:
    """The module `onnxruntime`. Raises ImportError where it is not installed."""
    os.environ[SWITCH] = "1"
    import onnxruntime as ort

    ort.disable_telemetry_events()
    return ort


def quantization() -> Any:
    """The module `onnxruntime.quantization` with its parts `calibrate` and `qdq_quantizer`. Raises
    ImportError where it or the package onnx is not installed."""
    onnxruntime()
    from onnxruntime import quantization as made
    from onnxruntime.quantization import calibrate, qdq_quantizer  # noqa: F401

    return made
