"""A WebSocket over a blocking socket, for one thread, with a limit on every wait.

The protocol itself is the `websockets` package's, in its I/O-free form. The package's own blocking
client (`websockets.sync.client`) was measured and not taken, for two reasons: another thread reads
the socket and hands every message over, which makes a round trip longer, and sending has no time
limit.

Median round trips over loopback [us] of `RemotePolicy.infer` with this file and with
`websockets.sync.client`, and of openpi's client, which uses the latter without our checks. A
request has 46 kB (a 96 px RGB-D image and 12 floats), an answer six actions; 2000 round trips
each, taking turns in one process; AMD EPYC, 2 cores, Python 3.11:

    server                            this file   websockets.sync   openpi's client
    openpi's loop, websockets 17.4    418         514               442
    `headway serve`, websockets 17.4  449         522               436
    openpi's loop, websockets 15.0    440         504               435
    `headway serve`, websockets 15.0  476         529               422
"""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import ssl
import struct
import time
from collections import deque
from typing import Any

from headway.errors import BadMessage, Missing

try:
    from websockets.client import ClientProtocol
    from websockets.exceptions import InvalidURI as InvalidURI
    from websockets.frames import Frame, Opcode
    from websockets.http11 import Request, Response
    from websockets.protocol import Protocol, State
    from websockets.server import ServerProtocol
    from websockets.uri import parse_uri
except ImportError as e:
    raise Missing(
        f"remote policies want websockets 15 or newer: pip install 'headway[remote]' ({e})"
    ) from None

FRAGMENTS = 4096  # of a message
_READ, _READS = 1 << 18, 64  # bytes per read; reads that `fresh` does at most
_DATA = (Opcode.TEXT, Opcode.BINARY, Opcode.CONT)
# What a blocking call raises when it reaches the socket's time limit.
_TOO_LONG = (BlockingIOError, TimeoutError)
_quiet = logging.getLogger("headway.remote")  # else every port scan logs a traceback
_quiet.addHandler(logging.NullHandler())
_quiet.propagate = False


class Gone(Exception):  # noqa: N818 - a state, as in headway.errors
    """The connection has ended; the text says why. `clean`: the other side closed it with a close
    frame, as the protocol wants it."""

    def __init__(self, why: str, clean: bool = False) -> None:
        super().__init__(why)
        self.clean = clean


class Stopped(Exception):  # noqa: N818
    """The `wake` socket became readable during a wait for a message."""


