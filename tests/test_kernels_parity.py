"""The C++ twin against the oracle where it could go wrong: sums that slide for an hour, samples
that are huge and then gone, loads far above their own noise, whole windows, other processors."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest
from kernels_rows import Rows, quiet, scale, wild

from headway import kernels
from headway.errors import ConfigError, SpecMismatch
from headway.kernels import native, oracle, spec
from headway.kernels.telemetry import FIELDS

pytestmark = pytest.mark.skipif(
    native.module("auto") is None, reason="C++ feature stream not built: pip install -e ."
)


def worst(want: Any, have: Any) -> str:
    """Empty, or the feature that is furthest outside of the tolerance."""
    error = np.abs(want.astype(float) - have) / np.maximum(1e-5, 1e-4 * np.abs(want))
    at = int(error.max(axis=0).argmax())
    return f"{spec.NAMES[at]}: {error.max():.3g} tolerances" if not error.max() <= 1 else ""


def agree(rows: Rows, rate: float = 500.0, every: int = 7) -> Any:
    joints = rows["q"].shape[1]
    want, mask = oracle.batch(rows, scale(joints), rate, every)
    have, bits = native.batch(rows, scale(joints), rate, every)
    np.testing.assert_array_equal(mask, bits)
    assert worst(want, have) == ""
    return want


def noisy(n: int, seed: int) -> Rows:
    r = np.random.default_rng(seed)
    rows = quiet(n)
    for name in ("q", "dq", "q_ref", "dq_ref", "tau_ext", "tcp", "twist", "wrench"):
        rows[name] += r.normal(0, 0.01, rows[name].shape)
    return rows


@pytest.mark.parametrize("load", [30.0, 1e3, 1e5])
def test_a_load_far_above_its_noise(load: float) -> None:
    """Skewness and kurtosis of 0.05 N of noise on a large constant force, applied at once."""
    rows = noisy(900, 50)
    rows["wrench"] += np.random.default_rng(51).exponential(0.05, (900, 6))
    rows["wrench"][150:] += load
    features = agree(rows)
    tail = features[450 // 7 :, spec.INDEX["skew_fx"]]
    assert np.abs(tail).min() > 0.1  # exponential noise is skewed, whatever it rides on


@pytest.mark.parametrize("speed", [1.96, 100.0, 1e4])
def test_joints_at_constant_speed_at_their_limit_and_far_beyond(speed: float) -> None:
    rows = noisy(900, 52)
    rows["dq"][200:] += speed
    rows["q"][200:] = 3.0
    features = agree(rows)
    share = features[500 // 7 :, spec.INDEX["hf_share"]]
    assert share.min() > 0.5  # what is left without the mean is white noise
    assert features[-1, spec.INDEX["saturated"]] > 0.5
    assert abs(features[-1, spec.INDEX["limit_dist"]]) < 0.01


def test_the_largest_samples_leave_nothing_behind() -> None:
    """Single samples of the largest valid size, then quiet: nothing of them may stay in a sum."""
    rows = noisy(1400, 53)
    for at in (3, 100, 257, 511):
        for name in ("q", "dq", "q_ref", "dq_ref", "tau_ext", "tcp", "twist", "wrench", "width"):
            rows[name][at] = 1e6 * (-1) ** at
    features = agree(rows, every=3)
    assert features[140 // 3, spec.INDEX["F.rms"]] == spec.CONSTANTS["out_max"]
    assert features[-1, spec.INDEX["F.rms"]] < 1


@pytest.mark.parametrize("value", [5e-324, 1e-310, np.inf, -np.inf, np.nan, 1e-160])
def test_denormals_and_what_is_no_number(value: float) -> None:
    rows = wild(700, 54)
    r = np.random.default_rng(55)
    for name in FIELDS:
        rows[name][r.random(rows[name].shape) < 0.01] = value
    agree(rows)
    rows = wild(300, 56)
    for name in FIELDS:
        rows[name] = value
    agree(rows)


@pytest.mark.parametrize(
    ("joints", "rate"), [(1, 10.0), (16, 10.0), (6, 20.0), (16, 40.0), (1, 4000.0), (16, 62.5)]
)
def test_the_smallest_and_the_largest_robots_and_rates(joints: int, rate: float) -> None:
    n = 4300 if rate > 1000 else 300
    agree(wild(n, 57, joints), rate, 43)


def test_pulses_at_every_place_of_the_window() -> None:
    rows = quiet(1200)
    for i, name in enumerate(("dq", "twist", "wrench", "tau_ext", "grip_force", "seam_jump")):
        rows[name][40 + 31 * i :: 173 + i] = 1.0
    agree(rows, every=1)


@pytest.mark.parametrize("rate", [20.0, 125.0, 500.0])
@pytest.mark.parametrize("known", [("speed",), ("spin",), ("speed", "spin", "tcp")])
def test_speeds_without_directions(known: tuple[str, ...], rate: float) -> None:
    rows = wild(900, 58)
    for name in {"tcp", "twist", "speed", "spin"} - {*known}:
        rows[name] = np.nan
    r = np.random.default_rng(59)
    for name in known:  # gaps of single ticks, and one of 60
        rows[name][r.random(900) < 0.03] = np.nan
        rows[name][400:460] = np.nan
    rows["twist"][600:700] = 0.2  # for a while somebody knows the vector
    features = agree(rows, rate)
    assert features[:, spec.INDEX["v.max" if "speed" in known else "w.max"]].any()


def hour(ticks: int, chunk: int = 5000) -> None:
    """Both streams side by side over `ticks`; the oracle sees every row, so that state machines and
    counts agree as well, and its features are asked for now and then."""
    chunks = [wild(chunk, 60 + i) for i in range(5)]
    for i, rows in enumerate(chunks):
        rows["wrench"][100 * i] = 1e6
        rows["dq"][200 * i] = -1e6
        rows["tau_ext"][i::977] = np.nan
    slow, fast = oracle.FeatureStream(scale(), 6, 500.0), native.FeatureStream(scale(), 6, 500.0)
    r = np.random.default_rng(61)
    for k in range(ticks // chunk):
        asked = {*r.integers(0, chunk, 3).tolist(), chunk - 1}
        for i, row in enumerate(chunks[(k * k) % 5]):
            slow.push(row)
            fast.push(row)
            if i in asked:
                (want, mask), (have, bits) = slow.features(), fast.features()
                np.testing.assert_array_equal(mask, bits)
                assert worst(want[None], have[None]) == "", k * chunk + i


def test_two_minutes_do_not_drift() -> None:
    hour(60_000)


@pytest.mark.slow
def test_an_hour_does_not_drift() -> None:
    hour(1_800_000)


def test_every_instruction_set_gives_the_same_bits() -> None:
    cores = native.module().cores()
    assert cores[-1] == "baseline"
    for joints, rate in ((6, 500.0), (7, 333.0), (14, 1000.0)):
        rows = wild(1300, 70, joints)
        rows["dq"][::11] = np.nan
        windows = np.stack([rows[i : i + 300] for i in range(0, 900, 90)])
        stream = [native.batch(rows, scale(joints), rate, 1, c) for c in cores]
        whole = [native.features_batch(windows, scale(joints), rate, 1, c) for c in cores]
        for other in range(1, len(cores)):
            for i in (0, 1):
                np.testing.assert_array_equal(stream[0][i], stream[other][i])
                np.testing.assert_array_equal(whole[0][i], whole[other][i])
    with pytest.raises(ValueError, match="baseline"):
        native.batch(rows, scale(14), 500.0, 1, "z80")


@pytest.mark.parametrize("impl", ["cpp", "numpy", "auto"])
@pytest.mark.parametrize("ticks", [1, 2, 40, 256, 300])
def test_windows_are_streams_that_began_with_their_first_row(impl: Any, ticks: int) -> None:
    rows = wild(700, 80)
    rows["vacuum"] = np.nan
    rows["dq"][::9] = np.nan
    windows = np.stack([rows[i : i + ticks] for i in range(0, 400, 57)])
    features, masks = kernels.features_batch(windows, scale(), 500.0, impl=impl)
    assert features.shape == (8, spec.N_FEATURES)
    assert masks.shape == (8, spec.N_MASKS)
    assert features.dtype == masks.dtype == np.float32
    for window, have, bits in zip(windows, features, masks, strict=True):
        want, mask = oracle.batch(window, scale(), 500.0, ticks)
        np.testing.assert_array_equal(mask[0], bits)
        assert worst(want, have[None]) == ""


@pytest.mark.parametrize(("joints", "rate"), [(5, 125.0), (7, 333.0), (14, 1000.0), (8, 2000.0)])
def test_windows_of_other_robots(joints: int, rate: float) -> None:
    rows = wild(1500, 81, joints)
    rows["wrench"][:, 2] += 50.0
    windows = np.stack([rows[i : i + 1200] for i in range(0, 300, 99)])
    want, mask = kernels.features_batch(windows, scale(joints), rate, "numpy")
    have, bits = kernels.features_batch(windows, scale(joints), rate, "cpp")
    np.testing.assert_array_equal(mask, bits)
    assert worst(want, have) == ""


def test_windows_do_not_depend_on_threads_nor_on_each_other() -> None:
    rows = wild(900, 82)
    windows = np.stack([rows[i : i + 280] for i in range(0, 600, 20)])
    one = kernels.features_batch(windows, scale(), 500.0, "cpp", threads=1)
    for threads in (2, 7, 64):
        many = kernels.features_batch(windows, scale(), 500.0, "cpp", threads=threads)
        np.testing.assert_array_equal(one[0], many[0])
        np.testing.assert_array_equal(one[1], many[1])
    turned = kernels.features_batch(windows[::-1], scale(), 500.0, "cpp")
    np.testing.assert_array_equal(one[0], turned[0][::-1])
    none = kernels.features_batch(windows[:0], scale(), 500.0, "cpp")
    assert none[0].shape == (0, spec.N_FEATURES)


def test_wrong_windows_are_refused() -> None:
    rows = wild(20, 83)
    with pytest.raises(ConfigError, match="shape"):
        kernels.features_batch(rows, scale(), 500.0)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="shape"):
        kernels.features_batch(rows.reshape(2, 10)[:, :0], scale(), 500.0)
    with pytest.raises(ConfigError, match="threads"):
        kernels.features_batch(rows.reshape(2, 10), scale(), 500.0, threads=0)
    with pytest.raises(ConfigError, match="q_min"):
        kernels.features_batch(rows.reshape(2, 10), scale(5), 500.0)
    other = rows.astype([(n, rows.dtype[n]) for n in reversed(rows.dtype.names or ())])
    with pytest.raises(SpecMismatch, match="6 joints"):
        kernels.features_batch(other.reshape(2, 10), scale(), 500.0, "cpp")


def test_a_stream_is_freed_with_the_last_reference() -> None:
    """It holds its row and its arrays, and nothing that holds it."""
    stream = native.FeatureStream(scale(), 6, 500.0)
    out = np.empty(spec.N_FEATURES, np.float32)
    row = wild(1, 84)[0]
    for _ in range(3):
        stream.push(row)
    stream.features(out, np.empty(spec.N_MASKS, np.float32))
    gone = weakref.ref(stream)
    gc.disable()
    try:
        del stream
        assert gone() is None
    finally:
        gc.enable()
