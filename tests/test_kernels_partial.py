"""Channels that are known in part, and rates that carry a part of the features: what can be had is
had, all else is 0 and said to be missing."""

from __future__ import annotations

from itertools import compress
from typing import Any

import numpy as np
import pytest
from kernels_rows import IMPLS, Rows, last, quiet, scale, wild

from headway import kernels
from headway.kernels import spec
from headway.kernels.derive import NORMS
from headway.kernels.telemetry import FIELDS, empty

pytestmark = pytest.mark.parametrize("impl", IMPLS)
DT, L = 0.002, 256
AXES = ("Fx", "Fy", "Fz", "Mx", "My", "Mz")


def after(rows: Rows, impl: Any, rate: float = 500.0) -> tuple[dict[str, float], dict[str, bool]]:
    """Features and mask bits after the last row, by name; what the mask excludes is 0."""
    joints = rows["q"].shape[1]
    f, m = kernels.batch(rows, scale(joints), rate, len(rows), impl)
    can = spec.feature_mask(m[0], rate)
    assert tuple(m[0, spec.N_GROUPS :] > 0) == spec.rate_bits(rate)
    assert not f[0, ~np.array(can)].any()
    bits = dict(zip(spec.MASKS, (m[0] > 0).tolist(), strict=True))
    return dict(zip(spec.NAMES, f[0].tolist(), strict=True)), bits


def test_each_component_of_the_wrench_keeps_its_sign(impl: Any) -> None:
    rows = quiet(600)
    ramp = np.linspace(-1.0, 1.0, L)
    for i, a in enumerate((2.0, -3.0, 4.0, -0.5, 0.6, -0.7)):
        rows["wrench"][-L:, i] = a * ramp - 0.1
    f = last(rows, impl)
    for name, a in zip(AXES, (2.0, -3.0, 4.0, -0.5, 0.6, -0.7), strict=True):
        found = [f[f"{name}.{s}"] for s in spec.STATS5]
        slope = a * 2 / (L - 1) / DT
        want = [a - 0.1, -0.1, -abs(a) - 0.1, abs(a) - 0.1, slope]
        assert found == pytest.approx(want, rel=1e-4, abs=1e-6), name


def test_the_least_value_leaves_with_the_window(impl: Any) -> None:
    rows = quiet(900)
    rows["wrench"][300, 3] = -5.0
    assert last(rows[: 300 + L], impl)["Mx.min"] == -5.0
    assert last(rows[: 301 + L], impl)["Mx.min"] == 0.0


def test_collisions_from_opposite_sides_differ_though_their_norms_do_not(impl: Any) -> None:
    a, b = quiet(400), quiet(400)
    a["wrench"][350:370, 0], b["wrench"][350:370, 0] = 9.0, -9.0
    fa, fb = last(a, impl), last(b, impl)
    assert fa["F.max"] == fb["F.max"] == 9.0
    assert (fa["Fx.max"], fa["Fx.min"]) == (9.0, 0.0)
    assert (fb["Fx.max"], fb["Fx.min"]) == (0.0, -9.0)


def test_a_norm_alone_gives_what_needs_no_direction(impl: Any) -> None:
    whole = wild(600, 4)
    part = whole.copy()
    part["force_norm"] = np.linalg.norm(whole["wrench"][:, :3], axis=1)
    part["torque_norm"] = np.linalg.norm(whole["wrench"][:, 3:], axis=1)
    part["wrench"] = np.nan
    f, bits = after(part, impl)
    assert (bits["force_norm"], bits["torque_norm"]) == (True, True)
    assert (bits["force"], bits["torque"]) == (False, False)
    g = last(whole, impl)
    for feature in spec.FEATURES:
        want = 0.0 if {"force", "torque"} & {*feature.needs} else g[feature.name]
        assert f[feature.name] == want, feature.name
    assert f["peak"] > 0
    assert f["F.max"] > 0


def test_where_the_wrench_is_known_its_norm_counts(impl: Any) -> None:
    rows = wild(600, 5)
    want, bits = after(rows, impl)
    assert bits["force_norm"]
    rows["force_norm"], rows["torque_norm"] = np.nan, 1e9
    assert after(rows, impl)[0] == want


def test_forces_without_torques_are_known_as_such(impl: Any) -> None:
    rows = wild(600, 6)
    whole = last(rows, impl)
    rows["wrench"][:, 3:] = rows["torque_norm"] = np.nan
    f, bits = after(rows, impl)
    assert bits["force"]
    assert not bits["torque"]
    assert f["Fx.min"] == whole["Fx.min"] != 0
    assert f["band.max"] == whole["band.max"] != 0
    assert f["power.max"] == f["work_neg"] == f["Mx.min"] == f["M.max"] == 0


