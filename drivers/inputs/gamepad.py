"""A game pad with two sticks, as the kernel's gamepad protocol names its parts
(Documentation/input/gamepad.rst): left stick along x and y of the base, right stick up and down and
turning about z, the lower face button (A) opens and closes the jaws. The left shoulder button is a
dead man's button: the arm moves only while it is held.
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from msgspec import Meta

from headway import config
from headway.drivers import Context
from headway.drivers.input_events import KEY, InputEvents, codes
from headway.drivers.inputs._buttoned import Buttoned
from headway.types import Vec

X, Y, RX, RY = 0, 1, 3, 4  # absolute axes
SOUTH, SHOULDER = 304, 310  # BTN_SOUTH, BTN_TL


class Config(config.Struct, frozen=True):
    """Keys of `[input]` for the kind `gamepad`. `device`: its path of /dev/input, "" for the first
    game pad. `speed` [m/s] and `turn` [rad/s] at full deflection; `dead_zone`: the share of it that
    counts as rest."""

    device: str = ""
    speed: config.Positive = 0.15
    turn: config.Positive = 1.0
    dead_zone: Annotated[float, Meta(ge=0.0, le=0.9)] = 0.12


class Gamepad(Buttoned):
    """The game pad behind `events`."""

    def __init__(self, cfg: Config, events: InputEvents) -> None:
        super().__init__(events, SOUTH)
        self._cfg = cfg

    def read(self) -> Vec | None:
        events, cfg = self.events, self._cfg
        events.check()
        if not events.held(SHOULDER):
            self.disregard()
            return None
        grip = self.grip()
        x, y, rx, ry = (self._share(events.axis(code)) for code in (X, Y, RX, RY))
        v, w = cfg.speed, cfg.turn
        # Sticks say -1 when they are pushed forward, and when they are pushed left.
        return np.array([-y * v, -x * v, -ry * v, 0.0, 0.0, -rx * w, grip])

    def _share(self, value: float) -> float:
        """The deflection beyond the dead zone, -1..1."""
        over = max(0.0, abs(value) - self._cfg.dead_zone) / (1.0 - self._cfg.dead_zone)
        return float(np.copysign(over, value))


def _fits(device: Any) -> bool:
    return {SOUTH, SHOULDER} <= codes(device, KEY)


def connect(cfg: Config, ctx: Context) -> Gamepad:
    """The game pad, not open yet."""
    return Gamepad(cfg, InputEvents(ctx.clock, cfg.device, "game pad", _fits, 0.2))
