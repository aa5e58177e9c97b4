"""Labelled episodes from mapped logs."""

from __future__ import annotations

import numpy as np
import pytest
from pro_logs import MAP, write_log, write_logs

from headway.errors import ConfigError, RecordingError
from headway.kernels import spec
from headway.learn.pro import dataset
from headway.tools.score.mapping import load_mapping


def load(tmp_path, text=MAP, **more):
    mapping = tmp_path / "map.toml"
    mapping.write_text(text)
    return dataset.load([tmp_path / "logs"], mapping, **more)


def at(e, t):
    return int(np.abs(e.t - t).argmin())


def test_risk_is_told_around_a_failure_and_unknown_beside_it(tmp_path):
    write_log(tmp_path / "logs/a.npz", 0, bump=4.0)
    (e,) = load(tmp_path)
    assert e.hz == 20.0
    assert e.robot == "bumper"
    assert [f.label for f in e.failures] == ["bump"]
    values = [e.risk[at(e, t)] for t in (1.0, 2.9, 3.8, 4.0, 4.45)]
    np.testing.assert_array_equal(values, [0, 0, 1, 1, 1])
    assert np.isnan(e.risk[at(e, 3.5)])
    assert e.t[-1] == pytest.approx(4.5)  # end_after_s
    assert np.isnan(e.completion).all()
    assert np.isnan(e.unstable).all()
    assert np.isnan(e.time_to_go).all()


def test_risk_is_told_as_early_as_the_mapping_says(tmp_path):
    write_log(tmp_path / "logs/a.npz", 0, bump=6.0)
    (e,) = load(tmp_path, MAP + "before_s = 2.0\n")
    np.testing.assert_array_equal([e.risk[at(e, t)] for t in (3.0, 4.1, 6.2)], [0, 1, 1])
    assert np.isnan(e.risk[at(e, 3.8)])  # 2.5 s before it, it is unknown


def test_an_episode_goes_on_after_a_failure_where_nothing_ends_it(tmp_path):
    write_log(tmp_path / "logs/a.npz", 0, bump=3.0)
    (e,) = load(tmp_path, MAP.replace("end_after_s = 0.5", ""))
    assert e.t[-1] == pytest.approx(7.95)
    assert np.isnan(e.risk[at(e, 4.0)])
    assert e.risk[at(e, 6.0)] == 0


def test_outcomes_teach_completion_and_the_time_to_go(tmp_path):
    text = MAP[: MAP.index("[events]")] + "[outcome]\nkey = 'end'\nsuccess = ['ok']\n"
    write_log(tmp_path / "logs/a.npz", 0, None, end=np.array(["ok"]))
    write_log(tmp_path / "logs/b.npz", 1, None, end=np.array(["lost"]))
    write_log(tmp_path / "logs/c.npz", 2, None, end=np.array([""]))
    good, bad, unknown = load(tmp_path, text)
    assert (good.success, bad.success, unknown.success) == (True, False, None)
    assert (good.completion == 1).all()
    assert (bad.completion == 0).all()
    np.testing.assert_allclose(good.time_to_go, good.t[-1] - good.t, atol=1e-5)
    assert np.isnan(bad.time_to_go).all()
    # An episode that ended badly without a failure in its events failed at its end.
    assert [(f.label, f.t) for f in bad.failures] == [("failure", pytest.approx(7.95))]
    assert bad.risk[-1] == 1
    assert not (bad.risk == 0).any()  # when that began is not known
    assert not (good.risk != 0).any()
    assert np.isnan(unknown.risk).all()
    early = load(tmp_path, text + "[events]\nbefore_s = 2.0\n")[1]
    assert early.risk[at(early, 6.2)] == 1
    assert np.isnan(early.risk[at(early, 5.8)])


def test_retries_teach_instability(tmp_path):
    text = MAP.replace('failures = ["bump"]', 'retries = ["bump"]').replace("end_after_s = 0.5", "")
    write_log(tmp_path / "logs/a.npz", 0, bump=5.0)
    (e,) = load(tmp_path, text)
    assert [e.unstable[at(e, t)] for t in (2.0, 3.5, 5.0, 6.0)] == [0, 1, 1, 0]


