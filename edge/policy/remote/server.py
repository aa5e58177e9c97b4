"""Serves one policy to several clients, one inference at a time.

A thread per client reads requests, infers under a lock that all clients share, and answers. There
are limits on the size of a message (`max_bytes`), the number of clients (`max_clients`), the
requests of a client (one at a time), and on the time (`slow_s`) for a handshake, for the rest of a
begun message, and for the client to read its answer.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

from headway.edge.policy.policy import Policy
from headway.edge.policy.remote import MAX_BYTES, REFUSED
from headway.edge.policy.remote.codec import Encoder, decode
from headway.edge.policy.remote.layout import Layout, to_metadata
from headway.edge.policy.remote.request import printable, to_observation
from headway.edge.policy.remote.websocket import Gone, Stopped, WebSocket, accept
from headway.errors import BadMessage, Busy, ConfigError, HeadwayError, Refused

SLOW_S = 10.0  # [s]
GRACE_S = 2.0  # [s] for clients to leave and inferences to end when the server stops
SPARE = 4  # threads for handshakes and /healthz beside those of the clients
GOING_AWAY, INTERNAL_ERROR, TRY_AGAIN_LATER = 1001, 1011, 1013  # RFC 6455, 7.4.1


class PolicyServer:
    """`with PolicyServer(policy, layout) as server:` serves the policy at `server.port` until the
    block ends. Clients are then told that the server stops; an inference that hangs is not waited
    for. The policy is never asked by two threads at once, and it is not closed.

    `say` is called with a line per connection and error, from any thread.
    """

    # Open while the `with` block lasts.
    _socket: socket.socket
    _wake: socket.socket
    _waker: socket.socket
    _acceptor: threading.Thread

    def __init__(
        self,
        policy: Policy,
        layout: Layout,
        *,
        host: str = "127.0.0.1",
        port: int = 8000,
        max_clients: int = 4,
        max_bytes: int = MAX_BYTES,
        slow_s: float = SLOW_S,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        """`host`: the address to serve on. `port` 0: the system chooses one. `max_clients` at a
        time; further ones are refused. `max_bytes` of a message, `slow_s` [s]: see above. Raises
        ConfigError, and SpecMismatch for an instruction that the policy does not know."""
        if not 0 <= port < 65536:
            raise ConfigError(f"wanted a port from 0 to 65535, found {port}")
        if max_clients < 1:
            raise ConfigError(f"wanted at least 1 client, found {max_clients}")
        self.policy, self.layout = policy, layout
        self.host, self.port = host, port
        self._max_clients, self._max_bytes, self._slow_s = max_clients, max_bytes, slow_s
        self._say = say
        self._metadata = Encoder(max_bytes)(to_metadata(layout))
        for text in layout.instructions:
            policy.check_instruction(text)
        self._inferring = threading.Lock()
        self._room = threading.Semaphore(max_clients + SPARE)
        self._seats = threading.Semaphore(max_clients)
        self._open: dict[threading.Thread, WebSocket | None] = {}

    def __enter__(self) -> PolicyServer:
        """Start to serve. Raises Busy for a port in use, ConfigError for an address that this
        machine does not have."""
        self._socket = _listen(self.host, self.port)
        self.port = self._socket.getsockname()[1]
        self._wake, self._waker = socket.socketpair()
        self._acceptor = threading.Thread(target=self._accept, name="policy server", daemon=True)
        self._acceptor.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._waker.send(b"x")  # is never read, so every thread that waits for a client stops
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        deadline = time.monotonic() + GRACE_S
        for thread in (self._acceptor, *self._open):
            thread.join(max(0.0, deadline - time.monotonic()))
        for thread, websocket in list(self._open.items()):
            if websocket is not None:
                websocket.abort()
            thread.join(0.1)
        for sock in (self._socket, self._waker, self._wake):
            sock.close()

    def _accept(self) -> None:
        while True:
            self._room.acquire()
            try:
                sock, address = self._socket.accept()
            except OSError as e:
                self._room.release()
                if e.errno in (errno.EINVAL, errno.EBADF):  # the server stops
                    return
                if e.errno in (errno.EMFILE, errno.ENFILE):  # a client that leaves frees a file
                    time.sleep(0.1)
                continue
            where = f"{address[0]}:{address[1]}"
            thread = threading.Thread(
                target=self._client, args=(sock, where), name=f"client {where}", daemon=True
            )
            self._open[thread] = None
            try:
                thread.start()
            except RuntimeError:  # the system has no thread left
                del self._open[thread]
                sock.close()
                self._room.release()

    def _client(self, sock: socket.socket, where: str) -> None:
        me, seated, why = threading.current_thread(), False, ""
        websocket: WebSocket | None = None
        code, reason = 1000, ""
        try:
            websocket = self._open[me] = accept(sock, self._max_bytes, self._slow_s, self._wake)
            if websocket is None:
                return
            seated = self._seats.acquire(blocking=False)
            if not seated:
                code, reason = TRY_AGAIN_LATER, f"{self._max_clients} clients are connected already"
                why = f"refused: {reason}"
                return
            self._tell(f"{where} connected")
            why = "disconnected"
            self._converse(websocket)
        except Stopped:
            code, reason = GOING_AWAY, "the server stops"
        except TimeoutError:
            why = f"disconnected: wanted the rest of what it does within {self._slow_s:g} s"
            code, reason = 1008, "too slow"
        except Gone as e:
            why = "disconnected" if e.clean else f"disconnected: {e}"
        except HeadwayError as e:
            why = f"refused: {e}"
            code, reason = self._refuse(websocket, str(e))
        except Exception as e:
            why = "failed: " + "".join(traceback.format_exception(type(e), e, e.__traceback__))
            code, reason = self._refuse(websocket, f"the policy failed: {type(e).__name__}: {e}")
        finally:
            if websocket is not None:
                websocket.close(code, reason)
            sock.close()
            if seated:
                self._seats.release()
            if why:  # a client that only asked for /healthz is not reported
                self._tell(f"{where} {why}")
            del self._open[me]
            self._room.release()

    def _converse(self, websocket: WebSocket) -> None:
        websocket.send(self._metadata, self._slow_s)
        encode = Encoder(self._max_bytes)
        last: float | None = None  # how long the request before took, sending included [s]
        while True:
            data = websocket.recv(None, self._slow_s)
            if isinstance(data, str):
                raise BadMessage("wanted an observation in a binary frame, found text")
            begun = time.perf_counter()
            try:
                answer: str | bytes = encode(self._answer(data, last))
            except Refused as e:  # nothing is wrong with the client: it may ask for something else
                answer = f"{REFUSED}{e}"
            websocket.send(answer, self._slow_s)
            last = time.perf_counter() - begun

    def _answer(self, data: bytes | bytearray, last: float | None) -> dict[str, Any]:
        obs = to_observation(decode(data, self._max_bytes), self.layout)
        with self._inferring:
            begun = time.perf_counter()
            try:
                chunk = self.policy.infer(obs)
            except TimeoutError as e:  # of the policy; else it would count as a slow client
                raise RuntimeError(f"TimeoutError: {e}") from e
            timing = {"infer_ms": 1e3 * (time.perf_counter() - begun)}
        if last is not None:
            timing["prev_total_ms"] = 1e3 * last
        return {self.layout.answer: chunk.actions, "server_timing": timing}

    def _tell(self, line: str) -> None:
        with contextlib.suppress(Exception):  # a closed terminal is no reason to stop serving
            self._say(printable(line))

    def _refuse(self, websocket: WebSocket | None, why: str) -> tuple[int, str]:
        """Send the error as text, as openpi does. Returns code and reason to close with."""
        if websocket is not None:
            with contextlib.suppress(Gone, OSError):
                websocket.send(why, self._slow_s)
        return INTERNAL_ERROR, "the error is in the frame before"


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server(address[:2], family=family, backlog=16)
    except OSError as e:
        if e.errno == errno.EADDRINUSE:
            raise Busy(
                f"wanted port {port} on {host}, which another program has: choose another --port"
            ) from None
        raise ConfigError(f"cannot serve on {host}, port {port}: {e}") from None
