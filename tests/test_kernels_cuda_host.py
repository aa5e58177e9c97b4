"""The CUDA kernels' own source, run on the CPU thread by thread, against the oracle: 1e-4 relative
or 1e-5 absolute per feature on the same float32 inputs, masks equal."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernels_cuda import agree, by_oracle, needs_host, single
from kernels_rows import quiet, scale, wild
from properties import examples

from headway.errors import ConfigError, SpecMismatch
from headway.kernels import native, oracle, spec
from headway.kernels.cuda.host import HostDriver
from headway.kernels.cuda.layout import layout, pack
from headway.kernels.cuda.stream import Batch, FeatureStream, features_batch
from headway.kernels.telemetry import FIELDS, Scale, empty

pytestmark = needs_host


def batch(windows: Any, rate: float = 500.0, order: int = 0, scale_: Any = None) -> Any:
    joints = windows["q"].shape[-1]
    return features_batch(HostDriver(order), windows, scale_ or scale(joints), rate)


def check(windows: Any, rate: float = 500.0, scale_: Any = None) -> Any:
    windows = single(windows)
    want = by_oracle(windows, rate, scale_)
    agree(want, batch(windows, rate, scale_=scale_))
    return want


@pytest.mark.parametrize("joints", [5, 6, 7, 8, 14, 16])
def test_random_walks_of_arms_and_of_two(joints: int) -> None:
    features, masks = check(np.stack([wild(256, s, joints) for s in range(3)]))
    assert masks.all()
    assert np.count_nonzero(features.any(axis=0)) > 140  # the walk does reach the features


@pytest.mark.parametrize("rate", [10.0, 20.0, 62.5, 125.0, 200.0, 250.0, 333.0, 1000.0, 2000.0])
def test_every_rate_with_its_own_window(rate: float) -> None:
    length = spec.windows(rate).long
    check(np.stack([wild(length, int(rate) + s) for s in range(2)]), rate)


@pytest.mark.parametrize("ticks", [1, 2, 3, 5, 31, 32, 33, 63, 100, 255, 257, 700])
def test_every_length_of_window(ticks: int) -> None:
    check(np.stack([wild(ticks, s) for s in range(2)]))


@pytest.mark.parametrize("value", [1.7, 40.0, -1000.0])
@pytest.mark.parametrize("kind", ["constant", "step", "impulse", "ramp"])
def test_constants_steps_impulses_and_ramps(kind: str, value: float) -> None:
    rows = quiet(256)
    shape = {"constant": slice(None), "step": slice(100, None), "impulse": slice(150, 151)}
    for name in ("dq", "q", "q_ref", "tau_ext", "twist", "wrench", "grip_force", "seam_jump"):
        if kind == "ramp":
            rows[name] = value * (np.arange(256) / 256).reshape(-1, *(1,) * (rows[name].ndim - 1))
        else:
            rows[name][shape[kind]] = value
    check(np.stack([rows, rows]))


@pytest.mark.parametrize("offset", [0.5, 30.0, 100.0])
def test_small_forces_on_large_offsets(offset: float) -> None:
    """Moments, slopes and spectra of what is left when the mean is out."""
    r = np.random.default_rng(3)
    windows = np.stack([wild(256, s) for s in range(3)])
    windows["wrench"] = offset + r.normal(0, 0.05, windows["wrench"].shape)
    check(windows)


@pytest.mark.parametrize("off", [0.004, 0.2])
def test_jaws_whose_zero_is_off(off: float) -> None:
    windows = np.stack([wild(700, s) for s in range(2)])
    windows["width_ref"] -= off
    features, _ = check(windows)
    assert (features[:, spec.INDEX["closes"]] == 2).all()


def test_means_that_cancel() -> None:
    rows = wild(256, 5)
    rows["wrench"] = 200.0 * np.where(np.arange(256) % 2, 1, -1)[:, None]
    rows["wrench"][:, 2] += 1e-3
    check(rows[None])


def test_saturated_inputs_and_outputs() -> None:
    rows = wild(256, 6)
    rows["dq"] = rows["dq_ref"] = 1e5 * np.sign(rows["dq"])
    rows["wrench"][100:] = 9.9e5
    rows["q_ref"][:50] = -1e6
    features, _ = check(rows[None])
    assert np.abs(features).max() == spec.CONSTANTS["out_max"]


def test_thresholds_fall_as_in_float64() -> None:
    """Values on and one float32 beside what decides: deadband, saturation, slowness, contact."""
    one = np.ones(6)
    robot = Scale(-3 * one, 3 * one, np.array([0.7, 1.1, 2.0, 3.3, 0.1, 0.3]), 50 * one)
    r = np.random.default_rng(7)
    windows = np.stack([quiet(64) for _ in range(8)])
    near = np.array([spec.CONSTANTS["reversal_deadband"], spec.CONSTANTS["saturated"]])
    pick = r.integers(0, 2, windows["dq"].shape)
    dq = (near[pick] * robot.dq_max).astype(np.float32)
    dq = np.nextafter(dq, np.float32(r.integers(-1, 2, dq.shape) * 9.0), dtype=np.float32)
    windows["dq"] = dq * r.choice([-1.0, 1.0], dq.shape)
    speed = np.float32(spec.CONSTANTS["slow_speed"])
    windows["twist"][..., 0] = np.nextafter(speed, np.float32(r.integers(0, 2, (8, 64))))
    windows["wrench"][..., 2] = r.choice([1.5, 3.0, 1.5000001, 2.9999998], (8, 64))
    check(windows, scale_=robot)


def test_grasps_on_the_threshold() -> None:
    robot = scale()
    r = np.random.default_rng(8)
    windows = np.stack([quiet(400) for _ in range(6)])
    for rows in windows:
        travel = np.cumsum(r.choice([0.0, 0.0, 0.0, 0.15, -0.15, 0.02, -0.02], 400 // 8))
        rows["width_ref"] = np.repeat(robot.stroke * np.clip(travel, 0, 1), 8)
        gap = np.repeat(r.choice([0.0, 0.02, 0.01, 0.0100001, 0.05]), 400)
        rows["width"] = rows["width_ref"] + robot.stroke * gap
        rows["tcp"][:, 2] = np.linspace(0, 0.05, 400)
        rows["wrench"][:, 2] = r.normal(2.0, 2.0, 400)
    features, _ = check(windows)
    assert features[:, spec.INDEX["closes"]].any()


@pytest.mark.parametrize(
    "missing",
    [
        ("dq", "twist", "dq_ref"), ("q",), ("wrench",), ("width", "vacuum"), ("tcp",), ("phase",),
        ("tau_ext", "grip_force"), ("wrench", "task"), ("width_ref", "limit"),
        ("wrench", "force_norm", "torque_norm", "touch"), tuple(FIELDS),
        ("tcp", "twist"), ("tcp", "twist", "speed"), ("twist", "speed", "spin"),
    ],
)  # fmt: skip
def test_masked_groups(missing: tuple[str, ...]) -> None:
    windows = np.stack([wild(300, 20 + s) for s in range(2)])
    for field in missing:
        windows[field] = np.nan
    check(windows)


def test_contacts_of_a_norm_on_the_threshold() -> None:
    windows = np.stack([quiet(200) for _ in range(4)])
    r = np.random.default_rng(9)
    edge = np.array([1.5, 3.0, 1.5000001, 2.9999998, 3.0000002], np.float32)
    windows["force_norm"] = r.choice(edge, windows["force_norm"].shape)
    windows["wrench"][:2] = np.nan  # no more than the norm
    windows["wrench"][2, ::2, 1] = np.nan  # the vector and the norm in turn
    windows["wrench"][2, :, 0] = 4.0
    features, _ = check(windows)
    assert features[:2, spec.INDEX["peak"]].all()


def test_slowness_of_a_speed_on_the_threshold() -> None:
    windows = np.stack([wild(200, 90 + s) for s in range(3)])
    r = np.random.default_rng(10)
    slow = np.float32(spec.CONSTANTS["slow_speed"])
    near = np.nextafter(slow, np.float32(r.integers(0, 2, windows["speed"].shape)))
    windows["speed"] = np.where(r.random(near.shape) < 0.2, 0.3, near)
    windows["tcp"] = np.nan
    windows["twist"][:2] = np.nan  # no more than the speed
    windows["twist"][2, ::3] = np.nan  # the vector and the speed in turn
    windows["spin"][1, 60:90] = windows["speed"][1, 60:90] = np.nan
    features, _ = check(windows)
    assert 0 < features[0, spec.INDEX["slow"]] < 1


def test_poses_that_come_and_go_beside_a_speed() -> None:
    """The twist is derived from the pose where there is one; its speed, and else the field."""
    windows = np.stack([wild(300, 95 + s) for s in range(2)])
    windows["twist"] = np.nan
    windows["tcp"][0, 100:160] = windows["tcp"][1, ::7] = np.nan
    windows["speed"][0, 120:130] = np.nan
    features, masks = check(windows)
    assert masks[:, spec.MASKS.index("speed")].all()
    assert features[:, spec.INDEX["w.max"]].all()


def test_derived_rates_of_a_smooth_motion() -> None:
    """No dq, no twist: jerk is a third difference of float32 positions, exactly as the oracle's."""
    rows, t = quiet(256), np.arange(256)[:, None] / 500.0
    rows["q"] = 0.4 + 0.5 * np.sin(2 * t + np.arange(6))
    rows["q_ref"] = rows["q"] + 1e-3
    rows["tcp"][:, :3] = 0.5 + 0.3 * np.sin(1.5 * t + np.arange(3))
    rows["tcp"][:, 3:] = np.hstack((np.cos(t), np.sin(t), 0 * t, 0 * t))
    for field in ("dq", "dq_ref", "twist"):
        rows[field] = np.nan
    features, masks = check(rows[None])
    assert masks[0, spec.MASKS.index("dq")] == 1
    assert features[0, spec.INDEX["jerk.mean"]] > 0


