"""A policy without a network: the wrist waves, slowly. It needs NumPy alone, not Headway."""

import numpy as np


class Wave:
    state_names = ("elapsed", "q.wrist_flex")
    actions = {  # noqa: RUF012 - never changed
        "names": ["shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll"],
        "space": "joint", "mode": "chunk", "chunk": 20, "dt_s": 0.05,
    }  # fmt: skip

    def __init__(self, size=0.3):
        self.size = size

    def infer(self, obs):
        elapsed, _ = obs.state
        rows = np.zeros((20, 5))
        t = elapsed + 0.05 * np.arange(1, 21)
        rows[:, 3] = self.size * (np.cos(2.0 * t) - np.cos(2.0 * elapsed))
        return rows
