"""A scripted expert that stands in for a person who demonstrates. It sees where the buttons are,
with the errors of a detector, and which lamps are on; nothing of it runs on a robot."""

import numpy as np

from headway.learn.scripted import Aim, Scripted, cell_with
from my_workflow.scene import TOP

HOVER = TOP + 0.05  # of the TCP, before a press and after it [m]
BESIDE = TOP - 0.016  # the TCP that is lower than this came down beside the button [m]
SHUT = 0.01  # jaws that are further open have not closed yet [m]
PRESS = 0.04  # [m/s]


class Expert(Scripted):
    """The expert as a policy. It decides anew from what it sees, and so takes over anywhere."""

    def may_push(self, p, close, state):
        return not close and p[2] > HOVER + 0.03

    def decide(self, p, yaw, state, t_s):
        button = self._target()
        if button is None or self.rising:  # up, and wait for what the station says
            self.rising = self.rising and p[2] < HOVER - 0.005
            return Aim(np.array([p[0], p[1], HOVER + 0.02]), yaw, True, self.speed)
        goal = np.array([*button, HOVER]) + self.noise * [1.0, 1.0, 0.0]
        if np.hypot(*(goal - p)[:2]) > 0.008:
            # At the height of travel, with open jaws.
            goal[2] = max(HOVER, p[2]) if p[2] > HOVER - 0.01 else HOVER
            if p[2] < HOVER - 0.01:
                goal[:2] = p[:2]
            return Aim(goal, 0.0, False, self.speed)
        if p[2] > HOVER + 0.005 or state["gripper.width"] > SHUT:
            return Aim(goal, 0.0, p[2] < HOVER + 0.02, self.speed)
        if p[2] < BESIDE:  # no click so far down: look again
            self.look()
            self.bad_look, self.rising = False, True
            return Aim(p + np.array([0.0, 0.0, 0.03]), yaw, True, self.speed)
        return Aim(np.array([*goal[:2], p[2] - 0.02]), 0.0, True, PRESS)

    def _target(self):
        """Where the button is (x, y) [m] that has to be pressed now, None while there is none: of
        a lamp that should not be on, or of one of the lines so far that is not on."""
        panel = self.cell.scene.truth["panel"]
        wrong = panel.lit - set(panel.due)
        due = panel.due[: panel.order.line + 1]
        for colour in (*sorted(wrong), *due):
            if colour in wrong or (colour is not None and colour not in panel.lit):
                return panel.places[colour]
        return None


def connect(world, *, disturb=0.0, cameras=()):
    """The expert in `world`; `disturb` (0..1) is how often it is pushed off its way."""
    return Expert(cell_with(world, "press_button"), disturb=disturb, cameras=cameras)
