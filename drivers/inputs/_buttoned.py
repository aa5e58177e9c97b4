"""The base class of input devices with a button that opens and closes the jaws."""

from __future__ import annotations

from headway.drivers.input_events import InputEvents
from headway.drivers.inputs import TCP_VELOCITY
from headway.types import Info


class Buttoned:
    """A device behind `events`, whose `button` opens the jaws where they are closed, and closes
    them where they are open. Subclasses implement `read`."""

    actions = TCP_VELOCITY

    def __init__(self, events: InputEvents, button: int) -> None:
        self.events, self._button = events, button
        self._closed, self._seen = False, 0

    @property
    def info(self) -> Info:
        return self.events.info

    def open(self, timeout_s: float) -> None:
        self.events.open()

    def activate(self) -> None:
        self.events.open()
        self.disregard()

    def reset(self) -> None:
        self._closed = False
        self.disregard()

    def disregard(self) -> None:
        """Presses of the button until now change nothing."""
        self._seen = self.events.presses(self._button)

    def grip(self) -> float:
        """1 for closed jaws, 0 for open ones, after the presses until now."""
        presses = self.events.presses(self._button)
        self._closed ^= (presses - self._seen) % 2 == 1
        self._seen = presses
        return float(self._closed)

    def close(self) -> None:
        self.events.close()
