"""Commands outside the arm's limits are counted from the recording alone."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from damage import damage
from loop_rig import Policy, Rig
from null_robot import null_table
from rich.console import Console

from headway.mcaplog import open_recording
from headway.tools.latency.analysis import analyse
from headway.tools.latency.command import latency_command
from headway.tools.latency.limits import commands

HZ = 500.0


class Tampered:
    """A recording whose commands are these."""

    topics = ("/command",)

    def __init__(self, q, limits):
        one = {k: [v] * q.shape[1] for k, v in limits.items()}
        self.metadata = {"limits": json.dumps(one)}
        self._rows = {"sent": q}

    def rows(self, topic):
        return self._rows

    def sequence(self, topic):
        return np.arange(len(self._rows["sent"]))


LIMITS = {"q_min": -1.0, "q_max": 1.0, "dq_max": 1.0, "ddq_max": 10.0, "dddq_max": 1000.0}


def counted(q):
    return commands(Tampered(np.asarray(q, float)[:, None], LIMITS), HZ).outside


def smooth(n=400):
    t = np.arange(n) / HZ
    return 0.2 * (1 - np.cos(2 * t))


def test_what_is_inside_is_inside():
    assert counted(smooth()) == {"position": 0, "velocity": 0, "acceleration": 0, "jerk": 0}


@pytest.mark.parametrize(
    ("change", "broken"),
    [
        (lambda q: q + 2.0, {"position": 400}),
        (lambda q: 3e-3 * np.arange(400) - 0.8, {"velocity": 399, "acceleration": 1, "jerk": 2}),
        (lambda q: np.where(np.arange(400) == 200, np.nan, q), {"position": 1}),
        (lambda q: q + 1e-4 * (np.arange(400) == 200), {"acceleration": 3, "jerk": 4}),
    ],
)  # fmt: skip
def test_what_is_outside_is_counted(change, broken):
    found = counted(change(smooth()))
    for name, n in broken.items():
        assert found[name] == n, (name, found)


def test_a_recording_without_limits_says_nothing(tmp_path):
    rig = Rig(null_table(), Policy())
    rig.run(tmp_path / "e.mcap")
    assert commands(open_recording(tmp_path / "e.mcap"), HZ) is None


def test_a_run_is_inside_and_several_are_summed_up(write, both, tmp_path):
    from null_robot import run

    assert run(write(**both), tmp_path / "o", "--episodes", 2) == 0
    paths = sorted((tmp_path / "o").glob("*.mcap"))
    found = analyse(paths[0])
    assert found.commands.n == 651
    assert set(found.commands.outside.values()) == {0}
    assert all(0 < x < 1.01 for x in found.commands.most.values())
    console = Console(file=io.StringIO(), width=100)
    assert latency_command(paths, console=console) == 0
    text = console.file.getvalue()
    assert text.count("651 commands, none outside the arm's limits") == 2
    assert "2 recordings, 3 s: 1302 ticks" in text
    assert "1302 commands, none outside" in text


def test_what_is_missing_in_a_damaged_recording_is_no_jump_of_the_arm(write, both, tmp_path):
    from null_robot import run

    assert run(write(**both), tmp_path / "o", "--episodes", 1) == 0
    path = damage(tmp_path / "o" / "episode_0.mcap", 1)
    recording = open_recording(path)
    sent, holes = recording.rows("/command")["sent"], np.diff(recording.sequence("/command")) != 1
    assert holes.sum() == 1
    limit = json.loads(recording.metadata["limits"])["dq_max"]
    assert (np.abs(np.diff(sent, axis=0))[holes] * HZ > limit).any()  # across the hole
    console = Console(file=io.StringIO(), width=300)
    assert latency_command([path], console=console) == 1
    text = console.file.getvalue()
    assert f"{len(sent)} commands, none outside the arm's limits" in text
    assert "skipped a damaged chunk" in text


@pytest.mark.parametrize("text", ["x", "[]", '{"q_min": 1}', "short"])
def test_limits_that_cannot_be_cost_only_themselves(tmp_path, text):
    from test_report import record

    if text == "short":
        text = json.dumps({k: [1.0] for k in LIMITS})
    path = record(tmp_path / "e.mcap", 300, more={"limits": text})
    found = analyse(path)
    assert found.commands is None
    (note,) = [n for n in found.notes if "limits" in n]
    assert str(path) in note
    assert "the commands were not checked" in note
    assert found.ticks == 300


def test_a_command_that_is_no_number_hides_no_other():
    q = smooth()
    q[100] = np.nan
    found = commands(Tampered(q[:, None], LIMITS), HZ)
    assert found.outside == {"position": 1, "velocity": 0, "acceleration": 0, "jerk": 0}
    assert all(0.0 < share < 1.0 for share in found.most.values())  # JSON has no NaN