def test_a_gap_in_the_wrench_is_filled_by_the_norm_that_is_known(impl: Any) -> None:
    rows = quiet(600)
    rows["wrench"][:, 1], rows["force_norm"] = -4.0, 6.0
    rows["wrench"][400:] = np.nan
    f, bits = after(rows, impl)
    assert (bits["force"], bits["force_norm"]) == (False, True)
    assert (f["F.last"], f["peak"]) == (6.0, 6.0)
    assert f["F.mean"] == pytest.approx((56 * 4 + 200 * 6) / L)


def test_a_speed_and_a_spin_alone_give_what_needs_no_direction(impl: Any) -> None:
    whole = wild(600, 10)
    part = whole.copy()
    part["speed"] = np.linalg.norm(whole["twist"][:, :3], axis=1)
    part["spin"] = np.linalg.norm(whole["twist"][:, 3:], axis=1)
    part["twist"] = part["tcp"] = np.nan
    f, bits = after(part, impl)
    assert (bits["speed"], bits["spin"]) == (True, True)
    assert (bits["tcp"], bits["twist"]) == (False, False)
    g = last(whole, impl)
    for feature in spec.FEATURES:
        want = 0.0 if {"tcp", "twist"} & {*feature.needs} else g[feature.name]
        assert f[feature.name] == want, feature.name
    assert f["v.ratio"] > 0
    assert f["w.max"] > 0
    assert f["sparc"] < 0


@pytest.mark.parametrize("field", ["speed", "spin"])
def test_one_of_the_two_magnitudes_alone(impl: Any, field: str) -> None:
    rows = empty(1, 300)
    rows[field] = np.where(np.arange(300) < 236, 0.5, 0.001)
    f, bits = after(rows, impl)
    assert [m for m in spec.MASK_FIELDS if bits[m]] == [field]
    channel, other = ("v", "w") if field == "speed" else ("w", "v")
    assert f[f"{channel}.max"] == 0.5
    assert f[f"{channel}.last"] == pytest.approx(0.001)
    assert f[f"{channel}.mean"] == pytest.approx((192 * 0.5 + 64 * 0.001) / L)
    assert f[f"{channel}.ratio"] == pytest.approx(0.001 / np.sqrt(0.75 * 0.25), rel=1e-3)
    assert f[f"{other}.max"] == f[f"{other}.mean"] == 0
    assert f["slow"] == (0.25 if field == "speed" else 0)


@pytest.mark.parametrize("derived", [False, True])
def test_where_the_twist_is_known_its_norms_count(impl: Any, derived: bool) -> None:
    rows = wild(600, 11)
    if derived:
        rows["twist"] = np.nan
    want, bits = after(rows, impl)
    assert bits["speed"]
    assert bits["spin"]
    rows["speed"], rows["spin"] = np.nan, 1e9
    # Before a pose has been known for diff_s nothing is derived: those ticks are long gone.
    assert after(rows, impl)[0] == want


def test_a_gap_in_the_twist_is_filled_by_the_speed_that_is_known(impl: Any) -> None:
    rows = quiet(600)
    rows["tcp"] = np.nan
    rows["twist"][:, 1], rows["twist"][:, 5], rows["speed"] = -0.4, 0.3, 0.001
    rows["twist"][400:], rows["spin"][400:] = np.nan, np.nan
    f, bits = after(rows, impl)
    assert (bits["twist"], bits["speed"], bits["spin"]) == (False, True, False)
    assert f["v.last"] == pytest.approx(0.001)
    assert f["v.mean"] == pytest.approx((56 * 0.4 + 200 * 0.001) / L)
    assert f["slow"] == pytest.approx(200 / L)
    assert f["ldlj"] == f["w.last"] == 0
    rows["speed"][500:] = np.nan  # now nobody knows, and the last speed is held for a while
    rows["twist"][598:, :] = 0.0
    f, bits = after(rows, impl)
    assert (bits["twist"], bits["speed"], bits["spin"]) == (False, True, False)
    assert f["slow"] == pytest.approx(200 / L)


def test_one_tactile_pad(impl: Any) -> None:
    rows = quiet(600)
    rows["touch"][-64:] = 0.5
    f = last(rows, impl)
    assert (f["touch.last"], f["touch.max"]) == (0.5, 0.5)
    assert f["touch.mean"] == pytest.approx(0.125)
    assert f["touch.rms"] == pytest.approx(0.25)
    assert f["touch.ratio"] == pytest.approx(2.0, rel=1e-4)
    assert f["touch.slope"] > 0


