"""`headway score`: numbers that cannot be right are masked, or said beside the plausible ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from score_files import mapping, npz, rows_of

from headway.errors import ConfigError
from headway.tools.score.mapping import Channel, Limits, Time, check, load_mapping
from headway.tools.score.scoring import score_file

AT = Time(key="t", rate_hz=200.0)
POSE = Channel(key="tcp", layout="xyz quat wxyz")
BASE = Channel(key="wrench", frame="base", force="on tool")


def pose(n: int, quat: Any) -> Any:
    return np.hstack([np.full((n, 3), 0.3), np.broadcast_to(quat, (n, 4))])


def test_a_quaternion_of_zeros_masks_what_needs_it(tmp_path: Path) -> None:
    wrench = np.tile([15.0, 0, 0, 0, 0, 0], (400, 1))
    tcp = pose(400, [1.0, 0, 0, 0])
    tcp[100:200, 3:] = 0.0
    path = npz(tmp_path / "a.npz", q=None, wrench=wrench, tcp=tcp)
    got = rows_of(path, mapping({"tcp": POSE, "wrench": BASE}, time=AT))
    unknown = np.isnan(got.rows["wrench"][:, 0])
    assert np.flatnonzero(unknown).tolist() == list(range(100, 200))
    assert (got.rows["wrench"][~unknown, 0] == 15.0).all()
    assert any("100 of 400 samples have a quaternion of zeros" in n for n in got.notes)


def test_quaternions_of_another_length_are_scaled_and_said(tmp_path: Path) -> None:
    path = npz(tmp_path / "a.npz", q=None, wrench=None, tcp=pose(400, [3.0, 0, 0, 0]))
    got = rows_of(path, mapping({"tcp": POSE}, time=AT))
    assert (got.rows["tcp"][:, 3] == 1.0).all()
    assert any("another length than 1, up to 3" in n for n in got.notes)


def test_quaternions_that_change_their_sign_do_not_turn(tmp_path: Path) -> None:
    angle = np.linspace(0, 1, 400)
    quat = np.column_stack([np.cos(angle / 2), 0 * angle, 0 * angle, np.sin(angle / 2)])
    quat[1::2] *= -1
    tcp = np.hstack([np.full((400, 3), 0.3), quat])
    path = npz(tmp_path / "a.npz", q=None, wrench=None, tcp=tcp)
    rows = rows_of(path, mapping({"tcp": POSE})).rows  # ticks of 500 Hz: interpolated
    known = np.isfinite(rows["tcp"][:, 3])
    turn = 2 * np.arctan2(rows["tcp"][known, 6], rows["tcp"][known, 3])
    want = np.interp(rows["t_ns"][known] / 1e9, np.arange(400) / 200, angle)
    np.testing.assert_allclose(turn, want, atol=1e-6)


def test_joints_that_wrap_at_pi_go_on(tmp_path: Path) -> None:
    true = np.linspace(0, 4 * np.pi, 400)[:, None] * np.array([1.0, -0.5])
    wrapped = np.angle(np.exp(1j * true))
    wrapped[150:160] = np.nan
    ref = np.angle(np.exp(1j * (true + 0.01)))
    path = npz(tmp_path / "a.npz", q=wrapped, q_ref=ref, wrench=None)
    got = rows_of(path, mapping({"q": Channel(key="q"), "q_ref": Channel(key="q_ref")}, time=AT))
    known = np.isfinite(got.rows["q"][:, 0])
    assert np.count_nonzero(~known) == 10
    np.testing.assert_allclose(got.rows["q"][known], true[known], atol=1e-9)
    np.testing.assert_allclose((got.rows["q_ref"] - got.rows["q"])[known], 0.01, atol=1e-9)
    assert any("jumps of a whole turn in joint 0, 1" in n for n in got.notes)


@pytest.mark.parametrize(
    ("channel", "array", "says"),
    [
        ({"q": Channel(key="x")}, 90.0 * np.ones((400, 6)), "found 90 rad (2400 values outside)"),
        ({"q": Channel(key="x", unit="deg")}, np.ones((400, 6)), "no angle is above 1 degrees"),
        ({"dq": Channel(key="x")}, 60.0 * np.ones((400, 6)), 'then `unit = "deg/s"`'),
        ({"width": Channel(key="x")}, 85.0 * np.ones(400), 'then `unit = "mm"`'),
        ({"vacuum": Channel(key="x")}, 70.0 * np.ones(400), 'then `unit = "%"`'),
        ({"phase": Channel(key="x")}, 12.0 * np.ones(400), "phases are numbered 0 to 7"),
        ({"phase": Channel(key="x")}, 0.5 * np.ones(400), "400 of 400 values are no whole"),
        ({"operator": Channel(key="x")}, 3.0 * np.ones(400), "a flag is 0 or 1"),
        (
            {"tcp": Channel(key="x", layout="xyz rpy")},
            np.tile([500.0, 0, 0, 0, 0, 0], (400, 1)),
            "plausible is -10 to 10",
        ),
        (
            {"wrench": Channel(key="x", frame="tcp", force="on tool")},
            np.tile([0, 0, 18.0, 0, 0, 0], (400, 1)),
            "|F| is 18 N over the first 0.5 s",
        ),
    ],
)
def test_implausible_numbers_are_said(tmp_path: Path, channel: Any, array: Any, says: str) -> None:
    path = npz(tmp_path / "a.npz", q=None, wrench=None, x=array)
    notes = rows_of(path, mapping(channel, time=AT)).notes
    found = [n for n in notes if n.startswith("check ")]
    assert len(found) == 1
    assert says in found[0]


def test_plausible_numbers_are_not_said(tmp_path: Path) -> None:
    notes = rows_of(npz(tmp_path / "a.npz"), mapping(time=AT)).notes
    assert not [n for n in notes if n.startswith("check ")]


def test_infinity_is_no_measurement(tmp_path: Path) -> None:
    wrench = np.full((400, 6), 0.5)
    wrench[200, 0] = np.inf
    path = npz(tmp_path / "a.npz", wrench=wrench)
    scored = score_file(path, mapping(), None)
    assert scored.summary.force == pytest.approx(0.5 * 3**0.5)
    assert any("1 of 400 samples are not finite" in n for n in scored.notes)
    huge = np.full((400, 6), 0.5)
    huge[200, 0] = 1e9  # beyond what the features take for a measurement
    path = npz(tmp_path / "b.npz", wrench=huge)
    assert score_file(path, mapping(time=AT), None).summary.force == pytest.approx(0.5 * 3**0.5)


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ("[time]\nrate_hz = nan", "time.rate_hz"),
        ("[time]\nhold_s = -1.0", "time.hold_s"),
        ("[time]\nhold_s = nan", "time.hold_s"),
        ("[constants]\nlimit = nan", "constants.limit"),
        ("[constants]\nlimit = inf", "constants.limit"),
        ("[limits]\ndq_max = 0.0", "limits.dq_max"),
        ("[limits]\ndq_max = [1.0, nan]", "limits.dq_max"),
        ("[limits]\ntau_max = -5.0", "limits.tau_max"),
        ("[limits]\nstroke = inf", "limits.stroke"),
        ("[limits]\nv_max = nan", "limits.v_max"),
        ("[limits]\nq_min = 1.0\nq_max = -1.0", "limits.q_min"),
        ("[channels.width]\nkey = 'w'\nscale = 0.0", "channels.width.scale"),
        ("[channels.width]\nkey = 'w'\nscale = nan", "channels.width.scale"),
        ("[channels.width]\nkey = 'w'\noffset = inf", "channels.width.offset"),
        ("[channels.width]\nkey = 'w'\nhold_s = 0.0", "channels.width.hold_s"),
        (
            "[channels.wrench]\nkey = 'w'\nframe = 'tcp'\nforce = 'on tool'\ntare_s = -1.0",
            "channels.wrench.tare_s",
        ),
    ],
)
def test_numbers_of_a_mapping_are_checked(tmp_path: Path, toml: str, says: str) -> None:
    path = tmp_path / "map.toml"
    path.write_text(toml + '\n[channels.q]\nkey = "q"\n')
    with pytest.raises(ConfigError, match=says.replace(".", r"\.")) as e:
        load_mapping(path)
    assert str(path) in str(e.value)


def test_limits_may_be_open(tmp_path: Path) -> None:
    m = mapping(limits=Limits(q_min=-np.inf, q_max=np.inf))
    assert check(m, "map.toml") is m
