"""Detects a force/torque sensor that has stopped measuring: real readings are noisy, so one that
never changes is not a measurement."""

from __future__ import annotations

from headway.clock import NS
from headway.types import Wrench


class StuckSensor:
    """Call `check` once per tick, with the tick's time [ns]. It returns True when the wrench has
    not changed in a single bit for `after_s` [s]; with `after_s` = 0 it never does."""

    def __init__(self, after_s: float) -> None:
        self._after_ns = round(after_s * NS)
        self._last = b""
        self._since_ns = 0

    def check(self, wrench: Wrench, t_ns: int) -> bool:
        if not self._after_ns:
            return False
        found = wrench.force.tobytes() + wrench.torque.tobytes()
        if found != self._last:
            self._last, self._since_ns = found, t_ns
            return False
        return t_ns - self._since_ns >= self._after_ns
