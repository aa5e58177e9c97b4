"""A scene: a table and nothing else, for policies that reach or show motions.

It gives no instruction and cannot tell whether something was carried out; the task judges that.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from headway import config
from headway.drivers.sim.scenes import Scene, Zone

INSTRUCTIONS: tuple[str, ...] = ()
TASK: str | None = None
PLACES: dict[str, Zone] = {}
HOME: tuple[float, float, float] | None = None


class Config(config.Struct, frozen=True):
    """This scene has no keys in `scene_config`."""


def build(cfg: Config, rng: np.random.Generator) -> Scene:
    """The scene, which is the same in every episode."""
    return Scene("", "", _unknown)


def _unknown(model: Any, data: Any) -> None:
    """Nothing here can be carried out or missed."""
