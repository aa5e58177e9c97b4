"""Were all commands of a recording inside the arm's limits? Recounted from what was recorded, by
nothing that the guard computed."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np

from headway.errors import RecordingError
from headway.mcaplog import Recording
from headway.types import Vec

_ROUND = 1.0 + 1e-6  # of positions written as float64
_KEYS = ("q_min", "q_max", "dq_max", "ddq_max", "dddq_max")
_NAMES = ("position", "velocity", "acceleration", "jerk")


@dataclass(frozen=True)
class Commands:
    """`outside`: how many broke a limit, by its name; `most`: the largest share of a limit used,
    but for position, of which a share says nothing."""

    n: int
    outside: dict[str, int]
    most: dict[str, float]


def _limits(text: str, shape: tuple[int, ...]) -> dict[str, Vec] | None:
    """None for what are no limits of joints of this `shape`."""
    try:
        found = {k: np.array(v, np.float64) for k, v in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError):
        return None
    good = all(k in found and found[k].shape == shape for k in _KEYS)
    return found if good else None


def commands(recording: Recording, hz: float) -> Commands | None:
    """None where the recording does not say what the limits were. Differences are over one period,
    from a start at rest, as the guard defines them; none are taken across commands that are missing
    in the recording. Raises RecordingError for limits or commands that cannot be."""
    text = recording.metadata.get("limits")
    if text is None or "/command" not in recording.topics:
        return None
    rows = recording.rows("/command")
    try:
        q = rows["sent"]
    except ValueError:  # of another program
        q = np.zeros(0)
    limits = _limits(text, q.shape[1:])
    if q.ndim != 2 or limits is None:
        raise RecordingError(
            f"{recording.path}: wanted `limits` in the metadata as JSON of lists "
            f"{', '.join(_KEYS)}, as long as `sent` in /command, found {text[:60]!r} and `sent` of "
            f"shape {q.shape}: the commands were not checked; record with `headway run`"
        )
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
