"""What does not fit in a run is found before anything moves, or noted."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from null_robot import make_pro, null_table, run

from headway import config
from headway.clock import VirtualClock
from headway.edge.control.build import Built
from headway.edge.control.settings import Settings
from headway.edge.control.station import Station
from headway.errors import ConfigError, SpecMismatch

POLICY = """
class Still:
    cameras = ()
    state_names = {state}
    actions = {actions}

    def infer(self, obs):
        return [[0.0] * {width}] * 4
"""
FREE = {"workspace_min": [-1, -1, 0], "workspace_max": [1, 1, 1.2], "require_wrench": False}
FREE |= {"force_max": 80.0, "torque_max": 15.0}
GOAL = {"kind": "open_ended", "limit_s": 0.1, "goal": {"x": 0.4, "y": 0.0, "z": 0.4}}


def still(folder: Path, state: tuple[str, ...] = (), grip: bool = False) -> dict[str, Any]:
    """The section of a policy in Python that wants `state`, with a column `grip` or without."""
    names = ["x", "y", "z", "rx", "ry", "rz", *(["grip"] if grip else [])]
    actions = {"names": names, "chunk": 4, "dt_s": 0.1}
    text = POLICY.format(state=state, actions=actions, width=len(names))
    (folder / "still.py").write_text(text)
    return {"kind": "python", "target": "still:Still", "folder": str(folder)}


def notes(table: dict[str, Any]) -> list[str]:
    """The notes of a run of `table` that is ready to begin."""
    clock = VirtualClock(1)
    with Station(config.decode(table, Settings, "test"), clock) as station:
        made = Built(station.settings, station, clock)
        made.close()
        return made.notes


def without(table: dict[str, Any], *sections: str) -> dict[str, Any]:
    return {k: v for k, v in table.items() if k not in sections}


def test_a_guard_that_wants_a_wrench_wants_a_sensor():
    says = re.escape("found no [ft]: set require_wrench = false in [guard], or add [ft]")
    with pytest.raises(ConfigError, match=says):
        notes(without(null_table(), "ft"))
    notes(without(null_table(guard=FREE), "ft"))


@pytest.mark.parametrize(
    ("name", "section", "says"),
    [
        ("wrench.fz", "ft", "there is no [ft]: add it"),
        ("gripper.width", "gripper", "there is no [gripper]: add it"),
        ("pro.risk", "pro", "there is no [pro]: add it"),
        ("goal.x", "goal", "the task has no goal: add `goal` to [task]"),
    ],
)
def test_a_state_that_a_run_can_never_give_is_refused(tmp_path, name, section, says):
    pro = {"bundle": str(make_pro(tmp_path / "pro")), "features": "numpy"}
    policy = still(tmp_path, ("tcp.x", name))
    whole = null_table(guard=FREE, pro=pro, task=GOAL, policy=policy, instruction="go")
    notes(whole)
    lacking = without(whole, section)
    if section == "goal":
        lacking["task"] = {"kind": "open_ended", "limit_s": 0.1}
    with pytest.raises(SpecMismatch, match=re.escape(f"wants the state {name}, and {says}")):
        notes(lacking)


def test_a_grip_without_a_gripper_is_said(tmp_path):
    table = null_table(policy=still(tmp_path, grip=True))
    text = "policy Still commands a grip, and there is no [gripper]: its grip is ignored"
    assert text not in notes(table)
    assert text in notes(without(table, "gripper"))
    assert text not in notes(without(null_table(policy=still(tmp_path)), "gripper"))


def test_a_run_without_a_policy_is_said(tmp_path):
    text = "there is no [policy]: the arm holds where it is"
    assert text in notes(null_table())
    assert text not in notes(null_table(policy=still(tmp_path)))


def test_an_arm_that_starts_outside_the_workspace_is_said():
    assert not [n for n in notes(null_table()) if "workspace" in n]
    low = FREE | {"workspace_max": [1, 1, 0.1], "workspace_margin": 0.01}
    (note,) = [n for n in notes(null_table(guard=low)) if "workspace" in n]
    assert note.startswith("the arm starts with its TCP at z = 0.")
    assert "outside the guard's workspace of 0.01 to 0.09 m" in note


def test_what_a_robot_model_lacks_is_said(write, tmp_path, capsys):
    limit = '<limit lower="-2" upper="2" velocity="2" effort="50"/>'
    joint = f'<joint name="j" type="revolute"><parent link="a"/><child link="b"/>{limit}</joint>'
    urdf = tmp_path / "lean.urdf"
    urdf.write_text(f'<robot name="lean"><link name="a"/><link name="b"/>{joint}</robot>')
    task = {"kind": "open_ended", "limit_s": 0.05}
    path = write(arm={"kind": "null", "model": str(urdf)}, task=task)
    assert run(path, tmp_path / "out", "--episodes", 1) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "robot lean: " in said
    assert "acceleration: not given; full speed in 0.25 s is taken" in said
