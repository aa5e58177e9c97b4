"""The loop of an emulated line of servos: what comes from the host goes to them, and their answers
go back."""

from __future__ import annotations

import threading
from typing import Protocol

from headway.hil.device_port import DevicePort
from headway.hil.faults_table import FaultsTable

_POLL_S = 0.002
_QUIET = 25  # polls in a row without a byte, after which half a packet is none


class Line(Protocol):
    """The servos of a line."""

    def advance(self) -> None:
        """Move on to now."""

    def feed(self, data: bytes) -> bytes:
        """The answers to `data`, which came from the host."""

    def forget(self) -> None:
        """Drop a packet that has begun."""

    def delay_s(self) -> float:
        """How long the answers wait [s]."""


def serve(line: Line, port: DevicePort, faults: FaultsTable, stop: threading.Event) -> None:
    """Serve `line` at `port` until `stop` is set; `faults` count from the first connection on. The
    port is closed then."""
    quiet = 0
    while not stop.is_set():
        data = port.read(_POLL_S)
        if port.opened:
            faults.begin()
        line.advance()
        if data:
            said = line.feed(data)
            if said:
                port.answer(said, line.delay_s())
        quiet = 0 if data else quiet + 1
        if quiet == _QUIET:
            line.forget()
    port.close()
