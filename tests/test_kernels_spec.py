"""The feature spec: one list, one hash, one set of constants for Python and C++."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from headway.kernels import spec
from headway.kernels.telemetry import FIELDS, Scale

GENERATE = Path(spec.__file__).resolve().parent / "cpp" / "generate.py"


def test_209_features_in_four_groups_with_unique_names() -> None:
    assert {g: len(f) for g, f in spec.GROUPS.items()} == {
        "motion": 62,
        "force": 86,
        "gripper": 32,
        "status": 29,
    }
    assert len(spec.NAMES) == len(set(spec.NAMES)) == spec.N_FEATURES == 209
    assert [spec.SLICES[g].start for g in spec.SLICES] == [0, 62, 148, 180]
    assert all(f.unit and f.meaning for f in spec.FEATURES)


def test_every_column_of_telemetry_belongs_to_exactly_one_mask() -> None:
    members = [f for fields in spec.MASK_FIELDS.values() for f in fields]
    assert sorted({*members}) == sorted(FIELDS)
    assert {f for f in members if members.count(f) > 1} == {*spec.SPLIT} == {"wrench"}
    assert spec.column_masks("wrench", 6) == ("force",) * 3 + ("torque",) * 3
    assert spec.column_masks("q", 2) == ("q", "q")
    assert len(spec.MASKS) == len({*spec.MASKS}) == spec.N_MASKS == spec.N_GROUPS + 4 == 29


@pytest.mark.parametrize(
    ("rate", "bits"),
    [(10.0, 0), (49.9, 0), (50.0, 1), (125.0, 2), (200.0, 3), (400.0, 4), (4000.0, 4)],
)
def test_a_rate_has_the_bits_of_all_rates_below_it(rate: float, bits: int) -> None:
    assert spec.rate_bits(rate) == (True,) * bits + (False,) * (4 - bits)


def test_what_can_be_had_from_a_magnitude_and_a_pad_at_20_hz() -> None:
    known = ("force_norm", "touch")
    bits = [m in known for m in spec.MASKS]
    can = spec.feature_mask(bits, 20.0)
    names = {n for n, c in zip(spec.NAMES, can, strict=True) if c}
    stats = ("last", "mean", "rms", "max", "slope")
    assert names == {
        *(f"{c}.{s}" for c in ("F", "touch") for s in stats),
        *("contact", "onsets", "onset_age", "peak", "impulse"),
    }
    assert {n for n, c in zip(spec.NAMES, spec.feature_mask(bits, 50.0), strict=True) if c} == {
        *names, "F.ratio", "touch.ratio",
    }  # fmt: skip
    assert all(spec.feature_mask([1.0] * spec.N_MASKS, 400.0))
    no = [1.0] * spec.N_GROUPS + [0.0] * 4  # the rate says, not the bits
    assert spec.feature_mask(no, 500.0) == spec.feature_mask([1.0] * spec.N_MASKS, 500.0)
    with pytest.raises(ValueError, match=r"wanted 29 mask bits .*found 2"):
        spec.feature_mask([1, 1], 20.0)
    with pytest.raises(ValueError, match=r"wanted 10\.\.4000 Hz, found 5"):
        spec.feature_mask(bits, 5.0)


def test_what_can_be_had_from_a_speed_and_a_spin_at_100_hz() -> None:
    bits = [m in ("speed", "spin") for m in spec.MASKS]
    names = {n for n, c in zip(spec.NAMES, spec.feature_mask(bits, 100.0), strict=True) if c}
    assert names == {*(f"{c}.{s}" for c in "vw" for s in spec.STATS6), "slow", "sparc"}


def test_each_feature_states_the_lowest_rate_that_can_carry_it() -> None:
    least = {f.name: f.rate_hz for f in spec.FEATURES}
    wanted = {
        "F.max": 10, "Mz.min": 10, "F.ratio": 50, "ddq.mean": 50, "jerk.ratio": 100, "sparc": 50,
        "hf_share": 100, "dF.last": 200, "band.rms": 400, "centroid": 400, "hold_std": 50,
    }  # fmt: skip
    assert {n: least[n] for n in wanted} == wanted
    assert set(least.values()) == {10.0, *spec.MASK_RATES.values()}


def test_a_scale_is_read_as_it_was_written() -> None:
    """The text is that of recordings that exist, which have to stay readable."""
    text = (
        '{"q_min": [-1.0, -0.1], "q_max": [1.0, 0.1], "dq_max": [2.0, 3.0], "tau_max": [50.0, 9.0],'
        ' "q_tol": 0.02, "v_max": 1.0, "stroke": 0.1, "force_max": 40.0}'
    )
    found = Scale.from_json(text, "test")
    assert found.tau_max.tolist() == [50.0, 9.0]
    assert found.stroke == 0.1
    assert found.to_json() == text


def test_features_need_only_masks_that_exist() -> None:
    used = {m for f in spec.FEATURES for m in f.needs}
    assert used == set(spec.MASKS)
    assert all(set(f.needs) & set(spec.MASK_FIELDS) for f in spec.FEATURES)


def test_hash_follows_every_constant(monkeypatch: pytest.MonkeyPatch) -> None:
    before = spec.spec_hash.__wrapped__()
    assert before == spec.spec_hash()
    assert len(before) == 64
    for name, value in spec.CONSTANTS.items():
        with monkeypatch.context() as m:
            m.setitem(spec.CONSTANTS, name, value * 1.5 + 1)
            assert spec.spec_hash.__wrapped__() != before, name


def test_windows_scale_with_the_rate() -> None:
    w = spec.windows(500.0)
    assert (w.short, w.long, w.diff, w.diff_force, w.band) == (64, 256, 5, 3, (50.0, 200.0))
    w = spec.windows(1000.0)
    assert (w.short, w.long, w.diff, w.diff_force, w.band) == (128, 512, 10, 5, (50.0, 400.0))
    w = spec.windows(125.0)
    assert (w.short, w.long, w.diff, w.diff_force, w.band) == (16, 64, 1, 1, (25.0, 50.0))


@pytest.mark.parametrize("rate", [125.0, 200.0, 500.0, 1000.0, 2000.0])
def test_band_pass_passes_its_band_and_no_constant(rate: float) -> None:
    w = spec.windows(rate)
    taps = np.array(w.taps)
    np.testing.assert_array_almost_equal(taps, taps[::-1])

    def gain(hz: float) -> float:
        return abs(np.sum(taps * np.exp(-2j * np.pi * hz / rate * np.arange(len(taps)))))

    lo, hi = w.band
    assert gain(0.0) < 1e-12
    # 66 ms of taps are only nine at 125 Hz: the flanks meet
    assert gain((lo + hi) / 2) == pytest.approx(1.0, abs=0.3 if rate < 200 else 0.15)
    assert gain(lo * 0.1) < 0.1


def test_header_is_written_by_a_bare_interpreter_and_has_every_constant(tmp_path: Path) -> None:
    out = tmp_path / "spec.hpp"
    subprocess.run([sys.executable, "-I", "-S", str(GENERATE), str(out)], check=True)
    text = out.read_text()
    assert spec.spec_hash() in text
    for name, value in spec.CONSTANTS.items():
        assert f"constexpr double {name} = {value!r};" in text
    for name in spec.NAMES:
        assert f"f_{name.replace('.', '_')}" in text
