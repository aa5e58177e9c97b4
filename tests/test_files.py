"""Files and folders that are there whole or not at all."""

import os
from pathlib import Path

import pytest

from headway.errors import RecordingError
from headway.files import take_place, whole
from headway.tools.report import page


def test_a_file_appears_when_it_is_complete(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with whole(path) as part:
        part.write_text("new")
        assert path.read_text() == "old"
        assert part.parent == tmp_path
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_what_raises_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write():
        with whole(path) as part:
            part.write_text("half")
            raise error

    with pytest.raises(error):
        write()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_the_longest_name_that_a_folder_takes(tmp_path):
    path = tmp_path / ("é" * 127)
    with whole(path) as part:
        part.write_text("x")
    assert os.listdir(tmp_path) == [path.name]


def test_two_that_write_at_a_time_do_not_meet(tmp_path):
    path = tmp_path / "a.txt"
    with whole(path) as first, whole(path) as second:
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"  # the one that ended last
    assert os.listdir(tmp_path) == ["a.txt"]


def test_nothing_takes_the_place_of_a_device_or_folder(tmp_path):
    """As root, a file could be renamed to /dev/null, and every program would lose it."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path, why in ((pipe, "something else than a plain file"), (tmp_path, "Is a directory")):
        with pytest.raises(OSError, match=why), whole(path):
            raise AssertionError
    assert pipe.is_fifo()
    with pytest.raises(RecordingError, match="something else than a plain file is there"):
        page.save(pipe, "")


def test_a_folder_that_cannot_take_the_place_gives_the_old_one_back(tmp_path, monkeypatch):
    fresh, path, old = (tmp_path / n for n in ("fresh", "path", "old"))
    for folder in (fresh, path):
        folder.mkdir()
        (folder / "name").write_text(folder.name)
    rename = Path.rename

    def failing(self, target):
        if self == fresh:
            raise KeyboardInterrupt
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", failing)
        with pytest.raises(KeyboardInterrupt):
            take_place(fresh, path, old)
    assert sorted(os.listdir(tmp_path)) == ["fresh", "path"]
    assert (path / "name").read_text() == "path"
    take_place(fresh, path, old)
    assert (path / "name").read_text() == "fresh"
    assert (old / "name").read_text() == "path"


@pytest.mark.parametrize("at", ["path", "fresh"])
def test_ctrl_c_between_the_two_renames_costs_no_folder(tmp_path, monkeypatch, at):
    fresh, path, old = (tmp_path / n for n in ("fresh", "path", "old"))
    for folder in (fresh, path):
        folder.mkdir()
        (folder / "name").write_text(folder.name)
    rename = Path.rename

    def interrupted(self, target):
        rename(self, target)
        if self.name == at:
            monkeypatch.undo()
            raise KeyboardInterrupt

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        take_place(fresh, path, old)
    assert (path / "name").read_text() == at  # the old one is back, or the new one is there
