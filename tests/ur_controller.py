"""The controller of the UR emulator without sockets and without a clock, for tests."""

from __future__ import annotations

import numpy as np

from headway.hil.emulators._ur import programs
from headway.hil.emulators._ur.kinematics import Kinematics
from headway.hil.emulators._ur.memory import Memory
from headway.hil.emulators._ur.robot import Robot, Settings
from headway.hil.journal import Journal
from headway.hil.plant import PlantState

PERIOD = 2_000_000  # [ns]
VERSION = (5, 12, 0, 0)


class Rigid:
    """A plant whose joints are where they shall be, at the time that the test says."""

    joints, stroke = 6, 0.085

    def __init__(self):
        self.q, self.t, self.generation = np.zeros(6), 1, 0
        self.stopped = False

    def state(self):
        still = np.zeros(6)
        return PlantState(
            self.t, self.q, still, self.q, still, still, 0.0, 0.0, 0.0, self.stopped,
            self.generation,
        )  # fmt: skip

    def follow(self, q):
        self.q = q.copy()

    def hold(self):
        pass

    def reset_protective_stop(self):
        pass


class Controller:
    def __init__(self, **inputs):
        self.said, self.now, self.plant = [], 1, Rigid()
        self.memory = Memory(VERSION, ())
        self.memory.values.update(inputs)
        self.robot = Robot(
            Settings(PERIOD, 0.0, 0.0), self.memory, Kinematics("ur5e", (0.0,) * 6), 0.2,
            self.plant, Journal(None), lambda text, level: self.said.append(text),
        )  # fmt: skip
        self.robot.cycle(self.now)

    def run(self, source, cycles=1):
        program = programs.load(source, self.robot)
        if program is not None:
            self.robot.play(program)
            self.cycles(cycles)
        return self

    def cycles(self, n):
        for _ in range(n):
            self.now += PERIOD
            self.robot.cycle(self.now)

    def out(self, index, kind="int"):
        return self.memory.values[f"output_{kind}_register_{index}"]
