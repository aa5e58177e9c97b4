"""An arm of the kind `ur` at a stand-in for its controller."""

from __future__ import annotations

import pytest
from ur_stand_in import LONG, Controller

from headway.clock import WallClock
from headway.drivers import Context, open_device


@pytest.fixture
def robot():
    with Controller() as made:
        yield made


@pytest.fixture
def ctx():
    return Context(WallClock(0))


@pytest.fixture
def arm(robot, ctx):
    made = open_device("arms", "ur", robot.table, ctx)
    made.open(LONG)
    yield made
    made.close()


@pytest.fixture
def active(arm):
    arm.activate()
    return arm
