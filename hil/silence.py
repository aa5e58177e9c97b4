"""Notice that the host has fallen silent, for devices that do nothing about it."""

from __future__ import annotations

import time

from headway.hil.journal import Journal

_AFTER_S = 1.0


class Silence:
    """Writes `held` into `journal`, once, when nothing was heard for a second while the device may
    move; `why` says what it does then."""

    def __init__(self, journal: Journal, why: str) -> None:
        self._journal, self._why = journal, why
        self._last: float | None = None

    def heard(self) -> None:
        """The host has sent something."""
        self._last = time.monotonic()

    def look(self, powered: bool) -> None:
        """Say so if that was long ago, and the device is `powered`."""
        if powered and self._last is not None and time.monotonic() - self._last >= _AFTER_S:
            self._last = None
            self._journal.write("held", self._why)
