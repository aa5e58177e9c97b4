"""Chunks are looked at whole before they are followed."""

from __future__ import annotations

import numpy as np
import pytest
from loop_rig import Policy, Rig, check_log
from null_robot import null_table

from headway.mcaplog import open_recording


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
