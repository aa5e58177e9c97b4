"""Where a unit's episodes are run: a workflow's simulated station, through the control loop that
robots have, on the virtual clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from headway.learn.rollout import Rollout


@dataclass(frozen=True)
class Driver:
    """Who drives. "policy": the bundle `policy` alone; "oracle": it, and the scripted oracle takes
    over; "demonstrator": the scripted expert. With `critic`, the policy makes `candidates` chunks
    at a time, of which one is drawn with this `temperature`. `noise`: how much of its noise the
    policy makes chunks from, 1 for all of it."""

    who: Literal["policy", "oracle", "demonstrator"]
    policy: Path
    critic: Path | None = None
    candidates: int = 1
    temperature: float = 0.0
    noise: float = 1.0


class Session(Protocol):
    """A station that is open, with somebody who drives."""

    def episode(self, seed: int, left_s: float = 0.0) -> Rollout:
        """The episode of `seed`. `left_s` [s]: how long the oracle may still act. Raises Unstable
        where the simulated physics blew up; the session is of no use any more then."""


class Site(Protocol):
    """A workflow."""

    def open(self, driver: Driver, scene: Mapping[str, Any]) -> Any:
        """A context manager that gives a `Session`. `scene`: what is changed in the scene, and
        "inject": true, which brings about a failure in every order."""

    @property
    def made_of(self) -> dict[str, str]:
        """What decides how its episodes go, by name, as hashes."""