def test_jaws_that_nobody_told_anything(impl: Any) -> None:
    rows = wild(600, 7)
    whole = last(rows, impl)
    rows["width_ref"] = np.nan
    f, bits = after(rows, impl)
    assert bits["width"]
    assert not bits["width_ref"]
    assert f["width.slope"] == whole["width.slope"] != 0
    assert f["width_err.last"] == f["closes"] == f["close_age"] == f["load_change"] == 0


def test_an_unknown_task_masks_the_task_alone(impl: Any) -> None:
    rows = quiet(300)
    rows["phase"], rows["elapsed"], rows["task"] = 3.0, 4.0, 1.0
    f, bits = after(rows, impl)
    assert (f["task_0"], f["task_1"], f["task_2"]) == (0, 1, 0)
    rows["task"] = np.nan
    g, bits = after(rows, impl)
    assert not bits["task"]
    assert bits["phase"]
    assert bits["clock"]
    assert {n for n in f if f[n] != g[n]} == {"task_1"}
    rows["limit"] = np.nan
    g, bits = after(rows, impl)
    assert not bits["clock"]
    assert (g["phase_3"], g["elapsed"]) == (1, 0)


@pytest.mark.parametrize("rate", [10.0, 20.0, 40.0, 50.0, 100.0, 125.0, 200.0, 399.0, 400.0])
def test_a_rate_gives_what_it_can_carry(impl: Any, rate: float) -> None:
    rows = wild(max(spec.windows(rate).long + 40, 300), 8)
    f, bits = after(rows, impl, rate)
    carries = {n.name for n in spec.FEATURES if n.rate_hz <= rate}
    assert all(bits[m] for m in spec.MASK_FIELDS)
    assert {n for n, x in f.items() if x} <= carries
    for name in ("F.last", "Mz.min", "touch.max", "v.mean", "q_err.rms", "elapsed"):
        assert f[name] != 0, name
    assert (f["band.max"] != 0) == (rate >= 400)
    assert (f["jerk.max"] != 0) == (rate >= 100)


@pytest.mark.parametrize("rate", [10.0, 20.0, 100.0, 500.0])
def test_what_every_rate_carries_is_the_same_at_every_rate(impl: Any, rate: float) -> None:
    """A force that grows slowly: level, mean, slope and contact do not depend on the rate."""
    n = int(2 * rate)
    rows = empty(6, n)
    t = np.arange(n) / rate
    rows["force_norm"], rows["touch"] = 5.0 * t, 0.4 * t
    f, bits = after(rows, impl, rate)
    assert [m for m in spec.MASK_FIELDS if bits[m]] == ["force_norm", "touch"]
    assert f["F.slope"] == pytest.approx(5.0, rel=1e-4)
    assert f["touch.slope"] == pytest.approx(0.4, rel=1e-4)
    assert f["F.mean"] == pytest.approx(5.0 * (2.0 - 0.256), abs=0.5)
    assert f["contact"] == 1
    assert f["onset_age"] == pytest.approx(0.14, abs=0.015)
    assert f["impulse"] == pytest.approx(5.0 * (2.0**2 - 0.6**2) / 2, rel=0.15)


def test_a_log_of_a_magnitude_a_pad_and_no_joints_at_20_hz(impl: Any) -> None:
    """All that such a robot has is used, and nothing is made up of what it has not."""
    rows = empty(1, 200)
    i = np.arange(200)
    rows["force_norm"] = np.where(i % 50 > 44, 12.0, 0.2) + 0.05 * np.sin(i)
    rows["touch"] = np.where(i % 50 > 42, 0.6, 0.0)
    f, _ = after(rows, impl, 20.0)
    bits = [m in ("force_norm", "touch") for m in spec.MASKS]
    can = set(compress(spec.NAMES, spec.feature_mask(bits, 20.0)))
    assert {n for n, x in f.items() if x} <= can
    assert {n for n in can if not f[n]} <= {"F.slope", "touch.slope"}
    assert f["peak"] == pytest.approx(12.05, abs=0.01)


def test_every_field_that_is_missing_takes_its_features_and_no_others(impl: Any) -> None:
    whole = wild(400, 9)
    f, _ = after(whole, impl)
    derived = ("dq", "dq_ref", "twist", *(norm for _, _, _, norm in NORMS))
    for field in FIELDS:
        rows = whole.copy()
        rows[field] = np.nan
        g, bits = after(rows, impl)
        masks = [m for m, fields in spec.MASK_FIELDS.items() if field in fields]
        if field in derived:
            assert all(bits[m] for m in masks)
            continue
        assert not any(bits[m] for m in masks)
        touched = {n.name for n in spec.FEATURES if {*masks} & {*n.needs}}
        also = {"wrench": {"force_norm", "torque_norm"}}.get(field, set())
        touched |= {n.name for n in spec.FEATURES if also & {*n.needs}}
        assert {n for n in f if f[n] != g[n]} <= touched, field
