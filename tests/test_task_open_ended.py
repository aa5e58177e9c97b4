"""A task without zones: what ends it, and what it says about its goal."""

from __future__ import annotations

import math

import numpy as np
import pytest
from loop_rig import Policy, Rig, check_log
from null_robot import null_table, run

from headway.edge.control import tasks
from headway.edge.control.events import EventKind
from headway.edge.control.tasks import Sensed, TaskAbout
from headway.edge.control.tasks.open_ended import draw, rpy_to_quat
from headway.mcaplog import open_recording
from headway.tools.recorded import events_of, result_of
from headway.types import ArmState, Pose

AT = {"x": 0.5, "y": 0.1, "z": 0.3}
TURNED = {"roll": 0.1, "pitch": 0.2, "yaw": [-3.0, 3.0]}
DT = 0.002


class Robot:
    """The task that `[task]` describes, and an arm that is put somewhere."""

    def __init__(self, seed=0, **table):
        self.events, self.elapsed = [], 0.0
        about = TaskAbout(seed, (), None, None, self.happened)
        self.task = tasks.decode({"kind": "open_ended", **table}, "[task]").make(about)

    def happened(self, kind, text, numbers):
        assert text
        self.events.append((kind, numbers))

    @property
    def kinds(self):
        return [kind for kind, _ in self.events]

    def at(self, pos, quat=(1.0, 0.0, 0.0, 0.0), seconds=DT, **flags):
        still = np.zeros(6)
        state = None
        if pos is not None:
            state = ArmState(still, still, still, Pose(np.array(pos), np.array(quat)), still)
        for _ in range(round(seconds / DT)):
            self.task.step(Sensed(0, DT, self.elapsed, state, None, None, **flags))
            self.elapsed += DT


def test_without_a_goal_there_is_nothing_to_judge():
    robot = Robot()
    robot.at((0.1, 0.2, 0.3), seconds=0.1)
    robot.at(None)
    task = robot.task
    assert (task.done, task.outcome, task.goal, task.numbers) == (False, None, None, {})
    assert robot.events == []


def test_the_policy_ends_it():
    robot = Robot()
    robot.at((0.1, 0.2, 0.3), ended=True)
    robot.at((0.1, 0.2, 0.3), ended=True)
    assert robot.task.done
    assert robot.task.outcome is None
    assert robot.kinds == [EventKind.TASK_DONE]


def test_a_goal_that_the_policy_ends_short_of_is_missed():
    robot = Robot(goal=AT)
    robot.at((0.5, 0.1, 0.4), ended=True)
    assert (robot.task.done, robot.task.outcome) == (True, False)
    assert robot.task.numbers == {"distance_m": pytest.approx(0.1)}


def test_a_goal_is_reached_when_the_tcp_stays_there():
    robot = Robot(goal=AT, within_m=0.02, hold_s=0.1)
    assert robot.events == [(EventKind.GOAL, AT)]
    assert robot.task.outcome is False
    robot.at((0.5, 0.1, 0.33))
    assert robot.task.phase == 0
    robot.at((0.5, 0.1, 0.315), seconds=0.09)
    assert robot.task.phase == 1
    robot.at(None)  # not known: the time there begins anew
    robot.at((0.5, 0.1, 0.315), seconds=0.1)
    assert not robot.task.done
    robot.at((0.5, 0.1, 0.315))
    assert (robot.task.done, robot.task.outcome) == (True, True)
    assert robot.kinds == [EventKind.GOAL, EventKind.GOAL_REACHED, EventKind.TASK_DONE]
    assert robot.events[1][1] == {"distance_m": pytest.approx(0.015)}


def test_a_goal_that_does_not_end_it_is_reached_once():
    robot = Robot(goal=AT, end_at_goal=False)
    robot.at((0.5, 0.1, 0.3))
    robot.at((0.5, 0.1, 0.6))
    robot.at((0.5, 0.1, 0.3))
    assert (robot.task.done, robot.task.outcome) == (False, True)
    assert robot.kinds == [EventKind.GOAL, EventKind.GOAL_REACHED]


