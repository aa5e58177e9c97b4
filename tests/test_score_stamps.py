"""Stamps that are not those of the samples: the motion stays what it was, or is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mcap.writer import Writer
from score_files import mapping
from score_motion import SECONDS, motion, motion_map

from headway.errors import ConfigError, HeadwayError, RecordingError
from headway.tools.score.mapping import Channel, Phase, Time
from headway.tools.score.scoring import Scored, score_file

LEFT_OUT = ("dq", "twist", "tau_ext", "width", "width_ref", "grip_force")
JERK, SPEED = 0.055, 0.35  # the motion itself: jerk.max 0.0495, v.max 0.31 of `v_max`


def regular(hz: float = 500.0) -> Any:
    return np.arange(round(SECONDS * hz)) / hz


def scored(path: Path, true: Any, stamps: Any, **keys: Any) -> Scored:
    """The motion at the times `true`, written with `stamps`."""
    fields = {k: v for k, v in motion(true).items() if k not in LEFT_OUT}
    np.savez(path, t=stamps, **fields)
    return score_file(path, motion_map(LEFT_OUT, **keys), None)


def check_smooth(found: Scored, onsets: int = 2, jerk: float = JERK) -> None:
    assert found.feature("jerk.max")[30:].max() < jerk
    assert found.feature("v.max")[30:].max() < SPEED
    assert found.summary.onsets == onsets
    assert found.summary.force == pytest.approx(24.3, rel=0.02)


def test_the_motion_itself(tmp_path: Path) -> None:
    check_smooth(scored(tmp_path / "a.npz", regular(), regular()))


def test_stamps_that_jitter_around_regular_samples(tmp_path: Path) -> None:
    t = regular()
    stamps = t + np.random.default_rng(0).uniform(-0.0009, 0.0009, len(t))
    found = scored(tmp_path / "a.npz", t, stamps)
    check_smooth(found)
    notes = " | ".join(found.notes)
    assert "stamps jitter" in notes
    assert "missing" not in notes
    assert found.telemetry.rates["q"] == 500.0


def test_samples_that_really_come_at_uneven_times_keep_them(tmp_path: Path) -> None:
    t = regular()
    t = t + np.random.default_rng(0).uniform(-0.0009, 0.0009, len(t))
    found = scored(tmp_path / "a.npz", t, t)
    check_smooth(found)
    assert not any("stamps jitter" in n for n in found.notes)


@pytest.mark.parametrize(("hz", "resolution"), [(60.0, 0.01), (333.0, 0.001)])
def test_stamps_rounded_to_a_grid_near_the_period(
    tmp_path: Path, hz: float, resolution: float
) -> None:
    t = regular(hz)
    found = scored(tmp_path / "a.npz", t, np.round(t / resolution) * resolution)
    assert found.feature("v.max")[30:].max() < SPEED
    itself = scored(tmp_path / "b.npz", regular(), regular())
    largest = itself.feature("ddq.max")[30:].max()
    assert found.feature("ddq.max")[30:].max() < 1.1 * largest
    assert any("taken as regular" in n for n in found.notes)


def test_samples_written_in_bursts(tmp_path: Path) -> None:
    t = regular()
    stamps = np.floor(t * 20) / 20 + (np.arange(len(t)) % 25) * 1e-5
    found = scored(tmp_path / "a.npz", t, stamps)
    assert found.telemetry.rates["q"] == pytest.approx(500.0, rel=0.01)
    assert any("come in bursts" in n for n in found.notes)
    assert found.feature("v.max")[30:-5].max() < SPEED
    assert found.feature("jerk.max")[30:-5].max() < 3 * JERK


@pytest.mark.parametrize("hz", [750.0, 1000.0, 1024.0, 1600.0, 2000.0, 8000.0])
def test_more_samples_than_ticks(tmp_path: Path, hz: float) -> None:
    check_smooth(scored(tmp_path / "a.npz", regular(hz), regular(hz)))


@pytest.mark.parametrize("ticks", [100.0, 250.0, 333.3])
def test_ticks_slower_than_the_samples(tmp_path: Path, ticks: float) -> None:
    found = scored(tmp_path / "a.npz", regular(), regular(), time=Time(key="t", rate_hz=ticks))
    check_smooth(found)


def lost(t: Any, kind: str) -> Any:
    """Which samples are there."""
    keep = np.ones(len(t), np.bool_)
    if kind == "hole":
        keep[1200:1300] = False
    elif kind == "every second":
        keep[len(t) // 2 :: 2] = False
    else:
        keep &= np.random.default_rng(1).random(len(t)) > 0.2
    return keep


@pytest.mark.parametrize("kind", ["hole", "every second", "at random"])
def test_lost_samples_are_no_jerk(tmp_path: Path, kind: str) -> None:
    t = regular()
    t = t[lost(t, kind)]
    found = scored(tmp_path / "a.npz", t, t)
    assert found.feature("jerk.max")[30:].max() < 3 * JERK
    assert found.feature("v.max")[30:].max() < SPEED
    assert any("samples are missing" in n for n in found.notes)


def test_a_pause_is_no_jerk(tmp_path: Path) -> None:
    t = regular()
    found = scored(tmp_path / "a.npz", t, np.where(t > 3, t + 20.0, t))
    assert found.feature("jerk.max")[30:].max() < JERK


@pytest.mark.parametrize("back", [0.02, 0.5, 3600.0])
def test_a_clock_that_was_set_back_is_refused(tmp_path: Path, back: float) -> None:
    t = regular()
    with pytest.raises(RecordingError, match="cut it where its clock was set"):
        scored(tmp_path / "a.npz", t, np.where(t > 3, t - back, t))


@pytest.mark.parametrize(
    ("places", "value"),
    [([0], 0.0), ([7], 2e9), ([700], 9e8), ([2999], 4e9), ([1, 5, 9, 50, 800, 2000], 0.0)],
)
def test_a_few_stamps_that_cannot_be_cost_their_samples(
    tmp_path: Path, places: list[int], value: float
) -> None:
    stamps = 1.7e9 + regular()
    stamps[places] = value
    found = scored(tmp_path / "a.npz", regular(), stamps)
    check_smooth(found, jerk=0.06)
    assert found.odd == len(places)
    notes = " | ".join(found.notes)
    assert f"{len(places)} of 3000 samples have a time far from all others" in notes
    assert f"at sample {places[0]}" in notes


def test_a_leap_names_its_place(tmp_path: Path) -> None:
    t = regular()
    with pytest.raises(ConfigError, match=r"behind sample 1500: .* or cut the file there") as e:
        scored(tmp_path / "a.npz", t, np.where(t > 3, t + 864_000.0, t))
    assert "864000" in str(e.value)


def test_seconds_with_fractions_beside_nanoseconds_are_refused(tmp_path: Path) -> None:
    t = 1.7e9 + regular(100.0)
    path = tmp_path / "a.csv"
    lines = ["t,ns,q", *(f"{x:.2f},{round(x % 1 * 1e9)},0.1" for x in t)]
    path.write_text("\n".join(lines) + "\n")
    m = mapping({"q": Channel(key="q")}, time=Time(key=["t", "ns"]))
    with pytest.raises(ConfigError, match="wanted whole seconds in `t` beside the nanoseconds"):
        score_file(path, m, None)


def test_a_slow_channel_with_blanks_between_is_on_its_own_times(tmp_path: Path) -> None:
    t = regular()
    fields = motion(t)
    blank = np.arange(len(t)) % 4 != 0
    q, tcp = fields["q"].copy(), fields["tcp"].copy()
    q[blank] = tcp[blank] = np.nan
    np.savez(tmp_path / "a.npz", t=t, q=q, tcp=tcp, wrench=fields["wrench"])
    found = score_file(tmp_path / "a.npz", motion_map(LEFT_OUT), None)
    assert found.telemetry.rates == {"q": 125.0, "tcp": 125.0, "wrench": 500.0}
    check_smooth(found)
    assert found.feature("dq.max")[30:].max() > 0.3


def joint_file(path: Path, messages: list[dict[str, Any]], lost: int | None = None) -> Path:
    with path.open("wb") as f:
        w = Writer(f)
        w.start()
        channel = w.register_channel("/j", "json", w.register_schema("J", "jsonschema", b"{}"))
        for i, data in enumerate(messages):
            t = 10**18 + i * 5_000_000
            if i == lost:
                continue
            w.add_message(channel, t, json.dumps(data).encode(), t)
        w.finish()
    return path


def known(found: Scored) -> Any:
    q = found.telemetry.rows["q"]
    return q[np.isfinite(q).all(axis=1)]


J = Channel(key="v", topic="/j")
FORCE = Channel(key="w", topic="/j", frame="tcp", force="on tool")


def test_one_lost_message_is_missing_and_no_jitter(tmp_path: Path) -> None:
    messages = [{"v": [i * 0.001], "w": [0.1] * 6} for i in range(200)]
    path = joint_file(tmp_path / "a.mcap", messages, lost=120)
    found = score_file(path, mapping({"q": J, "wrench": FORCE}, time=Time()), None)
    notes = " | ".join(found.notes)
    assert "1 of 200 samples are missing at 200 Hz, the longest gap 0.010 s at 0.595 s" in notes
    assert "jitter" not in notes
    speed = found.telemetry.rows["q"][:, 0]
    assert np.diff(speed[np.isfinite(speed)]).max() == pytest.approx(0.001, rel=0.01)


def test_names_that_vanish_are_refused_or_left_out(tmp_path: Path) -> None:
    named = {"name": ["a", "b"], "v": [0.1, 0.2]}
    bare = {"name": [], "v": [0.2, 0.1]}
    half = joint_file(tmp_path / "a.mcap", [named] * 100 + [bare] * 100)
    with pytest.raises(RecordingError, match="found none in 100 of 200: nobody can tell whose"):
        score_file(half, mapping({"q": J}, time=Time()), None)
    few = joint_file(tmp_path / "b.mcap", [named] * 195 + [bare] * 5)
    found = score_file(few, mapping({"q": J}, time=Time()), None)
    np.testing.assert_allclose(known(found), np.tile([0.1, 0.2], (len(known(found)), 1)))
    assert any("5 messages without names left out" in n for n in found.notes)
    late = joint_file(tmp_path / "c.mcap", [bare] * 100 + [named] * 100)
    with pytest.raises(RecordingError, match="found the first in message 101"):
        score_file(late, mapping({"q": J}, time=Time()), None)


@pytest.mark.parametrize("bad", ["soon", float("nan"), None])
def test_times_in_messages_that_are_none_are_refused(tmp_path: Path, bad: Any) -> None:
    path = joint_file(tmp_path / "a.mcap", [{"v": [i * 0.001], "begun": [bad]} for i in range(200)])
    m = mapping({"q": J}, time=Time(), phase=Phase(starts="begun", topic="/j"))
    with pytest.raises(RecordingError, match="/j: wanted times as numbers at `begun`, found"):
        score_file(path, m, None)


def test_joints_in_two_messages_are_put_together(tmp_path: Path) -> None:
    parts = [{"name": ["a", "b"], "v": [0.1, 0.2]}, {"name": ["c"], "v": [0.3]}]
    path = joint_file(tmp_path / "a.mcap", parts * 100)
    with pytest.raises(RecordingError, match=r"by `names = \[...\]`"):
        score_file(path, mapping({"q": J}, time=Time()), None)
    whole = Channel(key="v", topic="/j", names=["c", "a", "b"])
    found = score_file(path, mapping({"q": whole}, time=Time()), None)
    np.testing.assert_allclose(known(found), np.tile([0.3, 0.1, 0.2], (len(known(found)), 1)))
    assert found.telemetry.rates["q"] == 100.0
    assert any("put together from 200 messages" in n for n in found.notes)


@pytest.mark.parametrize(
    ("channel", "time", "says"),
    [
        ({"where": {"a": 1}}, {}, "`where` chooses messages"),
        ({"schema": "x"}, {}, "`schema` chooses messages"),
        ({"publisher": 3}, {}, "`publisher` chooses messages"),
        ({"topic": "/x"}, {}, "`topic` chooses messages"),
        ({}, {"key": ["t", "t"], "unit": "ms"}, "`time.unit` is for one column"),
    ],
)
def test_what_a_table_cannot_act_on_is_refused(
    tmp_path: Path, channel: Any, time: Any, says: str
) -> None:
    np.savez(tmp_path / "a.npz", t=np.arange(100), q=np.zeros(100))
    m = mapping({"q": Channel(key="q", **channel)}, time=Time(**({"key": "t"} | time)))
    with pytest.raises(ConfigError, match=says):
        score_file(tmp_path / "a.npz", m, None)


def test_what_a_bag_cannot_act_on_is_refused(tmp_path: Path) -> None:
    stamp = {"sec": 1, "nanosec": 0}
    path = joint_file(tmp_path / "a.mcap", [{"v": [0.1], "stamp": stamp}] * 50)
    for time in (Time(unit="ms"), Time(key="stamp", unit="ms")):
        with pytest.raises(HeadwayError, match=r"`time.unit` is for"):
            score_file(path, mapping({"q": J}, time=time), None)


def test_degrees_in_roll_pitch_yaw_are_said(tmp_path: Path) -> None:
    pose = np.hstack([np.full((400, 3), 0.3), np.linspace(-170, 170, 400)[:, None] * np.ones(3)])
    np.savez(tmp_path / "a.npz", t=np.arange(400) / 200, tcp=pose)
    m = mapping({"tcp": Channel(key="tcp", layout="xyz rpy")})
    notes = " | ".join(score_file(tmp_path / "a.npz", m, None).notes)
    assert "check tcp: found" in notes
    assert 'degrees? then `unit = ["m", "deg"]`' in notes
