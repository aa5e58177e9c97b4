"""How a connection to a controller of Universal Robots begins: which version speaks, what is read
and written, and which robot it is."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

from headway.drivers.codecs import rtde
from headway.drivers.codecs.rtde import Package, Recipe, RtdeDecoder
from headway.drivers.transports import Transport
from headway.drivers.ur.dashboard import Dashboard
from headway.errors import Busy, DeviceError

OLDEST = {3: (3, 5), 5: (5, 1)}  # by series: the fields that are read came with these
CB3, E_SERIES, POLYSCOPE_X = 3, 5, 10
CB3_HZ = 125.0  # what a CB3 sends at most
_NO_DASHBOARD = POLYSCOPE_X  # and newer
_WITHOUT_E = ("UR3", "UR5", "UR10", "UR16")  # the dashboard's names of e-Series arms


class Greeting:
    """The setup over `transport`, which is open, to be done by the time `until_s` [s] of
    time.monotonic. `texts` are what the controller said meanwhile."""

    def __init__(self, transport: Transport, decoder: RtdeDecoder, until_s: float) -> None:
        self.transport, self.decoder, self.until_s = transport, decoder, until_s
        self.texts: list[str] = []
        self._packages: list[Package] = []

    def version(self) -> tuple[int, ...]:
        """Agree on the protocol; the version of the controller's software. Raises DeviceError for
        one that is too old."""
        if not rtde.accepted(self._ask(rtde.request_version(), rtde.REQUEST_VERSION)):
            raise DeviceError(
                f"wanted RTDE protocol {rtde.VERSION} of the controller at {self.transport.uri}, "
                "found that it does not speak it: update its software (CB3: 3.5, e-Series: 5.1)"
            )
        answer = self._ask(rtde.ask_controller_version(), rtde.CONTROLLER_VERSION)
        found = rtde.controller_version(answer)
        oldest = OLDEST.get(found[0])
        if (oldest is not None and found < oldest) or found[0] < min(OLDEST):
            wanted = ".".join(map(str, oldest or OLDEST[CB3]))
            raise DeviceError(
                f"wanted firmware {wanted} or newer in the controller at {self.transport.uri}, "
                f"found {'.'.join(map(str, found))}: update the controller"
            )
        return found

    def reads(self, hz: float, names: Sequence[str]) -> Recipe:
        """Have `names` sent at `hz` [Hz]. Raises DeviceError, which names the field that there is
        none of."""
        number, types = rtde.setup_answer(self._ask(rtde.setup_outputs(hz, names), rtde.OUTPUTS))
        self._refused(names, types, "read")
        return Recipe(number, tuple(names), types)

    def writes(self, names: Sequence[str]) -> Recipe:
        """Be allowed to write `names`. Raises Busy for a field that somebody else writes, and
        DeviceError for one that there is none of."""
        number, types = rtde.setup_answer(self._ask(rtde.setup_inputs(names), rtde.INPUTS))
        self._refused(names, types, "write")
        return Recipe(number, tuple(names), types)

    def start(self) -> None:
        """Let the data come. Raises DeviceError."""
        if not rtde.accepted(self._ask(rtde.start(), rtde.START)):
            raise DeviceError(
                f"wanted the controller at {self.transport.uri} to send its state, found that it "
                f"refuses{self._said()}: restart it"
            )

    def rest(self) -> list[Package]:
        """Packages that came with the last answer, behind it."""
        return self._packages

    def _refused(self, names: Sequence[str], types: Sequence[str], verb: str) -> None:
        where = self.transport.uri
        # A controller may answer with one word for all.
        bad = [n for n, kind in zip(names, types, strict=False) if kind == "NOT_FOUND"]
        if bad or "NOT_FOUND" in types:
            raise DeviceError(
                f"wanted to {verb} {', '.join(bad or names)} at {where}, found that this "
                "controller has no such field: update its software"
            )
        used = [n for n, kind in zip(names, types, strict=False) if kind == "IN_USE"]
        if used or "IN_USE" in types:
            raise Busy(
                f"wanted to write {', '.join(used or names)} at {where}, found that another client "
                "of the controller does (a fieldbus, a PLC, another program): end it, or choose "
                "other registers by `registers`"
            )
        if len(types) != len(names):
            raise DeviceError(
                f"wanted the types of {len(names)} fields from {where}, found {len(types)}"
                f"{self._said()}: is this the RTDE port (30004)?"
            )

    def _ask(self, request: bytes, kind: int) -> bytes:
        """The payload of the answer of `kind` to `request`."""
        self.transport.write(request, max(0.01, self.until_s - time.monotonic()))
        heard = 0
        while True:
            while self._packages:
                package = self._packages.pop(0)
                if package.kind == kind:
                    return package.payload
                if package.kind == rtde.MESSAGE:
                    self.texts.append(rtde.text(package.payload).text)
            left = self.until_s - time.monotonic()
            data = self.transport.read(65536, max(0.0, left))
            heard += len(data)
            if not data and left <= 0.0:
                raise DeviceError(
                    f"wanted an RTDE answer from {self.transport.uri}, found "
                    f"{f'{heard} bytes of something else' if heard else 'none'}{self._said()}: is "
                    "this the RTDE port (30004) of a robot controller that is switched on?"
                )
            self._packages += self.decoder.feed(data)

    def _said(self) -> str:
        return f" (it says: {'; '.join(self.texts)})" if self.texts else ""


def identity(
    host: str, port: int, firmware: tuple[int, ...], timeout_s: float
) -> tuple[str, str] | None:
    """Model, as "UR5e", and serial number of the robot, by the dashboard at `port`; "" for what it
    does not say. None where there is no dashboard: `port` is 0, or the controller has PolyScope X.
    Raises DeviceError where it does not answer."""
    if port == 0 or firmware[0] >= _NO_DASHBOARD:
        return None
    with Dashboard(host, port, timeout_s) as line:
        model = line.known("get robot model") or ""
        serial = line.known("get serial number") or ""
    name = re.search(r"UR\d+e?", model)
    found = name[0] if name else ""
    if firmware[0] >= E_SERIES and found in _WITHOUT_E:
        found += "e"
    number = re.search(r"\d{6,}", serial)
    return found, number[0] if number else ""
