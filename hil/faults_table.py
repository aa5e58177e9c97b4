"""Faults of a device, as an emulator's configuration lists them.

    faults = [{at_s = 2.0, kind = "overload", for_s = 1.5, target = 3}]

Each emulator says which kinds it knows and what they do. What goes wrong on the line between host
and device (lost, late, repeated, damaged bytes, an unplugged cable) is the proxy's affair.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence

from headway import config
from headway.config import NotNegative, SecondsOrNone, Struct
from headway.errors import ConfigError
from headway.hil.journal import Journal


class Fault(Struct, frozen=True):
    """`kind` begins `at_s` [s] after the first connection and lasts `for_s` [s]; 0: to the end,
    or once, for a kind that has no length. `target`: the id of the device on a bus that it is
    about; None: all."""

    at_s: NotNegative
    kind: str
    for_s: SecondsOrNone = 0.0
    target: int | None = None

    def covers(self, passed: float, target: int | None) -> bool:
        """Whether it is there `passed` [s] after the beginning, for the device `target`."""
        ours = target is None or self.target is None or self.target == target
        return (
            ours and passed >= self.at_s and (self.for_s == 0.0 or passed < self.at_s + self.for_s)
        )


class FaultsTable:
    """The faults of one emulator, which knows `kinds`. Times count from `begin` on; each fault that
    begins is written into `journal`. Raises ConfigError for another kind."""

    def __init__(
        self,
        faults: Sequence[Fault],
        kinds: Collection[str],
        journal: Journal,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        for fault in faults:
            if fault.kind not in kinds:
                raise ConfigError(
                    f"faults: wanted a kind of fault that this emulator knows, found "
                    f"{fault.kind!r}: {config.suggest(fault.kind, sorted(kinds))}"
                )
        self._faults = sorted(faults, key=lambda f: f.at_s)
        self._journal, self._seconds = journal, seconds
        self._begun: float | None = None
        self._next = 0

    def begin(self) -> None:
        """A host has connected. Later calls do nothing."""
        if self._begun is None:
            self._begun = self._seconds()

    def active(self, kind: str, target: int | None = None) -> bool:
        """Whether a fault `kind` lasts now, for the device `target`."""
        if self._begun is None or not self._faults:
            return False
        passed = self._seconds() - self._begun
        return any(f.kind == kind and f.covers(passed, target) for f in self._faults)

    def starting(self) -> list[Fault]:
        """Those that began since the last call."""
        if self._begun is None or self._next == len(self._faults):
            return []
        passed, first = self._seconds() - self._begun, self._next
        while self._next < len(self._faults) and self._faults[self._next].at_s <= passed:
            fault = self._faults[self._next]
            numbers = {} if fault.target is None else {"target": float(fault.target)}
            self._journal.write("fault", fault.kind, **numbers)
            self._next += 1
        return self._faults[first : self._next]
