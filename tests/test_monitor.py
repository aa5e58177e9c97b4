"""Phases, retries and the end of a task from gripper and TCP alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.edge.control.events import EventKind
from headway.edge.control.tasks.pick_place import Phase, TaskConfig, TaskMonitor, ZoneConfig

SOURCE, TARGET = (0.45, -0.17), (0.45, 0.20)
CFG = TaskConfig(
    source=ZoneConfig(SOURCE, (0.15, 0.13)), target=ZoneConfig(TARGET, (0.11, 0.11)), limit_s=18.0
)
DT, STROKE = 0.002, 0.085
HIGH, LOW = 0.3, 0.05


class Robot:
    """A monitor with jaws that close at 0.12 m/s onto `item` [m]."""

    def __init__(self, item=0.0):
        self.events = []
        self.monitor = TaskMonitor(CFG, STROKE, self.note)
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
        return self.monitor.phase

    def grip(self, closed, seconds=1.2):
        self.width_ref = 0.0 if closed else STROKE
        self.run(seconds)
        return self.monitor.phase

    def run(self, seconds):
        for _ in range(round(seconds / DT)):
            step = 0.12 * DT
            goal = max(self.width_ref, self.item) if self.width_ref < self.width else self.width_ref
            self.width += min(max(goal - self.width, -step), step)
            self.monitor.step(*self.at, self.width, self.width_ref, DT)


def test_a_pick_and_place_goes_through_its_phases():
    robot = Robot(item=0.03)
    assert robot.go(*SOURCE, HIGH) == Phase.APPROACH
    assert robot.go(*SOURCE, LOW) == Phase.DESCEND
    assert robot.grip(True, 0.1) == Phase.GRASP
    assert robot.grip(True) == Phase.LIFT
    assert robot.monitor.holding
    assert robot.go(*SOURCE, HIGH) == Phase.TRANSPORT
    assert robot.go(*TARGET, HIGH) == Phase.PLACE
    assert robot.go(*TARGET, LOW) == Phase.PLACE
    assert robot.grip(False) == Phase.RETREAT
    assert not robot.monitor.done
    assert robot.go(*TARGET, HIGH) == Phase.RETREAT
    assert robot.monitor.done
    assert robot.monitor.retries == 0
    assert robot.events == [EventKind.ITEM_HELD, EventKind.RELEASED_AT_TARGET, EventKind.TASK_DONE]


def test_jaws_that_close_on_nothing_are_a_retry_counted_once():
    robot = Robot(item=0.0)
    robot.go(*SOURCE, LOW)
    assert robot.grip(True, 3.0) == Phase.RECOVER
    assert robot.events == [EventKind.CLOSED_ON_NOTHING]
    assert robot.monitor.retries == 1
    robot.grip(False)
    assert robot.monitor.phase == Phase.RECOVER
    assert robot.go(*SOURCE, HIGH) == Phase.APPROACH
    robot.go(*SOURCE, LOW)
    robot.grip(True)
    assert robot.monitor.retries == 2


def test_an_item_that_slips_out_is_lost():
    robot = Robot(item=0.03)
    robot.go(*SOURCE, LOW)
    robot.grip(True)
    robot.go(*SOURCE, HIGH)
    robot.item = 0.0
    robot.run(1.0)
    assert robot.events == [EventKind.ITEM_HELD, EventKind.ITEM_LOST]
    assert (robot.monitor.retries, robot.monitor.phase) == (1, Phase.RECOVER)


def test_an_item_put_down_elsewhere_is_a_retry():
    robot = Robot(item=0.03)
    robot.go(*SOURCE, LOW)
    robot.grip(True)
    robot.go(*SOURCE, HIGH)
    robot.grip(False)
    assert robot.events[-1] == EventKind.RELEASED_ELSEWHERE
    assert robot.monitor.retries == 1
    assert not robot.monitor.done


def test_opening_before_anything_was_held_counts_nothing():
    robot = Robot(item=0.03)
    robot.go(*SOURCE, LOW)
    robot.grip(True, 0.05)
    robot.grip(False)
    assert robot.monitor.retries == 0
    assert robot.events == []


@pytest.mark.parametrize("at", range(5))
def test_a_nan_changes_nothing_and_leaves_nothing_behind(at):
    robot, clean = Robot(item=0.03), Robot(item=0.03)
    for r in (robot, clean):
        r.go(*SOURCE, LOW)
    values = [*SOURCE, LOW, STROKE, STROKE]
    values[at] = float("nan")
    for _ in range(200):
        robot.monitor.step(*values, DT)
    for r in (robot, clean):
        r.grip(True)
    assert robot.events == clean.events == [EventKind.ITEM_HELD]
    assert robot.monitor.phase == clean.monitor.phase


numbers = st.floats(allow_nan=True, allow_infinity=True)


@given(st.lists(st.tuples(numbers, numbers, numbers, numbers, numbers), max_size=50))
def test_no_input_makes_it_raise_and_retries_never_fall(steps):
    monitor = TaskMonitor(CFG, STROKE)
    before = 0
    for step in steps:
        assert monitor.step(*step, DT) in Phase
        assert monitor.retries >= before
        before = monitor.retries
