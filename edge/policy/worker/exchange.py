"""The exchange of observations and chunks between the loop and the policy's process.

Neither `put` nor `get` waits: an observation is copied into shared memory and announced through a
socket; a chunk is copied out of shared memory when the news counter says that there is one.
"""

from __future__ import annotations

import contextlib
import socket
from time import monotonic_ns

from headway.edge.policy.policy import Ready
from headway.edge.policy.worker import protocol
from headway.edge.policy.worker.tensors import Tensors
from headway.errors import PolicyError, Refused
from headway.types import Observation

SLOTS = 4  # observations, and chunks, that the shared memory holds at a time


def say(
    said: Tensors, sock: socket.socket, ready: Ready, *, number: int, episode: int, asked: int
) -> None:
    """The policy's side: hand over `ready` as the chunk `number` of `episode`, the answer to the
    observation `asked`. The caller counts `said.news` up afterwards: the system call in here orders
    all stores before it."""
    slot = number % said.slots
    protocol.put_ready(said.begin(slot, number), ready)
    said.end(slot, number)
    sock.send(protocol.SLOT.pack(protocol.CHUNK, slot, episode, number, asked))


class Exchange:
    """The loop's side. `seen` holds observations, `said` chunks. `asked_ns` [ns]: since when the
    policy owes an answer, None where it owes none. `episode`: messages of another one are dropped.
    """

    def __init__(self, seen: Tensors, said: Tensors) -> None:
        self.seen, self.said = seen, said
        self.asked_ns: int | None = None
        self.episode = 0
        self._number = self._news = 0

    def forget(self) -> None:
        """Drop what the policy has said up to now."""
        self._news, self.asked_ns = self.said.news, None

    def put(self, obs: Observation, sock: socket.socket) -> None:
        """Hand `obs` over to the policy, announced through `sock`. Raises PolicyError for images of
        another shape or type than at the start of the run."""
        self._number += 1
        slot = self._number % SLOTS
        out = self.seen.begin(slot, self._number)
        try:
            protocol.put_observation(out, obs)
        except ValueError as e:
            raise PolicyError(str(e)) from None
        out["submitted_ns"][...] = monotonic_ns()
        self.seen.end(slot, self._number)
        # The socket is full when the policy is far behind, and broken when its process has ended,
        # which `ProcessWorker` finds out by itself.
        with contextlib.suppress(OSError):
            sock.send(protocol.SLOT.pack(protocol.NEW, slot, self.episode, self._number, 0))
        if self.asked_ns is None:
            self.asked_ns = obs.t_ns

    def get(self, now_ns: int, sock: socket.socket) -> Ready | None:
        """The newest chunk, None without a new one; `now_ns` [ns] is the tick's time. Raises
        PolicyError for an inference that failed after the newest chunk, Refused where it was for
        its instruction."""
        news = self.said.news
        if news == self._news:
            return None
        newest: Ready | None = None
        failure: PolicyError | None = None
        with contextlib.suppress(OSError):
            # Read exactly as many messages as there are: a refused system call costs microseconds.
            for _ in range(news - self._news):
                message = sock.recv(protocol.LONGEST)
                if message[:1] == protocol.CHUNK:
                    _, slot, episode, number, asked = protocol.SLOT.unpack(message)
                    if episode != self.episode:
                        continue
                    self.asked_ns = None if asked >= self._number else now_ns
                    ready = protocol.get_ready(self.said.views[slot])
                    if self.said.whole(slot, number):
                        newest, failure = ready, None
                elif message[:1] == protocol.ERROR:
                    content = protocol.unpack(message)
                    if content["episode"] == self.episode:
                        self.asked_ns = None
                        refused = content["error"] == Refused.__name__
                        failure = (Refused if refused else PolicyError)(content["text"])
        self._news = news
        if failure is not None:
            raise failure
        return newest
