"""A robot that opens shoeboxes, as the task senses it: jaws, TCP, force and the station."""

from __future__ import annotations

import math

import numpy as np
from msgspec import structs

from headway.edge.control.events import EventKind
from headway.edge.control.tasks import Sensed, TaskAbout
from headway.edge.control.tasks.shoebox import Config, Phase, make
from headway.types import ArmState, GripperState, OrderState, Pose

DT, STROKE = 0.008, 0.085
PAD, FIN = (0.37, 0.1), (0.35, 0.0)
HINGE_X, RADIUS = 0.49, 0.14
ORDER = OrderState(0, 2, "open the red box", place=0.0, barcode=0.0, scale=0.0)


class Robot:
    """A task, jaws that close at 0.12 m/s onto `fin` [m], and a station that says `order`."""

    def __init__(self, order: OrderState | None = ORDER, stroke: float | None = STROKE):
        self.events: list[EventKind] = []
        self.task = make(Config(), TaskAbout(0, (), None, stroke, self.note))
        self.order, self.fin, self.push = order, 0.0, 0.0
        self.width = self.width_ref = STROKE
        self.at, self.t = (*PAD, 0.3), 0.0

    def note(self, kind, text, numbers):
        assert text
        assert set(numbers) == {"x", "y", "z", "width"}
        self.events.append(kind)

    def step(self, **changed) -> None:
        most = 0.12 * DT
        goal = max(self.width_ref, self.fin) if self.width_ref < self.width else self.width_ref
        self.width += min(max(goal - self.width, -most), most)
        pose = Pose(np.array(self.at), np.array([0.0, 1.0, 0.0, 0.0]))
        still = np.zeros(6)
        state = ArmState(still, still, still, pose, still)
        wrench = np.array([0.0, 0.0, -self.push, 0.0, 0.0, 0.0])
        grip = GripperState(self.width, self.width_ref, 0.0)
        sensed = Sensed(0, DT, self.t, state, wrench, grip, order=self.order)
        self.task.step(structs.replace(sensed, **changed))
        self.t += DT

    def go(self, x, y, z, seconds=0.1):
        self.at = (x, y, z)
        return self.wait(seconds)

    def wait(self, seconds):
        for _ in range(round(seconds / DT)):
            self.step()
        return self.task.phase

    def grip(self, closed, seconds=1.0):
        self.width_ref = 0.0 if closed else STROKE
        return self.wait(seconds)

    def press(self, force, clicks=True):
        """Down on a pad whose force rises to `force` [N], and then falls off, or not."""
        self.go(*PAD, 0.09)
        steps = 10
        for i in range(steps):
            self.push = force * (i + 1) / steps
            self.go(*PAD, 0.09 - 0.001 * i, DT)
        if clicks:
            self.push = 0.4 * force
            self.go(*PAD, 0.0797, 2 * DT)
        return self.task.phase

    def leave(self):
        """Up again, while the pad's spring still pushes for a few millimetres."""
        for i in range(10):
            self.push *= 0.7
            self.go(*PAD, self.at[2] + 0.001 * i, DT)
        self.push = 0.0
        return self.go(*PAD, self.at[2] + 0.02, 0.1)

    def lift(self, angle):
        """Along the arc of a fin that was pinched 20 mm above the hinge."""
        start = math.asin(0.02 / RADIUS)
        for a in np.linspace(0.0, angle, 20):
            x = HINGE_X - RADIUS * math.cos(start + a)
            self.go(x, 0.0, 0.08 + RADIUS * math.sin(start + a), 2 * DT)
        return self.task.phase

    def pinched(self):
        """The task with a fin between the jaws."""
        self.grip(True)
        self.press(12.0)
        self.leave()
        self.grip(False)
        self.go(HINGE_X - math.sqrt(RADIUS**2 - 0.02**2), 0.0, 0.10)
        self.fin = 0.008
        assert self.grip(True) == Phase.LIFT
        return self
