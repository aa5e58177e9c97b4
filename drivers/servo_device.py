"""The base class of the devices at a line of servos: the arm, and its jaw."""

from __future__ import annotations

from headway.clock import NS, Clock
from headway.drivers.counts import Counts
from headway.drivers.servo_bus import ServoBus
from headway.drivers.servo_family import Reading
from headway.errors import DeviceError
from headway.types import Health, Info


class ServoDevice:
    """A device that reads what the line `bus` has read. Subclasses implement `read` by `newest`,
    and `failed` where there is something to do when the line is in fault."""

    waits = True

    def __init__(self, info: Info, clock: Clock, bus: ServoBus) -> None:
        self.info, self.bus = info, bus
        self.counts = Counts(clock, round(NS / bus.bus.rate_hz))
        self.is_open = False  # while it is in fault as well, until `close`
        self._number = 0  # of the exchange that was given last

    def open(self, timeout_s: float) -> None:
        if self.is_open:
            return
        self.bus.open(timeout_s)
        self.is_open, self._number = True, 0
        if not self.bus.bus.fault:  # in which another device at the line may have left it
            self.counts.opened()

    def newest(self, timeout_s: float) -> tuple[int, Reading]:
        """Time of arrival [ns] and values of the newest exchange that was not given yet, waited for
        at most `timeout_s` [s]. Raises Stale without one, and DeviceError in fault or when the
        device is closed."""
        if not self.is_open:
            raise DeviceError(f"the {self.info.model} is closed: open it before reading")
        try:
            self._number, arrival, value = self.bus.bus.newest(self._number, timeout_s)
        except DeviceError:
            if self.bus.bus.fault:
                self.counts.state = "fault"
                self.failed()
            raise
        if self.counts.state != "ok":  # the fault was left, by the arm's `activate`
            self.counts.opened()
        return arrival, value

    def failed(self) -> None:
        """The line is in fault."""

    def close(self) -> None:
        if self.is_open:
            self.is_open = False
            self.bus.close()
        if self.counts.state == "ok":  # a fault stays one until it is opened again
            self.counts.state = "closed"

    def health(self) -> Health:
        return self.counts.health()
