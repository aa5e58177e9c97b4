"""A 3Dconnexion space mouse: its cap moves the TCP along the axes of the base and turns it about
them, the first button opens and closes the jaws. At rest it sends nothing, so silence is rest.

The kernel gives its six axes as relative ones or, in some versions, as absolute ones; x points to
the right, y to the person, z down.
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from msgspec import Meta

from headway import config
from headway.drivers import Context
from headway.drivers.input_events import ABS, REL, InputEvents, codes
from headway.drivers.inputs._buttoned import Buttoned
from headway.types import Vec

AXES = range(6)  # x y z, rx ry rz: REL_X or ABS_X and the five after it
BUTTON = 256  # BTN_0
VENDORS = (0x256F, 0x046D)  # 3Dconnexion, and Logitech for the older ones
FULL = 350.0  # counts at full deflection
# Base axes from the mouse's: x = -y, y = -x, z = -z.
TO_BASE = np.array([[0.0, -1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])


class Config(config.Struct, frozen=True):
    """Keys of `[input]` for the kind `spacemouse`. `device`: its path of /dev/input, "" for the
    first one. `speed` [m/s] and `turn` [rad/s] at full deflection; `dead_zone`: the share of it
    that counts as rest; `quiet_s` [s] without an event: it is at rest."""

    device: str = ""
    speed: config.Positive = 0.15
    turn: config.Positive = 0.8
    dead_zone: Annotated[float, Meta(ge=0.0, le=0.9)] = 0.08
    quiet_s: config.Seconds = 0.15


class SpaceMouse(Buttoned):
    """The space mouse behind `events`."""

    def __init__(self, cfg: Config, events: InputEvents) -> None:
        super().__init__(events, BUTTON)
        self._cfg = cfg

    def read(self) -> Vec | None:
        events, cfg = self.events, self._cfg
        events.check()
        grip = self.grip()
        share = np.array([events.axis(k) or events.relative(k) / FULL for k in AXES])
        over = np.maximum(0.0, np.abs(share) - cfg.dead_zone) / (1.0 - cfg.dead_zone)
        share = np.copysign(np.minimum(over, 1.0), share)
        v, w = TO_BASE @ share[:3] * cfg.speed, TO_BASE @ share[3:] * cfg.turn
        said: Vec = np.concatenate([v, w, [grip]])
        return said


def _fits(device: Any) -> bool:
    six = any(set(AXES) <= codes(device, kind) for kind in (REL, ABS))
    return six and device.info.vendor in VENDORS


def connect(cfg: Config, ctx: Context) -> SpaceMouse:
    """The space mouse, not open yet."""
    return SpaceMouse(cfg, InputEvents(ctx.clock, cfg.device, "space mouse", _fits, cfg.quiet_s))
