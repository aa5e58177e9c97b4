"""Force and torque features against closed forms and scipy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from kernels_rows import IMPLS, last, quiet
from scipy import stats

pytestmark = pytest.mark.parametrize("impl", IMPLS)
DT, L = 0.002, 256
T = np.arange(600) * DT


def test_norms_and_signed_fz(impl: Any) -> None:
    rows = quiet(600)
    rows["wrench"] = [3, 4, -12, 1, 2, 2]
    f = last(rows, impl)
    assert (f["F.mean"], f["M.max"], f["Fz.last"], f["Fxy.rms"]) == pytest.approx((13, 3, -12, 5))
    assert f["lateral"] == pytest.approx(5 / 12.5)
    still = [f[n] for n in ("band.max", "dF.max", "centroid", "hf_ratio", "kurt_fz", "skew_fx")]
    assert still == pytest.approx([0] * 6, abs=1e-12)


def test_force_step_shows_once_in_df(impl: Any) -> None:
    rows = quiet(600)
    rows["wrench"][-100:, 0] = 6.0
    f = last(rows, impl)
    assert f["dF.max"] == pytest.approx(6.0 * 0.005 / (3 * DT))  # k = 3 ticks
    assert f["dF.mean"] == pytest.approx(3 * f["dF.max"] / L, rel=1e-5)


def test_power_is_frame_right(impl: Any) -> None:
    """A force along the tool's z, the tool turned by 90 deg about x: base -y."""
    rows = quiet(300)
    rows["tcp"][:, 3:5] = np.sqrt(0.5)
    rows["wrench"][:, 2], rows["wrench"][:, 4] = 10.0, 2.0  # Fz -> -y; My -> z
    rows["twist"][:] = [7, -0.3, 5, 9, 9, 0.5]
    f = last(rows, impl)
    assert f["power.last"] == pytest.approx(10 * 0.3 + 2 * 0.5)
    rows["tcp"][:, 3:] *= 3.0  # not normalised: same turn
    assert last(rows, impl)["power.last"] == pytest.approx(4.0)


@pytest.mark.parametrize(("hz", "gain"), [(100.0, 1.0), (4.0, 0.0), (240.0, 0.0)])
def test_band_pass_amplitude(impl: Any, hz: float, gain: float) -> None:
    rows = quiet(600)
    rows["wrench"][:, 1] = 20 + 3 * np.sin(2 * np.pi * hz * T + 0.3)
    f = last(rows, impl)
    assert f["band.rms"] == pytest.approx(gain * 3 / np.sqrt(2), abs=0.08)


def test_moments_agree_with_scipy(impl: Any) -> None:
    rows = quiet(600)
    r = np.random.default_rng(2)
    rows["wrench"][:, 0] = 30 * r.exponential(size=600)
    rows["wrench"][:, 1] = -20 * r.exponential(size=600) ** 2
    rows["wrench"][:, 2] = 50 * r.standard_t(4, size=600)
    f = last(rows, impl)
    w = rows["wrench"][-L:]
    assert f["skew_fx"] == pytest.approx(stats.skew(w[:, 0]), rel=1e-4)
    assert f["skew_fy"] == pytest.approx(stats.skew(w[:, 1]), rel=1e-4)
    assert f["kurt_fz"] == pytest.approx(stats.kurtosis(w[:, 2]), rel=1e-4)


@pytest.mark.parametrize("k", [6, 26, 60])
def test_centroid_of_a_tone_is_its_frequency(impl: Any, k: int) -> None:
    rows = quiet(600)
    hz = k * 500 / L
    rows["wrench"][:, 2] = 10 + 2 * np.cos(2 * np.pi * hz * T)
    f = last(rows, impl)
    assert f["centroid"] == pytest.approx(hz, rel=1e-3)
    assert f["hf_ratio"] == pytest.approx(float(50 < hz < 200), abs=1e-3)


def test_contact_has_hysteresis(impl: Any) -> None:
    rows = quiet(600)
    force = rows["wrench"][:, 2]
    force[450:] = 2.9
    assert last(rows, impl)["contact"] == 0
    force[460] = 3.0
    assert last(rows, impl)["contact"] == 1
    force[470:] = 1.6
    assert last(rows, impl)["contact"] == 1
    force[480:] = 1.5
    f = last(rows, impl)
    assert (f["contact"], f["onsets"]) == (0, 1)
    assert f["onset_age"] == pytest.approx((599 - 460) * DT / 10)
    assert last(quiet(600), impl)["onset_age"] == 1


def test_onsets_in_the_window_and_what_followed_the_last(impl: Any) -> None:
    rows = quiet(1000)
    force = rows["wrench"][:, 0]
    for start in (300, 800, 900):
        force[start : start + 50] = -20.0
    force[910] = -35.0
    rows["twist"][900:920, 0], rows["twist"][920:, 0] = 0.1, -0.2
    f = last(rows, impl)
    assert f["onsets"] == 2
    assert f["peak"] == pytest.approx(35)
    assert f["impulse"] == pytest.approx((49 * 20 + 35) * DT)
    assert f["work_neg"] == pytest.approx((19 * 20 + 35) * 0.1 * DT)
    assert f["work_pos"] == pytest.approx(30 * 20 * 0.2 * DT)


def test_load_change_since_lift(impl: Any) -> None:
    rows = quiet(1400)
    rows["width"], rows["width_ref"] = 0.04, 0.08
    rows["width_ref"][100:] = 0.0  # closes on an object, settles 0.2 s later
    rows["tcp"][:, 2] = np.clip(np.arange(1400) - 400, 0, 200) * 5e-4
    rows["wrench"][:, 2] = 8.0
    rows["wrench"][800:, 2] = 5.0  # something slipped out; 1.2 s are 12 time constants
    f = last(rows, impl)
    assert f["load_change"] == pytest.approx(-3.0, abs=1e-3)
    assert last(rows[:700], impl)["load_change"] == pytest.approx(0, abs=1e-5)