@pytest.mark.parametrize(("turn", "near"), [(0.04, True), (-0.06, False), (math.pi, False)])
def test_the_orientation_counts_where_the_goal_has_one(turn, near):
    robot = Robot(goal=AT | {"roll": 0.0, "pitch": 0.0, "yaw": 0.5}, within_rad=0.05)
    robot.at(tuple(AT.values()), rpy_to_quat(0.0, 0.0, 0.5 + turn))
    assert robot.task.done == near
    assert robot.task.numbers["angle_rad"] == pytest.approx(abs(turn), abs=1e-6)
    half = math.cos(0.25), 0.0, 0.0, math.sin(0.25)
    np.testing.assert_allclose(robot.task.goal.quat, half)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_quaternion_and_its_negative_are_one_orientation(sign):
    robot = Robot(goal=AT | {"roll": 3.0, "pitch": 0.0, "yaw": 0.0})
    robot.at(tuple(AT.values()), sign * rpy_to_quat(3.0, 0.0, 0.0))
    assert robot.task.done


@pytest.mark.parametrize(
    ("pos", "quat"),
    [
        ((math.nan, 0.1, 0.3), (1.0, 0.0, 0.0, 0.0)),
        ((0.5, 0.1, 0.3), (math.nan, 0.0, 0.0, 0.0)),
        ((0.5, 0.1, 0.3), (0.0, 0.0, 0.0, 0.0)),
        ((0.5, 0.1, 0.3), (9.0, 0.0, 0.0, 0.0)),
    ],
)
def test_a_pose_that_is_none_reaches_nothing(pos, quat):
    robot = Robot(goal=AT | {"roll": 0.0, "pitch": 0.0, "yaw": 0.0})
    robot.at(pos, quat)
    assert not robot.task.done
    assert (robot.task.phase, robot.task.outcome) == (0, False)


def test_only_the_position_matters_without_an_orientation():
    robot = Robot(goal=AT)
    assert np.isnan(robot.task.goal.quat).all()
    robot.at(tuple(AT.values()), (0.0, 1.0, 0.0, 0.0))
    assert robot.task.outcome is True


def test_roll_pitch_and_yaw_are_those_of_urdf():
    """R = Rz(yaw) Ry(pitch) Rx(roll), from its half-angle formula."""
    roll, pitch, yaw = 0.3, -0.7, 2.1
    (cr, sr), (cp, sp), (cy, sy) = ((math.cos(a / 2), math.sin(a / 2)) for a in (roll, pitch, yaw))
    want = (
        cr * cp * cy + sr * sp * sy, sr * cp * cy - cr * sp * sy,
        cr * sp * cy + sr * cp * sy, cr * cp * sy - sr * sp * cy,
    )  # fmt: skip
    np.testing.assert_allclose(rpy_to_quat(roll, pitch, yaw), want, atol=1e-12)


def test_ranges_are_drawn_from_the_seed_alone():
    ranges = {"x": [0.35, 0.65], "y": [-0.2, 0.2], "z": 0.3, **TURNED}
    goals = [Robot(seed, goal=ranges).events[0][1] for seed in range(200)]
    assert goals[7] == Robot(7, goal=ranges).events[0][1]
    for key, low, high in (("x", 0.35, 0.65), ("y", -0.2, 0.2), ("yaw", -3.0, 3.0)):
        drawn = [goal[key] for goal in goals]
        assert low <= min(drawn) < low + 0.1 * (high - low)
        assert high >= max(drawn) > high - 0.1 * (high - low)
    assert {(goal["z"], goal["roll"], goal["pitch"]) for goal in goals} == {(0.3, 0.1, 0.2)}
    cfg = tasks.decode({"kind": "open_ended", "goal": ranges | {"x": 0.5}}, "").cfg
    assert draw(cfg.goal, 7) == goals[7] | {"x": 0.5}  # a fixed value leaves the others alone


