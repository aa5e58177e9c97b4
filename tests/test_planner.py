"""Chunks are looked at whole before they are followed."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from loop_rig import Policy, Rig, check_log
from null_robot import null_table

from headway.clock import NS
from headway.edge.control import planner
from headway.edge.control.events import EventKind
from headway.mcaplog import open_recording
from headway.tools.recorded import events_of, result_of


def leaps(actions):
    return actions + np.float32(0.3)


def table_with(check):
    table = null_table()
    table["policy"] = {"bundle": "unused", "chunk_check": check}
    return table


def test_a_chunk_with_something_against_it_is_flagged_once_and_followed(tmp_path):
    rig = Rig(table_with("flag"), Policy(leaps))
    result = rig.run(tmp_path / "e.mcap")
    assert result.end == "time limit"
    assert result.rejected > 50  # the guard has the last word
    rig.check_arm()
    recording = check_log(tmp_path / "e.mcap", "warning: chunk: VELOCITY: waypoint 1:")
    said = [line.text for line in recording.logs("/log") if line.text.startswith("chunk: ")]
    assert len(said) == len(set(said)) < 4
    assert len(recording.rows("/chunk")) == 13


def test_refused_chunks_are_not_followed(tmp_path):
    rig = Rig(table_with("refuse"), Policy(leaps))
    result = rig.run(tmp_path / "e.mcap")
    assert (result.end, result.rejected) == ("fault", 0)
    assert "its chunk was refused: VELOCITY" in result.why
    rig.check_arm()
    rig.check_came_to_rest()
    assert len(open_recording(tmp_path / "e.mcap").rows("/chunk")) == 3


@pytest.mark.parametrize("check", ["off", "flag", "refuse"])
def test_a_chunk_with_nothing_against_it_is_followed(tmp_path, check):
    rig = Rig(table_with(check), Policy())
    result = rig.run(tmp_path / "e.mcap")
    assert (result.end, result.rejected) == ("time limit", 0)
    lines = [line.text for line in open_recording(tmp_path / "e.mcap").logs("/log")]
    assert not [line for line in lines if line.startswith("chunk: ")]


class Slow(Policy):
    """Answers the first observation in time where `first` is set."""

    def __init__(self, first):
        super().__init__()
        self.first = first

    def infer(self, obs):
        begun = self.first_ns is None
        chunk = super().infer(obs)
        if begun and self.first:
            return chunk
        return msgspec.structs.replace(chunk, t0_ns=obs.t_ns - 7 * NS // 10)


@pytest.mark.parametrize("first", [False, True])
def test_a_chunk_that_is_over_when_it_comes_is_said_once(tmp_path, first):
    rig = Rig(null_table(), Slow(first))
    result = rig.run(tmp_path / "e.mcap")
    assert result.end == "fault"
    slow = (
        "the policy is too slow: its chunk came 0.72 s after what it was made from, and lasts 0.6 s"
    )
    before = "the last chunk, of what was seen" if first else "no chunk came in time"
    assert result.why.startswith(before)
    assert result.why.endswith(slow)
    assert result.policy_failed == slow
    events = events_of(open_recording(tmp_path / "e.mcap"))
    assert [e.text for e in events if e.kind is EventKind.POLICY] == [slow]
    rig.check_arm()


def test_a_pose_that_the_arm_cannot_reach_is_said_once(tmp_path):
    rig = Rig(null_table(), Policy(lambda actions: actions + np.float32([0, 0, 5, 0, 0, 0, 0])))
    rig.run(tmp_path / "e.mcap")
    events = events_of(open_recording(tmp_path / "e.mcap"))
    (said,) = [e for e in events if e.subject == "inverse kinematics"]
    assert said.kind is EventKind.CHUNK
    assert said.text.startswith("the arm cannot reach a pose of the policy's chunk: inverse")


def test_how_the_policy_failed_stays_in_the_result(tmp_path):
    """Although it answers again, and the episode goes on."""

    class Blinks(Policy):
        def infer(self, obs):
            since = obs.t_ns - (self.first_ns or obs.t_ns)
            if 3 * NS // 10 <= since < 5 * NS // 10:
                raise RuntimeError("cable")
            return super().infer(obs)

    result = Rig(null_table(), Blinks()).run(tmp_path / "e.mcap")
    assert (result.end, result.why) == ("time limit", "")
    assert result.policy_failed.startswith(
        "the policy failed: RuntimeError: cable (test_planner.py:"
    )
    assert result_of(open_recording(tmp_path / "e.mcap")) == result


def test_what_the_guard_refused_is_counted_by_reason(tmp_path):
    result = Rig(null_table(), Policy(leaps)).run(tmp_path / "e.mcap")
    assert sum(result.refused.values()) == result.rejected > 50
    assert set(result.refused) <= {"VELOCITY", "ACCELERATION", "JERK"}
    assert result.clamped == 0
    assert result_of(open_recording(tmp_path / "e.mcap")) == result


def test_what_chunks_cost_is_known_of_the_newest_and_takes_no_more_memory(tmp_path, monkeypatch):
    """An episode may last for days."""
    monkeypatch.setattr(planner, "COSTS", 5)
    table = null_table()
    table["policy"] = {"bundle": "unused"}
    rig = Rig(table, Policy())
    rig.run(tmp_path / "e.mcap")
    assert len(open_recording(tmp_path / "e.mcap").rows("/chunk")) > 5
    cost_ms = rig.episode.planner.cost_ms
    assert len(cost_ms) == 5
    assert min(cost_ms) > 0.0
