"""When, where and with what a recording was made, and that nothing else of it depends on that."""

from __future__ import annotations

import platform
import shutil
import subprocess
from datetime import datetime, timedelta

import pytest
from loop_rig import Policy, Rig
from null_robot import null_table
from report_page import Page

import headway
from headway.edge.host import origin
from headway.mcapdiff import first_difference
from headway.mcapfile import RUN
from headway.mcaplog import open_recording
from headway.tools.report import write_report


def test_a_recording_says_when_and_where_it_was_made(tmp_path):
    before = datetime.now().astimezone() - timedelta(milliseconds=1)
    Rig(null_table(), Policy()).run(tmp_path / "e.mcap")
    run = open_recording(tmp_path / "e.mcap").run
    started = datetime.fromisoformat(run["started"])
    assert started.tzinfo is not None
    assert before <= started <= datetime.now().astimezone()
    assert run["host"] == platform.node()
    assert run["headway"] == headway.__version__
    page = Page(write_report(tmp_path / "e.mcap"))
    for value in run.values():
        assert value in page.text
    assert f"{started:%Y-%m-%d %H:%M:%S} UTC" in page.text  # in the head, where there is less room


def test_it_is_the_only_record_that_the_same_seed_does_not_repeat(tmp_path, monkeypatch):
    """On one host not even the bytes around it move; on another one, only those offsets do."""
    a, b, c = (tmp_path / f"{n}.mcap" for n in "abc")
    Rig(null_table(), Policy()).run(a)
    Rig(null_table(), Policy()).run(b)
    x, y = a.read_bytes(), b.read_bytes()
    assert len(x) == len(y)
    at = x.index(RUN.encode())
    differing = [i for i in range(len(x)) if x[i] != y[i]]
    assert differing
    assert all(at < i < at + 300 for i in differing)
    monkeypatch.setattr(origin.platform, "node", lambda: "another-computer-with-a-longer-name")
    origin.place.cache_clear()
    Rig(null_table(), Policy()).run(c)
    origin.place.cache_clear()
    assert len(c.read_bytes()) != len(x)
    for other in (b, c):
        assert first_difference(a, other) == ""
    assert open_recording(c).run["host"] == "another-computer-with-a-longer-name"


def test_a_recording_without_it_has_none(tmp_path):
    from headway.edge.recording.recorder import Recorder
    from headway.edge.recording.schema import Channel

    Recorder(tmp_path / "a.mcap", [Channel("/log", kind="log")], lossless=True).close()
    assert open_recording(tmp_path / "a.mcap").run == {}


def git(*arguments, at):
    subprocess.run(
        ["git", "-c", "user.name=x", "-c", "user.email=x@example.org", *arguments],
        cwd=at, check=True, capture_output=True,
    )  # fmt: skip


def test_the_revision_is_that_of_a_checkout_and_says_when_files_differ(tmp_path, monkeypatch):
    if shutil.which("git") is None:
        pytest.skip("wants git")
    assert origin.revision(tmp_path) == ""  # no checkout
    git("init", "-q", at=tmp_path)
    (tmp_path / "file").write_text("1")
    git("add", ".", at=tmp_path)
    git("commit", "-q", "-m", "x", at=tmp_path)
    found = origin.revision(tmp_path)
    assert len(found) == 40
    git("tag", "v1", at=tmp_path)
    assert origin.revision(tmp_path) == found
    (tmp_path / "file").write_text("2")
    assert origin.revision(tmp_path) == f"{found}-dirty"
    inside = tmp_path / "lib" / "python3"
    inside.mkdir(parents=True)
    assert origin.revision(inside) == ""  # installed into a folder of somebody's repository
    monkeypatch.setenv("PATH", "")
    assert origin.revision(tmp_path) == ""  # no git