class WebSocket:
    """One end of a connection. `recv` and `send` raise Gone when the connection has ended, and
    TimeoutError when they take too long, which they notice after at most twice the given time. The
    connection has to be dropped then."""

    def __init__(
        self, sock: socket.socket, protocol: Protocol, wake: socket.socket | None = None
    ) -> None:
        """`sock`: connected, and wrapped for TLS if that is used. `protocol`: a client's or a
        server's, as this end is. `wake`: a socket that ends a wait for the other side when it
        becomes readable."""
        self._sock, self._protocol = sock, protocol
        self._events: deque[Any] = deque()
        self._buffer = memoryview(bytearray(_READ))
        self._limit_s = 0.0
        self._wake_fd = -1 if wake is None else wake.fileno()
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        if wake is not None:
            self._poll.register(wake, select.POLLIN)
        sock.settimeout(None)  # the operating system limits the time of calls, see `_limit`

    def send(self, message: bytes | str, timeout_s: float) -> None:
        """Send one message: text for str, else binary, within `timeout_s` [s]."""
        if self._protocol.state is not State.OPEN:
            raise self.gone()
        self._limit(timeout_s)
        if isinstance(message, str):
            self._protocol.send_text(message.encode())
        else:
            self._protocol.send_binary(message)
        self._flush()

    def recv(self, timeout_s: float | None, rest_s: float) -> bytes | bytearray | str:
        """The next message: str for text, else bytes. It has `timeout_s` [s] to begin (None: no
        limit), then `rest_s` [s] for the rest. Also raises Stopped, and BadMessage for too many
        fragments or text that is not UTF-8."""
        self._limit(rest_s)
        start = None if timeout_s is None else time.monotonic() + timeout_s
        rest: float | None = None
        parts: list[Frame] = []
        half = False  # whether a frame has begun
        while True:
            while self._events:
                frame: Frame = self._events.popleft()
                if frame.opcode not in _DATA:
                    continue
                parts.append(frame)
                if len(parts) > FRAGMENTS:
                    raise BadMessage(f"wanted at most {FRAGMENTS} fragments, found more")
                if frame.fin:
                    return _join(parts)
            if self._protocol.state is not State.OPEN:
                raise self.gone()
            if not (parts or half):
                rest = None
            elif rest is None:
                rest = time.monotonic() + rest_s
            self._fill(start if rest is None else rest, wait=rest is None)
            half = not self._events

    def fresh(self) -> bool:
        """Whether the connection is open and no message has arrived that was not asked for. Answers
        pings that have come in the meantime; never waits."""
        try:
            for _ in range(_READS):
                if self._protocol.state is not State.OPEN or not self._readable():
                    break
                self._fill(None, wait=False)
            else:
                return False
        except TimeoutError:
            return False
        unasked = any(frame.opcode in _DATA for frame in self._events)
        self._events.clear()
        return self._protocol.state is State.OPEN and not unasked

    def close(self, code: int = 1000, reason: str = "", timeout_s: float = 1.0) -> None:
        """End the connection: send a close frame with `code` (RFC 6455, 7.4.1) and `reason` if it
        is still open, wait at most `timeout_s` [s] for the other side's, close the socket.
        Idempotent; never raises."""
        with contextlib.suppress(Gone, OSError):
            self._limit(timeout_s)
            deadline = time.monotonic() + timeout_s
            if self._protocol.state is State.OPEN:
                self._protocol.send_close(code, reason)
            self._flush()
            # Read what still comes: closing a socket with unread data resets the connection, and
            # the other side then loses what it has not read yet.
            while self._protocol.close_expected():
                self._fill(deadline, wait=False)
        self._sock.close()

    def abort(self) -> None:
        """End the connection at once. May be called from any thread; it wakes one that waits."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def handshake(self, timeout_s: float) -> Request | Response:
        """The request or the response that the other side opens the connection with, within
        `timeout_s` [s]. Raises Gone, TimeoutError, Stopped."""
        self._limit(timeout_s)
        deadline = time.monotonic() + timeout_s
        self._flush()
        while not self._events:
            if self._protocol.handshake_exc is not None or self._protocol.eof_sent:
                raise self.gone()
            self._fill(deadline, wait=True)
        found: Request | Response = self._events.popleft()
        return found

    def respond(self, response: Response, timeout_s: float) -> None:
        """Answer the handshake with `response`, within `timeout_s` [s]. Only for a server's end."""
        assert isinstance(self._protocol, ServerProtocol)
        self._limit(timeout_s)
        self._protocol.send_response(response)
        self._flush()

    def _readable(self) -> bool:
        return self._pending() or bool(self._poll.poll(0))

    def _pending(self) -> bool:
        """Whether TLS has decrypted data that nobody has read: `poll` does not see those."""
        return isinstance(self._sock, ssl.SSLSocket) and self._sock.pending() > 0

    def _limit(self, seconds: float) -> None:
        """Limit the time of every system call from now on. Not by `settimeout`, which makes the
        socket non-blocking and a large message many small calls, except for TLS, which needs it."""
        if seconds == self._limit_s:
            return
        self._limit_s = seconds
        if isinstance(self._sock, ssl.SSLSocket):
            self._sock.settimeout(max(1e-6, seconds))
            return
        whole, part = divmod(max(1, round(seconds * 1e6)), 1_000_000)  # 0 would be no limit
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            self._sock.setsockopt(socket.SOL_SOCKET, option, struct.pack("@ll", whole, part))

    def _fill(self, deadline: float | None, *, wait: bool) -> None:
        """Read once, and send what the protocol answers by itself. `wait`: wait for data until
        `deadline` or the wake; else only as long as a system call may take."""
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0.0:
            raise TimeoutError
        if wait and not self._pending():
            ready = dict(self._poll.poll(None if left is None else 1e3 * left))
            if self._wake_fd in ready:
                raise Stopped
            if not ready:
                raise TimeoutError
        try:
            n = self._sock.recv_into(self._buffer)
        except _TOO_LONG:
            raise TimeoutError from None
        except OSError:  # the connection was reset
            n = 0
        if n:
            self._protocol.receive_data(self._buffer[:n])  # type: ignore[arg-type]  # is copied
        else:
            self._protocol.receive_eof()
        self._flush()
        self._events.extend(self._protocol.events_received())

    def _flush(self) -> None:
        deadline = time.monotonic() + self._limit_s
        try:
            for data in self._protocol.data_to_send():
                left = memoryview(data)
                while left:  # `sendall` would have no limit for a peer that reads byte by byte
                    left = left[self._sock.send(left) :]
                    if left and time.monotonic() > deadline:
                        raise TimeoutError
                if not data:
                    self._sock.shutdown(socket.SHUT_WR)
        except _TOO_LONG:
            raise TimeoutError from None
        except OSError:
            self._protocol.receive_eof()

    def gone(self) -> Gone:
        """The error to raise, which says why the connection ended."""
        p = self._protocol
        if p.handshake_exc is not None:
            return Gone(str(p.handshake_exc))
        close = p.close_rcvd or p.close_sent
        if close is not None:
            return Gone(f"{close.code} {close.reason}".strip(), p.close_rcvd is not None)
        return Gone("it ended without saying why")


