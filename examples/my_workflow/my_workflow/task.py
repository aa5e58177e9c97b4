"""A task: how far pressing buttons is, by the robot's own sensors and what the station says."""

from headway.config import Positive, Seconds, Struct
from headway.edge.control.events import EventKind


class Config(Struct, frozen=True):
    """The keys of [task] for the kind `press_button`, beyond the common ones."""

    press_force: Positive = 5.0  # a push of more than this is a press [N]
    confirm_s: Seconds = 4.0  # within this time after a press the station closes the line


class PressButton:
    """The task in one episode."""

    phases = ("approach", "press", "confirm")  # PRO's features have a bit for each
    outcome, goal = None, None  # whether it was the right button only the station can tell

    def __init__(self, cfg, about):
        self.cfg, self._happened = cfg, about.happened
        self.phase, self.retries, self.done = 0, 0, False
        self.recovering = False  # a press was in vain, and there is no new one yet
        self.instruction = None  # what the policy is told
        self._line, self._pressed_s = 0, 0.0

    def step(self, sensed):
        """Called at every tick. Whatever no sensor gives is None."""
        if sensed.order is not None:
            self._follow(sensed.order)
        if sensed.wrench is None or self.done:
            return
        push = -float(sensed.wrench[2])  # the tool points down: its z is the way of the push
        if push > self.cfg.press_force:
            self.phase, self.recovering = 1, False
        elif self.phase == 1 and push < 0.5 * self.cfg.press_force:
            self.phase, self._pressed_s = 2, sensed.elapsed
        elif self.phase == 2 and sensed.elapsed - self._pressed_s > self.cfg.confirm_s:
            self.phase, self.recovering = 0, True
            self.retries += 1
            self._happened(EventKind.NOT_CONFIRMED, "nobody confirms the press", {})

    def _follow(self, order):
        self.instruction = order.instruction
        if order.line != self._line:
            self._line, self.recovering = order.line, False
            self.phase = 1 if self.phase == 1 else 0
        if order.lines and order.line >= order.lines and not self.done:
            self.done = True
            self._happened(EventKind.TASK_DONE, "the order is complete", {})


def make(cfg, about):
    """A new task, for every episode."""
    return PressButton(cfg, about)
