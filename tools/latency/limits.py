"""Count the commands of a recording that broke the arm's limits, from the recorded joint positions
alone, independently of the guard."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np

from headway.errors import RecordingError
from headway.mcaplog import Recording
from headway.types import Vec

_ROUND = 1.0 + 1e-6  # tolerance for rounding
_KEYS = ("q_min", "q_max", "dq_max", "ddq_max", "dddq_max")
_NAMES = ("position", "velocity", "acceleration", "jerk")


@dataclass(frozen=True)
class Commands:
    """Of `n` commands, `outside` counts those that broke a limit, by the limit's name; a command
    that is not finite counts as one outside the position limits. `most` is the largest share of
    each limit that was used; position has none, because a share of a position range means
    nothing."""

    n: int
    outside: dict[str, int]
    most: dict[str, float]


def _limits(text: str, shape: tuple[int, ...]) -> dict[str, Vec] | None:
    """The limits in the JSON `text`, or None if it does not hold arrays of `shape` for all."""
    try:
        found = {k: np.array(v, np.float64) for k, v in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError):
        return None
    good = all(k in found and found[k].shape == shape for k in _KEYS)
    return found if good else None


def commands(recording: Recording, hz: float) -> Commands | None:
    """The count for `recording` of a loop at `hz` [Hz], or None when it does not state the limits.
    As in the guard, velocity, acceleration and jerk are differences over one period, and the arm
    starts at rest. No difference is taken across commands that are missing in the recording. Raises
    RecordingError when limits and commands do not fit together."""
    text = recording.metadata.get("limits")
    if text is None or "/command" not in recording.topics:
        return None
    rows = recording.rows("/command")
    try:
        q = rows["sent"]
    except ValueError:  # no such column: written by another program
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
    # Indices of commands right after a missing one: no difference across the hole is known.
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
        # The largest difference that rounding of the positions alone can cause.
        noise = 2.0**order * 2.0**-52 * np.abs(q).max() * hz**order
        outside[name] = int((found > limit * _ROUND + noise).any(axis=1).sum())
        share = found / limit
        most[name] = float(np.max(share, initial=0.0, where=~np.isnan(share)))
    return Commands(len(q) - 3, outside, most)
