"""A worker for `headway.edge.control.rehearsal`: the calls of a `ProcessWorker`, and nobody behind
them.

Its chunks stand still where the last observation was planned from. It answers whenever the real
policy is awaited, since the tick to come may be the one that takes the chunk over. Images are left
out: copying them is a matter of bandwidth, which no cache helps.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

import numpy as np
from msgspec import structs

from headway.edge.motion.chunks import JointChunk
from headway.edge.policy.policy import About, Ready
from headway.edge.policy.worker import wire
from headway.edge.policy.worker.exchange import SLOTS, Exchange, say
from headway.edge.policy.worker.tensors import Tensors
from headway.types import Chunk, Observation

_DT_NS = 100_000_000  # between waypoints


class Practice:
    """`awaited` says whether the real policy owes an answer."""

    trouble = ""

    def __init__(self, about: About, joints: int, awaited: Callable[[], bool]) -> None:
        self.about = structs.replace(about, cameras=())
        self._awaited = awaited
        seen = Tensors(wire.observation_fields({}, len(about.state_names), joints), SLOTS)
        said = Tensors(wire.chunk_fields(about.chunk_shape, joints), SLOTS)
        for tensors in (seen, said):
            os.close(tensors.fd)
        self._exchange = Exchange(seen, said)
        self._ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (self._ours, self._theirs):
            end.setblocking(False)
        self._asked = 0
        self._answer: Ready | None = None

    def reset(self, instruction: str) -> int:
        self._answer = None
        self._exchange.forget()
        return 0

    def submit(self, obs: Observation) -> None:
        self._exchange.put(obs, self._ours)
        *_, self._asked, _ = wire.SLOT.unpack(self._theirs.recv(wire.LONGEST))
        h, d = self.about.chunk_shape
        chunk = Chunk(obs.t_ns, _DT_NS, np.zeros((h, d), np.float32), obs.base)
        q = np.tile(obs.base_q, (h + 1, 1))
        joints = JointChunk(obs.t_ns, _DT_NS, q, np.zeros(h + 1), 0.0)
        self._answer = Ready(chunk, joints, 0, 0, 0)

    def take(self, now_ns: int) -> Ready | None:
        said, asked = self._exchange.said, self._asked
        if self._answer is not None and self._awaited():
            chunk = structs.replace(self._answer.chunk, t0_ns=now_ns)
            answer = structs.replace(self._answer, chunk=chunk)
            say(said, self._theirs, answer, number=asked, episode=0, asked=asked)
            said.news += 1
        return self._exchange.get(now_ns, self._ours)

    def close(self) -> None:
        self._ours.close()
        self._theirs.close()
        self._exchange.seen.close()
        self._exchange.said.close()
