"""How far the measured motion is behind the commands, estimated from a recording.

In windows of one second in which the arm moves, the delay d minimises the squared difference of
measured joints q(t) and commanded joints sent(t - d), each joint with an offset of its own (a servo
that sags). The estimate is the median over the windows. Its error is 1.4826 MAD / sqrt(n), the
standard error of a mean over n windows from a robust spread (Rousseeuw & Croux 1993), and never
less than a tenth of the sampling period. What the delay holds: the way to the controller, its
interpolation and the joints' lag, and that commands are held for a period.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headway.types import Vec

WINDOW_S = 1.0
MOVING = 0.02  # [rad/s] of the fastest joint
LONGEST_S = 0.5


@dataclass(frozen=True)
class Motion:
    """`delay_ms` +- `error_ms` from `windows` seconds of motion; `residual` [rad] RMS is what of
    the measured motion no delay explains."""

    delay_ms: float
    error_ms: float
    windows: int
    residual: float


def delay(t_sent: Vec, sent: Vec, t_measured: Vec, measured: Vec) -> Motion | None:
    """Times [s] (n,) rising and (m,), joints [rad] (n, j) and (m, j). None where nothing moved."""
    good = np.isfinite(measured).all(axis=1) & np.isfinite(t_measured)
    t_measured, measured = t_measured[good], measured[good]
    rising = np.diff(t_sent, prepend=-np.inf) > 0
    t_sent, sent = t_sent[rising], sent[rising]
    if len(t_sent) < 3 or len(t_measured) < 3:
        return None
    dt = float(np.median(np.diff(t_sent)))
    speed = np.abs(np.gradient(sent, t_sent, axis=0)).max(axis=1)
    moving = np.interp(t_measured, t_sent, speed) > MOVING
    window = ((t_measured - t_measured[0]) // WINDOW_S).astype(int)
    delays, residuals = [], []
    for k in range(int(window[-1]) + 1):
        inside = window == k
        if inside.sum() * dt < 0.5 * WINDOW_S or moving[inside].mean() < 0.5:
            continue
        q = measured[inside]
        if np.ptp(q, axis=0).max() < 1e-6:  # commanded to move, and stood still
            continue
        found = _best(t_sent, sent, t_measured[inside], q, dt)
        if found is not None:
            delays.append(found[0])
            residuals.append(found[1])
    if not delays:
        return None
    d = np.array(delays)
    middle = float(np.median(d))
    spread = 1.4826 * float(np.median(np.abs(d - middle))) / np.sqrt(len(d))
    return Motion(
        middle * 1e3, max(spread, dt / 10) * 1e3, len(d),
        float(np.sqrt(np.mean(np.square(residuals)))),
    )  # fmt: skip


def _best(t_sent: Vec, sent: Vec, t: Vec, q: Vec, dt: float) -> tuple[float, float] | None:
    """(delay [s], residual [rad]); None where it lies outside 0..LONGEST_S."""

    def cost(d: float) -> float:  # before the first command the arm stands where that one is
        at = np.stack([np.interp(t - d, t_sent, s) for s in sent.T], axis=1)
        e = q - at
        return float(np.mean(np.square(e - e.mean(axis=0))))

    step = max(dt, LONGEST_S / 250)
    grid = np.arange(-2 * step, LONGEST_S + 3 * step, step)
    costs: NDArray[np.float64] = np.array([cost(float(d)) for d in grid])
    i = int(costs.argmin())
    if not 0 < i < len(grid) - 1:
        return None
    a, b, c = costs[i - 1 : i + 2]
    bend = a - 2 * b + c
    shift = 0.5 * (a - c) / bend if bend > 0 else 0.0  # vertex of the parabola through the three
    return float(grid[i] + shift * step), float(np.sqrt(b))
