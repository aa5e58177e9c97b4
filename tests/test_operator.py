"""`headway run --operator`: lines that end an episode or are instructions."""

from __future__ import annotations

import os

import pytest
from loop_rig import Policy, Rig
from null_robot import SENTENCES, null_table, run

from headway.edge.control.events import EventKind
from headway.edge.policy.policy import Needs
from headway.mcaplog import open_recording
from headway.tools.recorded import events_of
from headway.tools.run.operator import Operator


class Loop:
    """Notes what it is asked."""

    def __init__(self, why=""):
        self.asked, self.why = [], why

    def finish(self, success):
        self.asked.append(success)
        return self.why

    def instruct(self, text):
        self.asked.append(text)
        return self.why


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
    loop, said = Loop(), []
    reader, writer = os.pipe()
    os.write(writer, typed)
    os.close(writer)
    Operator(loop, said.append).read(reader)
    os.close(reader)
    assert loop.asked == asked
    assert len(said) == len(asked)


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("done", "the episode ends as a success"),
        ("failed", "the episode ends as a failure"),
        ("stop", "the episode ends, without a verdict of yours"),
        ("take the red one", "the instruction is now 'take the red one'"),
    ],
)
def test_every_line_is_answered(line, answer):
    said = []
    Operator(Loop(), said.append).take(line)
    Operator(Loop("it rains"), said.append).take(line)
    assert said == [f"operator: {answer}", "operator: not done: it rains"]


@pytest.mark.parametrize(
    ("policy", "known", "answer"),
    [
        (False, None, "not done: there is no policy to follow it, it is only recorded"),
        (True, None, "the instruction is now 'wave'"),
        (True, SENTENCES, "not done: policy test was not taught 'wave': it knows 'put the red"),
        (True, (), "not done: policy test takes no instruction, found 'wave'"),
    ],
)
def test_whether_an_instruction_is_taken_is_said_at_once(tmp_path, policy, known, answer):
    made = Policy() if policy else None
    if made is not None:
        made.needs = Needs(instructions=known)
    table = null_table()
    if known == ():
        table["instruction"] = ""
    rig, said = Rig(table, made), []
    operator = Operator(rig.loop, said.append)
    operator.take("wave")
    rig.at_tick(40, lambda: operator.take("wave"))
    rig.at_tick(60, lambda: operator.take("stop"))
    assert rig.run(tmp_path / "e.mcap").end == "operator"
    operator.take("stop")
    nothing = "operator: not done: no episode runs at the moment"
    assert said[0] == said[-1] == nothing
    assert said[1].startswith(f"operator: {answer}")
    assert said[2] == "operator: the episode ends, without a verdict of yours"


def test_an_input_that_cannot_be_read_ends_the_reading():
    reader, writer = os.pipe()
    os.close(writer)
    os.close(reader)
    loop = Loop()
    Operator(loop, print).read(reader)
    assert loop.asked == []


def test_a_line_ends_the_episode_that_runs(tmp_path):
    rig = Rig(null_table(), None)
    operator = Operator(rig.loop, print)
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
