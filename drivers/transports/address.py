"""A line to a device that speaks a serial protocol, wherever its port is."""

from __future__ import annotations

from headway.drivers.transports import Transport
from headway.drivers.transports.serial import SerialPort
from headway.drivers.transports.tcp import Tcp
from headway.errors import ConfigError

TCP = "tcp://"


def line(port: str, baud: int) -> Transport:
    """The serial port `port` (a path, or `serial:NUMBER`) at `baud` [bit/s]; or `tcp://HOST:PORT`,
    where a server passes the bytes on, as a tool flange's or a terminal server's does. Raises
    ConfigError for an address without a port."""
    if not port.startswith(TCP):
        return SerialPort(port, baud)
    host, _, number = port.removeprefix(TCP).rpartition(":")
    if not host or not number.isdigit() or not 0 < int(number) < 65536:
        raise ConfigError(f"wanted `port` as tcp://HOST:PORT, found {port}: write both")
    return Tcp(host, int(number))
