"""A device's serial port as its host finds it: right at one speed only, and no faster than that."""

from __future__ import annotations

import random
import time
from pathlib import Path

from headway.hil.journal import Journal
from headway.hil.line import SerialLine
from headway.hil.visitors import Visitors

BITS = 10  # of a byte on the line: start, 8 data bits, stop


class DevicePort:
    """The port of a device that speaks at `baud` [bit/s]. `link`: a symbolic link to it, "" for
    none. `paced`: an answer arrives no earlier than it would over a line that carries request and
    answer one after the other. A host at another speed reads garbage, and is heard as garbage.
    That hosts open and close the port is written into `journal`; `opened` counts how often they
    did."""

    def __init__(self, baud: int, link: str, journal: Journal, *, paced: bool = False) -> None:
        self.baud, self.paced, self.opened = baud, paced, 0
        self._line = SerialLine(Path(link) if link else None)
        self._visitors = Visitors(self._line.path)
        self._journal = journal
        self.path = link or self._line.path
        self._noise = random.Random(0)
        self._heard, self._since = 0, 0.0  # bytes since the last answer, and when they began

    def read(self, timeout_s: float) -> bytes:
        """What the host has sent, b"" where nothing comes within `timeout_s` [s]."""
        data = self._line.read(timeout_s)
        for came in self._visitors.seen():
            self.opened += came
            self._journal.write("connected" if came else "disconnected")
        if data and not self.opened:
            self.opened = 1  # nobody could tell, but there it is
        if data and not self._heard:
            self._since = time.monotonic()
        self._heard += len(data)
        return self._as_heard(data)

    def answer(self, data: bytes, delay_s: float = 0.0) -> None:
        """Send `data`, `delay_s` [s] after the request has ended, where answers are paced."""
        heard, self._heard = self._heard, 0
        if self.paced:
            at = self._since + delay_s + (heard + len(data)) * BITS / self.baud
            time.sleep(max(at - time.monotonic(), 0.0))
        self.send(data)

    def send(self, data: bytes) -> None:
        """Send `data` at once. What nobody reads is lost."""
        self._line.write(self._as_heard(data))

    def _as_heard(self, data: bytes) -> bytes:
        """`data` for a listener whose speed is not the speaker's: other bytes."""
        if not data or self._line.baud == self.baud:
            return data
        return bytes(b ^ self._noise.randrange(1, 256) for b in data)

    def close(self) -> None:
        """Pull the plug."""
        self._visitors.close()
        self._line.close()
