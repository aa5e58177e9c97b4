"""The ends of a proxied connection: a port with a buffer for what the other side does not take
yet."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import termios
import tty
from pathlib import Path
from typing import Protocol

from headway.errors import DeviceError
from headway.hil.line import SerialLine

_READ = 4096
_MOST = 1 << 16  # bytes that wait for a side that takes none
_LARGEST = 65536  # of a datagram


class End(Protocol):
    """One side of a connection. No call waits."""

    def fileno(self) -> int:
        """For `poll`."""

    def read(self) -> bytes | None:
        """What has arrived, b"" for nothing, None where the connection is gone."""

    def write(self, data: bytes) -> None:
        """Send `data`; what the other side does not take now is kept."""

    def flush(self) -> None:
        """Send what was kept."""

    def close(self, reset: bool = False) -> None:
        """Disconnect; `reset`: without a farewell, where there is one."""


class Pty:
    """The host's side of a serial port: `link` leads to it."""

    def __init__(self, link: Path) -> None:
        self.line = SerialLine(link)

    def fileno(self) -> int:
        return self.line.fileno()

    def read(self) -> bytes | None:
        try:
            return self.line.read(0.0)
        except OSError:
            return b""

    def write(self, data: bytes) -> None:
        self.line.write(data)  # as on a wire: what nobody reads is lost

    def flush(self) -> None:
        pass

    def close(self, reset: bool = False) -> None:
        self.line.close()


class Tty:
    """The serial port `path` of a device. `follow` sets the speed that the host has set."""

    def __init__(self, path: str) -> None:
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
            tty.setraw(self._fd)
        except (OSError, termios.error) as e:
            raise DeviceError(
                f"wanted the serial port of a device at {path}, found {e}: is it plugged in?"
            ) from None
        self._rest = b""

    def follow(self, speed: int) -> None:
        """Set the speed to `speed`, one of termios' constants."""
        attributes = termios.tcgetattr(self._fd)
        if attributes[4] != speed:
            attributes[4] = attributes[5] = speed
            termios.tcsetattr(self._fd, termios.TCSANOW, attributes)

    def fileno(self) -> int:
        return self._fd

    def read(self) -> bytes | None:
        try:
            return os.read(self._fd, _READ) or None
        except BlockingIOError:
            return b""
        except OSError:
            return None

    def write(self, data: bytes) -> None:
        self._rest = (self._rest + data)[-_MOST:]
        self.flush()

    def flush(self) -> None:
        if self._rest:
            with contextlib.suppress(OSError):
                self._rest = self._rest[os.write(self._fd, self._rest) :]

    def close(self, reset: bool = False) -> None:
        with contextlib.suppress(OSError):
            os.close(self._fd)


class Stream:
    """A TCP connection."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket, self._rest = connection, b""

    def fileno(self) -> int:
        return self._socket.fileno()

    def read(self) -> bytes | None:
        try:
            return self._socket.recv(_READ) or None
        except BlockingIOError:
            return b""
        except OSError:
            return None

    def write(self, data: bytes) -> None:
        self._rest += data
        self.flush()

    def flush(self) -> None:
        if self._rest:
            with contextlib.suppress(OSError):
                self._rest = self._rest[self._socket.send(self._rest) :]

    def close(self, reset: bool = False) -> None:
        with contextlib.suppress(OSError):
            if reset:
                self._socket.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
            self._socket.close()


class Datagrams:
    """A UDP socket. `peer`: the other side, None: whoever has sent last."""

    def __init__(self, bind: tuple[str, int] | None, peer: tuple[str, int] | None) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._peer, self._learns = peer, peer is None
        if bind is not None:
            self._socket.bind(bind)
        self._socket.setblocking(False)

    @property
    def port(self) -> int:
        """At which it can be reached."""
        return int(self._socket.getsockname()[1])

    def fileno(self) -> int:
        return self._socket.fileno()

    def read(self) -> bytes | None:
        try:
            data, sender = self._socket.recvfrom(_LARGEST)
        except OSError:  # nothing there, or a refusal of one before
            return b""
        if self._learns:
            self._peer = sender
        return data

    def write(self, data: bytes) -> None:
        if self._peer is not None:
            with contextlib.suppress(OSError):
                self._socket.sendto(data, self._peer)

    def flush(self) -> None:
        pass

    def close(self, reset: bool = False) -> None:
        self._socket.close()
