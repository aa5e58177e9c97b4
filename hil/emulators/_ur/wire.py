"""One client at a TCP port, without blocking."""

from __future__ import annotations

import socket
from typing import Protocol


class Link:
    """The connection `sock` of a client. `closed` once it has ended, from either side."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock, self.closed = sock, False
        self._out = bytearray()

    @property
    def busy(self) -> bool:
        """Whether the client has not yet taken all that was sent."""
        return bool(self._out)

    def send(self, data: bytes) -> None:
        """Send `data`, now or, if the client is slow, with a later `flush`."""
        self._out += data
        self.flush()

    def flush(self) -> None:
        """Send what is left of what was to be sent."""
        try:
            while self._out and not self.closed:
                del self._out[: self.sock.send(self._out)]
        except BlockingIOError:
            pass
        except OSError:
            self.closed = True

    def receive(self) -> bytes:
        """What has come; b"" when the client is gone, which `closed` says."""
        try:
            data = self.sock.recv(65536)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""
        if not data:
            self.closed = True
        return data

    def close(self) -> None:
        """End the connection."""
        self.closed = True
        self.sock.close()


class Session(Protocol):
    """What the server keeps per client."""

    link: Link

    def feed(self, data: bytes, now: int) -> None:
        """Take the bytes `data` that came at `now` [ns]."""

    def end(self) -> None:
        """The client is gone."""


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; `port` 0 for a free one. Raises OSError."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    sock.listen(8)
    sock.setblocking(False)
    return sock
