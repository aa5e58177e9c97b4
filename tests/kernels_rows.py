"""Telemetry for the kernel tests: a quiet robot, and one that does everything at random."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from headway import kernels
from headway.kernels import native, spec
from headway.kernels.derive import NORMS
from headway.kernels.telemetry import FIELDS, Scale, empty

Rows = np.ndarray[tuple[int], np.dtype[Any]]
IMPLS = [
    "numpy",
    pytest.param(
        "cpp",
        marks=pytest.mark.skipif(
            native.module("auto") is None, reason="C++ feature stream not built: pip install -e ."
        ),
    ),
]


def scale(joints: int = 6) -> Scale:
    one = np.ones(joints)
    return Scale(-3 * one, 3 * one, 2 * one, 50 * one)


def quiet(n: int, joints: int = 6) -> Rows:
    """Everything known, everything zero, TCP upright."""
    rows = empty(joints, n)
    for field in FIELDS:
        rows[field] = 0.0
    rows["tcp"][:, 3] = 1.0
    rows["limit"] = 10.0
    return rows


def wild(n: int, seed: int, joints: int = 6) -> Rows:
    """Random walks, steps, grasps, retries: most features move."""
    r = np.random.default_rng(seed)
    rows = quiet(n, joints)
    for field in FIELDS:
        rows[field] += np.cumsum(r.normal(0, 0.02, rows[field].shape), axis=0)
    i = np.arange(n)
    rows["wrench"] = 10 * rows["wrench"] + 8.0 * (i // 90 % 2)[:, None]
    rows["phase"], rows["retries"], rows["limit"] = i // 97 % 9, i // 131, 10.0
    rows["operator"] = r.random(n) < 0.01
    rows["width_ref"] = np.where(i // 200 % 2, 0.0, 0.08)
    rows["width"] = np.where(i // 200 % 2, 0.03, 0.08) + 1e-4 * rows["width"]
    rows["vacuum"] = np.abs(np.sin(i / 50))
    rows["force_norm"], rows["torque_norm"] = 8.0 * (i // 70 % 2), 0.3
    rows["touch"] = np.abs(np.cos(i / 60))
    rows["speed"], rows["spin"] = np.abs(rows["speed"]), np.abs(rows["spin"])
    return rows


def masks_of(field: str) -> tuple[str, ...]:
    """The masks that a telemetry field counts for, those that are the norms of its columns, and,
    since a twist may come from the pose, those of a twist's norms."""
    names = [m for m, fields in spec.MASK_FIELDS.items() if field in fields]
    vectors = [*names, "twist"] if field == "tcp" else names
    return (*names, *(norm for vector, _, _, norm in NORMS if vector in vectors))


def last(
    rows: Rows, impl: Any = "numpy", rate: float = 500.0, scale_: Scale | None = None
) -> dict[str, float]:
    """Features after the last row, by name; every mask bit must be on that the rate can have."""
    joints = rows["q"].shape[1]
    features, masks = kernels.batch(rows, scale_ or scale(joints), rate, len(rows), impl)
    assert masks[0, : spec.N_GROUPS].all()
    assert tuple(masks[0, spec.N_GROUPS :] > 0) == spec.rate_bits(rate)
    return dict(zip(spec.NAMES, features[0].tolist(), strict=True))
