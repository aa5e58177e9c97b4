"""Scenes; each module is a kind with `Config` and `build(cfg, rng) -> Scene`. It also says what the
run's `[task]` has to fit: `TASK`, its `index`; the zones `SOURCE` and `TARGET`; and `INSTRUCTIONS`,
one of which each scene asks for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Zone:
    """A box in the base frame [m]: centre, half sizes; the layout that the robot knows."""

    centre: tuple[float, float, float]
    half: tuple[float, float, float]

    def holds(self, x: float, y: float, margin: float = 0.0) -> bool:
        """Whether a point is above the zone's footprint shrunk by `margin`."""
        cx, cy, _ = self.centre
        hx, hy, _ = self.half
        return abs(x - cx) < hx - margin and abs(y - cy) < hy - margin


@dataclass(frozen=True)
class Scene:
    """`xml`: bodies to put into the world. `instruction`: what the station asks for.
    `outcome(model, data)`: what the station's own sensors report at the end of an episode.
    `truth`: for experts and analysis only; nothing that runs on the robot may read it."""

    xml: str
    instruction: str
    outcome: Callable[[Any, Any], bool]
    truth: dict[str, Any] = field(default_factory=dict)
