"""The loop's end of what it and a policy say to each other: observations out, chunks in.

Neither call waits: an observation is copied into shared memory and announced through a socket, a
chunk is copied out when the news counter says that there is one.
"""

from __future__ import annotations

import contextlib
import socket
from time import monotonic_ns

from headway.edge.policy.policy import Ready
from headway.edge.policy.worker import protocol
from headway.edge.policy.worker.tensors import Tensors
from headway.errors import PolicyError
from headway.types import Observation

SLOTS = 4


def say(
    said: Tensors, sock: socket.socket, ready: Ready, *, number: int, episode: int, asked: int
) -> None:
    """The policy's side: chunk `number`, in answer to observation `asked`. Who says it counts the
    news up, after the system call, which orders all before it."""
    slot = number % said.slots
    protocol.put_ready(said.begin(slot, number), ready)
    said.end(slot, number)
    sock.send(protocol.SLOT.pack(protocol.CHUNK, slot, episode, number, asked))


class Exchange:
    """`seen` holds observations, `said` chunks. `asked_ns` is when the oldest observation that is
    not answered was made, None where there is none."""

    def __init__(self, seen: Tensors, said: Tensors) -> None:
        self.seen, self.said = seen, said
        self.asked_ns: int | None = None
        self.episode = 0
        self._number = self._news = 0

    def forget(self) -> None:
        """What was said up to now is of no interest any more."""
        self._news, self.asked_ns = self.said.news, None

    def put(self, obs: Observation, sock: socket.socket) -> None:
        """Raises PolicyError for an observation of another shape than before."""
        self._number += 1
        slot = self._number % SLOTS
        out = self.seen.begin(slot, self._number)
        try:
            protocol.put_observation(out, obs)
        except ValueError as e:
            raise PolicyError(str(e)) from None
        out["submitted_ns"][...] = monotonic_ns()
        self.seen.end(slot, self._number)
        with contextlib.suppress(OSError):  # full: it is far behind; broken: the keeper knows
            sock.send(protocol.SLOT.pack(protocol.NEW, slot, self.episode, self._number, 0))
        if self.asked_ns is None:
            self.asked_ns = obs.t_ns

    def get(self, now_ns: int, sock: socket.socket) -> Ready | None:
        """The newest chunk. Raises PolicyError for an inference that failed after it."""
        news = self.said.news
        if news == self._news:
            return None
        newest: Ready | None = None
        failure: PolicyError | None = None
        with contextlib.suppress(OSError):
            for _ in range(news - self._news):  # exactly: asking the kernel in vain is dear
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
                        failure = PolicyError(content["text"])
        self._news = news
        if failure is not None:
            raise failure
        return newest
