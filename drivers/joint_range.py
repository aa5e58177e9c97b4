"""Commands that a joint cannot reach."""

from __future__ import annotations

from headway.errors import DeviceError
from headway.types import Limits, Vec

ROUNDING = 1e-6  # [rad]: a command at a limit may lie beyond it by as much


def refuse_out_of_range(q: Vec, limits: Limits, who: str) -> None:
    """Raises DeviceError where a joint of `q` (n,) [rad] lies outside `limits`; `who` is the arm,
    for the message."""
    if (q > limits.q_max + ROUNDING).any() or (q < limits.q_min - ROUNDING).any():
        raise DeviceError(
            f"{who} wants joint positions from {limits.q_min.tolist()} to {limits.q_max.tolist()}, "
            f"found {q.tolist()}: the guard keeps commands inside"
        )
