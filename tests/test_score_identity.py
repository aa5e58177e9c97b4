"""An episode is recognised by the bytes of the files that hold it."""

from __future__ import annotations

from pathlib import Path

import pytest
from score_files import npz
from score_logs import lerobot, robomimic, split

from headway.tools.score.files import episodes_of
from headway.tools.score.identity import files_of, sha256_of


def test_a_copy_is_the_same_and_a_change_is_not(tmp_path: Path) -> None:
    path = npz(tmp_path / "a.npz")
    copy = tmp_path / "b.npz"
    copy.write_bytes(path.read_bytes())
    assert files_of(path) == [path]
    assert sha256_of(path) == sha256_of(copy)
    copy.write_bytes(path.read_bytes() + b"x")
    assert sha256_of(path) != sha256_of(copy)


def test_each_episode_of_a_data_set_is_its_own(tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    pytest.importorskip("pyarrow")
    for path in (
        robomimic(tmp_path / "a.h5"),
        lerobot(tmp_path / "two", 2),
        lerobot(tmp_path / "c"),
    ):
        names = episodes_of(path)
        assert len({sha256_of(path, name) for name in names}) == len(names)
    one, other = lerobot(tmp_path / "d", 2), lerobot(tmp_path / "e", 2, fps=25.0)
    assert sha256_of(one, "episode_000000") != sha256_of(other, "episode_000000")
    file = files_of(one, "episode_000000")
    assert file == [one / "data/chunk-000/episode_000000.parquet"]


def test_a_split_bag_is_all_of_its_files(tmp_path: Path) -> None:
    pytest.importorskip("rosbags.highlevel")
    folder = split(tmp_path / "long")
    before = sha256_of(folder)
    assert [p.name for p in files_of(folder)] == ["long_0.mcap", "long_1.mcap"]
    with (folder / "long_1.mcap").open("ab") as f:
        f.write(b"x")
    assert sha256_of(folder) != before
