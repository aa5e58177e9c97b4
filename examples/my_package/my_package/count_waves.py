"""A task of one's own: it is done when the wrist has waved so many times."""

import math

from headway.config import Positive, Struct
from headway.edge.control.events import EventKind


class Config(Struct, frozen=True):
    """The keys of [task] for the kind `count_waves`, beyond the common ones."""

    waves: int = 3
    size: Positive = 0.3  # how far down the wrist has to go [rad]


class CountWaves:
    phases = ("down", "up")
    retries, recovering, done, outcome, goal = 0, False, False, None, None

    def __init__(self, cfg, about):
        self.cfg, self.happened = cfg, about.happened
        self.joint = about.joints.index("wrist_flex")
        self.start, self.phase, self.numbers = math.nan, 0, {"waves": 0.0}

    def step(self, sensed):
        if sensed.state is None:
            return
        q = float(sensed.state.q[self.joint])
        self.start = q if math.isnan(self.start) else self.start
        low = q < self.start - self.cfg.size
        if low if self.phase == 0 else q > self.start - 0.2 * self.cfg.size:
            self.numbers["waves"] += 0.5
            self.phase = 1 - self.phase
            self.happened(EventKind.TASK, f"{self.numbers['waves']:g} waves", {"angle_rad": q})
        if self.numbers["waves"] >= self.cfg.waves:
            self.done = self.outcome = True


make = CountWaves
