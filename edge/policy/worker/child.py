"""The policy's process: `python -m headway.edge.policy.worker.child FD`, started by
`ProcessWorker`.

It opens the policy, warms it up, then waits for observations and answers the newest one. It ends
when the loop's process ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import signal
import socket
import sys
import time
from typing import Any

import msgspec
import numpy as np

from headway import errors
from headway.child import outlive
from headway.drivers.kinematics import Chain
from headway.edge.motion.actions import Limb
from headway.edge.policy.policy import About, FrameShape, Policy, about, infer, place_of
from headway.edge.policy.worker import protocol
from headway.edge.policy.worker.exchange import say
from headway.edge.policy.worker.tensors import Tensors
from headway.errors import HeadwayError, PolicyError, Refused
from headway.types import Pose

_PR_SET_PDEATHSIG = 1
# Of an error in characters: as JSON, at 12 bytes for each at most, it still fits in a message.
LONGEST_TEXT = 4096


def open_factory(factory: str, arguments: dict[str, Any]) -> Policy:
    """The policy that the function `factory`, "module:function", makes from `arguments`. Raises
    what the import and the function raise."""
    module, _, function = factory.partition(":")
    made: Policy = getattr(importlib.import_module(module), function)(**arguments)
    return made


class Child:
    """The policy's end of the socket `sock` to the loop; `known` describes `policy`. Making it
    receives the shared memory from the loop and warms the policy up. Raises PolicyError."""

    def __init__(self, sock: socket.socket, policy: Policy, known: About) -> None:
        self.sock, self.policy, self.about = sock, policy, known
        message, fds, _, _ = socket.recv_fds(sock, protocol.LONGEST, 2)
        setup = protocol.unpack(message)
        chain = Chain.from_plain(setup["chain"])
        self.limb = Limb(chain, tuple(setup["joints"]), setup["stroke"])
        self.cameras = {k: FrameShape(*v) for k, v in setup["cameras"].items()}
        joints, state = chain.n, len(known.state_names)
        fields = protocol.observation_fields(self.cameras, state, joints, known.needs.steps)
        self.seen = Tensors(fields, setup["slots"], fds[0])
        self.said = Tensors(protocol.chunk_fields(known.actions, joints), setup["slots"], fds[1])
        for fd in fds:
            os.close(fd)
        self._number = 0
        self._warm_up(setup["warm_up"], np.array(setup["q"]), state)

    def _warm_up(self, times: int, q: Any, state: int) -> None:
        """Run inferences and drop their chunks: the first ones allocate and tune, and take many
        times as long as all later ones. `q` (n,) [rad]; `state` numbers in the state."""
        R = self.limb.chain.pose(q)
        text = (self.about.needs.instructions or ("",))[0]
        took = []
        for _ in range(times):
            obs = protocol.empty_observation(
                self.cameras, state, q, Pose(R.pos, R.quat), text, self.about.needs.steps
            )
            begun = time.monotonic_ns()
            # A policy of free text may refuse "". Its engine has run its model once already.
            with contextlib.suppress(Refused):
                infer(self.policy, self.limb, obs, begun)
            took.append(time.monotonic_ns() - begun)
        self.sock.send(protocol.pack(protocol.READY, {"warm_up_ns": took}))

    def serve(self) -> None:
        """Answer observations, always the newest one, until the loop closes its end of the socket
        or sends QUIT."""
        self.sock.settimeout(None)
        newest: tuple[int, int, int] | None = None
        while True:
            self.sock.setblocking(newest is None)
            try:
                message = self.sock.recv(protocol.LONGEST)
            except BlockingIOError:  # every message is read: answer the newest observation
                assert newest is not None
                self._answer(*newest)
                newest = None
                continue
            kind = message[:1]
            if kind in (b"", protocol.QUIT):
                return
            if kind == protocol.RESET:
                newest = None
                self._reset(protocol.unpack(message))
            else:
                _, slot, episode, number, _ = protocol.SLOT.unpack(message)
                newest = slot, episode, number

    def _reset(self, asked: dict[str, Any]) -> None:
        answer: dict[str, Any] = {"episode": asked["episode"]}
        try:
            self.policy.reset()
            self.policy.check_instruction(asked["instruction"])
        except Exception as e:
            answer |= described(e)
        self.sock.setblocking(True)
        self.sock.send(protocol.pack(protocol.ANSWER, answer))

    def _answer(self, slot: int, episode: int, number: int) -> None:
        found = self.seen.views[slot]
        obs = protocol.get_observation(found, self.cameras)
        submitted = int(found["submitted_ns"])
        if not self.seen.whole(slot, number):
            return  # the loop has overwritten it; the message about a newer one is on its way
        self.sock.setblocking(True)
        try:
            ready = infer(self.policy, self.limb, obs, submitted)
        except (PolicyError, MemoryError) as e:
            self.sock.send(protocol.pack(protocol.ERROR, {"episode": episode, **described(e)}))
        else:
            self._number += 1
            say(self.said, self.sock, ready, number=self._number, episode=episode, asked=number)
        self.said.news += 1


def described(e: BaseException) -> dict[str, str]:
    """The error `e` in words, to be sent to the loop: the name of its class, and its text with the
    place where somebody else's code raised it, cut to LONGEST_TEXT characters."""
    place = place_of(e)[:LONGEST_TEXT]
    return {"error": type(e).__name__, "text": str(e)[: LONGEST_TEXT - len(place)] + place}


def raised(found: dict[str, str]) -> HeadwayError:
    """The error that `described` has put into words: of the same class if that is a HeadwayError,
    else a PolicyError."""
    kind = getattr(errors, found["error"], None)
    if isinstance(kind, type) and issubclass(kind, HeadwayError):
        return kind(found["text"])
    return PolicyError(f"{found['error']}: {found['text']}")


def main(argv: list[str]) -> int:
    """Run the policy's process. `argv`: the file descriptor of the socket to the loop. Returns the
    exit code, 1 where the policy could not be opened."""
    sock = socket.socket(fileno=int(argv[0]))
    outlive()
    # End with the loop's process, even in the middle of an inference.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    try:
        setup = json.loads(sock.recv(protocol.LONGEST))
        if setup["cores"]:
            os.sched_setaffinity(0, setup["cores"])
        policy = open_factory(setup["factory"], setup["arguments"])
        known = about(policy)
        sock.send(
            protocol.pack(
                protocol.DESCRIBE,
                {
                    "about": msgspec.to_builtins(known), "detail": getattr(policy, "detail", ""),
                    "facts": getattr(policy, "facts", {}),
                },
            )
        )  # fmt: skip
        child = Child(sock, policy, known)
    except Exception as e:
        with contextlib.suppress(OSError):
            sock.send(protocol.pack(protocol.ERROR, described(e)))
        return 1
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the loop is gone
        child.serve()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
