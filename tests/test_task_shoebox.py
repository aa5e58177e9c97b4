"""Phases, retries and the end of opening boxes, from force, jaws, TCP and the station."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shoebox_rig import FIN, HINGE_X, ORDER, PAD, RADIUS, STROKE, Robot

from headway.drivers import Asked
from headway.edge.control.events import RETRIES, EventKind
from headway.edge.control.tasks.shoebox import Config, Phase, check
from headway.errors import ConfigError
from headway.types import GripperState, OrderState


def test_a_box_goes_through_its_phases():
    robot = Robot()
    assert robot.grip(True) == Phase.APPROACH
    assert robot.press(4.0, clicks=False) == Phase.PRESS
    assert robot.press(12.0) == Phase.REACH
    assert robot.leave() == Phase.REACH
    assert robot.grip(False) == Phase.REACH
    robot.go(HINGE_X - math.sqrt(RADIUS**2 - 0.02**2), 0.0, 0.10)
    robot.fin = 0.008
    assert robot.grip(True, 0.1) == Phase.GRIP
    assert robot.grip(True) == Phase.LIFT
    assert robot.lift(1.7) == Phase.LIFT
    assert robot.grip(False) == Phase.RELEASE
    assert not robot.task.recovering
    assert robot.task.retries == 0
    assert robot.events == [
        EventKind.CLICKED, EventKind.ITEM_HELD, EventKind.RELEASED_AT_TARGET,
    ]  # fmt: skip
    robot.order = OrderState(1, 2, "open the blue box")
    assert robot.wait(0.1) == Phase.APPROACH
    assert robot.task.instruction == "open the blue box"
    robot.order = OrderState(2, 2, "")
    robot.step()
    assert robot.task.done
    assert robot.events[-1] is EventKind.TASK_DONE
    assert robot.task.instruction == "open the blue box"


@pytest.mark.parametrize("force", [8.0, 12.0, 25.0])
def test_a_press_without_a_click_is_a_retry(force):
    robot = Robot()
    robot.grip(True)
    assert robot.press(force, clicks=False) == Phase.PRESS
    assert robot.leave() == Phase.RECOVER
    assert robot.task.recovering
    assert robot.events == [EventKind.PRESSED_IN_VAIN]
    assert robot.go(*PAD, 0.2) == Phase.APPROACH
    assert robot.task.retries == 1


def test_a_touch_is_no_press_and_open_jaws_press_nothing():
    robot = Robot()
    robot.grip(True)
    assert robot.press(4.0, clicks=False) == Phase.PRESS
    assert robot.leave() == Phase.APPROACH
    robot.grip(False)
    assert robot.press(12.0) == Phase.APPROACH
    assert robot.events == []


def test_a_press_that_ends_with_opening_jaws_is_a_retry_too():
    robot = Robot()
    robot.grip(True)
    robot.press(12.0, clicks=False)
    assert robot.grip(False, 0.1) == Phase.RECOVER
    assert robot.events == [EventKind.PRESSED_IN_VAIN]


def test_one_press_clicks_once():
    robot = Robot()
    robot.grip(True)
    robot.press(12.0)
    for force in (8.0, 16.0, 5.0):  # on to the pad's end, and back
        robot.push = force
        robot.wait(0.1)
    robot.leave()
    assert robot.events == [EventKind.CLICKED]
    robot.press(12.0)
    assert robot.events == [EventKind.CLICKED] * 2


def test_a_latch_that_was_released_and_not_used_has_caught_again():
    robot = Robot()
    robot.grip(True)
    robot.press(12.0)
    robot.leave()
    assert robot.go(*PAD, 0.2, 7.0) == Phase.REACH
    assert robot.go(*PAD, 0.1, 1.5) == Phase.RECOVER
    assert robot.events == [EventKind.CLICKED, EventKind.LATCHED]
    assert robot.go(*PAD, 0.2) == Phase.APPROACH


def test_jaws_that_close_on_nothing_may_try_again_while_the_latch_is_released():
    robot = Robot()
    robot.grip(True)
    robot.press(12.0)
    robot.leave()
    robot.grip(False)
    robot.go(*FIN, 0.1)
    assert robot.grip(True) == Phase.RECOVER
    assert robot.events == [EventKind.CLICKED, EventKind.CLOSED_ON_NOTHING]
    robot.grip(False)
    assert robot.go(*FIN, 0.2) == Phase.REACH


@pytest.mark.parametrize(
    ("angle", "kind", "phase"),
    [
        (0.3, EventKind.ITEM_LOST, Phase.RECOVER),
        (1.8, EventKind.RELEASED_AT_TARGET, Phase.RELEASE),  # it fell open
    ],
)
def test_a_fin_that_slips_away_is_lost_unless_the_lid_is_open(angle, kind, phase):
    robot = Robot().pinched()
    robot.lift(angle)
    robot.fin = 0.0
    assert robot.wait(0.2) == phase
    assert robot.events[-1] is kind


def test_a_lid_that_is_let_go_too_early_is_a_retry():
    robot = Robot().pinched()
    robot.lift(0.3)
    assert robot.grip(False, 0.1) == Phase.RECOVER
    assert robot.events[-1] is EventKind.RELEASED_ELSEWHERE


def test_a_lid_that_nobody_confirms_or_that_the_station_objects_to_is_a_retry():
    for waits, mismatch in ((7.0, False), (0.1, True)):
        robot = Robot().pinched()
        robot.lift(1.7)
        assert robot.grip(False, 0.5) == Phase.RELEASE
        robot.go(0.5, 0.0, 0.1, 5.0)
        robot.order = dataclasses.replace(ORDER, mismatch=mismatch)
        assert robot.wait(waits) == Phase.RECOVER
        assert robot.events[-1] is EventKind.RELEASED_ELSEWHERE


def test_a_line_that_is_closed_while_the_fin_is_held_does_not_wait_for_it_again():
    robot = Robot().pinched()
    robot.lift(1.7)
    robot.order = OrderState(1, 2, "open the blue box")
    assert robot.wait(0.1) == Phase.LIFT
    assert robot.grip(False) == Phase.APPROACH
    assert robot.wait(8.0) == Phase.APPROACH
    assert robot.task.retries == 0


def test_without_a_station_one_lid_is_opened():
    robot = Robot(order=None).pinched()
    robot.lift(1.7)
    assert robot.grip(False) == Phase.RELEASE
    assert robot.go(0.5, 0.0, 0.25) == Phase.RELEASE
    assert robot.task.done
    assert robot.task.instruction is None
    assert robot.task.outcome is None


def test_without_samples_nothing_changes_and_without_a_wrench_nothing_is_pressed():
    robot = Robot()
    robot.grip(True)
    robot.push = 12.0
    for _ in range(20):
        robot.step(wrench=None)
        robot.step(state=None)
        robot.step(grip=None)
        robot.step(grip=GripperState(math.nan, 0.0, 0.0))
    assert robot.task.phase == Phase.APPROACH
    assert robot.events == []


def test_wants_a_gripper_and_the_task_of_its_world():
    with pytest.raises(ConfigError, match="wants a gripper"):
        Robot(stroke=None)
    check(Config(), "shoebox", Asked("scene", "shoebox", {}, ()), "[task]")
    with pytest.raises(ConfigError, match="`name` wants 'pick_place'"):
        check(Config(), "shoebox", Asked("scene", "pick_place", {}, ()), "[task]")


@given(
    st.lists(
        st.tuples(
            st.floats(0.03, 0.3), st.sampled_from([0.0, STROKE]), st.floats(0.0, 40.0),
            st.sampled_from([0.0, 0.008]), st.integers(0, 2), st.booleans(),
        ),
        max_size=30,
    )
)  # fmt: skip
def test_whatever_happens_retries_are_counted_by_their_events(moves):
    robot = Robot()
    for z, width_ref, push, fin, line, mismatch in moves:
        robot.width_ref, robot.push, robot.fin = width_ref, push, fin
        robot.order = OrderState(max(line, robot.order.line), 2, "open it", mismatch=mismatch)
        assert robot.go(*FIN, z, 0.2) in [*Phase]
    assert robot.task.retries == sum(kind in RETRIES for kind in robot.events)
    assert robot.task.done == (robot.order.line == 2)
    assert robot.events.count(EventKind.TASK_DONE) == robot.task.done
