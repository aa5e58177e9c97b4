"""`[time] interpolate = false`: at each tick the newest sample, as a robot that runs knows it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pro_logs import MAP, write_log

from headway.errors import ConfigError
from headway.learn.pro import dataset
from headway.tools.score.files import open_source
from headway.tools.score.mapping import load_mapping
from headway.tools.score.telemetry import Telemetry, telemetry_of

CHANNELS = """
[time]
key = "t"
rate_hz = 100.0
{more}
[channels.q]
key = "q"
time = "slow_t"
[channels.force_norm]
key = "f"
time = "slow_t"
[channels.speed]
key = "v"
"""


def slow_file(path: Path, seed: int = 0, changed_from: float = 9.0) -> Path:
    """Two seconds of joints and forces at 10 Hz, at times between the ticks, and of speeds at 100
    Hz. Those from `changed_from` [s] on are other ones."""
    r = np.random.default_rng(seed)
    t, slow = np.arange(0.0, 2.0, 0.01), np.arange(0.003, 2.0, 0.1)
    q, f, v = r.normal(size=(len(slow), 3)), r.uniform(1, 9, len(slow)), r.uniform(0, 1, len(t))
    q[slow >= changed_from] += 5.0
    f[slow >= changed_from] += 50.0
    np.savez(path, t=t, slow_t=slow, q=q, f=f, v=v)
    return path


def telemetry(tmp_path: Path, path: Path, more: str) -> Telemetry:
    file = tmp_path / "map.toml"
    file.write_text(CHANNELS.format(more=more))
    return telemetry_of(*open_source(path, load_mapping(file)))


def test_each_tick_holds_the_newest_sample(tmp_path: Path) -> None:
    path = slow_file(tmp_path / "a.npz")
    made = telemetry(tmp_path, path, "interpolate = false")
    raw, at = np.load(path), made.rows["t_ns"] / 1e9
    newest = np.searchsorted(raw["slow_t"], at + 1e-9, side="right") - 1
    there = newest >= 0
    assert not np.isfinite(made.rows["q"][~there]).any()
    np.testing.assert_array_equal(made.rows["q"][there], raw["q"][newest[there]])
    np.testing.assert_array_equal(made.rows["force_norm"][there], raw["f"][newest[there]])
    assert made.ahead_ms == {}
    assert not any("looks ahead" in n for n in made.notes)
    assert "resampled to 100 Hz, held: q, force_norm" in made.notes


@pytest.mark.parametrize("interpolate", [True, False])
def test_only_interpolation_knows_what_comes_later(tmp_path: Path, interpolate: bool) -> None:
    more = "" if interpolate else "interpolate = false"
    one = telemetry(tmp_path, slow_file(tmp_path / "a.npz"), more).rows
    other = telemetry(tmp_path, slow_file(tmp_path / "b.npz", changed_from=1.0), more).rows
    before = one["t_ns"] < 1_000_000_000
    for name in ("q", "force_norm"):
        same = np.array_equal(one[name][before], other[name][before], equal_nan=True)
        assert same != interpolate


def test_a_channel_that_stops_has_no_value_soon(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    t, slow = np.arange(0.0, 2.0, 0.01), np.delete(np.arange(0.0, 2.0, 0.1), range(8, 14))
    np.savez(path, t=t, slow_t=slow, q=np.ones((len(slow), 3)), f=np.ones(len(slow)), v=t)
    rows = telemetry(tmp_path, path, "interpolate = false").rows
    known = np.isfinite(rows["q"][:, 0])
    at = rows["t_ns"] / 1e9
    assert known[(at <= 0.94) | (at >= 1.41)].all()  # 2.5 periods of 0.1 s after that at 0.7 s
    assert not known[(at > 0.96) & (at < 1.39)].any()


def test_notes_say_of_each_channel_how_far_it_looks_ahead(tmp_path: Path) -> None:
    made = telemetry(tmp_path, slow_file(tmp_path / "a.npz"), "")
    assert made.ahead_ms == pytest.approx({"q": 200.0, "force_norm": 100.0})
    says = "which looks ahead by as much as is said"
    assert f"resampled to 100 Hz, interpolated by cubics, {says}: q (200 ms)" in made.notes
    assert f"resampled to 100 Hz, interpolated linearly, {says}: force_norm (100 ms)" in made.notes


def test_the_notes_of_files_are_said_when_a_head_is_trained(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    write_log(logs / "a.npz", 0, hz=20.0)
    write_log(logs / "b.npz", 1, hz=20.0)
    text = MAP.replace('key = "t"', 'key = "t"\nrate_hz = 100.0')
    file = tmp_path / "map.toml"
    file.write_text(text)
    notes = dataset.logs([logs], load_mapping(file)).notes
    (ahead,) = [n for n in notes if "values look ahead" in n]
    assert "force_norm by up to 50 ms, speed by up to 50 ms" in ahead
    assert "`time.interpolate = false`" in ahead
    assert sum(n.startswith("limits that the mapping does not give, assumed") for n in notes) == 1
    file.write_text(text.replace("rate_hz", "interpolate = false\nrate_hz"))
    assert not any("look ahead" in n for n in dataset.logs([logs], load_mapping(file)).notes)


def test_more_notes_than_anybody_reads_are_counted(tmp_path: Path) -> None:
    for i in range(16):  # each with a rate of its own
        write_log(tmp_path / "logs" / f"{i:02}.npz", i, hz=20.0 + i)
    file = tmp_path / "map.toml"
    file.write_text(MAP)
    notes = dataset.logs([tmp_path / "logs"], load_mapping(file)).notes
    assert len(notes) < 16
    assert any("more notes on single files: `headway score FILE --map`" in n for n in notes)


def test_interpolate_is_true_or_false(tmp_path: Path) -> None:
    file = tmp_path / "map.toml"
    file.write_text(CHANNELS.format(more='interpolate = "newest"'))
    with pytest.raises(ConfigError, match="interpolate"):
        load_mapping(file)