def test_what_is_not_there_is_masked_and_what_the_rate_cannot_carry_is_zero(tmp_path):
    write_log(tmp_path / "logs/a.npz", 0)
    (e,) = load(tmp_path)
    assert dataset.known_groups([e]) == ("speed", "force_norm")
    assert e.features[:, spec.INDEX["F.max"]].max() > 5
    assert not e.features[:, spec.INDEX["F.ratio"]].any()  # wants 50 Hz
    assert not e.mask[:, spec.N_GROUPS :].any()


def test_files_of_different_rates_have_steps_of_one(tmp_path):
    write_log(tmp_path / "logs/a.npz", 0, hz=20.0)
    write_log(tmp_path / "logs/b.npz", 1, hz=100.0)
    found = dataset.logs([tmp_path / "logs"], _mapping(tmp_path))
    assert [log.example().hz for log in found.logs] == [20.0, 20.0]
    assert [log.telemetry.hz for log in found.logs] == [20.0, 100.0]
    assert any("may tell files by their rate" in n for n in found.notes)


def _mapping(tmp_path, text=MAP):
    path = tmp_path / "map.toml"
    path.write_text(text)
    return load_mapping(path)


def test_the_mapping_decides_on_the_rate_of_ticks(tmp_path):
    write_log(tmp_path / "logs/a.npz", 0, hz=100.0)
    text = MAP.replace('key = "t"', 'key = "t"\nrate_hz = 80.0')
    (log,) = dataset.logs([tmp_path / "logs"], _mapping(tmp_path, text)).logs
    assert log.telemetry.hz == 80.0
    assert log.hz == 40.0
    with pytest.raises(ConfigError, match="wanted ticks that are a multiple of the head's 30 Hz"):
        dataset.logs([tmp_path / "logs"], _mapping(tmp_path, text), hz=30.0)


def test_a_file_that_cannot_be_read_does_not_cost_the_others(tmp_path):
    write_log(tmp_path / "logs/a.npz", 0)
    (tmp_path / "logs/b.npz").write_bytes(b"nothing")
    write_log(tmp_path / "logs/c.npz", 0, bump=500.0)
    found = dataset.logs([tmp_path / "logs"], _mapping(tmp_path))
    assert [log.name for log in found.logs] == ["a"]
    assert len(found.wrong) == 2
    assert any("wanted events between 0 and" in text for text in found.wrong)


def test_episodes_of_one_name_in_two_folders_are_two(tmp_path):
    write_log(tmp_path / "logs/monday/a.npz", 0)
    write_log(tmp_path / "logs/tuesday/a.npz", 1)
    assert [e.name for e in load(tmp_path)] == ["a", "a (2)"]
    again = {e.sha256 for e in load(tmp_path)}
    assert len(again) == 2


def test_a_mapping_that_tells_nothing_is_refused(tmp_path):
    write_log(tmp_path / "logs/a.npz", 0)
    with pytest.raises(ConfigError, match="wanted a mapping that says how episodes went"):
        load(tmp_path, MAP[: MAP.index("[events]")])


def test_no_file_that_can_be_read(tmp_path):
    with pytest.raises(ConfigError, match="wanted episodes, found none that can be read"):
        dataset.logs([tmp_path / "nowhere.npz"], _mapping(tmp_path))


def test_data_that_shows_one_side_only_is_refused(tmp_path):
    for i in range(3):
        write_log(tmp_path / f"logs/{i}.npz", i, None)
    with pytest.raises(RecordingError, match=r"risk 3 without and 0 with, .*give more recordings"):
        dataset.require_classes(load(tmp_path))


def test_a_channel_of_nan_is_left_out_where_the_mapping_allows_it(tmp_path):
    folder, _ = write_logs(tmp_path / "logs", 3)
    path = folder / "run_0.npz"
    with np.load(path) as data:
        arrays = {k: data[k] for k in data.files}
    arrays["v"] = np.full_like(arrays["v"], np.nan)
    np.savez(path, **arrays)
    found = dataset.logs([folder], _mapping(tmp_path))
    assert len(found.logs) == 2
    assert "run_0.npz: speed: wanted finite values, found none" in found.wrong[0]
    examples = load(tmp_path, MAP.replace('key = "v"', 'key = "v"\noptional = true'))
    assert len(examples) == 3
    assert dataset.known_groups(examples) == ("force_norm",)
    assert np.isfinite(examples[0].features).all()
