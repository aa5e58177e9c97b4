"""The worker of real-time runs: a policy in a process of its own, as the loop sees it.

The loop's calls never wait (`exchange`). A thread waits for the end of the process. It starts the
process again, with growing pauses, when that has crashed or was killed because it gave no answer.
Meanwhile the loop plays the chunk that it has to its end, stops the arm and holds. After `restarts`
restarts within an episode, the next end of the process is final.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

import headway
from headway.child import environment, foreign_environment
from headway.clock import NS
from headway.edge.motion.actions import Limb
from headway.edge.policy.policy import About, FrameShape, Ready, check_cameras
from headway.edge.policy.worker import protocol
from headway.edge.policy.worker.child import raised
from headway.edge.policy.worker.exchange import SLOTS, Exchange
from headway.edge.policy.worker.source import PolicySource
from headway.edge.policy.worker.tensors import Tensors
from headway.errors import PolicyError, Refused
from headway.types import Observation, Vec

_BACKOFF_S = (0.1, 0.3, 1.0, 3.0)  # before the first, second, ... restart [s]


@dataclass(frozen=True)
class Care:
    """How the process is looked after."""

    start_s: float = 60.0  # time to open the policy and warm it up [s]
    hang_s: float = 1.0  # without an answer for this long [s], the process is killed
    restarts: int = 3  # per episode
    warm_up: int = 3  # inferences at the start, not used
    cores: tuple[int, ...] = ()  # cores that it may run on; (): any


class ProcessWorker:
    """Starts the process and waits until the policy is warm. `source`: how the process makes the
    policy. `limb`: the arm that it moves. `frames`: the shape of the frames of each camera, by
    name. `q` (n,) [rad]: joints to warm up at. `care`: how the process is looked after.

    `about`, `detail` and `facts` describe the policy; `warm_up_ns` [ns] are the times of the
    inferences at the start; `restarts` counts those of all episodes.

    Raises what opening the policy raises, ConfigError for cameras that do not fit it, and
    PolicyError when its process does not start.
    """

    def __init__(
        self,
        source: PolicySource,
        limb: Limb,
        frames: Mapping[str, FrameShape],
        q: Vec,
        care: Care | None = None,
    ) -> None:
        self._source, self._limb, self._frames = source, limb, dict(frames)
        self._q, self._care = q.tolist(), care or Care()
        self.detail, self.facts = "", dict[str, str]()  # what the policy says of itself
        self.warm_up_ns: list[int] = []
        self.restarts = 0  # over all episodes
        self._exchange: Exchange | None = None
        self._left = self._care.restarts  # it may also end before the first episode
        self._instruction: str | None = None
        self._trouble = self._gone = ""
        self._closing = threading.Event()
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        try:
            self._sock = self._start()
        except BaseException:
            self._free()
            raise
        self._keeper = threading.Thread(target=self._keep, name="policy-keeper", daemon=True)
        self._keeper.start()

    about: About

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def trouble(self) -> str:
        return self._trouble

    @property
    def waiting(self) -> bool:
        """Whether the policy still owes an answer."""
        return self._exchange is not None and self._exchange.asked_ns is not None

    def _start(self) -> socket.socket:
        """Start the process and wait until the policy is warm. Returns our end of the socket.
        Raises PolicyError and what opening the policy raises."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        python = self._source.process.interpreter
        try:
            self._process = subprocess.Popen(
                [
                    python or sys.executable, "-m", "headway.edge.policy.worker.child",
                    str(theirs.fileno()),
                ],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C reaches the loop, not the policy
                env=environment() if python is None else foreign_environment(self._linked()),
            )  # fmt: skip
        except OSError as e:
            ours.close()
            raise PolicyError(
                f"wanted a process for the policy, found that none can be started: {e.strerror}; "
                "see `ulimit -n`, `ulimit -u` and the free memory"
            ) from None
        finally:
            theirs.close()
        try:
            ours.settimeout(self._care.start_s)
            self._greet(ours)
        except BaseException as e:
            self._process.kill()
            self._process.wait()
            ours.close()
            if isinstance(e, OSError):
                raise PolicyError(
                    f"wanted the policy to be ready within {self._care.start_s} s, found "
                    f"{'that it is not' if isinstance(e, TimeoutError) else e.strerror or e}"
                ) from None
            raise
        ours.setblocking(False)
        return ours

    def _linked(self) -> str:
        """A folder with a link to Headway, which lasts as long as this worker."""
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="headway-policy-")
            Path(self._folder.name, "headway").symlink_to(Path(headway.__file__).parent)
        return self._folder.name

    def _greet(self, sock: socket.socket) -> None:
        care, source, limb = self._care, self._source, self._limb
        setup = {
            "factory": source.factory, "arguments": dict(source.arguments), "cores": care.cores
        }  # fmt: skip
        sock.send(protocol.pack(b"", setup))
        d = self._answer(sock, protocol.DESCRIBE)
        found = msgspec.convert(d["about"], About)
        if self._exchange is None:
            self._allocate(found)
        elif found != self.about:
            raise PolicyError(
                f"wanted the policy that was there before, {self.about}, found {found}"
            )
        self.detail, self.facts = d["detail"], d["facts"]
        assert self._exchange is not None
        memory = {
            "chain": limb.chain.plain(), "joints": limb.joints, "stroke": limb.stroke,
            "slots": SLOTS,
            "cameras": {name: self._frames[name] for name in found.cameras},
            "warm_up": care.warm_up, "q": self._q,
        }  # fmt: skip
        fds = [self._exchange.seen.fd, self._exchange.said.fd]
        socket.send_fds(sock, [protocol.pack(protocol.MEMORY, memory)], fds)
        self.warm_up_ns = self._answer(sock, protocol.READY)["warm_up_ns"]
        self._exchange.forget()
        if self._instruction is not None:
            sock.send(self._reset_message())
            # The policy was told it before, and said so then: it may be asked for something else.
            with contextlib.suppress(Refused):
                self._answer(sock, protocol.ANSWER)

    def _allocate(self, found: About) -> None:
        check_cameras(found, self._frames, self._frames)
        self.about = found
        frames = {name: self._frames[name] for name in found.cameras}
        n = len(self._q)
        fields = protocol.observation_fields(frames, len(found.state_names), n, found.needs.steps)
        said = Tensors(protocol.chunk_fields(found.actions, n), SLOTS)
        self._exchange = Exchange(Tensors(fields, SLOTS), said)

    def _answer(self, sock: socket.socket, kind: bytes) -> Any:
        """The content of the next message, which must be of `kind`."""
        message = sock.recv(protocol.LONGEST)
        if not message:
            code = self._process.wait()
            raise PolicyError(f"the policy's process ended while it started: {_ending(code)}")
        content = protocol.unpack(message)
        if "error" in content:
            raise raised(content)
        if message[:1] != kind:
            raise PolicyError(f"wanted the policy to say {kind!r}, found {message[:80]!r}")
        return content

    def _reset_message(self) -> bytes:
        assert self._exchange is not None
        episode = self._exchange.episode
        return protocol.pack(protocol.RESET, {"instruction": self._instruction, "episode": episode})

    def reset(self, instruction: str) -> None:
        """As `Worker.reset`. It waits for the policy, so it is called before the first tick of an
        episode, never later."""
        exchange = self._exchange
        assert exchange is not None
        exchange.episode += 1
        self._left = self._care.restarts
        self._instruction, exchange.asked_ns = instruction, None
        while not self._gone:
            if self._trouble:
                self._closing.wait(0.02)
                continue
            sock = self._sock
            try:
                sock.settimeout(self._care.hang_s)
                sock.send(self._reset_message())
                while True:  # skip chunks of the episode before, which may come first
                    message = sock.recv(protocol.LONGEST)
                    if not message:
                        raise ConnectionResetError
                    if message[:1] == protocol.ANSWER:
                        break
                sock.setblocking(False)
            except TimeoutError:
                self._kill("did not begin an episode")
            except OSError:  # the process ended: the keeper starts it again, or gives it up
                pass
            else:
                exchange.forget()
                content = protocol.unpack(message)
                if "error" in content:
                    raise raised(content)
                return
            self._closing.wait(0.02)
        raise PolicyError(self._gone)

    def submit(self, obs: Observation) -> None:
        """As `Worker.submit`. Raises PolicyError for images of another shape or type than at the
        start of the run."""
        if self._gone or self._trouble:
            return
        exchange = self._exchange
        assert exchange is not None
        asked_ns = exchange.asked_ns
        if asked_ns is not None and obs.t_ns - asked_ns > self._care.hang_s * NS:
            self._kill(f"gave no answer for {self._care.hang_s} s")
            return
        exchange.put(obs, self._sock)

    def take(self, now_ns: int) -> Ready | None:
        if self._gone:
            raise PolicyError(self._gone)
        assert self._exchange is not None
        return self._exchange.get(now_ns, self._sock)

    def answer(self, obs: Observation) -> Ready:
        """The chunk for `obs`, waited for: for runs in lock-step, whose time stands still. Raises
        PolicyError for an inference that failed or took longer than `Care.hang_s`, and while the
        policy is being started again."""
        self.submit(obs)
        begun = time.monotonic()
        while True:
            if self._gone or self._trouble:
                raise PolicyError(self._gone or self._trouble)
            if (ready := self.take(obs.t_ns)) is not None:
                return ready
            left = begun + self._care.hang_s - time.monotonic()
            if left <= 0.0:
                self._kill(f"gave no answer for {self._care.hang_s} s")
                raise PolicyError(self._trouble)
            # The message comes shortly before the counter that `take` looks at.
            select.select([self._sock], [], [], min(left, 0.05))

    def _kill(self, why: str) -> None:
        self._trouble = f"the policy {why} and was killed"
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process.pid, signal.SIGKILL)

    def _keep(self) -> None:
        """In a thread of its own: start the process again whenever it ends."""
        while True:
            code = self._process.wait()
            if self._closing.is_set():
                return
            trouble = self._trouble or f"the policy's process ended: {_ending(code)}"
            if self._left <= 0:
                self._gone = f"{trouble}; {self._care.restarts} restarts were not enough"
                return
            self._trouble = f"{trouble}, starting again"
            wait = _BACKOFF_S[min(self._care.restarts - self._left, len(_BACKOFF_S) - 1)]
            self._left -= 1
            if self._closing.wait(wait):
                return
            self._sock.close()
            try:
                sock = self._start()
            except Exception as e:
                self._gone = f"{trouble}; it did not start again: {e}"
                return
            self._sock = sock
            self.restarts += 1
            self._trouble = ""  # last: from here on the loop uses the socket

    def close(self) -> None:
        """End the process. Takes a bounded time: a process that hangs is killed."""
        if self._closing.is_set():
            return
        self._closing.set()
        with contextlib.suppress(OSError):
            self._sock.send(protocol.QUIT)
        try:
            self._process.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._keeper.join()
        if self._process.poll() is None:  # the keeper had just started it again
            self._process.kill()
            self._process.wait()
        self._sock.close()
        self._free()

    def _free(self) -> None:
        if self._folder is not None:
            self._folder.cleanup()
        if self._exchange is None:  # the process ended before it described the policy
            return
        for tensors in (self._exchange.seen, self._exchange.said):
            os.close(tensors.fd)
            tensors.close()


def _ending(code: int) -> str:
    """An exit code in words."""
    if code >= 0:
        return f"exit code {code}"
    name = signal.Signals(-code).name if -code in {s.value for s in signal.Signals} else str(-code)
    return f"{name} (out of memory?)" if -code == signal.SIGKILL else name
