"""Were all commands of a recording inside the arm's limits? Recounted from what was recorded, by
nothing that the guard computed."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np

from headway.mcaplog import Recording
from headway.types import Vec

_ROUND = 1.0 + 1e-6  # of positions written as float64
_NAMES = ("position", "velocity", "acceleration", "jerk")


@dataclass(frozen=True)
class Commands:
    """`outside`: how many broke a limit, by its name; `most`: the largest share of a limit used,
    but for position, of which a share says nothing."""

    n: int
    outside: dict[str, int]
    most: dict[str, float]


def commands(recording: Recording, hz: float) -> Commands | None:
    """None where the recording does not say what the limits were. Differences are over one period,
    from a start at rest, as the guard defines them; none are taken across commands that are missing
    in the recording."""
    text = recording.metadata.get("limits")
    if text is None or "/command" not in recording.topics:
        return None
    limits: dict[str, Vec] = {k: np.array(v, float) for k, v in json.loads(text).items()}
    q = recording.rows("/command")["sent"]
    if not len(q):
        return None
    # Commands before which one is missing: no difference is known across the hole.
    holes = np.flatnonzero(np.diff(recording.sequence("/command")) != 1) + 1
    lo, hi = limits["q_min"], limits["q_max"]
    bad = ~np.isfinite(q) | (q < lo - 1e-9) | (q > hi + 1e-9)
    outside, most = {"position": int(bad.any(axis=1).sum())}, {}
    q = np.concatenate([q[:1]] * 3 + [q])
    for order, name in enumerate(_NAMES[1:], start=1):
        found = np.abs(np.diff(q, order, axis=0))[3 - order :] * hz**order
        across = (holes[:, None] + np.arange(order)).ravel()
        found[across[across < len(found)]] = 0.0
        limit = limits["d" * order + "q_max"]
        # what rounding of positions alone can make of a difference
        noise = 2.0**order * 2.0**-52 * np.abs(q).max() * hz**order
        outside[name] = int((found > limit * _ROUND + noise).any(axis=1).sum())
        most[name] = float((found / limit).max())
    return Commands(len(q) - 3, outside, most)
