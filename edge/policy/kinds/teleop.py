"""An operator as a policy: whatever reads the operator's device (a space mouse, a leader arm, a
game pad) is a Python class of the user's, asked for one action at a time.

The class needs a method `read()`, which returns the action (d,) of this moment, or None while the
operator does not steer: then the arm holds. It also needs `actions`, as the kind `python` explains,
with a chunk of one row.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from headway.clock import NS
from headway.edge.policy.kinds import python
from headway.edge.policy.kinds.python import PythonPolicy
from headway.edge.policy.worker.source import Process
from headway.errors import ConfigError, PolicyError
from headway.types import Chunk, Observation

PATHS = python.PATHS
Config = python.Config


def process(cfg: python.Config) -> Process:
    """As for the kind `python`."""
    return python.process(cfg)


class _Asked:
    """The operator's device `made` as an object that infers."""

    def __init__(self, made: Any, target: str) -> None:
        if not callable(getattr(made, "read", None)):
            raise ConfigError(
                f"operator {target}: wanted a method read(), found {type(made).__name__} without"
            )
        self._made = made
        self.actions = getattr(made, "actions", None)
        self.name = str(getattr(made, "name", type(made).__name__))
        self.state_names = tuple(getattr(made, "state_names", ()))

    def reset(self) -> None:
        reset = getattr(self._made, "reset", None)
        if reset is not None:
            reset()

    def infer(self, obs: Observation) -> Any:
        said = self._made.read()
        if said is None:
            raise PolicyError("the operator does not steer")
        return said


class Teleop(PythonPolicy):
    """The operator, whose chunks are marked with `meta["operator"]` = 1. Raises ConfigError as
    `PythonPolicy`, and for a chunk of several rows."""

    def __init__(self, made: Any, target: str) -> None:
        super().__init__(_Asked(made, target), target)
        if self.actions.chunk != 1:
            raise ConfigError(
                f"operator {target}: wanted actions with chunk = 1, found {self.actions.chunk}: an "
                "operator decides one step at a time"
            )

    def infer(self, obs: Observation) -> Chunk:
        chunk = super().infer(obs)
        return Chunk(
            chunk.t0_ns, round(self.actions.dt_s * NS), np.asarray(chunk.actions, np.float32),
            chunk.base, meta={"operator": 1.0},
        )  # fmt: skip


def open_policy(
    target: str,
    arguments: dict[str, Any] | None = None,
    folder: str | None = None,
    interpreter: str | None = None,
) -> Teleop:
    """Import and make the operator's device; the arguments are the keys of `Config`. Raises
    ConfigError, and whatever the class raises."""
    return Teleop(python.make(target, arguments or {}, folder), target)
