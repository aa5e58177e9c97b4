"""The base class of devices that give samples of what a link reads."""

from __future__ import annotations

from typing import Generic, TypeVar

from headway.clock import NS
from headway.drivers.counts import Counts
from headway.drivers.ur.fields import State
from headway.drivers.ur.link import Heard, Link
from headway.errors import DeviceError, Stale
from headway.types import Health, Info, Sample, Stamp

T = TypeVar("T")


class UrSource(Generic[T]):
    """A device called `name` at the controller of `link`. Subclasses implement `value`, and
    `identify` where there is something to check when it is opened. `kind` is their driver's."""

    waits = True
    kind = "ur"

    def __init__(self, link: Link, name: str) -> None:
        self.link, self.name = link, name
        self.info: Info = self.described()
        self.counts = Counts(link.clock, round(NS / link.cfg.rate_hz))
        self._number = 0  # of the last state that was read
        self._resets = 0  # of the controller's clock, by then

    def described(self) -> Info:
        """What is known of the device by now."""
        of = self.link.info
        return Info(self.kind, f"{of.model} {self.name}", of.serial, of.firmware, of.uri)

    def identify(self) -> None:
        """Raises DeviceError where `info` is not what was expected. The link is open."""

    def value(self, heard: Heard) -> tuple[T, tuple[str, ...], bool]:
        """What the device measures, what there is to say about it, and whether it is valid."""
        raise NotImplementedError

    def open(self, timeout_s: float) -> None:
        if self.counts.state == "ok" and not self.link.fault:
            return
        self.link.join(self, timeout_s)
        self.info = self.described()
        try:
            self.identify()
        except BaseException:
            self.link.leave(self)
            raise
        self.counts.opened()

    def read(self, timeout_s: float) -> Sample[T]:
        if self.counts.state == "closed":
            raise DeviceError(f"the {self.info.model} is closed: open it before reading")
        try:
            heard = self.link.wait(self._number, timeout_s)
        except Stale:
            self.counts.timeouts += 1
            raise
        except DeviceError:
            self.counts.state = "fault"
            raise
        if self.counts.received:
            self.counts.lost += heard.number - self._number - 1
        self._number = heard.number
        self.counts.crc_errors = self.link.decoder.errors + self.link.timeless
        value, flags, valid = self.value(heard)
        if heard.resets > self._resets:
            self._resets, flags = heard.resets, (*flags, "clock restarted")
        seq = self.counts.sample(heard.t_ns, valid)
        stamp = Stamp(heard.t_ns, heard.arrival_ns, seq, heard.device_ns, heard.error_ns)
        return Sample(stamp, value, valid, flags)

    def close(self) -> None:
        self.link.leave(self)
        if self.counts.state == "ok":
            self.counts.state = "closed"

    def health(self) -> Health:
        if self.link.fault and self.counts.state == "ok":
            self.counts.state = "fault"
        return self.counts.health()


def said_of(state: State) -> tuple[str, ...]:
    """What holds the robot or slows it down, for the flags of a sample."""
    flags = [state.stopped]
    if state.running and state.speed_scaling < 0.999:  # it is 0 where no program runs
        flags.append(f"speed scaling {state.speed_scaling:.2f}")
    return tuple(filter(None, flags))
