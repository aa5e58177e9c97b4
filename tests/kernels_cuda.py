"""What the tests of the CUDA kernels share: float32 telemetry, and the oracle's verdict."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from kernels_rows import Rows, scale

from headway.errors import Missing
from headway.kernels import oracle, spec
from headway.kernels.cuda import host
from headway.kernels.telemetry import FIELDS


def _built() -> str:
    try:
        host.module()
    except Missing as e:
        return str(e)
    return ""


needs_host = pytest.mark.skipif(bool(_built()), reason=_built() or "built")


def single(rows: Any) -> Any:
    """What is left of rows after a GPU's float32."""
    out = rows.copy()
    with np.errstate(over="ignore"):
        for name in FIELDS:
            out[name] = out[name].astype(np.float32)
    return out


def tolerances(want: Any, have: Any) -> Any:
    """Differences in units of 1e-4 relative or 1e-5 absolute."""
    return np.abs(want.astype(float) - have) / np.maximum(1e-5, 1e-4 * np.abs(want))


def by_oracle(windows: Rows, rate: float, scale_: Any = None) -> tuple[Any, Any]:
    """Each window a stream of its own: features (B, 176) and masks (B, 16)."""
    joints = windows["q"].shape[-1]
    each = [oracle.batch(w, scale_ or scale(joints), rate, len(w)) for w in windows]
    return np.concatenate([f for f, _ in each]), np.concatenate([m for _, m in each])


def agree(want: tuple[Any, Any], have: tuple[Any, Any]) -> None:
    np.testing.assert_array_equal(want[1], have[1])
    assert np.isfinite(have[0]).all()
    error = tolerances(want[0], have[0])
    worst = int(error.max(axis=0).argmax())
    row = int(error[:, worst].argmax())
    assert error.max() <= 1, (
        f"{spec.NAMES[worst]} off by {error.max():.3g} tolerances in window {row}: "
        f"{want[0][row, worst]:.9g} by the oracle, {have[0][row, worst]:.9g}"
    )
