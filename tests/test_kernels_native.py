"""The C++ twin agrees with the oracle: 1e-4 relative or 1e-5 absolute, per feature."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kernels_rows import Rows, quiet, scale, wild

from headway import kernels
from headway.errors import ConfigError
from headway.kernels import native, oracle, spec
from headway.kernels.telemetry import empty

HIRO = Path(__file__).resolve().parents[2] / "shared" / "data" / "hiro_snap_assembly"
needs_cpp = pytest.mark.skipif(
    native.module("auto") is None, reason="C++ feature stream not built: pip install -e ."
)


def agree(rows: Rows, rate: float, every: int) -> tuple[Any, Any]:
    joints = rows["q"].shape[1]
    want, mask = oracle.batch(rows, scale(joints), rate, every)
    have, bits = native.batch(rows, scale(joints), rate, every)
    np.testing.assert_array_equal(mask, bits)
    error = np.abs(want.astype(float) - have) / np.maximum(1e-5, 1e-4 * np.abs(want))
    worst = int(error.max(axis=0).argmax())
    assert error.max() <= 1, f"{spec.NAMES[worst]} off by {error.max():.3g} tolerances"
    return want, mask


@needs_cpp
@pytest.mark.parametrize("joints", [5, 6, 7, 8, 12, 14])
@pytest.mark.parametrize("rate", [10.0, 20.0, 125.0, 200.0, 333.0, 500.0, 1000.0, 2000.0])
def test_random_walks_at_all_joints_and_rates(joints: int, rate: float) -> None:
    n = 900 if rate < 1000 else 2600  # past two windows, so that every sum has turned over
    features, mask = agree(wild(n, int(rate) + joints, joints), rate, 37 * n // 900)
    assert mask[:, : spec.N_GROUPS].all()
    assert (mask[:, spec.N_GROUPS :] == spec.rate_bits(rate)).all()
    most = sum(spec.feature_mask(mask[0], rate))
    assert np.count_nonzero(features.any(axis=0)) > 0.85 * most  # the walk does reach the features


@needs_cpp
@pytest.mark.parametrize(
    "missing",
    [("dq", "twist", "dq_ref"), ("q",), ("wrench",), ("width", "vacuum"), ("tcp",), ("tau_ext",)],
)
def test_masked_groups(missing: tuple[str, ...]) -> None:
    rows = wild(700, 20)
    for field in missing:
        rows[field] = np.nan
    agree(rows, 500.0, 35)


@needs_cpp
def test_random_gaps() -> None:
    rows = wild(1200, 21)
    r = np.random.default_rng(1)
    for name in rows.dtype.names or ():
        if name != "t_ns":
            rows[name][r.random(rows[name].shape) < 0.005] = np.nan
    agree(rows, 500.0, 19)


@needs_cpp
@pytest.mark.parametrize("kind", ["constant", "step", "impulse"])
def test_constants_steps_and_impulses(kind: str) -> None:
    rows = quiet(600)
    shape = {"constant": slice(None), "step": slice(300, None), "impulse": slice(300, 301)}[kind]
    for name in ("dq", "q", "q_ref", "tau_ext", "twist", "wrench", "grip_force", "seam_jump"):
        rows[name][shape] = 1.7
    agree(rows, 500.0, 10)


@needs_cpp
def test_a_long_stream_does_not_drift() -> None:
    rows = np.concatenate([wild(2000, 30 + i) for i in range(10)])  # 40 s, jumps in between
    agree(rows, 500.0, 199)


@needs_cpp
@pytest.mark.parametrize("how", ["features", "step"])
def test_nothing_is_allocated_per_tick(how: str) -> None:
    rows = wild(200, 40)
    stream = native.FeatureStream(scale(), 6, 500.0)
    out, bits = np.empty(spec.N_FEATURES, np.float32), np.empty(spec.N_MASKS, np.float32)
    slot = rows[:1].copy()
    row = slot[0]

    def go() -> None:
        for i in range(200):
            slot[:] = rows[i : i + 1]
            if how == "step":
                stream.step(row)
                continue
            stream.push(row)
            stream.features(out, bits)

    go()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(5):
        go()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 1000


@needs_cpp
def test_compiled_stream_refuses_wrong_buffers() -> None:
    stream = native.FeatureStream(scale(), 6, 500.0)
    for write in (stream.features, stream.bind):
        with pytest.raises(ValueError, match=str(spec.N_FEATURES)):
            write(np.empty(175, np.float32), np.empty(spec.N_MASKS, np.float32))
        with pytest.raises(TypeError, match="float32"):
            write(np.empty(spec.N_FEATURES, np.float64), np.empty(spec.N_MASKS, np.float32))
        with pytest.raises(TypeError):  # a copy would be filled, and lost
            write(np.empty(352, np.float32)[::2], np.empty(spec.N_MASKS, np.float32))
    out = np.full(spec.N_FEATURES, 7, np.float32)
    stream.features(out, np.empty(spec.N_MASKS, np.float32))  # and none of it was remembered
    assert not out.any()


def test_an_implementation_that_there_is_not_is_refused() -> None:
    with pytest.raises(ConfigError, match="auto, cuda, cpp or numpy"):
        kernels.feature_stream("gpu", scale(), 6, 500.0)  # type: ignore[arg-type]


@pytest.mark.skipif(not HIRO.is_dir(), reason=f"no optional recordings at {HIRO.name}")
def test_real_recordings_at_200_hz_with_joints_and_wrench_only() -> None:
    files = sorted(HIRO.glob("*.npz"))[::7]
    assert files
    for file in files:
        with np.load(file) as data:
            rows = empty(6, len(data["q"]))
            rows["q"], rows["wrench"] = data["q"], data["wrench"]
        features, masks = oracle.batch(rows, scale(), 200.0, 40)
        assert np.isfinite(features).all()
        known = {m for i, m in enumerate(spec.MASKS) if masks[-1, i]}
        wrench = {"force", "torque", "force_norm", "torque_norm"}
        assert known == {"q", "dq", *wrench, "rate_50", "rate_100", "rate_200"}
        assert not features[:, spec.SLICES["gripper"]].any()
        for name in ("dq.rms", "F.mean", "dF.rms", "limit_dist"):
            assert np.ptp(features[2:, spec.INDEX[name]]) > 0, name
        if native.module("auto") is not None:
            agree(rows, 200.0, 40)
