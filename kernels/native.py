"""The C++ twin: the same stream as `oracle.FeatureStream`, compiled; imported on first use."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway import compiled
from headway.errors import SpecMismatch
from headway.kernels import spec
from headway.kernels.derive import check
from headway.kernels.telemetry import Scale, dtype

FLOATS = NDArray[np.float32]


def module(impl: compiled.Impl = "cpp") -> Any:
    """The compiled module where it computes, None where NumPy does. Raises Missing."""
    return compiled.choose(
        impl, "headway.kernels._native", spec.spec_hash(), "the C++ feature stream"
    )


class _Rows:
    """How the compiled stream gets at a row; apart from FeatureStream, so that no cycle forms."""

    def __init__(self, joints: int) -> None:
        self.joints = joints
        self.dtype: Any = dtype(joints)
        self.seen = self.dtype
        self.slot = np.zeros(1, self.dtype)

    def take(self, row: np.void) -> None:
        """Copy a row into `slot`. Raises SpecMismatch."""
        if row.dtype is not self.seen:
            _check_dtype(row.dtype, self.dtype, self.joints)
            self.seen = row.dtype
        self.slot[0] = row

    def view(self, row: np.void) -> Any:
        """The row's memory as float64 (columns,), None where it cannot be shared."""
        a, b = np.asarray(row), np.asarray(row)  # two copies where the scalar owns its memory
        if a.ctypes.data != b.ctypes.data or not a.flags.aligned:
            return None
        return a.reshape(1).view(np.float64)


class FeatureStream:
    """As `oracle.FeatureStream`, within 1e-4 relative or 1e-5 absolute of it per feature.

    O(1) per tick. Fastest when every tick brings the same row object, filled anew, and asks for
    features by `step`, or into the same two arrays."""

    impl = "cpp"

    def __init__(self, scale: Scale, joints: int, rate_hz: float) -> None:
        check(scale, joints, rate_hz)
        self.scale, self.joints, self.rate_hz = scale, joints, float(rate_hz)
        rows = _Rows(joints)
        setup = make(scale, joints, rate_hz)
        self._stream = module().Stream(setup, rows.slot.view(np.float64), rows.take, rows.view)
        self.push, self.step = self._stream.push, self._stream.step
        self.bind, self.reset = self._stream.bind, self._stream.reset
        self.bind(np.zeros(spec.N_FEATURES, np.float32), np.zeros(spec.N_MASKS, np.float32))

    def features(
        self, out_features: FLOATS | None = None, out_mask: FLOATS | None = None
    ) -> tuple[FLOATS, FLOATS]:
        """Features (209,) and mask bits (29,) as of the latest tick, as the oracle does."""
        out = np.empty(spec.N_FEATURES, np.float32) if out_features is None else out_features
        bits = np.empty(spec.N_MASKS, np.float32) if out_mask is None else out_mask
        self._stream.features(out, bits)
        return out, bits


def _check_dtype(found: np.dtype[Any], wanted: np.dtype[Any], joints: int) -> None:
    if found != wanted:
        raise SpecMismatch(
            f"wanted telemetry rows of {joints} joints {wanted.names}, found {found}: make rows "
            f"with kernels.telemetry.empty({joints}, n)"
        )


def make(scale: Scale, joints: int, rate_hz: float, core: str = "") -> Any:
    """The compiled setup of a robot; `core` one of `module().cores()`, empty for the fastest."""
    win = spec.windows(float(rate_hz))
    robot = [np.ascontiguousarray(a, np.float64) for a in (scale.q_min, scale.q_max)]
    robot += [np.ascontiguousarray(a, np.float64) for a in (scale.dq_max, scale.tau_max)]
    single = (scale.q_tol, scale.v_max, scale.stroke, scale.force_max)
    return module().Setup(
        joints,
        float(rate_hz),
        *robot,
        *map(float, single),
        (win.short, win.long, win.diff, win.diff_force),
        win.band,
        np.array(win.taps),
        core,
    )


def _flat(rows: np.ndarray[Any, np.dtype[Any]], joints: int) -> Any:
    _check_dtype(rows.dtype, dtype(joints), joints)
    flat = np.ascontiguousarray(rows).view(np.float64)
    return flat.reshape(*rows.shape, rows.dtype.itemsize // 8)


def batch(
    rows: NDArray[Any],
    scale: Scale,
    rate_hz: float,
    every: int = 1,
    core: str = "",
) -> tuple[FLOATS, FLOATS]:
    """As `oracle.batch`, bit for bit what the stream gives."""
    joints = rows["q"].shape[1]
    check(scale, joints, rate_hz)
    n = len(rows) // every
    features = np.zeros((n, spec.N_FEATURES), np.float32)
    masks = np.zeros((n, spec.N_MASKS), np.float32)
    make(scale, joints, rate_hz, core).batch(_flat(rows, joints), every, features, masks)
    return features, masks


def features_batch(
    windows: NDArray[Any],
    scale: Scale,
    rate_hz: float,
    threads: int | None = None,
    core: str = "",
) -> tuple[FLOATS, FLOATS]:
    """As `oracle.features_batch`, on `threads` (None: all that this process may use)."""
    joints = windows["q"].shape[2]
    check(scale, joints, rate_hz)
    features = np.zeros((len(windows), spec.N_FEATURES), np.float32)
    masks = np.zeros((len(windows), spec.N_MASKS), np.float32)
    count = len(os.sched_getaffinity(0)) if threads is None else threads
    setup = make(scale, joints, rate_hz, core)
    setup.windows(_flat(windows, joints), count, features, masks)
    return features, masks
