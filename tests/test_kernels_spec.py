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


def test_176_features_in_four_groups_with_unique_names() -> None:
    assert {g: len(f) for g, f in spec.GROUPS.items()} == {
        "motion": 56,
        "force": 56,
        "gripper": 32,
        "status": 32,
    }
    assert len(spec.NAMES) == len(set(spec.NAMES)) == spec.N_FEATURES == 176
    assert [spec.SLICES[g].start for g in spec.SLICES] == [0, 56, 112, 144]
    assert all(f.unit and f.meaning for f in spec.FEATURES)


def test_every_telemetry_field_belongs_to_exactly_one_mask() -> None:
    members = [f for fields in spec.MASK_FIELDS.values() for f in fields]
    assert sorted(members) == sorted(FIELDS)


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
    assert [f.name for f in spec.FEATURES if not f.needs] == ["spare_0", "spare_1", "spare_2"]


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