@pytest.mark.parametrize("share", [0.002, 0.05, 0.4])
def test_random_gaps(share: float) -> None:
    windows = np.stack([wild(400, 30 + s) for s in range(3)])
    r = np.random.default_rng(1)
    bad = np.array([np.nan, np.inf, -np.inf, 1e7, -1e300])
    for name in FIELDS:
        hit = r.random(windows[name].shape) < share / max(1, windows[name][0, 0].size)
        windows[name][hit] = r.choice(bad, int(hit.sum()))
    check(windows)


@examples(25)
@given(data=st.data())
def test_any_value_anywhere(data: st.DataObject) -> None:
    rows = wild(70, 11)
    for field in data.draw(st.lists(st.sampled_from(sorted(FIELDS)), min_size=1, max_size=4)):
        flat = rows[field].reshape(70, -1)
        for t in data.draw(st.lists(st.integers(0, 69), min_size=1, max_size=40)):
            value = data.draw(
                st.sampled_from([np.nan, np.inf, -np.inf, 1e7, 1e-40, -1e-45, 0.0, -0.0, 1e300])
            )
            flat[t, data.draw(st.integers(0, flat.shape[1] - 1))] = value
    check(rows[None])


@pytest.mark.parametrize("ticks", [64, 300])
def test_the_order_of_threads_changes_nothing(ticks: int) -> None:
    """A race would show: between two barriers each order of the threads must give the same bits."""
    windows = np.stack([wild(ticks, 40 + s) for s in range(2)])
    windows["dq"][1], windows["twist"][1, 20:40], windows["wrench"][1, 5] = np.nan, np.nan, np.inf
    first = batch(single(windows), order=0)
    for order in (1, 2, 3):
        again = batch(single(windows), order=order)
        np.testing.assert_array_equal(first[0], again[0])
        np.testing.assert_array_equal(first[1], again[1])


