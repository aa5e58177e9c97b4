"""`headway run --operator`: lines that end an episode or are instructions."""

from __future__ import annotations

import os

import pytest
from loop_rig import Rig
from null_robot import null_table, run

from headway.edge.control.events import EventKind
from headway.mcaplog import open_recording
from headway.tools.recorded import events_of
from headway.tools.run.operator import Operator


class Loop:
    """Notes what it is asked."""

    def __init__(self):
        self.asked = []

    def finish(self, success):
        self.asked.append(success)

    def instruct(self, text):
        self.asked.append(text)


@pytest.mark.parametrize(
    ("typed", "asked"),
    [
        (b"done\n", [True]),
        (b" Failed \n\n stop\r\n", [False, None]),
        (b"take the red one\ndone\n", ["take the red one", True]),
        (b"don", []),  # no line yet
        (b"x" * 5000 + b"\n", ["x" * 5000]),
        (b"\xff\xfe\n", ["\ufffd\ufffd"]),
        (b"", []),
    ],
)
def test_every_line_is_a_verdict_or_an_instruction(typed, asked):
    loop = Loop()
    reader, writer = os.pipe()
    os.write(writer, typed)
    os.close(writer)
    Operator(loop).read(reader)
    os.close(reader)
    assert loop.asked == asked


def test_an_input_that_cannot_be_read_ends_the_reading():
    reader, writer = os.pipe()
    os.close(writer)
    os.close(reader)
    loop = Loop()
    Operator(loop).read(reader)
    assert loop.asked == []


def test_a_line_ends_the_episode_that_runs(tmp_path):
    rig = Rig(null_table(), None)
    operator = Operator(rig.loop)
    rig.at_tick(40, lambda: operator.take("wave"))
    rig.at_tick(60, lambda: operator.take("failed"))
    result = rig.run(tmp_path / "e.mcap")
    assert (result.end, result.success, result.ticks) == ("operator", False, 62)
    events = events_of(open_recording(tmp_path / "e.mcap"))
    assert [e.text for e in events if e.kind is EventKind.INSTRUCTION] == ["wave"]


def test_the_run_says_what_may_be_typed(write, tmp_path, capsys):
    path = write(task={"kind": "open_ended", "limit_s": 0.1})
    assert run(path, tmp_path / "out", "--operator", "--episodes", 1) == 0
    assert "operator: a line with `done`" in capsys.readouterr().out
