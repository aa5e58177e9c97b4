"""`headway run --patch`: a person at the terminal takes the arm over from the policy, corrects it
by single keys, and gives it back. What the person does is marked as a correction in the recording.

The simulated cell runs in lock-step, but no faster than the wall clock, so that a person can follow
it in a live view. A key moves the arm until the next decision of the policy; terminals repeat a
key that is held down.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from headway.clock import NS
from headway.drivers.inputs.keyboard import Keys
from headway.drivers.rotations import quat_to_mat, rotvec_to_mat
from headway.edge.motion.actions import tcp_actions
from headway.edge.policy.policy import Policy
from headway.errors import ConfigError
from headway.types import Chunk, Observation, Pose

CORRECTION = 1.0  # `source` in the meta of a chunk that is not the policy's own, which is 0
NOTE = (
    "patch: the space bar takes the arm over and gives it back; w s a d move it along x and y of "
    "the base, r f up and down, q e turn it, g opens or closes the jaws. Watch it with --view or "
    "--rerun"
)
_BEHIND_S = 0.5  # a run that is so late does not hurry to catch up with the wall clock


class Takeover:
    """`policy`, which the person behind `keys` may take over from, in its own action space. Raises
    ConfigError for actions that are not those of a TCP, or without jaws that open and close.

    `now` [s] is the wall clock, and `pause` [s] waits on it."""

    def __init__(
        self,
        policy: Policy,
        keys: Keys,
        *,
        now: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        space = policy.actions
        if space.space != "tcp" or space.columns.grip is None:
            raise ConfigError(
                f"--patch moves the TCP and the jaws, policy {policy.name} has "
                f"{space.space} actions {', '.join(space.names)}: patch a policy with TCP actions "
                "and `grip`"
            )
        self.name, self.actions, self.needs = policy.name, space, policy.needs
        self.cameras, self.state_names = policy.cameras, policy.state_names
        self.check_instruction = policy.check_instruction
        self.candidates: int = getattr(policy, "candidates", 0)
        self.recorded: tuple[str, ...] = (*getattr(policy, "recorded", ()), "source")
        self._policy, self._keys, self._now, self._pause = policy, keys, now, pause
        self._grip = space.columns.grip
        self._open, self._closed = space.grip_range(None)
        self._jaws = self._open  # the last value of `grip`
        self._origin_s: float | None = None  # the wall clock at the run's time 0
        self._last_ns: int | None = None  # of the decision before

    def reset(self) -> None:
        """Begin an episode: the policy steers."""
        self._policy.reset()
        self._keys.release()
        self._jaws, self._origin_s, self._last_ns = self._open, None, None

    def infer(self, obs: Observation) -> Chunk:
        """The chunk of whoever steers, at the wall clock's pace. Its `meta` has the `source`, and a
        `demonstration` of 1 for a correction, so that training imitates these alone."""
        self._wait(obs.t_ns)
        before, self._last_ns = self._last_ns, obs.t_ns
        dt_ns = round(self.actions.dt_s * NS)
        if not self._keys.steering:
            begun = self._now()
            chunk = self._policy.infer(obs)
            self._jaws = float(chunk.actions[-1, self._grip])
            meta = {
                "cost_ms": 1e3 * (self._now() - begun), **chunk.meta,
                "source": 0.0, "demonstration": 0.0,
            }  # fmt: skip
            return Chunk(chunk.t0_ns, chunk.dt_ns, chunk.actions, chunk.base, chunk.label, meta)
        if self._keys.turned:
            self._keys.turned = False
            shut = abs(self._jaws - self._closed) < abs(self._jaws - self._open)
            self._jaws = self._open if shut else self._closed
        lasts_s = self.actions.dt_s if before is None else (obs.t_ns - before) / NS
        actions = self._moved(obs.base, self._keys.velocity(), lasts_s)
        actions[:, self._grip] = self._jaws
        return Chunk(
            obs.t_ns, dt_ns, actions.astype(np.float32), obs.base,
            meta={"source": CORRECTION, "demonstration": 1.0},
        )  # fmt: skip

    def _moved(
        self, base: Pose, velocity: NDArray[np.float64], lasts_s: float
    ) -> NDArray[np.float64]:
        """Actions (h, columns) from the pose `base` on, with the `velocity` (4,) for `lasts_s` [s],
        and at rest after that."""
        space = self.actions
        t = np.minimum(space.dt_s * np.arange(space.chunk + 1), lasts_s)
        p = base.pos + t[:, None] * velocity[:3]
        start = quat_to_mat(base.quat)
        turn = velocity[3] * t
        R = np.stack([rotvec_to_mat(np.array([0.0, 0.0, a])) @ start for a in turn])
        return tcp_actions(R, p, space)

    def _wait(self, t_ns: int) -> None:
        t_s, now = t_ns / NS, self._now()
        if self._origin_s is None or now - self._origin_s - t_s > _BEHIND_S:
            self._origin_s = now - t_s
        ahead = self._origin_s + t_s - now
        if ahead > 0.0:
            self._pause(ahead)