def _join(parts: list[Frame]) -> bytes | bytearray | str:
    data = parts[0].data if len(parts) == 1 else b"".join(p.data for p in parts)
    if parts[0].opcode is not Opcode.TEXT:
        return bytes(data) if isinstance(data, memoryview) else data
    try:
        return bytes(data).decode()
    except UnicodeDecodeError:
        raise BadMessage("wanted text as UTF-8, found other bytes") from None


def connect(url: str, max_bytes: int, timeout_s: float) -> WebSocket:
    """Connect to `url`, ws://HOST:PORT or wss://HOST:PORT, within `timeout_s` [s], never through a
    proxy. `max_bytes`: of a received message. Raises OSError (TimeoutError is one), Gone, and
    ValueError or InvalidURI for a text that is no such URL."""
    uri = parse_uri(url)
    deadline = time.monotonic() + timeout_s
    sock = socket.create_connection((uri.host, uri.port), timeout_s)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if uri.secure:
            sock = ssl.create_default_context().wrap_socket(sock, server_hostname=uri.host)
        protocol = ClientProtocol(uri, max_size=max_bytes, logger=_quiet)
        websocket = WebSocket(sock, protocol)
        protocol.send_request(protocol.connect())
        response = websocket.handshake(max(1e-3, deadline - time.monotonic()))
        if protocol.handshake_exc is not None:
            assert isinstance(response, Response)
            raise Gone(f"HTTP status {response.status_code}: {protocol.handshake_exc}")
    except BaseException:
        sock.close()
        raise
    return websocket


def accept(
    sock: socket.socket, max_bytes: int, timeout_s: float, wake: socket.socket
) -> WebSocket | None:
    """Answer the opening handshake of the client at `sock` within `timeout_s` [s]; None when it
    only asked for /healthz. A request with an Origin, a browser's, is refused: any web page could
    make it. `max_bytes`: of a received message. `wake`: see `WebSocket`. Raises TimeoutError, Gone,
    Stopped."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # The system finds out within half a minute when a client has vanished without closing.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    protocol = ServerProtocol(origins=[None], max_size=max_bytes, logger=_quiet)
    websocket = WebSocket(sock, protocol, wake)
    request = websocket.handshake(timeout_s)
    assert isinstance(request, Request)
    healthy = request.path == "/healthz"
    websocket.respond(
        protocol.reject(200, "OK\n") if healthy else protocol.accept(request), timeout_s
    )
    if protocol.state is State.OPEN:
        return websocket
    websocket.close()
    if healthy:
        return None
    raise websocket.gone()
