"""Datagrams to and from one host and port."""

from __future__ import annotations

import select
import socket

from headway.drivers.transports import no_host
from headway.errors import DeviceError

_LARGEST = 65536  # bytes of a datagram


class Udp:
    """Datagrams exchanged with `host` and `port`; those of others are not taken. UDP has no
    connection: `open` only binds a port of this computer, and a device that is not there shows by
    its silence, or by a refusal once something was sent."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self.uri = f"udp://{host}:{port}"
        self._socket: socket.socket | None = None

    def open(self, timeout_s: float) -> None:
        if self._socket is not None:
            return
        try:
            family, kind, proto, _, address = socket.getaddrinfo(
                self.host, self.port, type=socket.SOCK_DGRAM
            )[0]
            made = socket.socket(family, kind, proto)
            try:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
                made.connect(address)
            except BaseException:
                made.close()
                raise
        except UnicodeError:
            raise no_host(self.uri) from None
        except OSError as e:
            raise DeviceError(
                f"wanted to reach {self.uri}, found {e.strerror or e}: check its address, and the "
                "network of this computer"
            ) from None
        made.setblocking(False)
        self._socket = made

    def read(self, size: int, timeout_s: float) -> bytes:
        """One datagram; of a longer one than `size`, the first `size` bytes."""
        open_socket = self._opened()
        poll = select.poll()
        try:
            poll.register(open_socket, select.POLLIN)
            if not poll.poll(max(0.0, timeout_s) * 1000.0):
                return b""
            return open_socket.recv(size)
        except (BlockingIOError, InterruptedError):
            return b""
        except (OSError, ValueError) as e:  # ValueError: it was closed while it waited
            raise self._lost(e) from None

    def write(self, data: bytes, timeout_s: float = 0.5) -> None:
        try:
            self._opened().send(data)
        except (OSError, ValueError) as e:
            raise self._lost(e) from None

    def discard(self) -> None:
        while self.read(_LARGEST, 0.0):
            pass

    def close(self) -> None:
        gone, self._socket = self._socket, None
        if gone is not None:
            gone.close()

    def _opened(self) -> socket.socket:
        if self._socket is None:
            raise DeviceError(f"the port to {self.uri} is closed: open it first")
        return self._socket

    def _lost(self, e: Exception) -> DeviceError:
        said = getattr(e, "strerror", None) or str(e)
        return DeviceError(
            f"wanted to reach {self.uri}, found {said}: is the device on, and in this network?"
        )