def test_the_order_of_threads_changes_no_stream() -> None:
    rows = wild(60, 45)
    rows["q"][20:30], rows["dq"][10:40], rows["twist"][5:] = np.nan, np.nan, np.nan

    def run(order: int) -> list[Any]:
        stream = FeatureStream(HostDriver(order), scale(), 6, 500.0)
        out = []
        for i, row in enumerate(rows):
            stream.push(row)
            if i % 6 == 0:
                out += [a.copy() for a in stream.features()]
        return out

    first = run(0)
    for order in (1, 2, 3):
        for a, b in zip(first, run(order), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("joints", "rate"), [(6, 500.0), (14, 500.0), (7, 125.0), (5, 1000.0)])
def test_a_stream_follows_the_oracle(joints: int, rate: float) -> None:
    rows = wild(420, 50, joints)
    rows["dq"][100:130], rows["wrench"][200:210], rows["twist"][300:] = np.nan, np.inf, np.nan
    want = oracle.FeatureStream(scale(joints), joints, rate)
    have = FeatureStream(HostDriver(), scale(joints), joints, rate)
    for i, row in enumerate(rows):
        want.push(row)
        have.push(row)
        if i % 29 in (0, 1, 7):
            a, b = want.features(), have.features()
            agree((a[0][None], a[1][None]), (b[0][None], b[1][None]))


