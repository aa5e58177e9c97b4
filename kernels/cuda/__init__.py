"""The fused CUDA kernel of the PRO features, from the same spec as the oracle and the C++ twin.

One robot in the loop (`FeatureStream`, up to a head in one CUDA graph) and batches of windows
(`features_batch`). Nothing of CUDA is imported before it is asked for, and a machine without a
driver costs one failed `dlopen`.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.errors import Missing
from headway.kernels import oracle
from headway.kernels.cuda import stream
from headway.kernels.cuda.compiled import image
from headway.kernels.cuda.driver import Driver, missing, open_driver
from headway.kernels.telemetry import Scale

FLOATS = NDArray[np.float32]
_here = threading.local()


def device(*, kernels: bool = True) -> Driver:
    """This thread's driver, with a stream of its own, opened on first use. Without `kernels`, one
    that cannot compute features will do, where there are no compiled kernels. Raises Missing where
    there is no device, no Python binding or no compiled kernel, DeviceError for what CUDA says."""
    opened: Driver | None = getattr(_here, "driver", None)
    if opened is None and not kernels:  # what was not there is not looked for again each time
        opened = getattr(_here, "bare", None)
    if opened is None:
        try:
            opened = _here.driver = open_driver(image)
        except Missing:
            if kernels:
                raise
            opened = _here.bare = open_driver(None)
    return opened


def feature_stream(scale: Scale, joints: int, rate_hz: float) -> stream.FeatureStream:
    """Raises as `device`, and ConfigError."""
    return stream.FeatureStream(device(), scale, joints, rate_hz)


def features_batch(rows: NDArray[np.void], scale: Scale, rate_hz: float) -> tuple[FLOATS, FLOATS]:
    """See stream.features_batch. Raises as `device`, and ConfigError, SpecMismatch."""
    return stream.features_batch(device(), rows, scale, rate_hz)


def batch(
    rows: NDArray[Any], scale: Scale, rate_hz: float, every: int = 1
) -> tuple[FLOATS, FLOATS]:
    """As `oracle.batch`."""
    made = feature_stream(scale, rows["q"].shape[1], rate_hz)
    try:
        return oracle.play(made, rows, every)
    finally:
        made.close()


__all__ = ["batch", "device", "feature_stream", "features_batch", "missing"]
