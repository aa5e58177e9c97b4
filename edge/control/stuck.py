"""A force/torque sensor that always says the same is not measuring: real ones are noisy."""

from __future__ import annotations

from headway.clock import NS
from headway.types import Wrench


class StuckSensor:
    """`check` once per tick; True when the reading has not changed in a single bit for `after_s`
    [s]. 0: never."""

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
