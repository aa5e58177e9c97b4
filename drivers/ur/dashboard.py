"""The dashboard of a controller of Universal Robots: one line of text there, one back (port 29999;
"Dashboard Server", e-Series and CB3). PolyScope X has none."""

from __future__ import annotations

import time

from headway.drivers.transports.tcp import Tcp
from headway.errors import DeviceError

_MOST = 4096  # bytes of an answer


class Dashboard:
    """`with Dashboard(host, port, timeout_s) as line:` connects; each answer may take `timeout_s`
    [s]. Raises DeviceError where nobody answers."""

    def __init__(self, host: str, port: int, timeout_s: float = 2.0) -> None:
        self.timeout_s = timeout_s
        self._tcp = Tcp(host, port)
        self._rest = b""

    def __enter__(self) -> Dashboard:
        self._tcp.open(self.timeout_s)
        try:
            self._line("a greeting")
        except BaseException:
            self._tcp.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._tcp.close()

    def ask(self, command: str) -> str:
        """What the dashboard answers to `command`."""
        self._tcp.write(command.encode("ascii") + b"\n", self.timeout_s)
        return self._line(f"an answer to `{command}`")

    def order(self, command: str, fine: str) -> None:
        """Have `command` carried out. Raises DeviceError, with what the dashboard says, where that
        does not begin with `fine`."""
        said = self.ask(command)
        if not said.lower().startswith(fine.lower()):
            raise DeviceError(
                f"wanted the controller at {self._tcp.uri} to carry out `{command}`, found {said!r}"
            )

    def known(self, command: str) -> str | None:
        """What the dashboard answers to a question, None where this version does not know it."""
        said = self.ask(command)
        return None if "could not understand" in said.lower() else said

    def _line(self, what: str) -> str:
        until = time.monotonic() + self.timeout_s
        while b"\n" not in self._rest:
            data = self._tcp.read(_MOST, max(0.0, until - time.monotonic()))
            self._rest += data
            if not data or len(self._rest) > _MOST:
                raise DeviceError(
                    f"wanted {what} of the dashboard at {self._tcp.uri} within {self.timeout_s:g} "
                    f"s, found {len(self._rest)} bytes without an end of line: is this the "
                    "dashboard's port (29999)?"
                )
        line, self._rest = self._rest.split(b"\n", 1)
        return line.decode(errors="replace").strip()
