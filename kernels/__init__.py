"""PRO features: one definition (`spec`), a NumPy oracle, and its fast twins.

stream = feature_stream("auto", scale, joints=6, rate_hz=500.0)
stream.push(row)                      # every tick; a row of telemetry.dtype(joints)
features, mask = stream.features()    # after any tick; (176,) and (16,) float32
"""

from __future__ import annotations

from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from headway.errors import ConfigError
from headway.kernels import native, oracle, spec
from headway.kernels.telemetry import Scale

FLOATS = NDArray[np.float32]
Impl = Literal["auto", "cpp", "numpy"]


class FeatureStream(Protocol):
    """One robot's features; `impl` names what computes them."""

    @property
    def impl(self) -> str: ...
    def push(self, row: np.void, /) -> None: ...
    def features(
        self, out_features: FLOATS | None = None, out_mask: FLOATS | None = None
    ) -> tuple[FLOATS, FLOATS]: ...
    def reset(self) -> None: ...


def resolve(impl: Impl) -> Literal["cpp", "numpy"]:
    """What `impl` means on this machine: "auto" is C++ where it is built, else NumPy.

    Raises Missing when C++ is asked for but not built, ConfigError for another name."""
    if impl not in ("auto", "cpp", "numpy"):
        raise ConfigError(f"wanted a feature implementation auto, cpp or numpy, found {impl!r}")
    if impl == "cpp":
        native.module()
    if impl == "auto":
        return "cpp" if native.available() else "numpy"
    return impl


def feature_stream(impl: Impl, scale: Scale, joints: int, rate_hz: float) -> FeatureStream:
    """A stream of PRO features. Raises Missing, ConfigError."""
    if resolve(impl) == "cpp":
        return native.FeatureStream(scale, joints, rate_hz)
    return oracle.FeatureStream(scale, joints, rate_hz)


def batch(
    rows: np.ndarray[tuple[int], np.dtype[Any]],
    scale: Scale,
    rate_hz: float,
    every: int = 1,
    impl: Impl = "auto",
) -> tuple[FLOATS, FLOATS]:
    """Features (n // every, 176) and masks (n // every, 16) of a recording of n rows: after each
    `every` rows what a stream gives then. Raises Missing, ConfigError."""
    chosen = native.batch if resolve(impl) == "cpp" else oracle.batch
    return chosen(rows, scale, rate_hz, every)


__all__ = ["FeatureStream", "batch", "feature_stream", "native", "oracle", "resolve", "spec"]
