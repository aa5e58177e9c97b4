"""A tap between a host and a device: TCP ports that lead to the same ports at another address, and
note when what the host sends is on the wire."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Sequence


class Tap:
    """Passes connections to `ports` at the address `here` on to the address `there`, both ways, in
    threads of its own. `sent` has what hosts sent to the port `watched`, with the time [ns] of
    CLOCK_MONOTONIC at which it was there. Raises OSError where a port is in use."""

    def __init__(self, here: str, there: str, ports: Sequence[int], watched: int) -> None:
        self.sent: list[tuple[int, bytes]] = []
        self._there, self._watched = there, watched
        self._quiet = False
        self._ends: list[tuple[int, socket.socket]] = []
        self._listeners: dict[int, socket.socket] = {}
        for port in ports:
            listener = socket.create_server((here, port))
            self._listeners[port] = listener
            threading.Thread(target=self._accept, args=(listener, port), daemon=True).start()

    def stall(self) -> int:
        """Swallow all that the device says at the watched port from now on. Returns the time
        [ns]."""
        self._quiet = True
        return time.monotonic_ns()

    def drop(self) -> int:
        """End all connections to the watched port, as they are after the controller has closed
        them, and take no more for now. Returns the time [ns]."""
        listener = self._listeners[self._watched]
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        t_ns = time.monotonic_ns()
        for port, end in self._ends:
            if port == self._watched:
                _end(end)
        return t_ns

    def close(self) -> None:
        """End all connections, and take no more."""
        for listener in self._listeners.values():
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        for _, end in self._ends:
            _end(end)
            end.close()

    def _accept(self, listener: socket.socket, port: int) -> None:
        while True:
            try:
                host, _ = listener.accept()
                device = socket.create_connection((self._there, port), 5.0)
            except OSError:  # closed
                return
            device.settimeout(None)
            for end in (host, device):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._ends.append((port, end))
            for way in ((host, device, port, True), (device, host, port, False)):
                threading.Thread(target=self._pass, args=way, daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, port: int, up: bool) -> None:
        watched = port == self._watched
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if watched and up:
                    self.sent.append((time.monotonic_ns(), data))
                elif watched and self._quiet:
                    continue
                sink.sendall(data)
        _end(source)
        _end(sink)


def _end(of: socket.socket) -> None:
    with contextlib.suppress(OSError):
        of.shutdown(socket.SHUT_RDWR)
