"""`delay` estimates from a recording how far the measured motion is behind the commands.

In each window of one second in which the arm moves, the delay d is the one that minimises the
squared difference between measured joints q(t) and commanded joints sent(t - d). Each joint may
have a constant offset, as from a servo that sags. The estimate is the median over the windows. Its
error is 1.4826 MAD / sqrt(n): the standard error of a mean over n windows, with a robust estimate
of the spread (Rousseeuw & Croux 1993); it is never less than a tenth of the sampling period. The
delay includes the transmission to the controller, its interpolation, the lag of the joints, and the
period for which a command is held.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headway.types import Vec

WINDOW_S = 1.0
MOVING = 0.02  # least speed of the fastest joint of an arm that moves [rad/s]
LONGEST_S = 0.5  # largest delay that is searched [s]


@dataclass(frozen=True)
class Motion:
    """The delay is `delay_ms` +- `error_ms` [ms], from `windows` windows of 1 s. `residual` [rad]
    is the RMS of the measured motion that no delay explains."""

    delay_ms: float
    error_ms: float
    windows: int
    residual: float


def delay(t_sent: Vec, sent: Vec, t_measured: Vec, measured: Vec) -> Motion | None:
    """The delay between the commands `sent` (n, j) [rad] at the times `t_sent` (n,) [s] and the
    joints `measured` (m, j) [rad] at the times `t_measured` (m,) [s]. Commands whose time does not
    rise, and measurements that are not finite, are left out. None when nothing moved long
    enough."""
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
        if np.ptp(q, axis=0).max() < 1e-6:  # commanded to move, but it stood still
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
    """(delay [s], residual [rad]) of one window; None when the delay is outside 0..LONGEST_S."""

    def cost(d: float) -> float:  # np.interp holds the first command before its time
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
    shift = 0.5 * (a - c) / bend if bend > 0 else 0.0  # vertex of the parabola through them
    return float(grid[i] + shift * step), float(np.sqrt(b))
