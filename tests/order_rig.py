"""Orders at a simulated station, driven through all that their configuration says."""

from __future__ import annotations

import msgspec
import numpy as np
from shoebox_rig import Robot
from workflow_rig import episode, settings_of

from headway import plugins, workflows
from headway.clock import VirtualClock
from headway.drivers.sim.cell import Cell, CellConfig
from headway.drivers.sim.order import Line, Rates, SimOrder
from headway.drivers.sim.phrases import Command


def an_order() -> None:
    """At a station that misses everything at first, and is then mistaken."""
    for miss in (1.0, 0.0):
        rates = Rates(place_miss=miss, scale_miss=miss, scale_false=1.0)
        order = SimOrder([Line(Command("do it"), "do it")], rates, np.random.default_rng(0))
        for i in range(100):
            order.sense(0.1 * i, placed=True, weight_ok=False, scanned=True)
    assert order.state.line == 1


def scenes() -> None:
    """Each scene with an order of several lines, where it has orders, and an order of each workflow
    with its expert."""
    for name in workflows.names():
        # By then the expert has opened the shoebox; what follows reads nothing new.
        limit_s = 8.0 if name == "shoebox" else None
        episode(settings_of(name, limit_s), 3_000_000)
    for kind in plugins.kinds("drivers.sim.scenes"):
        fields = msgspec.structs.fields(plugins.load("drivers.sim.scenes", kind).Config)
        several = "lines_max" in {f.name for f in fields}
        lines = {"lines_min": 2, "lines_max": 3} if several else {}
        Cell(CellConfig(scene=kind, scene_config=lines), VirtualClock(1))


def shoeboxes() -> None:
    """The task of the shoeboxes where a press finds no latch, and without a station."""
    robot = Robot()
    robot.grip(True)
    robot.press(12.0, clicks=False)
    robot.leave()
    robot.go(*robot.at[:2], 0.3)
    alone = Robot(order=None).pinched()
    alone.lift(1.7)
    alone.grip(False)
    alone.go(0.5, 0.0, 0.25)
    assert alone.task.done