def bare(**task):
    """A robot without F/T sensor, gripper and camera."""
    table = null_table(task={"kind": "open_ended", "limit_s": 0.3, **task}, instruction="go")
    table["guard"]["require_wrench"] = False
    for section in ("ft", "gripper", "camera"):
        del table[section]
    return table


class Bare(Policy):
    """Needs nothing but the arm."""

    cameras, state_names = (), ("tcp.x", "tcp.z")


def here(table):
    """The goal at which the null arm begins."""
    with (rig := Rig(table, None)).station:
        pos = rig.station.arm.latest(10**9).value.tcp.pos
    return dict(zip("xyz", pos.tolist(), strict=True))


def test_an_arm_alone_runs_until_its_time_is_up(tmp_path):
    rig = Rig(bare(), Bare())
    result = rig.run(tmp_path / "e.mcap")
    assert (result.end, result.success, result.numbers) == ("time limit", None, {})
    assert rig.station.stroke is None
    recording = open_recording(tmp_path / "e.mcap")
    facts = {k: recording.metadata[k] for k in ("task", "task_kind", "phases")}
    assert facts == {
        "task": "open_ended", "task_kind": "open_ended", "phases": '["act", "at_goal"]'
    }  # fmt: skip
    assert np.isnan(recording.rows("/telemetry")["task"]).all()


def test_an_episode_ends_at_its_goal(tmp_path):
    goal = here(bare())
    rig = Rig(bare(goal=goal, hold_s=0.1, name="stay"), None)
    result = rig.run(tmp_path / "e.mcap")
    assert (result.end, result.success, result.ticks) == ("done", True, 51)
    assert result.numbers == {"distance_m": pytest.approx(0.0, abs=1e-6)}
    recording = check_log(tmp_path / "e.mcap", "goal: x", "goal reached", end="done")
    assert result_of(recording) == result
    assert [e.kind for e in events_of(recording)] == [
        EventKind.GOAL, EventKind.GOAL_REACHED, EventKind.TASK_DONE
    ]  # fmt: skip
    assert recording.metadata["task"] == "stay"
    assert set(recording.rows("/telemetry")["phase"]) == {1.0}


def test_the_summary_says_how_far_from_the_goal_the_episodes_ended(write, tmp_path, capsys):
    goal = here(bare())
    goal["z"] += 0.25
    task = {"kind": "open_ended", "limit_s": 0.02, "goal": goal}
    path = write(task=task)
    assert run(path, tmp_path / "out", "--episodes", 3) == 0
    said = capsys.readouterr().out
    assert "success 0/3" in said
    assert said.count("distance_m 0.25") == 3
    assert "distance_m at the end of 3 episodes: least 0.25, median 0.25, largest 0.25" in said


@pytest.mark.parametrize("said", [True, False, None])
def test_an_operator_ends_the_episode(tmp_path, said):
    rig = Rig(bare(), None)
    rig.at_tick(50, lambda: rig.loop.finish(said))
    result = rig.run(tmp_path / "e.mcap")
    assert (result.end, result.success, result.ticks) == ("operator", said, 52)
    assert rig.calls[-1] == "stop"
    assert rig.run(tmp_path / "next.mcap").end == "time limit"  # it ends one episode alone


@pytest.mark.parametrize(("said", "want"), [(None, False), (True, True)])
def test_the_verdict_of_an_operator_counts_before_that_of_the_task(tmp_path, said, want):
    far = here(bare())
    far["z"] += 0.3
    rig = Rig(bare(goal=far), None)
    rig.at_tick(50, lambda: rig.loop.finish(said))
    assert rig.run(tmp_path / "e.mcap").success is want


def test_what_is_asked_between_episodes_is_not_kept(tmp_path):
    rig = Rig(bare(), None)
    rig.loop.finish(True)
    rig.loop.instruct("wave")
    assert rig.run(tmp_path / "e.mcap").end == "time limit"
    assert events_of(open_recording(tmp_path / "e.mcap")) == []
