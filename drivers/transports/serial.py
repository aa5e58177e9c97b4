"""Serial ports, by pyserial.

A port is named by its path, which may be a link of /dev/serial/by-id, or as `serial:NUMBER`, the
serial number of its USB adapter: such a port is found again wherever it is plugged in.
"""

from __future__ import annotations

import contextlib
import errno
import os
import termios
from typing import Any

from headway.errors import Busy, DeviceError, Missing

BY_NUMBER = "serial:"
# What pyserial raises for a port that was unplugged, or closed while it waited (the middle two).
_GONE = (OSError, TypeError, AttributeError, termios.error)


class SerialPort:
    """The serial port `port` at `baud` [bit/s], 8 data bits, no parity, 1 stop bit, held
    exclusively. `open` raises Missing without pyserial."""

    def __init__(self, port: str, baud: int) -> None:
        self.port, self.baud = port, baud
        self.uri = port
        self._serial: Any = None

    def open(self, timeout_s: float) -> None:
        if self._serial is not None:
            return
        serial = _pyserial()
        path = resolve(self.port)
        try:
            made = serial.Serial(
                path, self.baud, timeout=0, write_timeout=timeout_s, exclusive=True
            )
        except (serial.SerialException, OSError, ValueError, OverflowError) as e:
            # The last two are for a baud rate that the adapter cannot do.
            raise _refused(self.port, path, e) from None
        self._serial = made

    def read(self, size: int, timeout_s: float) -> bytes:
        port = self._opened()
        try:
            if port.timeout != timeout_s:
                port.timeout = timeout_s
            first = port.read(1)
            if not first or size == 1:
                return bytes(first)
            # `in_waiting` may say 0 where bytes are there, so what has arrived is asked for.
            port.timeout = 0
            return bytes(first + port.read(size - 1))
        except _GONE as e:
            raise self._lost(e) from None

    def write(self, data: bytes, timeout_s: float = 0.5) -> None:
        port = self._opened()
        try:
            if port.write_timeout != timeout_s:
                port.write_timeout = timeout_s
            port.write(data)
        except _pyserial().SerialTimeoutException:
            raise DeviceError(
                f"wanted the serial port {self.port} to take {len(data)} bytes within "
                f"{timeout_s:g} s, found that it does not: is its device powered?"
            ) from None
        except _GONE as e:
            raise self._lost(e) from None

    def discard(self) -> None:
        port = self._opened()
        try:
            port.reset_input_buffer()
        except _GONE as e:
            raise self._lost(e) from None

    def close(self) -> None:
        port, self._serial = self._serial, None
        if port is not None:
            with contextlib.suppress(OSError):  # it was unplugged
                port.close()

    def _opened(self) -> Any:
        if self._serial is None:
            raise DeviceError(f"the serial port {self.port} is closed: open it first")
        return self._serial

    def _lost(self, e: Exception) -> DeviceError:
        return DeviceError(
            f"wanted the serial port {self.port}, found that it is gone ({e}): is it plugged in?"
        )


def resolve(port: str) -> str:
    """The path of the serial port that `port` names now. Raises DeviceError for a serial number
    that no adapter has, and lists those that there are; Missing without pyserial."""
    if not port.startswith(BY_NUMBER):
        return port
    _pyserial()
    from serial.tools import list_ports

    number = port.removeprefix(BY_NUMBER)
    found = [p for p in list_ports.comports() if p.serial_number]
    for p in found:
        if p.serial_number == number:
            return str(p.device)
    others = ", ".join(f"{p.serial_number} at {p.device}" for p in found) or "none"
    raise DeviceError(
        f"wanted the serial adapter with the number {number}, found {others}: plug it in, or name "
        "another one"
    )


def _pyserial() -> Any:
    try:
        import serial
    except ImportError:
        raise Missing(
            "a serial port wants pyserial: install it by `pip install 'headway[serial]'`"
        ) from None
    return serial


def _refused(port: str, path: str, e: Exception) -> DeviceError:
    """Why the port cannot be opened, and what to do."""
    number = getattr(e, "errno", None)
    if number == errno.EACCES or (number is None and os.path.exists(path) and not _mine(path)):
        return DeviceError(
            f"wanted to open the serial port {port}, found that this user may not: add the user to "
            "the group `dialout` (`sudo usermod -aG dialout $USER`), log in again"
        )
    if number in (errno.EBUSY, errno.EAGAIN) or "exclusively lock" in str(e):
        return Busy(
            f"wanted the serial port {port}, found that another process holds it: `fuser -v {path}`"
            " names it (ModemManager and getty are known to), stop it"
        )
    if not os.path.exists(path):
        return DeviceError(
            f"wanted a serial port at {port}, found none: is it plugged in? `headway devices` lists"
            " what there is"
        )
    return DeviceError(f"wanted to open the serial port {port}, found: {e}")


def _mine(path: str) -> bool:
    return os.access(path, os.R_OK | os.W_OK)
