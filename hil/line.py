"""The device's end of a serial line, as a pseudo-terminal."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import termios
import tty
from pathlib import Path

_SPEEDS = {
    getattr(termios, name): int(name[1:])
    for name in dir(termios)
    if name[0] == "B" and name[1:].isdigit()
}


class SerialLine:
    """A pseudo-terminal whose other end a host opens at `path`, like a serial port. `link`: a
    symbolic link that leads there, as those in /dev/serial/by-id do."""

    def __init__(self, link: Path | None = None) -> None:
        self._master, self._slave = pty.openpty()  # open ourselves: a host may come and go
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.path = os.ttyname(self._slave)
        self._link = link
        if link is not None:
            link.unlink(missing_ok=True)
            link.symlink_to(self.path)

    def fileno(self) -> int:
        """For `select`."""
        return self._master

    def read(self, timeout_s: float) -> bytes:
        """What the host has sent, b"" if nothing comes within `timeout_s` [s]."""
        if not select.select([self._master], [], [], timeout_s)[0]:
            return b""
        return os.read(self._master, 4096)

    def write(self, data: bytes) -> bool:
        """Send `data`. Where nobody reads, what does not fit is lost, as on a wire; returns whether
        all of it went."""
        try:
            return os.write(self._master, data) == len(data)
        except BlockingIOError:
            return False

    @property
    def baud(self) -> int:
        """The speed that the host has set [bit/s]; 0 for one that has no name. An emulator answers
        with garbage at a wrong one, as a device does."""
        return _SPEEDS.get(termios.tcgetattr(self._slave)[4], 0)

    @property
    def speed(self) -> int:
        """As `baud`, as the constant that termios has for it."""
        return int(termios.tcgetattr(self._slave)[4])

    def close(self) -> None:
        """Pull the plug: the host gets an error. The link is gone by then, so that a host which
        waits for a new one does not find the old one."""
        if self._link is not None:
            self._link.unlink(missing_ok=True)
        for end in (self._slave, self._master):
            with contextlib.suppress(OSError):
                os.close(end)
