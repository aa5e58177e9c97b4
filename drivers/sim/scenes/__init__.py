"""Scenes of the simulated cell. Each module is a kind, with a struct `Config` and a function
`build(cfg, rng) -> Scene`. `HOME` is where the TCP starts [m] with the tool down, None for the home
posture of the robot. A module also states what the rest of the run's configuration must agree with:
`TASK`, the task's name, None for any; `PLACES`, the task's zones by name; and `INSTRUCTIONS`, of
which each scene gives one, or () where the scene gives none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headway.drivers.sim.order import SimOrder


@dataclass(frozen=True)
class Zone:
    """A box in the base frame, with `centre` [m] and half sizes `half` [m]. The robot's
    configuration knows these zones too."""

    centre: tuple[float, float, float]
    half: tuple[float, float, float]

    def holds(self, x: float, y: float, margin: float = 0.0) -> bool:
        """Whether the point (x, y) [m] in the base frame is inside the zone's footprint, which is
        shrunk by `margin` [m] on every side."""
        cx, cy, _ = self.centre
        hx, hy, _ = self.half
        return abs(x - cx) < hx - margin and abs(y - cy) < hy - margin


@dataclass(frozen=True)
class Scene:
    """`xml`: MJCF of the bodies to put into the world; `sections`: MJCF of what belongs beside it,
    such as equalities. `instruction`: the task for the policy, "" for none. `outcome(model, data)`:
    whether the station's sensors report that it is carried out, for a MuJoCo model and its state;
    None where they cannot tell. `truth`: facts about the bodies, for experts and analysis only;
    nothing that runs on the robot may read them.

    `step(model, data, t_s)` is called once per control tick, after the physics, `t_s` [s] after the
    episode's start; it may change the model and its state (a latch, a friction), and tells `order`
    what is true. `order`: that of the station, None in a scene without one."""

    xml: str
    instruction: str
    outcome: Callable[[Any, Any], bool | None]
    truth: dict[str, Any] = field(default_factory=dict)
    step: Callable[[Any, Any, float], None] | None = None
    order: SimOrder | None = None
    sections: str = ""
