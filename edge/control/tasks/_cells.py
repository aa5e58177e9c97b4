"""What tasks in a cell have in common: zones on its table, jaws that close, and checks that task,
world and robot fit each other."""

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


class Closing:
    """Watches jaws close, from their widths. `closing`: whether they are told to; `was_closing`:
    whether they were at the tick before; `settled`: whether they have come to rest since."""

    def __init__(self, below: float, settle_s: float) -> None:
        """Jaws that are told to open less than `below` [m] close; those that have not moved for
        `settle_s` [s] are at rest."""
        self._below, self._settle_s = below, settle_s
        self.closing = self.was_closing = self.settled = False
        self._still_s = self._followed = 0.0

    @property
    def begins(self) -> bool:
        """Whether they are told to close at this tick and were not before."""
        return self.closing and not self.was_closing

    def step(self, width: float, width_ref: float, dt: float) -> None:
        """Take in the opening `width` [m] and the commanded one, `dt` [s] after the ones before."""
        self.was_closing, self.closing = self.closing, width_ref < self._below
        # `_followed` follows the width with a time constant of 10 ms. Encoder noise is 0.1 mm; a
        # jaw that closes at 0.12 m/s is 1.2 mm ahead of it.
        moving = abs(width - self._followed) > 0.0008
        self._followed += (width - self._followed) * min(1.0, dt / 0.01)
        self._still_s = 0.0 if moving or self.begins else self._still_s + dt
        self.settled = self.closing and not self.begins and self._still_s >= self._settle_s


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
