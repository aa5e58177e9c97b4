"""Fields of one value from files that have several, and robots that know magnitudes alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from score_files import mapping, npz, rows_of

from headway.errors import ConfigError, RecordingError
from headway.kernels import spec
from headway.tools.score.carried import too_slow
from headway.tools.score.mapping import Channel, Time, load_mapping
from headway.tools.score.scoring import score_file

FORCE = np.random.default_rng(1).normal(0, 3, (400, 3))
PADS = np.random.default_rng(2).random((400, 2)) * 80


def row_of(tmp_path: Path, field: str, c: Channel, **arrays: Any) -> Any:
    path = npz(tmp_path / "a.npz", q=None, wrench=None, **arrays)
    m = mapping({field: c}, time=Time(key="t", rate_hz=200.0))
    return rows_of(path, m).rows[field]


@pytest.mark.parametrize(
    ("how", "want"),
    [
        ("mean", PADS.mean(axis=1)), ("max", PADS.max(axis=1)),
        ("norm", np.linalg.norm(PADS, axis=1)),
    ],
)  # fmt: skip
def test_two_pads_into_one(tmp_path: Path, how: Any, want: Any) -> None:
    two = Channel(key=["left", "right"], scale=0.01, combine=how)
    found = row_of(tmp_path, "touch", two, left=PADS[:, 0], right=PADS[:, 1])
    np.testing.assert_allclose(found, want / 100, rtol=1e-12)


def test_each_value_has_its_own_scale_and_offset(tmp_path: Path) -> None:
    c = Channel(key="pads", scale=[0.01, 0.02], offset=[0.0, -0.1], combine="max")
    found = row_of(tmp_path, "touch", c, pads=PADS)
    np.testing.assert_allclose(found, np.max(PADS * [0.01, 0.02] - [0.0, 0.1], axis=1), rtol=1e-12)


def test_three_components_and_a_unit(tmp_path: Path) -> None:
    raw = np.hstack([FORCE, np.full((400, 1), 9e9)])
    c = Channel(key="f", columns=[0, 1, 2], unit="kN", combine="norm")
    found = row_of(tmp_path, "force_norm", c, f=raw)
    np.testing.assert_allclose(found, 1e3 * np.linalg.norm(FORCE, axis=1), rtol=1e-12)


def test_columns_of_a_table_carry_their_unit(tmp_path: Path) -> None:
    velocity = FORCE[:100]
    lines = ["t [s],vx [mm/s],vy [mm/s],vz [mm/s]"]
    lines += [f"{i / 100},{','.join(map(str, v.tolist()))}" for i, v in enumerate(velocity)]
    path = tmp_path / "a.csv"
    path.write_text("\n".join(lines))
    keys = [f"v{a} [mm/s]" for a in "xyz"]
    m = mapping({"speed": Channel(key=keys, combine="norm")}, time=Time(rate_hz=100.0))
    found = rows_of(path, m).rows["speed"]
    np.testing.assert_allclose(found, np.linalg.norm(velocity, axis=1) / 1e3, rtol=1e-9)


@pytest.mark.parametrize("how", ["mean", "max", "norm"])
def test_what_is_known_in_part_is_unknown(tmp_path: Path, how: Any) -> None:
    pads = PADS.copy()
    pads[100:150, 1], pads[300, 0] = np.nan, np.inf
    found = row_of(tmp_path, "touch", Channel(key="pads", combine=how), pads=pads)
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(found)), [*range(100, 150), 300])


@pytest.mark.parametrize(
    ("field", "how", "says"),
    [
        ("wrench", "norm", r"\[channels.wrench\]: `combine` makes one value of several, wrench"),
        ("q", "mean", "q has more"),
        ("phase", "max", "phase is an index"),
        ("task", "mean", "task is an index"),
        ("clamped", "mean", 'flag or a count wants "max", found "mean"'),
        ("retries", "norm", 'wants "max", found "norm"'),
        ("touch", "sum", "combine"),
    ],
)
def test_what_cannot_be_combined_is_refused(
    tmp_path: Path, field: str, how: str, says: str
) -> None:
    extra = 'frame = "tcp"\nforce = "on tool"\n' if field == "wrench" else ""
    path = tmp_path / "map.toml"
    path.write_text(f'[channels.{field}]\nkey = ["a", "b"]\ncombine = "{how}"\n{extra}')
    with pytest.raises(ConfigError, match=says):
        load_mapping(path)


def test_one_value_is_not_combined_and_several_are_not_guessed(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="`combine` wants several values a sample, found one"):
        row_of(tmp_path, "touch", Channel(key="pad", combine="max"), pad=PADS[:, 0])
    with pytest.raises(RecordingError, match=r"found 2 in .*, or `combine` them"):
        row_of(tmp_path, "touch", Channel(key=["l", "r"]), l=PADS[:, 0], r=PADS[:, 1])


def test_any_of_several_flags(tmp_path: Path) -> None:
    flags = np.zeros((400, 2))
    flags[100:, 0] = flags[200:, 1] = 1.0
    c = Channel(key="stops", combine="max")
    assert row_of(tmp_path, "protective_stop", c, stops=flags).tolist() == flags[:, 0].tolist()


def test_a_robot_that_knows_speeds_alone_is_scored(tmp_path: Path) -> None:
    t = np.arange(400) / 100.0
    speed, spin = np.where(t < 2, 0.25, 0.001), np.abs(np.sin(t))
    path = npz(tmp_path / "a.npz", hz=100.0, q=None, wrench=None, v=speed, w=np.degrees(spin))
    channels = {"speed": Channel(key="v"), "spin": Channel(key="w", unit="deg/s")}
    scored = score_file(path, mapping(channels, time=Time(key="t", rate_hz=100.0)), None)
    known = [name in ("speed", "spin", "clock") for name in spec.MASKS]
    can = np.array(spec.feature_mask(known, 100.0))
    assert not scored.features[:, ~can].any()
    assert scored.feature("v.max").max() == 0.25
    assert scored.feature("w.max").max() == pytest.approx(1.0, abs=1e-3)
    assert scored.feature("slow").max() == 1
    assert scored.feature("sparc").min() < 0
    assert not [n for n in scored.telemetry.notes if n.startswith("check")]


def test_speeds_in_other_units_are_suspected(tmp_path: Path) -> None:
    path = npz(tmp_path / "a.npz", q=None, wrench=None, v=np.full(400, 250.0), w=np.full(400, -1.0))
    found = rows_of(path, mapping({"speed": Channel(key="v"), "spin": Channel(key="w")}))
    checks = [n for n in found.notes if n.startswith("check")]
    assert any("speed: found 250 m/s" in n and "mm/s" in n for n in checks)
    assert any("spin: found -1 rad/s" in n and "a norm is at least 0" in n for n in checks)


def test_a_speed_between_samples_is_never_below_zero(tmp_path: Path) -> None:
    """The norm of a velocity that turns round: a cubic would swing below 0 there."""
    t = np.arange(60) / 30.0
    path = npz(tmp_path / "a.npz", 60, 30.0, q=None, wrench=None, v=np.abs(np.sin(6 * t)))
    rows = rows_of(path, mapping({"speed": Channel(key="v")}, time=Time(key="t", rate_hz=500.0)))
    assert np.nanmin(rows.rows["speed"]) >= 0


def test_the_rate_that_counts_is_that_of_what_the_speed_is_taken_from() -> None:
    """`sparc` wants 50 Hz."""
    assert "sparc" not in too_slow({"speed": 100.0}, 500.0)
    assert too_slow({"speed": 20.0}, 500.0)["sparc"] == ("speed", 50.0)
    assert too_slow({"tcp": 20.0}, 500.0)["sparc"] == ("tcp", 50.0)
    assert too_slow({"tcp": 20.0, "speed": 100.0}, 500.0)["sparc"] == ("tcp", 50.0)
    assert "sparc" not in too_slow({"twist": 100.0, "tcp": 20.0, "speed": 20.0}, 500.0)
