"""An operator as a policy: whatever reads the operator's device (a space mouse, a leader arm, a
game pad) is a Python class of the user's, asked for one action at a time.

The class needs a method `read()`, which returns the action (d,) of this moment, or None while the
operator does not steer: then the arm holds, and the jaws stay as they are. It also needs `actions`,
as the kind `python` explains, with a chunk of one row. Headway's own devices are in
`headway.drivers.inputs`; `headway teleop` runs them in the loop's process.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from headway.clock import NS
from headway.edge.motion.follow import Follow
from headway.edge.policy.kinds import python
from headway.edge.policy.kinds.python import PythonPolicy
from headway.edge.policy.worker.source import Process
from headway.errors import ConfigError, PolicyError
from headway.types import Chunk, Observation, Vec

PATHS = python.PATHS
Config = python.Config
# Components of a rotation that does not turn; those of the other forms are 0.
_UPRIGHT = {"qw": 1.0, "r1": 1.0, "r5": 1.0}


def process(cfg: python.Config) -> Process:
    """As for the kind `python`."""
    return python.process(cfg)


class _Device:
    """The operator's device `made` as an object that `PythonPolicy` takes."""

    def __init__(self, made: Any, target: str) -> None:
        if not callable(getattr(made, "read", None)):
            raise ConfigError(
                f"operator {target}: wanted a method read(), found {type(made).__name__} without"
            )
        self.infer = made.read
        self.actions = getattr(made, "actions", None)
        self.name = str(getattr(made, "name", type(made).__name__))
        self.reset = getattr(made, "reset", None) or (lambda: None)


class Teleop(PythonPolicy):
    """The operator, whose chunks are marked with `meta["operator"]`: 1 while the operator steers,
    else 0, which recordings keep. Raises ConfigError as `PythonPolicy`, and for a chunk of several
    rows.

    `follow`: how the arm's `joints` go to the positions that the operator points at, where actions
    are absolute joint positions; None: at once, as far as the guard lets them."""

    recorded = ("operator",)

    def __init__(
        self,
        made: Any,
        target: str,
        follow: Follow | None = None,
        joints: tuple[str, ...] = (),
    ) -> None:
        self._follow = follow
        self._device = _Device(made, target)
        super().__init__(self._device, target)
        if self.actions.chunk != 1:
            raise ConfigError(
                f"operator {target}: wanted actions with chunk = 1, found {self.actions.chunk}: an "
                "operator decides one step at a time"
            )
        self._order = list(self.actions.check_joints(joints)) if follow is not None else []
        self._last: Vec | None = None  # what the operator said last [SI]

    def reset(self) -> None:
        """Begin an episode: what was said before is forgotten."""
        super().reset()
        self._last = None
        if self._follow is not None:
            self._follow.reset()

    def infer(self, obs: Observation) -> Chunk:
        """The operator's action of this moment, else one that holds the arm. Raises PolicyError
        where actions are absolute and the operator has said none yet."""
        said = self._device.infer()
        if said is not None:
            self._last = self.actions.to_si(np.asarray(said, np.float64).reshape(1, -1))[0]
        if self._follow is not None:
            row = self._followed(self._follow, said is not None, obs.base_q)
        elif said is not None and self._last is not None:
            row = self._last
        else:
            row = self._held()
        return Chunk(
            obs.t_ns, round(self.actions.dt_s * NS), np.asarray(row, np.float32)[None], obs.base,
            meta={"operator": float(said is not None)},
        )  # fmt: skip

    def _followed(self, follow: Follow, steers: bool, q: Vec) -> Vec:
        """The action on the way from `q` (n,) [rad] to what the operator points at, or to rest."""
        space, last = self.actions, self._last
        joints = self._order
        row = np.zeros(len(space.names)) if last is None else last.copy()
        row[joints] = follow.step(q, last[joints] if steers and last is not None else None)
        grip = space.columns.grip
        if last is None and grip is not None:
            row[grip] = space.grip_range(None)[0]
        return row

    def _held(self) -> Vec:
        """The action [SI] that leaves arm and jaws as they are."""
        space = self.actions
        if space.mode == "absolute":
            if self._last is None:
                raise PolicyError("the operator has not steered yet")
            return self._last
        row = np.array([_UPRIGHT.get(name, 0.0) for name in space.names])
        grip = space.columns.grip
        if grip is not None:
            row[grip] = space.grip_range(None)[0] if self._last is None else self._last[grip]
        return row


def open_policy(
    target: str,
    arguments: dict[str, Any] | None = None,
    folder: str | None = None,
    interpreter: str | None = None,
) -> Teleop:
    """Import and make the operator's device; the arguments are the keys of `Config`. Raises
    ConfigError, and whatever the class raises."""
    return Teleop(python.make(target, arguments or {}, folder), target)
