"""Connections that carry bytes: a serial port, TCP, UDP.

    Transport
    ├── serial.SerialPort   /dev/ttyUSB0, /dev/serial/by-id/..., serial:NUMBER (by pyserial)
    ├── tcp.Tcp             a stream to a host and port
    └── udp.Udp             datagrams to and from one host and port

Every call has a deadline, and none of them understands what it carries: that is the codecs' work
(`headway.drivers.codecs`), which in turn touch no port. So a driver can be tested with bytes alone,
and a fault proxy (`headway.hil.proxy`) sits between a transport and a device without either
knowing.
"""

from __future__ import annotations

from typing import Protocol

from headway.errors import DeviceError


def no_host(uri: str) -> DeviceError:
    """The error for the address `uri`, whose host cannot be a name: Python raises UnicodeError for
    it, before anybody is asked."""
    return DeviceError(
        f"wanted a host at {uri}, found a name that none can have (1 to 63 characters between "
        "dots): correct its address"
    )


class Transport(Protocol):
    """A connection that can be opened again after it was closed or lost. One thread uses it at a
    time; `close` may be called from another one and ends a `read` that waits.

    `uri` names the address, for messages and for the lock against other processes."""

    uri: str

    def open(self, timeout_s: float) -> None:
        """Connect within `timeout_s` [s]. Does nothing when open. Raises Busy where another process
        holds the port, and DeviceError where there is none, it may not be used, or nobody
        answers."""

    def read(self, size: int, timeout_s: float) -> bytes:
        """At most `size` bytes, as soon as there is one (a datagram as a whole); b"" where none
        came within `timeout_s` [s]. Raises DeviceError when the connection is lost."""

    def write(self, data: bytes, timeout_s: float = 0.5) -> None:
        """Send all of `data` within `timeout_s` [s]. Raises DeviceError when the connection is lost
        or the other side takes too long; a part may have been sent then, so close it."""

    def discard(self) -> None:
        """Forget what has arrived and was not read. Raises DeviceError when the connection is
        lost."""

    def close(self) -> None:
        """Disconnect. Never raises."""
