"""Bags of ROS 1 and ROS 2, and bags that were split into several files."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from score_files import mapping, npz, rows_of
from score_logs import JOINTS, ros, split

from headway.errors import ConfigError, Missing, RecordingError
from headway.tools.score.command import score_command
from headway.tools.score.files import episodes_of, open_source, walk
from headway.tools.score.mapping import Channel, Events, Mapping, Time

pytest.importorskip("rosbags.highlevel")

KINDS = ("bag", "db3", "mcap")
CHANNELS = {
    "q": Channel(key="position", topic="/joint_states", names=JOINTS),
    "wrench": Channel(key="wrench", topic="/wrench", frame="tcp", force="on tool"),
    "tcp": Channel(key="pose", topic="/pose", layout="xyz quat xyzw"),
}
WORDS = Events(text="data", topic="/status", failures=("slip",))


def bag_map(key: str | None = "header.stamp", **keys: object) -> Mapping:
    return mapping(CHANNELS, time=Time(key=key, rate_hz=100.0), **keys)


def made(tmp_path: Path, kind: str) -> Path:
    return ros(tmp_path / ("a.bag" if kind == "bag" else "a"), kind)


@pytest.mark.parametrize("kind", KINDS)
def test_a_bag_says_what_the_robot_did(tmp_path: Path, kind: str) -> None:
    path = made(tmp_path, kind)
    path = next(path.glob("*.mcap")) if kind == "mcap" else path
    got = rows_of(path, bag_map())
    assert (got.n, got.hz) == (200, 100.0)
    want = np.arange(200)[:, None] * 0.001 + np.arange(3)
    np.testing.assert_allclose(got.rows["q"], want, atol=1e-12)  # in whatever order they came
    np.testing.assert_array_equal(got.rows["wrench"][:, 2], np.arange(200) >= 50)
    np.testing.assert_allclose(got.rows["tcp"][:, 0], np.arange(200) * 1e-4)
    np.testing.assert_array_equal(got.rows["tcp"][:, 3:], [[1.0, 0.0, 0.0, 0.0]] * 200)
    by_log = rows_of(path, bag_map(None, events=WORDS))
    assert by_log.failures == ((pytest.approx(1.2), "slip"),)
    assert by_log.origin_ns - got.origin_ns == 1_000_000


def test_a_file_of_messages_alone_can_be_read(tmp_path: Path) -> None:
    folder = made(tmp_path, "db3")
    assert walk([tmp_path]) == ([folder], [])
    (folder / "metadata.yaml").unlink()
    assert walk([tmp_path]) == ([folder / "a.db3"], [])
    assert rows_of(folder / "a.db3", bag_map()).n == 200


@pytest.mark.parametrize("kind", ["db3", "mcap"])
def test_a_split_bag_is_one_episode(tmp_path: Path, kind: str) -> None:
    folder = split(tmp_path / "long", kind)
    npz(tmp_path / "other.npz")
    assert walk([tmp_path]) == ([folder, tmp_path / "other.npz"], [])
    assert episodes_of(folder) == [""]
    got = rows_of(folder, bag_map())
    assert got.n == 200
    np.testing.assert_allclose(got.rows["q"][:, 0], np.arange(200) * 0.001, atol=1e-12)
    (folder / f"long_0.{kind}").unlink()
    if kind == "db3":
        with pytest.raises(RecordingError, match="Some database files are missing"):
            rows_of(folder, bag_map())
        return
    source, m = open_source(folder, bag_map())
    assert len(source.channels(m.channels)["q"].samples.t) == 100  # the rest is not lost with it
    assert source.odd == 1
    assert "long_0.mcap" in source.notes[0]


def test_a_bag_without_definitions_has_the_usual_types(tmp_path: Path) -> None:
    """As ROS 2 wrote them up to Humble."""
    folder = made(tmp_path, "db3")
    with sqlite3.connect(folder / "a.db3") as db:
        db.execute("DELETE FROM message_definitions")
    db.close()
    assert rows_of(folder, bag_map()).n == 200
    with sqlite3.connect(folder / "a.db3") as db:
        db.execute("UPDATE topics SET type = 'my_msgs/msg/Own' WHERE name = '/wrench'")
    db.close()
    path = folder / "a.db3"
    assert rows_of(path, mapping({"q": CHANNELS["q"]}, time=Time())).joints == 3
    with pytest.raises(
        RecordingError, match="definition of my_msgs/msg/Own, found none in the bag"
    ):
        rows_of(path, bag_map())


@pytest.mark.parametrize("kind", ["bag", "db3"])
def test_what_cannot_be_used_is_said(tmp_path: Path, kind: str) -> None:
    path = made(tmp_path, kind)
    at = Time(key="header.stamp")
    for channel, says in (
        (Channel(key="position", topic="/joint_state"), "did you mean `/joint_states`"),
        (Channel(key="positions", topic="/joint_states"), "did you mean `position`"),
        (Channel(key="effort", topic="/joint_states"), "wanted values in `effort`, found none"),
        (
            Channel(key="position", topic="/joint_states", names=["x"]),
            "wanted values of x, found those of elbow, lift, pan",
        ),
    ):
        with pytest.raises(RecordingError, match=says):
            rows_of(path, mapping({"q": channel}, time=at))
    with pytest.raises(ConfigError, match="wants a key `topic`, one of /joint_states, /wrench"):
        rows_of(path, mapping({"q": Channel(key="position")}, time=at))
    with pytest.raises(ConfigError, match="without --map the channels bear the names"):
        open_source(path, None)


def test_damaged_bags_are_refused(tmp_path: Path) -> None:
    path = made(tmp_path, "bag")
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"not a bag"):
        path.write_bytes(content)
        with pytest.raises(RecordingError, match="wanted a ROS bag, found one that cannot be read"):
            rows_of(path, bag_map())
    folder = ros(tmp_path / "b", "db3")
    (folder / "b.db3").write_bytes((folder / "b.db3").read_bytes()[:5000])
    with pytest.raises(RecordingError, match="wanted a ROS bag"):
        rows_of(folder, bag_map())
    broken = split(tmp_path / "c")
    (broken / "metadata.yaml").write_text("rosbag2_bagfile_information: [ c_0.mcap c_1.mcap ")
    with pytest.raises(RecordingError, match="wanted the metadata of a rosbag2 folder"):
        rows_of(broken, bag_map())


def test_of_a_damaged_bag_what_can_be_read_is_kept(tmp_path: Path) -> None:
    path = ros(tmp_path / "a.bag", n=1000)
    raw = bytearray(path.read_bytes())
    middle = len(raw) // 2
    raw[middle : middle + 2000] = b"\xff" * 2000
    path.write_bytes(raw)
    source, m = open_source(path, bag_map())
    n = len(source.channels(m.channels)["q"].samples.t)
    assert 300 < n < 700
    assert source.odd
    text = next(t for t in source.notes if t.startswith("/joint_states:"))
    assert f"{1000 - n} of 1000 messages cannot be read since the bag is damaged" in text


@pytest.mark.parametrize("kind", ["bag", "db3"])
def test_an_empty_bag_is_refused(tmp_path: Path, kind: str) -> None:
    from rosbags.rosbag1 import Writer as Writer1
    from rosbags.rosbag2 import Writer as Writer2

    path = tmp_path / f"a.{kind}" if kind == "bag" else tmp_path / "a"
    with Writer1(path) if kind == "bag" else Writer2(path, version=8):
        pass
    with pytest.raises(RecordingError, match=str(path)):
        rows_of(path, bag_map())


def test_without_its_package_the_way_to_get_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, folder = made(tmp_path, "bag"), split(tmp_path / "c")
    for module in ("rosbags.highlevel", "ruamel.yaml"):
        monkeypatch.setitem(__import__("sys").modules, module, None)
    for there in (path, folder):
        with pytest.raises(Missing, match=r"pip install 'headway\[logs\]'"):
            rows_of(there, bag_map())


def test_bags_of_both_kinds_are_scored(tmp_path: Path) -> None:
    made(tmp_path, "bag")
    split(tmp_path / "long")
    (tmp_path / "map.toml").write_text(
        '[time]\nkey = "header.stamp"\n[channels.q]\ntopic = "/joint_states"\nkey = "position"\n'
    )
    console = Console(record=True, width=160)
    out = tmp_path / "out"
    assert score_command([tmp_path], tmp_path / "map.toml", None, out, console=console) == 0
    assert sorted(p.name for p in out.glob("*.npz")) == ["a.features.npz", "long.features.npz"]
