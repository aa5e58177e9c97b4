"""Motion features against closed forms and independent formulas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from kernels_rows import IMPLS, last, quiet, scale

pytestmark = pytest.mark.parametrize("impl", IMPLS)
RATE, DT, L, S, K = 500.0, 0.002, 256, 64, 5
T = np.arange(600) * DT


def test_a_constant_has_no_slope_and_ratio_one(impl: Any) -> None:
    rows = quiet(600)
    rows["dq"] = 0.5  # of dq_max 2: 0.25 on every joint
    f = last(rows, impl)
    for stat in ("last", "mean", "rms", "max"):
        assert f[f"dq.{stat}"] == pytest.approx(0.25)
    assert f["dq.slope"] == pytest.approx(0, abs=1e-6)
    assert f["dq.ratio"] == pytest.approx(1, rel=1e-4)
    assert f["ddq.max"] == f["jerk.max"] == f["reversals"] == f["hf_share"] == 0


@pytest.mark.parametrize("joints", [5, 7, 8])
def test_joint_norms_do_not_depend_on_the_number_of_joints(impl: Any, joints: int) -> None:
    rows = quiet(300, joints)
    rows["dq"], rows["tau_ext"] = 0.5, 10.0
    f = last(rows, impl)
    assert f["dq.last"] == pytest.approx(0.25)
    assert f["tau.last"] == pytest.approx(0.2)


def test_ramp_has_its_slope_and_acceleration(impl: Any) -> None:
    rows = quiet(600)
    rows["dq"] = (0.8 * T)[:, None]  # 0.8 rad/s^2 over dq_max 2 = 0.4 1/s
    f = last(rows, impl)
    x = 0.4 * T[-L:]
    assert f["dq.slope"] == pytest.approx(0.4, rel=1e-4)
    assert f["dq.mean"] == pytest.approx(x.mean(), rel=1e-5)
    assert f["dq.rms"] == pytest.approx(np.sqrt(np.mean(x**2)), rel=1e-5)
    assert f["dq.ratio"] == pytest.approx(np.sqrt(np.mean(x[-S:] ** 2) / np.mean(x**2)), rel=1e-4)
    assert f["ddq.last"] == pytest.approx(0.4 * 0.1, rel=1e-4)  # times accel_s
    assert f["jerk.max"] == pytest.approx(0, abs=1e-6)


def test_parabola_has_its_jerk(impl: Any) -> None:
    rows = quiet(600)
    rows["dq"] = T[:, None] ** 2
    f = last(rows, impl)
    assert f["jerk.last"] == pytest.approx(2 / 2.0 * 0.01, rel=1e-4)  # d3q / dq_max * accel_s^2
    rows["tau_ext"] = 25 * T[:, None]
    assert last(rows, impl)["dtau.last"] == pytest.approx(0.5 * 0.1, rel=1e-4)


def test_tracking_errors(impl: Any) -> None:
    rows = quiet(300)
    rows["q_ref"], rows["dq_ref"] = 0.05, 0.4
    f = last(rows, impl)
    assert f["q_err.last"] == pytest.approx(0.05 / 0.02)
    assert f["dq_err.last"] == pytest.approx(0.2)


def test_missing_rates_are_derived_from_positions(impl: Any) -> None:
    rows = quiet(600)
    turn = 1.3 * T  # rad/s about z
    rows["q"], rows["q_ref"] = (0.8 * T)[:, None], (0.6 * T)[:, None]
    rows["tcp"][:, 0] = 0.25 * T
    rows["tcp"][:, 3], rows["tcp"][:, 6] = np.cos(turn / 2), np.sin(turn / 2)
    rows["wrench"][:, 5] = 2.0
    for field in ("dq", "dq_ref", "twist"):
        rows[field] = np.nan
    f = last(rows, impl)
    assert f["dq.last"] == pytest.approx(0.4, rel=1e-4)
    assert f["dq_err.last"] == pytest.approx(0.1, rel=1e-4)
    assert f["v.last"] == pytest.approx(0.25, rel=1e-4)
    assert f["power.last"] == pytest.approx(2.0 * 1.3, rel=1e-4)


def test_log_dimensionless_jerk_of_a_sine(impl: Any) -> None:
    rows = quiet(600)
    amplitude, w = 0.4, 2 * np.pi * 1000 / L  # two periods in the window
    rows["twist"][:, 1] = amplitude * np.sin(w * T)
    f = last(rows, impl)
    # second difference over k ticks of a sine: exact factor, then the mean of sin^2 is 1/2
    w2 = (2 - 2 * np.cos(w * K * DT)) / (K * DT) ** 2
    peak = np.abs(rows["twist"][-L:, 1]).max()
    want = (L * DT) ** 4 * (amplitude * w2) ** 2 / 2 / (peak**2 + 0.01**2)
    assert f["ldlj"] == pytest.approx(-np.log(want + 1e-6), rel=1e-4)
    rows["twist"] *= 0.5
    assert last(rows, impl)["ldlj"] == pytest.approx(f["ldlj"], abs=0.01)  # dimensionless


def test_sparc_is_the_arc_length_of_the_normalised_spectrum(impl: Any) -> None:
    rows = quiet(L)
    bell = 0.5 * (1 - np.cos(2 * np.pi * np.arange(L) / L))
    speed = bell + 0.2 * np.sin(2 * np.pi * 4 * np.arange(L) / L) ** 2
    rows["twist"][:, 0] = speed
    a = np.abs([np.sum(speed * np.exp(-2j * np.pi * k * np.arange(L) / L)) for k in range(6)]) / L
    arc = sum(np.hypot(0.2, (a[k + 1] - a[k]) / (a[0] + 1e-3)) for k in range(5))
    smooth = quiet(L)
    smooth["twist"][:, 0] = bell
    f = last(rows, impl)["sparc"]
    assert f == pytest.approx(-arc, rel=1e-5)
    assert f < last(smooth, impl)["sparc"] < -1


def test_reversals_are_counted_beyond_the_deadband(impl: Any) -> None:
    rows = quiet(600)
    sine = np.sin(2 * np.pi * 7000 / 512 * T + 0.1)[:, None]  # 7 periods in L
    rows["dq"] = 0.5 * sine
    assert last(rows, impl)["reversals"] == 14
    rows["dq"] = 0.015 * sine  # under 1 % of dq_max
    assert last(rows, impl)["reversals"] == 0


@pytest.mark.parametrize(("hz", "share"), [(60.0, 1.0), (3.90625, 0.0)])
def test_share_of_fast_motion(impl: Any, hz: float, share: float) -> None:
    rows = quiet(600)
    rows["dq"] = 0.3 + 0.5 * np.sin(2 * np.pi * hz * T)[:, None]
    assert last(rows, impl)["hf_share"] == pytest.approx(share, abs=1e-3)


def test_straight_and_circular_paths(impl: Any) -> None:
    rows = quiet(600)
    rows["tcp"][:, 0] = 0.3 * T
    assert last(rows, impl)["straight"] == pytest.approx(0.153 / 0.154, rel=1e-3)
    turn = 2 * np.pi * np.arange(600) / (L - 1)
    rows["tcp"][:, 0], rows["tcp"][:, 1] = 0.1 * np.cos(turn), 0.1 * np.sin(turn)
    assert last(rows, impl)["straight"] == pytest.approx(0, abs=1e-3)


def test_slow_limits_and_saturation(impl: Any) -> None:
    rows = quiet(600)
    rows["twist"][-64:, 2] = 0.1
    rows["q"][-1] = [0, 0, 2.7, 0, 0, -1]  # 0.3 of 6 rad from the limit
    rows["dq"][-128:, 3] = -1.97
    f = last(rows, impl)
    assert f["slow"] == pytest.approx(0.75)
    assert f["limit_dist"] == pytest.approx(0.05)
    assert f["saturated"] == pytest.approx(0.5)
    free = scale()
    free.q_max[2] = np.inf  # a continuous joint has no limit
    assert last(rows, impl, scale_=free)["limit_dist"] == pytest.approx(2 / 6)


def test_windows_at_the_start_hold_what_there_is(impl: Any) -> None:
    rows = quiet(3)
    rows["dq"] = np.array([0.2, 0.4, 0.9])[:, None]
    f = last(rows, impl)
    assert f["dq.mean"] == pytest.approx(0.25)
    assert f["dq.max"] == pytest.approx(0.45)
    assert f["dq.slope"] == pytest.approx(0.35 / (2 * DT))
    assert last(rows[:1], impl)["dq.slope"] == 0


def test_rates_agree_on_the_same_motion(impl: Any) -> None:
    """The same 2 Hz motion gives the same features at every rate, but for sampling."""
    seen = []
    for rate in (250.0, 500.0, 1000.0, 2000.0):
        t = np.arange(int(1.2 * rate)) / rate + 1.2 - int(1.2 * rate) / rate
        rows = quiet(len(t))
        rows["dq"] = np.sin(2 * np.pi * 2 * t)[:, None]
        rows["twist"][:, 0] = 0.3 + 0.2 * np.sin(2 * np.pi * 2 * t)
        f = last(rows, impl, rate)
        seen.append([f[n] for n in ("dq.mean", "dq.rms", "ddq.rms", "jerk.rms", "sparc", "ldlj")])
    np.testing.assert_allclose(seen, np.tile(seen[-1], (4, 1)), rtol=0.05)
