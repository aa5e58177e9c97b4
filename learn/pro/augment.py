"""Telemetry changed as other sessions change it, so that a head does not learn them by heart.

From one session to the next sensors have another bias and gain, another noise, and perhaps another
rate. What a head learned from such differences would be about the session, and not about the task.
So it also learns from copies of each episode in which they are drawn at random, once a copy; the
features are then computed from the changed telemetry as from any other.
"""

from __future__ import annotations

import numpy as np

from headway.tools.score.grid import CUBIC, LINEAR
from headway.tools.score.telemetry import Rows
from headway.types import Vec

# field -> the deviation of the logarithm of its gain, and of its bias in SI units
GAIN_AND_BIAS: dict[str, tuple[float, float | tuple[float, ...]]] = {
    "wrench": (0.1, (0.5,) * 3 + (0.05,) * 3),
    "force_norm": (0.1, 0.5),
    "torque_norm": (0.1, 0.05),
    "tau_ext": (0.1, 0.3),
    "twist": (0.05, 0.0),
    "speed": (0.05, 0.0),
    "spin": (0.05, 0.0),
    "grip_force": (0.1, 0.3),
    "touch": (0.2, 0.01),
    "vacuum": (0.05, 0.01),
}
POSITIVE = ("force_norm", "torque_norm", "speed", "spin", "touch", "vacuum")  # never below 0
NOISE = 0.5  # the most white noise, as a share of how much a value changes from tick to tick
SLOWER = 0.25  # how often a copy is as from samples at half the rate


def changed(rows: Rows, rng: np.random.Generator) -> Rows:
    """A copy of the ticks (n,) with another gain, bias, noise and perhaps rate, drawn by `rng`.
    What is NaN stays so."""
    out = rows.copy()
    for name, (gain, bias) in GAIN_AND_BIAS.items():
        width = out[name].shape[1:]
        out[name] = out[name] * np.exp(rng.normal(0.0, gain)) + rng.normal(0.0, bias, width)
    slower = rng.random() < SLOWER
    for name in (*CUBIC, *LINEAR):
        if name in ("tcp", "q_ref", "dq_ref", "comms_jitter"):
            continue  # quaternions do not average; what is commanded or counted has no noise
        x = out[name]
        if slower:
            x = _every_second(x)
        out[name] = x + rng.normal(0.0, 1.0, x.shape) * (_step(x) * rng.uniform(0.0, NOISE))
    for name in POSITIVE:
        out[name] = np.maximum(out[name], 0.0)
    return out


def _every_second(x: Vec) -> Vec:
    """The values (n, ...) where every second one is the mean of its neighbours."""
    out = x.copy()
    out[1:-1:2] = 0.5 * (x[:-2:2] + x[2::2])[: len(out[1:-1:2])]
    return out


def _step(x: Vec) -> Vec:
    """How much values (n, ...) change from one to the next: the median of what is not 0, else 0."""
    steps = np.abs(np.diff(x, axis=0))
    steps[steps == 0] = np.nan
    known = np.isfinite(steps).any(axis=0)
    middle: Vec = np.nanmedian(np.where(known, steps, 0.0), axis=0) if len(steps) else 0.0 * x[0]
    return middle
