"""The gripper kind `franka` over a fake franky, which does what the real one's documentation says.
No hand was there."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import numpy as np
import pytest
from device_rig import until

from headway.clock import WallClock
from headway.drivers.grippers.franka import FORCE_MAX, STROKE, Config, FrankaHand
from headway.errors import DeviceError

SOON = 20.0


class FrankyError(Exception):
    pass


class CommandException(FrankyError):  # noqa: N818 - franky's name
    pass


class Future:
    """Of a motion: `end` says how it ended."""

    def __init__(self):
        self._done, self._good = threading.Event(), True

    def end(self, good=True):
        self._good = good
        self._done.set()

    def wait(self, timeout=None):
        return self._done.wait(timeout)

    def get(self):
        assert self._done.is_set()
        if self._good is None:
            raise CommandException("stopped")
        return self._good


class Hand:
    """A hand whose motions end when the test says so."""

    def __init__(self, width=0.04, max_width=STROKE):
        self.now = SimpleNamespace(width=width, max_width=max_width, is_grasped=False)
        self.asked, self.running = [], None
        self.lost = False

    @property
    def state(self):
        if self.lost:
            raise FrankyError("network")
        return self.now

    def _begin(self, *what):
        assert self.running is None, "one motion at a time"
        self.asked.append(what)
        self.running = Future()
        return self.running

    def move_async(self, width, speed):
        return self._begin("move", width)

    def grasp_async(self, width, speed, force, inner, outer):
        assert inner == outer == STROKE
        return self._begin("grasp", force)

    def homing_async(self):
        return self._begin("home")

    def stop(self):
        self.asked.append(("stop",))
        self.end(None)

    def end(self, good=True, **state):
        vars(self.now).update(state)
        running, self.running = self.running, None
        running.end(good)


@pytest.fixture
def hand():
    return Hand()


@pytest.fixture
def gripper(hand):
    def connect(host):
        if hand.lost:
            raise FrankyError("no connection")
        return hand

    franky = SimpleNamespace(
        Gripper=connect, Exception=FrankyError, CommandException=CommandException
    )
    made = FrankaHand(franky, WallClock(0), Config(rate_hz=100.0))
    yield made
    made.close()


def asked(hand, *what):
    """Wait until the hand was asked for `what` last."""
    until(lambda: hand.asked[-1:] == [what], str(what))


def flagged(gripper, flag):
    until(lambda: flag in gripper.read(SOON).flags, flag)


def test_opening_moves_nothing_and_it_says_where_it_is(hand, gripper):
    assert (gripper.info.kind, gripper.stroke) == ("franka", STROKE)
    with pytest.raises(DeviceError, match="closed"):
        gripper.read(0.0)
    gripper.open(SOON)
    gripper.activate()  # it is homed
    sample = gripper.read(SOON)
    assert sample.valid
    assert (sample.value.width, sample.value.width_ref, sample.value.force) == (0.04, 0.04, 0.0)
    assert hand.asked == []


def test_opening_is_a_move_and_closing_a_grasp_with_its_force(hand, gripper):
    gripper.open(SOON)
    gripper.command(0.2, force=500.0)
    asked(hand, "move", STROKE)
    hand.end(width=STROKE)
    gripper.command(0.0, force=500.0)
    asked(hand, "grasp", FORCE_MAX)
    hand.end(width=0.03, is_grasped=True)
    until(lambda: gripper.read(SOON).value.force == FORCE_MAX)
    for _ in range(5):  # the same goal again is none
        gripper.command(0.005, force=500.0)
        gripper.read(SOON)
    assert len(hand.asked) == 2
    gripper.command(0.0, force=20.0)
    asked(hand, "grasp", 20.0)


def test_a_new_goal_stops_the_motion_before_it(hand, gripper):
    gripper.open(SOON)
    gripper.command(STROKE, force=20.0)
    asked(hand, "move", STROKE)
    gripper.command(STROKE - 0.0005, force=20.0)  # less than a step
    gripper.read(SOON)
    gripper.read(SOON)
    assert len(hand.asked) == 1
    gripper.command(0.0, force=20.0)
    asked(hand, "grasp", 20.0)
    assert hand.asked == [("move", STROKE), ("stop",), ("grasp", 20.0)]
    gripper.stop()
    asked(hand, "stop")
    gripper.command(0.0, force=20.0)  # given again, it is a new goal
    asked(hand, "grasp", 20.0)


def test_a_motion_that_does_not_arrive_is_told(hand, gripper):
    gripper.open(SOON)
    gripper.command(0.02, force=20.0)
    asked(hand, "move", 0.02)
    hand.end(good=False, width=0.03)
    flagged(gripper, "blocked")
    gripper.command(0.06, force=20.0)
    asked(hand, "move", 0.06)
    hand.end(width=0.06)
    until(lambda: not gripper.read(SOON).flags)


def test_a_hand_that_was_not_homed_takes_no_goal_until_it_is(gripper, hand):
    hand.now.max_width = 0.0
    gripper.open(SOON)
    flagged(gripper, "not homed")
    assert not gripper.read(SOON).valid
    with pytest.raises(DeviceError, match="was not homed"):
        gripper.command(0.0, force=20.0)
    gripper.activate()
    asked(hand, "home")
    hand.end(good=False)
    flagged(gripper, "blocked")
    gripper.activate()
    until(lambda: hand.asked == [("home",), ("home",)])
    hand.end(max_width=STROKE)
    until(lambda: gripper.read(SOON).valid)
    gripper.command(0.0, force=20.0)
    asked(hand, "grasp", 20.0)


@pytest.mark.parametrize(("width", "force"), [(np.nan, 20.0), (0.0, np.inf)])
def test_numbers_that_are_not_finite_are_refused(hand, gripper, width, force):
    gripper.open(SOON)
    with pytest.raises(DeviceError, match="finite"):
        gripper.command(width, force=force)
    assert hand.asked == []


def test_a_hand_that_is_lost_or_absent_is_told(hand, gripper):
    hand.lost = True
    with pytest.raises(DeviceError, match=r"wanted a Franka Hand at .* `End effector`"):
        gripper.open(SOON)
    hand.lost = False
    gripper.open(SOON)
    gripper.read(SOON)

    hand.lost = True

    def fails():
        try:
            gripper.read(SOON)
        except DeviceError as e:
            return "lost the Franka Hand" in str(e)
        return False

    until(fails)
    assert gripper.health().state == "fault"


def test_the_calls_are_those_of_the_library(hand):
    franky = pytest.importorskip("franky", reason="pip install 'headway[franka]'")
    for name in ("move_async", "grasp_async", "homing_async", "stop", "state"):
        assert hasattr(franky.Gripper, name)
    for name in ("width", "max_width", "is_grasped"):
        assert hasattr(franky.GripperState, name)
    assert hasattr(franky.BoolFuture, "wait")
    assert issubclass(franky.CommandException, franky.Exception)