def test_a_stream_is_the_batch_of_its_rows() -> None:
    """Two kernels, one result, up to what double and float differ by."""
    rows = single(wild(256, 60))
    rows["q"][40:60] = np.nan
    features, masks = batch(rows[None])
    stream = FeatureStream(HostDriver(), scale(), 6, 500.0)
    for row in rows:
        stream.push(row)
    f, m = stream.features()
    agree((features, masks), (f[None], m[None]))


def test_a_stream_does_not_drift() -> None:
    """Against the C++ twin where it is built: 12 s, jumps in between."""
    rows = np.concatenate([wild(1000, 70 + i) for i in range(6)])
    made = native if native.module("auto") is not None else oracle
    want, have = (
        made.FeatureStream(scale(), 6, 500.0),
        FeatureStream(HostDriver(), scale(), 6, 500.0),
    )
    for i, row in enumerate(rows):
        want.push(row)
        have.push(row)
        if i % 999 == 998:
            a, b = want.features(), have.features()
            agree((a[0][None], a[1][None]), (b[0][None], b[1][None]))


def test_windows_that_do_not_fit_shared_memory() -> None:
    class Small(HostDriver):
        shared = 40 * 1024

    windows = single(np.stack([wild(256, 80 + s) for s in range(5)]))
    windows["vacuum"][2] = np.nan
    have = features_batch(Small(), windows, scale(), 500.0)
    agree(by_oracle(windows, 500.0), have)
    staged = batch(windows)
    np.testing.assert_array_equal(have[0], staged[0])  # the same arithmetic


def test_windows_that_no_block_can_work_on_are_refused() -> None:
    driver = HostDriver()
    with pytest.raises(ConfigError, match=r"found 20000 rows.*give it shorter windows"):
        Batch(driver, scale(), 6, 500.0, 20000)
    assert not driver._memory


def test_every_robot_fits_a_block() -> None:
    """The stream everywhere; windows of L ticks of an arm at 500 Hz two to an SM of 163 kB, which
    is what its registers allow."""
    for rate in (10.0, 40.0, 125.0, 500.0, 2000.0, 4000.0):
        for joints in (1, 6, 16):
            made = layout(scale(joints), joints, rate, spec.windows(rate).long)
            assert made.shared_large <= 163 * 1024, (rate, joints)
    assert 2 * (layout(scale(), 6, 500.0, 256).shared + 1024) <= 164 * 1024


def test_packing_is_columns_of_ticks() -> None:
    windows = np.stack([wild(6, 1), wild(6, 2)])
    packed = pack(windows, 6)
    assert packed.shape == (2, 75, 8)
    assert packed.dtype == np.float32
    np.testing.assert_array_equal(packed[1, 3, :6], windows["q"][1, :, 3].astype(np.float32))
    np.testing.assert_array_equal(packed[0, 69, :6], windows["operator"][0].astype(np.float32))


def test_wrong_windows_are_refused() -> None:
    with pytest.raises(SpecMismatch, match="6 joints"):
        pack(wild(5, 1, 7)[None], 6)
    with pytest.raises(SpecMismatch, match="1 dimensions"):
        pack(wild(5, 1), 6)
    with pytest.raises(ConfigError, match="at least 1 row"):
        layout(scale(), 6, 500.0, 0)
    stream = FeatureStream(HostDriver(), scale(), 6, 500.0)
    with pytest.raises(SpecMismatch, match="6 joints"):
        stream.push(empty(7, 1)[0])
    features, masks = features_batch(HostDriver(), np.stack([quiet(5)])[:0], scale(), 500.0)
    assert features.shape == (0, spec.N_FEATURES)
    assert masks.shape == (0, spec.N_MASKS)
