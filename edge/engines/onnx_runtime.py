"""The one place that imports ONNX Runtime, with its telemetry off.

The packages that Microsoft publishes send usage events: a thread of theirs asks a name server and
posts to it, and writes ~/.cache/Microsoft/DeveloperTools. Nothing of that belongs into a process
that controls a robot. `ORT_DISABLE_TELEMETRY` keeps it from starting, and only where it is set
before the library is loaded; `disable_telemetry_events` is the documented switch, which by itself
comes too late for the thread and the folder.
"""

from __future__ import annotations

import os
from typing import Any

SWITCH = "ORT_DISABLE_TELEMETRY"


def onnxruntime() -> Any:
    """The module. Raises ImportError where it is not installed."""
    os.environ[SWITCH] = "1"
    import onnxruntime as ort

    ort.disable_telemetry_events()
    return ort
