"""What tasks in a cell have in common: zones on its table, and checks that task, world and robot
fit each other."""

from __future__ import annotations

from typing import Any

from headway import config
from headway.config import Positive
from headway.drivers import Asked
from headway.edge.control.tasks import Place, TaskAbout
from headway.errors import ConfigError


class Zone(config.Struct, frozen=True):
    """A rectangle on the table, in the base frame: its centre (x, y) and half its size [m]."""

    centre: tuple[Place, Place]
    half: tuple[Positive, Positive]

    def holds(self, x: float, y: float) -> bool:
        """Whether the point (`x`, `y`) [m] in the base frame lies in the rectangle."""
        return abs(x - self.centre[0]) < self.half[0] and abs(y - self.centre[1]) < self.half[1]


def check_world(cfg: Any, name: str, asked: Asked, where: str) -> None:
    """Check that the task `name` is the one that a world asks for, and that the zones of `cfg` hold
    the world's places. `where` names the section in errors. Raises ConfigError."""
    if asked.task is not None and name != asked.task:
        raise ConfigError(
            f"{where}: `name` wants {asked.task!r}, the task of the cell's {asked.name}, found "
            f"{name!r}"
        )
    for key, (x, y) in asked.places.items():
        zone: Zone = getattr(cfg, key)
        if not zone.holds(x, y):
            raise ConfigError(
                f"{where}: `{key}` wants a zone that holds ({x:g}, {y:g}), where the cell's "
                f"{asked.name} has it, found centre {zone.centre} and half {zone.half}"
            )


def stroke_of(about: TaskAbout, kind: str) -> float:
    """The largest opening [m] of the jaws, for a task of the `kind`. Raises ConfigError for a robot
    without a gripper."""
    if about.stroke is None:
        raise ConfigError(
            f"a task of the kind {kind} wants a gripper, found no [gripper]: add the section, or "
            'set kind = "open_ended" in [task]'
        )
    return about.stroke
