"""Policies and the worker that runs them beside the loop.

In real time the worker is a thread (ONNX Runtime releases the GIL): it takes the newest
observation, never a queue of them. In lock-step inference happens in place, and its chunk becomes
available `latency_s` of virtual time later, so that a simulated run has the delay of a real one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from headway.clock import NS, Clock
from headway.drivers.kinematics import Chain
from headway.edge.chunks import JointChunk, to_joints
from headway.types import Chunk, Observation


class Policy(Protocol):
    """Observation in, chunk out. `cameras` and `state_names` say what it wants to see."""

    name: str
    cameras: tuple[str, ...]
    state_names: tuple[str, ...]

    def instruction(self, text: str) -> int:
        """Index of an instruction in the vocabulary. Raises SpecMismatch."""

    def reset(self) -> None: ...
    def infer(self, obs: Observation) -> Chunk:
        """A chunk relative to `obs.base`."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A chunk with how long it took; `actions` as inferred, for the recording."""

    chunk: Chunk
    joints: JointChunk
    infer_ns: int


class PolicyWorker:
    """`submit` hands over an observation; `take` returns a finished chunk once, or None."""

    def __init__(self, policy: Policy, chain: Chain, clock: Clock, latency_s: float) -> None:
        self.policy, self._chain, self._clock = policy, chain, clock
        self._latency_ns = round(latency_s * NS)
        self._pending: Observation | None = None
        self._ready: list[tuple[int, Ready]] = []
        self._wake = threading.Condition()
        self._stopping = False
        self._episode = 0  # a chunk that was begun in another one is dropped
        self._failure: Exception | None = None
        self._thread: threading.Thread | None = None
        if clock.realtime:
            self._thread = threading.Thread(target=self._serve, name="policy", daemon=True)
            self._thread.start()

    def reset(self) -> None:
        with self._wake:
            self._pending, self._ready, self._failure = None, [], None
            self._episode += 1
        self.policy.reset()

    def submit(self, obs: Observation, timer: Callable[[], int]) -> None:
        """Never raises what inference raises: `take` does."""
        if self._thread is None:
            try:
                self._ready.append((obs.t_ns + self._latency_ns, self._run(obs, timer)))
            except Exception as e:
                self._failure = e
            return
        with self._wake:
            self._pending = obs
            self._wake.notify()

    def take(self, now_ns: int) -> Ready | None:
        """The newest chunk that is ready by now. Raises what inference raised."""
        if self._failure is not None:
            raise self._failure
        if not self._ready or self._ready[0][0] > now_ns:
            return None
        with self._wake:
            due = [r for t, r in self._ready if t <= now_ns]
            self._ready = [(t, r) for t, r in self._ready if t > now_ns]
        return due[-1]

    def close(self) -> None:
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join(timeout=5.0)

    def _run(self, obs: Observation, timer: Callable[[], int]) -> Ready:
        start = timer()
        chunk = self.policy.infer(obs)
        joints = to_joints(chunk, self._chain, obs.base_q, made_ns=self._clock.now())
        return Ready(chunk, joints, timer() - start)

    def _serve(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._pending is not None or self._stopping)
                if self._stopping:
                    return
                assert self._pending is not None
                obs, episode = self._pending, self._episode
                self._pending = None
            ready: Ready | None = None
            failure: Exception | None = None
            try:
                ready = self._run(obs, self._clock.now)
            except Exception as e:  # handed to the loop, which holds and reports it
                failure = e
            with self._wake:
                if episode != self._episode:
                    continue
                if ready is not None:
                    self._ready.append((0, ready))
                self._failure = failure or self._failure
