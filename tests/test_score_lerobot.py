"""LeRobotDatasets of versions 2.1 and 3.0."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from score_files import mapping, rows_of
from score_logs import MOTORS, lerobot

from headway.errors import ConfigError, Missing, RecordingError
from headway.tools.score import lerobot_meta, samples
from headway.tools.score.command import score_command
from headway.tools.score.files import episodes_of, open_source, walk
from headway.tools.score.mapping import Channel, Events, Mapping, Outcome, Session, Time
from headway.tools.score.telemetry import Telemetry, telemetry_of

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

ARM = {
    "q": Channel(key="observation.state", names=MOTORS[1::-1]),
    "q_ref": Channel(key="action", names=MOTORS[:2]),
    "width": Channel(key="observation.state", names=["gripper.pos"], scale=0.001),
}
AT_50 = Time(rate_hz=50.0)


def telemetry(path: Path, episode: str, m: Mapping) -> Telemetry:
    return telemetry_of(*open_source(path, m, episode))


@pytest.mark.parametrize("major", [2, 3])
def test_episodes_come_by_name_and_values_by_theirs(tmp_path: Path, major: int) -> None:
    path = lerobot(tmp_path / "set", major)
    assert episodes_of(path) == ["episode_000000", "episode_000001", "episode_000002"]
    m = mapping(
        ARM,
        time=AT_50,
        outcome=Outcome(key="success", success=[True]),
        session=Session(key="operator"),
    )
    for k, n in enumerate((90, 60, 75)):
        got = telemetry(path, f"episode_{k:06d}", m)
        assert got.episode == f"episode_{k:06d}"
        assert (got.n, got.hz, got.success, got.session) == (n, 50.0, k != 1, "ab"[k % 2])
        up = np.linspace(0, 1, n)
        np.testing.assert_allclose(got.rows["q"], up[:, None] * [2.0, 1.0], atol=1e-5)
        np.testing.assert_allclose(got.rows["q_ref"] - got.rows["q"], 0.1, atol=1e-5)
        np.testing.assert_allclose(got.rows["width"], up * 0.06, atol=1e-6)
    with pytest.raises(ConfigError, match="wanted one episode, found 3"):
        rows_of(path, m)


@pytest.mark.parametrize("major", [2, 3])
def test_the_task_and_columns_of_samples_are_words(tmp_path: Path, major: int) -> None:
    note = [None] * 225
    note[120] = "slip"
    path = lerobot(tmp_path / "set", major, note=note)
    m = mapping(
        {"q": Channel(key="observation.state")},
        time=AT_50,
        outcome=Outcome(key="next.done", success=[True]),
        session=Session(key="task"),
        events=Events(text="note", failures=("slip",)),
    )
    got = telemetry(path, "episode_000001", m)
    assert (got.success, got.session) == (True, "task 1")
    assert got.failures == ((pytest.approx(0.6, abs=1e-6), "slip"),)
    assert telemetry(path, "episode_000000", m).failures == ()


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        ({"motors": MOTORS}, tuple(MOTORS)),
        ([MOTORS], tuple(MOTORS)),
        (None, None),
        (["a"], None),
        ({"axes": "xyz"}, None),
    ],
)
def test_names_come_in_several_forms(tmp_path: Path, names: object, labels: object) -> None:
    path = lerobot(tmp_path / "set", names=names)
    source, _ = open_source(path, mapping(ARM, time=AT_50), "episode_000000")
    raw = source.channels({"q": Channel(key="observation.state")})["q"]
    assert raw.labels == labels
    if labels is None:
        with pytest.raises(ConfigError, match="`names` is for"):
            telemetry(path, "episode_000000", mapping(ARM, time=AT_50))


def test_long_episodes_come_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = lerobot(tmp_path / "set", lengths=(7, 10_000, 9), names=None)
    source, _ = open_source(path, mapping(ARM, time=Time()), "episode_000001")
    raw = source.channels({"q": Channel(key="observation.state")})["q"]
    np.testing.assert_allclose(
        raw.samples.read(0, 10_000)[:, 1], np.linspace(0, 2, 10_000), atol=1e-6
    )
    assert samples.BLOCK < 10_000


def test_what_cannot_be_used_is_said(tmp_path: Path) -> None:
    uneven = [[0.0], [1.0, 2.0, 3.0]] * 112 + [[0.0]]  # two values a row on average
    path = lerobot(tmp_path / "set", word=["x"] * 225, hole=[None, *[1.0] * 224], uneven=uneven)
    for channel, says in (
        (Channel(key="observation.stat"), "did you mean `observation.state`"),
        (Channel(key="action", names=["wrist.pos"]), "wanted the name in `action` `wrist.pos`"),
        (Channel(key="word"), "wanted numbers in `word`, found string"),
        (Channel(key="uneven"), "same number of values in every row of `uneven`, found 1 to 3"),
    ):
        with pytest.raises(RecordingError, match=says):
            telemetry(path, "episode_000000", mapping({"q": channel}, time=AT_50))
    hole = mapping({"force_norm": Channel(key="hole")}, time=AT_50)
    assert any(
        "1 of 90 samples are not" in n for n in telemetry(path, "episode_000000", hole).notes
    )
    with pytest.raises(
        RecordingError, match="wanted the episode `episode_7`, found episode_000000"
    ):
        telemetry(path, "episode_7", hole)
    some = mapping(
        {"q": ARM["q"], "width": Channel(key="action", names=["x"], optional=True)}, time=AT_50
    )
    notes = telemetry(path, "episode_000000", some).notes
    assert any("width: no name in `action` `x` in this file" in n for n in notes)


def test_damaged_data_sets_are_refused(tmp_path: Path) -> None:
    m = mapping(ARM, time=AT_50)
    path = lerobot(tmp_path / "cut")
    file = path / "data/chunk-000/file-000.parquet"
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(RecordingError, match=r"file-000.parquet: wanted a Parquet file"):
        telemetry(path, "episode_000000", m)
    file.unlink()
    with pytest.raises(RecordingError, match="found no such file: copy the data set again"):
        telemetry(path, "episode_000000", m)
    other = lerobot(tmp_path / "other", 2)
    with (other / "meta/episodes.jsonl").open("a") as f:
        f.write('{"episode_index": 3, "length": 5}\n')
    with pytest.raises(RecordingError, match="found no such file"):
        telemetry(other, "episode_000003", m)
    with (other / "meta/episodes.jsonl").open("a") as f:
        f.write("{half")
    (other / "meta/info.json").touch()
    with pytest.raises(RecordingError, match="wanted a JSON object a line"):
        episodes_of(other)
    info = json.loads((other / "meta/info.json").read_text()) | {"codebase_version": "v1.6"}
    (other / "meta/info.json").write_text(json.dumps(info))
    with pytest.raises(ConfigError, match=r"of version 2 or 3, found v1.6: convert"):
        episodes_of(other)
    (other / "meta/info.json").write_text("{")
    with pytest.raises(RecordingError, match="wanted JSON"):
        episodes_of(other)


def test_texts_may_hold_odd_line_ends(tmp_path: Path) -> None:
    path = lerobot(tmp_path / "set", 2)
    tasks = path / "meta/tasks.jsonl"
    rows = [{"task_index": i, "task": f"first\u2028then\x85{i}"} for i in range(2)]
    tasks.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows), "utf-8")
    assert lerobot_meta.read(path).tasks[1] == "first\u2028then\x851"


def test_an_episode_without_samples_is_refused(tmp_path: Path) -> None:
    path = lerobot(tmp_path / "set", lengths=(90, 0, 60))
    with pytest.raises(RecordingError, match="wanted samples of episode_000001"):
        telemetry(path, "episode_000001", mapping(ARM, time=AT_50))


def test_without_its_package_the_way_to_get_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = lerobot(tmp_path / "set")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    lerobot_meta._read.cache_clear()
    with pytest.raises(Missing, match=r"LeRobotDatasets want .*pip install 'headway\[logs\]'"):
        episodes_of(path)


def test_a_data_set_is_scored_as_a_whole(tmp_path: Path) -> None:
    """Its folder is not walked into, where Parquet files and what else lies there mean nothing."""
    path = lerobot(tmp_path / "logs" / "set")
    (path / "data" / "stray.csv").write_text("a,b\n")
    assert walk([tmp_path / "logs"]) == ([path], [])
    assert walk([path]) == ([path], [])
    (tmp_path / "map.toml").write_text('[channels.q]\nkey = "observation.state"\n')
    console = Console(record=True, width=160)
    code = score_command(
        [tmp_path / "logs"], tmp_path / "map.toml", None, tmp_path / "out", console=console
    )
    said = console.export_text()
    assert code == 0, said
    assert sorted(p.name for p in (tmp_path / "out").glob("*.npz")) == [
        f"set-episode_{k:06d}.features.npz" for k in range(3)
    ]
