"""The C++ twin: the same stream as `oracle.FeatureStream`, compiled; imported on first use."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.errors import Missing, SpecMismatch
from headway.kernels import spec
from headway.kernels.derive import check
from headway.kernels.telemetry import Scale, dtype

FLOATS = NDArray[np.float32]


def available() -> bool:
    """Whether the compiled module is here."""
    try:
        module()
    except Missing:
        return False
    return True


def module() -> Any:
    """The compiled module. Raises Missing when it was not built, or for another spec."""
    try:
        m = import_module("headway.kernels._native")
    except ImportError as e:
        raise Missing(
            f"wanted the C++ feature stream, found no headway.kernels._native ({e}): build it with "
            "a C++17 compiler by `pip install -e .`, or ask for impl='numpy'"
        ) from None
    if spec.spec_hash() != m.SPEC_HASH:
        raise Missing(
            f"wanted the C++ feature stream of spec {spec.spec_hash()[:12]}, found one built for "
            f"{m.SPEC_HASH[:12]}: rebuild it by `pip install -e .`"
        )
    return m


class FeatureStream:
    """As `oracle.FeatureStream`, within 1e-4 relative or 1e-5 absolute of it per feature."""

    impl = "cpp"

    def __init__(self, scale: Scale, joints: int, rate_hz: float) -> None:
        check(scale, joints, rate_hz)
        self.scale, self.joints, self.rate_hz = scale, joints, float(rate_hz)
        self._dtype: Any = dtype(joints)
        self._seen = self._dtype
        self._slot = np.zeros(1, self._dtype)  # the compiled stream reads the row from here
        self._stream = make(scale, joints, rate_hz, self._slot)
        self._take = self._stream.push
        self.reset = self._stream.reset

    def push(self, row: np.void) -> None:
        """Take one row. Raises SpecMismatch when its dtype is not `telemetry.dtype(joints)`."""
        if row.dtype is not self._seen:
            _check_dtype(row.dtype, self._dtype, self.joints)
            self._seen = row.dtype
        self._slot[0] = row
        self._take()

    def features(
        self, out_features: FLOATS | None = None, out_mask: FLOATS | None = None
    ) -> tuple[FLOATS, FLOATS]:
        """Features (176,) and presence bits (16,) as of the latest tick, as the oracle does."""
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


def make(
    scale: Scale, joints: int, rate_hz: float, slot: np.ndarray[tuple[int], np.dtype[Any]]
) -> Any:
    """The compiled stream itself; its `push` reads the row in `slot` (1,)."""
    win = spec.windows(float(rate_hz))
    robot = [np.ascontiguousarray(a, np.float64) for a in (scale.q_min, scale.q_max)]
    robot += [np.ascontiguousarray(a, np.float64) for a in (scale.dq_max, scale.tau_max)]
    single = (scale.q_tol, scale.v_max, scale.stroke, scale.force_max)
    return module().Stream(
        slot.view(np.float64),
        joints,
        float(rate_hz),
        *robot,
        *map(float, single),
        (win.short, win.long, win.diff, win.diff_force),
        win.band,
        np.array(win.taps),
    )


def batch(
    rows: np.ndarray[tuple[int], np.dtype[Any]], scale: Scale, rate_hz: float, every: int = 1
) -> tuple[FLOATS, FLOATS]:
    """As `oracle.batch`."""
    joints = rows["q"].shape[1]
    check(scale, joints, rate_hz)
    _check_dtype(rows.dtype, dtype(joints), joints)
    n = len(rows) // every
    features = np.zeros((n, spec.N_FEATURES), np.float32)
    masks = np.zeros((n, spec.N_MASKS), np.float32)
    flat = np.ascontiguousarray(rows).view(np.float64).reshape(len(rows), -1)
    make(scale, joints, rate_hz, np.zeros(1, rows.dtype)).batch(flat, every, features, masks)
    return features, masks
