"""Where the tool will touch something next: what the eyes learn to look at. All of it comes from
telemetry and commands, none from the pose of an object.

A *grasp* is a closing of the jaws after which they hold something: a closing in the air, or on
nothing, says nothing about where things are. A *press* is the rise of the force along the tool
while the jaws are shut and hold nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headway.clock import NS
from headway.drivers.kinematics import Chain, quat_to_mat
from headway.wire import Rows

EMPTY_M = 0.004  # opening below which shut jaws hold nothing [m]
SETTLED_NS = round(0.8 * NS)  # after which the jaws have closed
PRESS_N = 5.0  # force along the tool that counts as a press [N]
QUIET_NS = round(0.3 * NS)  # without such a force before it


@dataclass(frozen=True)
class Touches:
    """The ticks (their indices in the telemetry) at which the jaws begin a grasp (g,) and at which
    a press begins (p,), and whether the jaws hold something at each tick (n,)."""

    grasps: NDArray[np.int64]
    presses: NDArray[np.int64]
    holds: NDArray[np.bool_]


def touches(rows: Rows, stroke: float) -> Touches:
    """What the telemetry `rows` (n,) say; `stroke` [m] is the largest opening of the jaws."""
    t = rows["t_ns"]
    closed = rows["width_ref"] < stroke / 2
    holds = closed & (rows["width"] > EMPTY_M)
    begins = np.flatnonzero(closed[1:] & ~closed[:-1]) + 1
    settled = np.minimum(np.searchsorted(t, t[begins] + SETTLED_NS), len(t) - 1)
    grasps = begins[[bool(holds[i : j + 1].all()) for i, j in zip(begins, settled, strict=True)]]
    pushed = np.flatnonzero((np.abs(rows["wrench"][:, 2]) >= PRESS_N) & closed & ~holds)
    new = np.diff(t[pushed], prepend=-QUIET_NS - 1) > QUIET_NS if len(pushed) else pushed
    return Touches(grasps, pushed[np.asarray(new, bool)], holds)


def next_places(
    rows: Rows,
    sent: NDArray[np.float64],
    at: NDArray[np.int64],
    ends_ns: NDArray[np.int64],
    events: NDArray[np.int64],
    holds: NDArray[np.bool_],
    chain: Chain,
) -> NDArray[np.float32]:
    """Where (m, 3) [m] the commanded TCP is at the next of `events` after each of the ticks `at`
    (m,), in the frame of the TCP that is measured at that tick. NaN where none comes before
    `ends_ns` (m,), and while the jaws hold something. `sent` (n, joints) [rad] are the commands of
    all ticks."""
    out = np.full((len(at), 3), np.nan, np.float32)
    places = {int(i): chain.fk(sent[i])[1] for i in events}
    following = np.searchsorted(events, at, side="right")
    for j, (tick, k) in enumerate(zip(at.tolist(), following.tolist(), strict=True)):
        if k == len(events) or holds[tick] or rows["t_ns"][events[k]] >= ends_ns[j]:
            continue
        tcp = rows["tcp"][tick]
        out[j] = quat_to_mat(tcp[3:]).T @ (places[int(events[k])] - tcp[:3])
    return out
