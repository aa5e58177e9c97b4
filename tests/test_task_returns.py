"""Phases, retries and the end of handling returned goods, from gripper, TCP and station alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from headway.edge.control.events import RETRIES, EventKind
from headway.edge.control.tasks import MOST_PHASES, Sensed, TaskAbout
from headway.edge.control.tasks._cells import Zone
from headway.edge.control.tasks.returns import PHASES, Config, Phase, make
from headway.errors import ConfigError
from headway.types import ArmState, GripperState, OrderState, Pose

BIN, SCAN, BLUE, YELLOW = (0.5, 0.0), (0.28, 0.0), (0.45, 0.3), (0.45, -0.3)
CFG = Config(
    source=Zone(BIN, (0.16, 0.15)), scan=Zone(SCAN, (0.06, 0.06)),
    blue=Zone(BLUE, (0.11, 0.11)), yellow=Zone(YELLOW, (0.11, 0.11)),
)  # fmt: skip
DT, STROKE = 0.008, 0.085
HIGH, SHOWN, LOW = 0.3, 0.22, 0.05
SCAN_IT, PUT_IT, NEXT = "scan the red part", "put it into the blue tote", "scan the grey bag"


class Robot:
    """A task, jaws that close at 0.12 m/s onto `item` [m], and what the station says."""

    def __init__(self, item=0.02, order=True):
        self.events, self.item = [], item
        self.order = OrderState(0, 2, SCAN_IT, 0.0, 0.0, 0.0) if order else None
        about = TaskAbout(0, (), None, STROKE, lambda kind, *_: self.events.append(kind))
        self.task = make(CFG, about)
        self.width = self.width_ref = STROKE
        self.at = (*BIN, HIGH)

    def go(self, place, z, seconds=0.05):
        self.at = (*place, z)
        return self.run(seconds)

    def grip(self, closed, seconds=1.2):
        self.width_ref = 0.0 if closed else STROKE
        return self.run(seconds)

    def say(self, **changes):
        self.order = replace(self.order, **changes)
        return self.run(0.05)

    def run(self, seconds):
        for _ in range(round(seconds / DT)):
            step = 0.12 * DT
            goal = max(self.width_ref, self.item) if self.width_ref < self.width else self.width_ref
            self.width += min(max(goal - self.width, -step), step)
            self.task.step(sensed(*self.at, self.width, self.width_ref, self.order))
        return self.task.phase

    def pick(self):
        self.go(BIN, LOW)
        self.grip(True)
        return self.go(BIN, HIGH)


def sensed(x, y, z, width, width_ref, order=None):
    pose, still = Pose(np.array([x, y, z]), np.array([0.0, 1.0, 0.0, 0.0])), np.zeros(6)
    state = ArmState(still, still, still, pose, still)
    return Sensed(
        0, DT, 0.0, state, None, GripperState(width, width_ref, 0.0), order=order
    )  # fmt: skip


def test_a_line_goes_through_its_phases_and_the_order_ends_the_task():
    robot = Robot()
    assert robot.go(BIN, HIGH) == Phase.APPROACH
    assert robot.task.instruction == SCAN_IT
    assert robot.go(BIN, LOW) == Phase.DESCEND
    assert robot.grip(True, 0.1) == Phase.GRASP
    assert robot.grip(True) == Phase.LIFT
    assert robot.go(BIN, HIGH) == Phase.TRANSPORT
    assert robot.go(SCAN, SHOWN) == Phase.PRESENT
    assert not robot.task.read
    assert robot.say(instruction=PUT_IT, barcode=1.0) == Phase.TRANSPORT
    assert (robot.task.read, robot.task.instruction) == (True, PUT_IT)
    assert robot.go(BLUE, LOW) == Phase.TRANSPORT
    assert robot.grip(False) == Phase.RETREAT
    assert robot.go(BLUE, HIGH) == Phase.RETREAT  # until the station closes the line
    assert robot.say(line=1, instruction=NEXT, barcode=0.0) == Phase.APPROACH
    assert (robot.task.read, robot.task.done) == (False, False)
    robot.say(line=2, instruction="")
    assert robot.task.done
    assert robot.task.instruction is None  # nothing new is asked of the policy
    assert robot.task.retries == 0
    assert robot.events == [
        EventKind.ITEM_HELD, EventKind.RELEASED_AT_TARGET, EventKind.TASK_DONE,
    ]  # fmt: skip


def test_a_line_without_an_instruction_counts_as_read_only_once_it_was_read():
    robot = Robot()
    robot.say(instruction="")
    robot.order = replace(robot.order)  # the station's next sample says the same
    robot.run(DT)
    robot.order = replace(robot.order)
    robot.run(DT)
    assert robot.task.instruction is None
    assert not robot.task.read
    robot.say(barcode=1.0)
    assert robot.task.read


def test_what_is_not_read_has_to_be_taken_away_and_shown_again():
    robot = Robot()
    robot.pick()
    assert robot.go(SCAN, SHOWN, CFG.unread_s - 0.1) == Phase.PRESENT
    assert robot.run(0.2) == Phase.RECOVER
    assert robot.events[-1] == EventKind.NOT_READ
    assert robot.task.recovering
    assert robot.run(3.0) == Phase.RECOVER  # waiting on does not help
    assert robot.task.retries == 1
    assert robot.go(SCAN, 0.33) == Phase.TRANSPORT
    assert robot.go(SCAN, SHOWN) == Phase.PRESENT
    assert robot.say(barcode=1.0) == Phase.TRANSPORT  # it was read, whatever is asked next


def test_what_is_put_down_and_not_confirmed_is_a_retry():
    robot = Robot()
    robot.pick()
    robot.say(instruction=PUT_IT)
    robot.go(BLUE, LOW)
    assert robot.grip(False, 0.5) == Phase.RETREAT
    robot.go(BLUE, HIGH, CFG.unconfirmed_s)
    assert robot.events[-1] == EventKind.NOT_CONFIRMED
    assert robot.task.phase == Phase.APPROACH
    assert robot.task.retries == 1


def test_a_weight_that_does_not_fit_is_a_retry_counted_once():
    robot = Robot()
    robot.run(0.1)
    robot.say(mismatch=True)
    robot.say(place=1.0)
    assert robot.task.retries == 1
    robot.say(mismatch=False)
    robot.say(mismatch=True)
    assert robot.task.retries == 2


@pytest.mark.parametrize(
    ("item", "then", "kind"),
    [
        (0.0, "nothing", EventKind.CLOSED_ON_NOTHING),
        (0.02, "slips", EventKind.ITEM_LOST),
        (0.02, "opens", EventKind.RELEASED_ELSEWHERE),
    ],
)
def test_a_failed_pick_is_a_retry_from_which_it_recovers(item, then, kind):
    robot = Robot(item)
    robot.pick()
    if then == "slips":
        robot.item = 0.0
        robot.run(1.0)
    elif then == "opens":
        robot.go(SCAN, 0.1)
        robot.grip(False, 0.1)
    assert robot.events[-1] == kind
    assert kind in RETRIES
    assert (robot.task.retries, robot.task.phase) == (1, Phase.RECOVER)
    robot.grip(False)
    robot.go(BIN, LOW)
    robot.item = 0.02
    assert robot.go(BIN, HIGH) == Phase.APPROACH
    robot.pick()
    assert robot.task.holding


def test_without_a_station_one_item_is_put_down_and_that_is_all():
    robot = Robot(order=False)
    robot.pick()
    assert robot.go(SCAN, SHOWN, 5.0) == Phase.TRANSPORT  # nobody could read it
    robot.go(YELLOW, LOW)
    assert robot.grip(False) == Phase.RETREAT
    assert not robot.task.done
    robot.go(YELLOW, HIGH)
    assert robot.task.done
    assert robot.events[-1] == EventKind.TASK_DONE


def test_without_arm_or_gripper_only_the_station_is_heard():
    robot = Robot()
    robot.go(BIN, LOW)
    whole = sensed(*BIN, HIGH, STROKE, STROKE, robot.order)
    for missing in ("state", "grip"):
        robot.task.step(structs.replace(whole, **{missing: None}))
        assert robot.task.phase == Phase.DESCEND
    assert robot.task.instruction == SCAN_IT


numbers = st.floats(allow_nan=True, allow_infinity=True)
orders = st.none() | st.builds(
    OrderState, st.integers(0, 3), st.just(3), st.sampled_from((SCAN_IT, PUT_IT, "")),
    numbers, numbers, numbers, st.booleans(),
)  # fmt: skip


@given(st.lists(st.tuples(numbers, numbers, numbers, numbers, numbers, orders), max_size=40))
def test_no_input_makes_it_raise_and_retries_never_fall(steps):
    task = make(CFG, TaskAbout(0, (), None, STROKE, lambda *_: None))
    before = 0
    for step in steps:
        task.step(sensed(*step))
        assert 0 <= task.phase < len(PHASES) <= MOST_PHASES
        assert task.recovering == (task.phase == Phase.RECOVER)
        assert task.retries >= before
        before = task.retries


def test_it_wants_a_gripper():
    with pytest.raises(ConfigError, match=r'wants a gripper, found no \[gripper\].*"open_ended"'):
        make(CFG, TaskAbout(0, (), None, None, lambda *_: None))
