"""A policy in a process of its own as a policy of the loop's process: for runs in lock-step, where
the loop waits for every answer."""

from __future__ import annotations

from headway.edge.policy.worker.process import ProcessWorker
from headway.types import Chunk, Observation


class Waiting:
    """The policy behind `worker`, which is asked and waited for."""

    def __init__(self, worker: ProcessWorker) -> None:
        known = worker.about
        self.name, self.cameras, self.state_names = known.name, known.cameras, known.state_names
        self.actions, self.needs = known.actions, known.needs
        self.detail = f"{worker.detail} in process {worker.pid}"
        self.facts = worker.facts
        self._worker = worker

    def check_instruction(self, text: str) -> None:
        """Begin an episode with the instruction `text`. Raises SpecMismatch for one that the policy
        does not know, PolicyError when it is gone."""
        self._worker.reset(text)

    def reset(self) -> None:
        """Does nothing: `check_instruction`, which follows, tells the process both."""

    def infer(self, obs: Observation) -> Chunk:
        """The policy's chunk for `obs`. Raises PolicyError."""
        return self._worker.answer(obs).chunk
