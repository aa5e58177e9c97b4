"""Phases, retries and the end of a task from gripper and TCP alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from headway.edge.control.events import EventKind
from headway.edge.control.tasks import Sensed, TaskAbout
from headway.edge.control.tasks._cells import Zone
from headway.edge.control.tasks.pick_place import Config, Phase, make
from headway.errors import ConfigError
from headway.types import ArmState, GripperState, Pose

SOURCE, TARGET = (0.45, -0.17), (0.45, 0.20)
CFG = Config(source=Zone(SOURCE, (0.15, 0.13)), target=Zone(TARGET, (0.11, 0.11)))
DT, STROKE = 0.002, 0.085
HIGH, LOW = 0.3, 0.05


def new_task(happened=lambda *_: None, stroke=STROKE):
    return make(CFG, TaskAbout(0, (), None, stroke, happened))


def sensed(x, y, z, width, width_ref):
    pose = Pose(np.array([x, y, z]), np.array([0.0, 1.0, 0.0, 0.0]))
    still = np.zeros(6)
    state = ArmState(still, still, still, pose, still)
    return Sensed(0, DT, 0.0, state, None, GripperState(width, width_ref, 0.0))


class Robot:
    """A task, and jaws that close at 0.12 m/s onto `item` [m]."""

    def __init__(self, item=0.0):
        self.events = []
        self.task = new_task(self.note)
        self.width = self.width_ref = STROKE
        self.item = item
        self.at = (*SOURCE, HIGH)

    def note(self, kind, text, numbers):
        assert numbers == dict(zip("xyz", self.at, strict=True), width=self.width)
        assert text
        self.events.append(kind)

    def go(self, x, y, z, seconds=0.02):
        self.at = (x, y, z)
        self.run(seconds)
        return self.task.phase

    def grip(self, closed, seconds=1.2):
        self.width_ref = 0.0 if closed else STROKE
        self.run(seconds)
        return self.task.phase

    def run(self, seconds):
        for _ in range(round(seconds / DT)):
            step = 0.12 * DT
            goal = max(self.width_ref, self.item) if self.width_ref < self.width else self.width_ref
            self.width += min(max(goal - self.width, -step), step)
            self.task.step(sensed(*self.at, self.width, self.width_ref))


def test_a_pick_and_place_goes_through_its_phases():
    robot = Robot(item=0.03)
    assert robot.go(*SOURCE, HIGH) == Phase.APPROACH
    assert robot.go(*SOURCE, LOW) == Phase.DESCEND
    assert robot.grip(True, 0.1) == Phase.GRASP
    assert robot.grip(True) == Phase.LIFT
    assert robot.task.holding
    assert robot.go(*SOURCE, HIGH) == Phase.TRANSPORT
    assert robot.go(*TARGET, HIGH) == Phase.PLACE
    assert robot.go(*TARGET, LOW) == Phase.PLACE
    assert robot.grip(False) == Phase.RETREAT
    assert not robot.task.done
    assert robot.go(*TARGET, HIGH) == Phase.RETREAT
    assert robot.task.done
    assert robot.task.retries == 0
    assert robot.events == [EventKind.ITEM_HELD, EventKind.RELEASED_AT_TARGET, EventKind.TASK_DONE]


def test_jaws_that_close_on_nothing_are_a_retry_counted_once():
    robot = Robot(item=0.0)
    robot.go(*SOURCE, LOW)
    assert robot.grip(True, 3.0) == Phase.RECOVER
    assert robot.events == [EventKind.CLOSED_ON_NOTHING]
    assert robot.task.retries == 1
    robot.grip(False)
    assert robot.task.phase == Phase.RECOVER
    assert robot.go(*SOURCE, HIGH) == Phase.APPROACH
    robot.go(*SOURCE, LOW)
    robot.grip(True)
    assert robot.task.retries == 2


def test_an_item_that_slips_out_is_lost():
    robot = Robot(item=0.03)
    robot.go(*SOURCE, LOW)
    robot.grip(True)
    robot.go(*SOURCE, HIGH)
    robot.item = 0.0
    robot.run(1.0)
    assert robot.events == [EventKind.ITEM_HELD, EventKind.ITEM_LOST]
    assert (robot.task.retries, robot.task.phase) == (1, Phase.RECOVER)


def test_an_item_put_down_elsewhere_is_a_retry():
    robot = Robot(item=0.03)
    robot.go(*SOURCE, LOW)
    robot.grip(True)
    robot.go(*SOURCE, HIGH)
    robot.grip(False)
    assert robot.events[-1] == EventKind.RELEASED_ELSEWHERE
    assert robot.task.retries == 1
    assert not robot.task.done


def test_opening_before_anything_was_held_counts_nothing():
    robot = Robot(item=0.03)
    robot.go(*SOURCE, LOW)
    robot.grip(True, 0.05)
    robot.grip(False)
    assert robot.task.retries == 0
    assert robot.events == []


@pytest.mark.parametrize("at", range(5))
def test_a_nan_changes_nothing_and_leaves_nothing_behind(at):
    robot, clean = Robot(item=0.03), Robot(item=0.03)
    for r in (robot, clean):
        r.go(*SOURCE, LOW)
    values = [*SOURCE, LOW, STROKE, STROKE]
    values[at] = float("nan")
    for _ in range(200):
        robot.task.step(sensed(*values))
    for r in (robot, clean):
        r.grip(True)
    assert robot.events == clean.events == [EventKind.ITEM_HELD]
    assert robot.task.phase == clean.task.phase


numbers = st.floats(allow_nan=True, allow_infinity=True)


@given(st.lists(st.tuples(numbers, numbers, numbers, numbers, numbers), max_size=50))
def test_no_input_makes_it_raise_and_retries_never_fall(steps):
    task = new_task()
    before = 0
    for step in steps:
        task.step(sensed(*step))
        assert task.phase in list(Phase)
        assert task.recovering == (task.phase == Phase.RECOVER)
        assert task.retries >= before
        before = task.retries


def test_without_arm_or_gripper_nothing_changes():
    robot = Robot(item=0.03)
    robot.go(*SOURCE, LOW)
    whole = sensed(*SOURCE, HIGH, STROKE, STROKE)
    for missing in ("state", "grip"):
        robot.task.step(structs.replace(whole, **{missing: None}))
        assert robot.task.phase == Phase.DESCEND


def test_it_wants_a_gripper():
    with pytest.raises(ConfigError, match=r'wants a gripper, found no \[gripper\].*"open_ended"'):
        new_task(stroke=None)


def test_what_is_at_the_target_only_the_world_can_tell():
    task = new_task()
    assert (task.outcome, task.goal) == (None, None)
    assert task.phases == tuple(phase.name.lower() for phase in Phase)
