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
from headway.kernels import choice, cuda, native, oracle, spec
from headway.kernels.telemetry import Scale

FLOATS = NDArray[np.float32]
Impl = Literal["auto", "cuda", "cpp", "numpy"]


class FeatureStream(Protocol):
    """One robot's features; `impl` names what computes them."""

    @property
    def impl(self) -> str: ...
    def push(self, row: np.void, /) -> None: ...
    def features(
        self, out_features: FLOATS | None = None, out_mask: FLOATS | None = None
    ) -> tuple[FLOATS, FLOATS]: ...
    def reset(self) -> None: ...


def resolve(impl: Impl) -> Literal["cuda", "cpp", "numpy"]:
    """What `impl` means on this machine: "auto" is NumPy where C++ is not built, else C++, but CUDA
    where a tick measured faster there (`choice.note()` says how much).

    Raises Missing for what is asked for and is not here, ConfigError for another name."""
    if impl not in ("auto", "cuda", "cpp", "numpy"):
        raise ConfigError(
            f"wanted a feature implementation auto, cuda, cpp or numpy, found {impl!r}"
        )
    if impl == "cpp":
        native.module()
    if impl == "cuda":
        cuda.device()
    if impl == "auto":
        return choice.fastest()
    return impl


def feature_stream(impl: Impl, scale: Scale, joints: int, rate_hz: float) -> FeatureStream:
    """A stream of PRO features. Raises Missing, ConfigError."""
    chosen = resolve(impl)
    if chosen == "cuda":
        return cuda.feature_stream(scale, joints, rate_hz)
    if chosen == "cpp":
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
    chosen = {"cuda": cuda.batch, "cpp": native.batch, "numpy": oracle.batch}[resolve(impl)]
    return chosen(rows, scale, rate_hz, every)


__all__ = [
    "FeatureStream",
    "batch",
    "choice",
    "feature_stream",
    "native",
    "oracle",
    "resolve",
    "spec",
]
