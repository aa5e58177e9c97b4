"""PRO features: one definition (`spec`), a NumPy oracle, and its fast twins.

stream = feature_stream("auto", scale, joints=6, rate_hz=500.0)
stream.push(row)                      # every tick; a row of telemetry.dtype(joints)
features, mask = stream.features()    # after any tick; (209,) and (29,) float32
features, mask = stream.step(row)     # both at once, into arrays that the next step overwrites
features_batch(windows, scale, 500.0) # many windows at once, on all cores
"""

from __future__ import annotations

from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from headway.errors import ConfigError
from headway.kernels import cuda, native, oracle, spec
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
    def bind(self, out_features: FLOATS, out_mask: FLOATS, /) -> None: ...
    def step(self, row: np.void, /) -> tuple[FLOATS, FLOATS]: ...
    def reset(self) -> None: ...


def resolve(impl: Impl) -> Literal["cuda", "cpp", "numpy"]:
    """What `impl` means on this machine: "auto" is C++ where it is built, else NumPy. CUDA computes
    only where it is asked for.

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
        return "numpy" if native.module("auto") is None else "cpp"
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
    rows: NDArray[Any],
    scale: Scale,
    rate_hz: float,
    every: int = 1,
    impl: Impl = "auto",
) -> tuple[FLOATS, FLOATS]:
    """Features (n // every, 209) and masks (n // every, 29) of a recording of n rows: after each
    `every` rows what a stream gives then. Raises Missing, ConfigError."""
    chosen = {"cuda": cuda.batch, "cpp": native.batch, "numpy": oracle.batch}[resolve(impl)]
    return chosen(rows, scale, rate_hz, every)


def at_steps(
    rows: NDArray[Any], scale: Scale, rate_hz: float, every: int
) -> tuple[FLOATS, FLOATS, NDArray[np.int64]]:
    """Features (m, 209) and masks (m, 29) of a recording of n rows as the control loop has them,
    which runs a head at the first tick and at every `every`-th one from there on; and the index
    (m,) of the row of each step. Raises Missing, ConfigError."""
    at = np.arange(0, len(rows), every)
    if every == 1:
        return *batch(rows, scale, rate_hz), at
    stream = feature_stream("auto", scale, rows["q"].shape[1], rate_hz)
    features = np.empty((len(at), spec.N_FEATURES), np.float32)
    mask = np.empty((len(at), spec.N_MASKS), np.float32)
    for i, row in enumerate(rows):
        stream.push(row)
        if i % every == 0:
            stream.features(features[i // every], mask[i // every])
    return features, mask, at


def features_batch(
    windows: NDArray[Any],
    scale: Scale,
    rate_hz: float,
    impl: Impl = "auto",
    threads: int | None = None,
) -> tuple[FLOATS, FLOATS]:
    """Features (B, 209) and masks (B, 29) after the last row of each of `windows`, (B, T) rows of
    telemetry.dtype(joints), each a stream of its own that began with its first row. T is usually a
    window and what the filters look back over. C++ works on `threads`, by default on every core
    that this process may use; NumPy on one. Raises Missing, ConfigError, SpecMismatch."""
    if windows.ndim != 2 or windows.shape[1] < 1:
        raise ConfigError(
            f"wanted windows of shape (B, T) with T >= 1, found {windows.shape}: stack the rows"
        )
    if threads is not None and threads < 1:
        raise ConfigError(f"wanted threads >= 1, found {threads}: leave it out for all cores")
    chosen = resolve(impl)
    if chosen == "cuda":
        return cuda.features_batch(windows, scale, rate_hz)
    if chosen == "cpp":
        return native.features_batch(windows, scale, rate_hz, threads)
    return oracle.features_batch(windows, scale, rate_hz)


__all__ = [
    "FeatureStream",
    "at_steps",
    "batch",
    "feature_stream",
    "features_batch",
    "native",
    "oracle",
    "resolve",
    "spec",
]
