"""A TCP connection to one host and port."""

from __future__ import annotations

import contextlib
import select
import socket
import time

from headway.drivers.transports import no_host
from headway.errors import DeviceError


class Tcp:
    """A connection to `host` and `port`, without Nagle's delay: small messages leave at once.
    `send_buffer` [bytes], as the kernel counts them: so much may wait for the other side to
    acknowledge it; 0: what the system thinks fit, up to megabytes."""

    def __init__(self, host: str, port: int, send_buffer: int = 0) -> None:
        self.host, self.port, self.send_buffer = host, port, send_buffer
        self.uri = f"tcp://{host}:{port}"
        self._socket: socket.socket | None = None

    def open(self, timeout_s: float) -> None:
        if self._socket is not None:
            return
        try:
            made = socket.create_connection((self.host, self.port), timeout_s)
            try:
                made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self.send_buffer:
                    made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.send_buffer)
            except BaseException:
                made.close()
                raise
        except UnicodeError:
            raise no_host(self.uri) from None
        except OSError as e:
            raise DeviceError(
                f"wanted a connection to {self.uri}, found {_said(e)}: is the device on, and in "
                "this network?"
            ) from None
        made.setblocking(False)
        self._socket = made

    def read(self, size: int, timeout_s: float) -> bytes:
        open_socket = self._opened()
        try:
            if not _ready(open_socket, select.POLLIN, timeout_s):
                return b""
            data = open_socket.recv(size)
        except (BlockingIOError, InterruptedError):
            return b""
        except (OSError, ValueError) as e:  # ValueError: it was closed while it waited
            raise self._lost(_said(e)) from None
        if not data:
            raise self._lost("the other side has closed it")
        return data

    def write(self, data: bytes, timeout_s: float = 0.5) -> None:
        open_socket = self._opened()
        rest, until = memoryview(data), time.monotonic() + timeout_s
        try:
            while rest:
                if not _ready(open_socket, select.POLLOUT, until - time.monotonic()):
                    raise self._lost(f"it takes nothing for {timeout_s} s")
                rest = rest[open_socket.send(rest) :]
        except (OSError, ValueError) as e:
            raise self._lost(_said(e)) from None

    def discard(self) -> None:
        while self.read(65536, 0.0):
            pass

    def close(self) -> None:
        gone, self._socket = self._socket, None
        if gone is not None:
            with contextlib.suppress(OSError):  # the other side was faster
                gone.shutdown(socket.SHUT_RDWR)  # ends a read that waits in another thread
            gone.close()

    def _opened(self) -> socket.socket:
        if self._socket is None:
            raise DeviceError(f"the connection to {self.uri} is closed: open it first")
        return self._socket

    def _lost(self, why: str) -> DeviceError:
        return DeviceError(f"wanted the connection to {self.uri}, found that it is lost: {why}")


def _ready(of: socket.socket, event: int, timeout_s: float) -> bool:
    """Whether `of` is ready for `event` within `timeout_s` [s]. `poll` has no limit on the number
    of the file descriptor, as `select` has."""
    poll = select.poll()
    poll.register(of, event)
    return bool(poll.poll(max(0.0, timeout_s) * 1000.0))


def _said(e: Exception) -> str:
    if isinstance(e, TimeoutError):
        return "no answer"
    return getattr(e, "strerror", None) or str(e)
