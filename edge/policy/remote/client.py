"""A policy that a server runs: `headway serve`, openpi's server, or another one with openpi's
protocol."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.clock import NS
from headway.edge.policy.instructions import index_of
from headway.edge.policy.previous import Previous
from headway.edge.policy.remote import MAX_BYTES, REFUSED
from headway.edge.policy.remote.codec import TEXT, Encoder, decode
from headway.edge.policy.remote.layout import Layout, from_metadata
from headway.edge.policy.remote.request import Message, printable, rows
from headway.edge.policy.remote.websocket import Gone, InvalidURI, WebSocket, connect
from headway.errors import BadMessage, ConfigError, DeviceError, Refused, SpecMismatch
from headway.types import Chunk, Observation

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0  # before the next try after a failure [s]
_IGNORED = ", which describes itself: [policy.layout] is not used"
_SHOWN = 500  # characters of a server's error


class RemotePolicy:
    """A policy that asks the server at `url` for every chunk. `infer` blocks for at most
    `timeout_s` [s], twice that while data are still flowing, and `connect_s` [s] more when it has
    to connect. `max_bytes`: of a message. `clock` [s] times the pauses after failures.

    Every failure (no server, no answer in time, an error, an answer that does not fit) is a
    HeadwayError from `infer`, and a later `infer` connects again. Before that there is a pause,
    which doubles with every failure, up to LONGEST_PAUSE_S, until an answer is good again.
    """

    def __init__(
        self,
        url: str,
        layout: Layout | None = None,
        *,
        timeout_s: float = 2.0,
        connect_s: float = 5.0,
        max_bytes: int = MAX_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not url.startswith(("ws://", "wss://")):
            raise ConfigError(f"wanted a policy server as ws://HOST:PORT, found {url!r}")
        if not (timeout_s > 0 and connect_s > 0 and max_bytes >= 1):
            raise ConfigError(
                f"wanted timeout_s, connect_s and max_bytes > 0, found {timeout_s}, {connect_s}, "
                f"{max_bytes}"
            )
        self.url = url
        self._timeout_s, self._connect_s, self._max_bytes = timeout_s, connect_s, max_bytes
        self._clock = clock
        self._encode = Encoder(max_bytes)
        self._websocket: WebSocket | None = None
        self._lock = threading.Lock()  # held while the connection is used
        self._closed = False
        self._pause_s = self._retry_at = 0.0
        self._why = ""
        _, self.metadata, described = self._connect()
        self._described = described
        known = described or layout
        if known is None:
            self.close()
            raise ConfigError(
                f"{url} does not say which keys it wants: describe them in a file, and give it "
                "with --policy-map FILE, or in [policy.layout] (docs/serve.md, examples/serve)"
            )
        self.layout = known
        self.name = known.name
        self.cameras = tuple(dict.fromkeys(i.camera for i in known.images))
        self.state_names = known.state_names
        self.actions = known.actions
        self.needs = known.needs
        self._message, self._previous = Message(known), Previous(known.actions)
        self._dt_ns = round(known.actions.dt_s * NS)
        ignored = described is not None and layout is not None and layout != described
        self.detail = f"remote ({url}{_IGNORED if ignored else ''})"
        self.facts = {
            "policy_url": url, "policy_sha256": known.sha256, "policy_engine": "remote",
        }  # fmt: skip

    def check_instruction(self, text: str) -> None:
        """Raises SpecMismatch for an instruction that the server's policy was not taught, or that
        is too long for a message."""
        if self.layout.prompt is None:
            return
        if self.layout.instructions:
            index_of(text, self.layout.instructions, self.name)
        if len(text.encode()) > TEXT:
            raise SpecMismatch(f"wanted an instruction of at most {TEXT} bytes, found a longer one")

    def reset(self) -> None:
        """Begin an episode: its previous action is 0. The server keeps nothing."""
        self._previous.reset()

    def infer(self, obs: Observation) -> Chunk:
        """The server's chunk for `obs`. Raises SpecMismatch for an observation that does not fit
        the layout, and for a server that has changed its policy; Refused for an instruction that
        its policy refuses; DeviceError, or its kind BadMessage, for whatever else goes wrong with
        the server."""
        self.check_instruction(obs.instruction)
        message = self._message.of(obs, self._previous.at(obs.t_ns))
        with self._lock:
            found = self._ask(self._encode(message))
            actions = self.actions.to_si(found)
            if not np.isfinite(actions[:, list(self.actions.columns.used)]).all():
                what = "wanted finite actions, found NaN or infinity: check the policy"
                raise self._failed(f"{self.url}: {what}", BadMessage)
        self._pause_s = 0.0
        played = found[: self.actions.chunk]  # a server may answer more rows than are used
        self._previous.answered(obs.t_ns, played.astype(np.float64))
        return Chunk(obs.t_ns, self._dt_ns, actions, obs.base)

    def close(self) -> None:
        """Close the connection. Idempotent; an `infer` under way in another thread raises."""
        self._closed = True
        if self._lock.acquire(blocking=False):
            websocket, self._websocket = self._websocket, None
            if websocket is not None:
                websocket.close()
            self._lock.release()
        elif (websocket := self._websocket) is not None:
            websocket.abort()

    def _ask(self, message: bytes) -> NDArray[Any]:
        """The rows of the answer to `message`. Raises DeviceError, and Refused for an instruction
        that the server's policy refuses."""
        websocket = self._connected()
        begun = time.monotonic()
        try:
            websocket.send(message, self._timeout_s)
            left = max(1e-3, begun + self._timeout_s - time.monotonic())
            answer = websocket.recv(left, self._timeout_s)
            if not isinstance(answer, str):
                return rows(decode(answer, self._max_bytes), self.layout)
        except TimeoutError:
            raise self._failed(
                f"{self.url}: wanted an answer within {self._timeout_s:g} s, found none: is the "
                "server busy? Else raise `timeout_s`"
            ) from None
        except Gone as e:
            raise self._failed(f"{self.url} closed the connection: {e}") from None
        except BadMessage as e:
            raise self._failed(f"{self.url}: {e}", BadMessage) from None
        if answer.startswith(REFUSED):
            raise Refused(printable(answer.removeprefix(REFUSED))[:_SHOWN])
        # openpi sends a traceback; its last line says what it was.
        lines = [line for line in answer.splitlines() if line.strip()] or ["it does not say which"]
        raise self._failed(f"{self.url} answered with an error: {lines[-1][:_SHOWN]}")

    def _connected(self) -> WebSocket:
        """The connection, made again when the server has closed it meanwhile."""
        if self._closed:
            raise DeviceError(f"{self.url}: this policy was closed: open it again")
        if self._websocket is not None and self._websocket.fresh():
            return self._websocket
        self._drop()
        wait = self._retry_at - self._clock()
        if wait > 0:
            raise DeviceError(
                f"{self.url}: not asked again for {wait:.1f} s after: {self._why[:_SHOWN]}"
            )
        websocket, _, described = self._connect()
        if described != self._described:
            raise self._failed(
                f"{self.url} serves another policy than when this run began: start the run again",
                SpecMismatch,
            )
        return websocket

    def _connect(self) -> tuple[WebSocket, dict[Any, Any], Layout | None]:
        """Connect and read the metadata. Raises DeviceError, SpecMismatch."""
        try:
            websocket = self._websocket = connect(self.url, self._max_bytes, self._connect_s)
            first = websocket.recv(self._connect_s, self._connect_s)
            metadata = decode(first, self._max_bytes) if not isinstance(first, str) else None
        except (OSError, ValueError, InvalidURI, Gone, BadMessage) as e:
            raise self._failed(
                f"wanted a policy server at {self.url}, found none "
                f"({str(e) or type(e).__name__}): is it running? (`headway serve BUNDLE`)"
            ) from None
        if not isinstance(metadata, dict):
            raise self._failed(f"{self.url}: wanted metadata as a map, found other data")
        try:
            return websocket, metadata, from_metadata(metadata, self.url)
        except SpecMismatch as e:
            raise self._failed(str(e), SpecMismatch) from None

    def _failed(self, why: str, kind: type[Exception] = DeviceError) -> Exception:
        """The error to raise. Drops the connection, on which a late answer could be mistaken for
        the next one, and lengthens the pause before the next try."""
        self._drop()
        why = printable(why)
        self._pause_s = min(max(2 * self._pause_s, FIRST_PAUSE_S), LONGEST_PAUSE_S)
        self._retry_at, self._why = self._clock() + self._pause_s, why
        return kind(why)

    def _drop(self) -> None:
        websocket, self._websocket = self._websocket, None
        if websocket is not None:
            websocket.close(timeout_s=0.0)
