"""A device under test."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from headway.clock import WallClock
from headway.drivers import Context, device_config, open_device
from headway.drivers.latest import Latest
from headway.drivers.lock import DeviceLock
from headway.errors import DeviceError
from headway.hil.journal import Entry
from headway.hil.launch import Emulator
from headway.hil.partners import Partner, Record, Wire
from headway.hil.proxy.process import ProxyProcess
from headway.hil.suite.results import NotApplicableError

OPEN_S = 10.0  # within which a device has to open
SIMULATED = ("null", "sim", "rig", "replay")  # kinds without a device behind them


class Subject:
    """`with Subject(...) as subject:` the device of `kind` in `folder`, with its config `table`;
    where `partner` is given, an emulator is started for it, and `table` adds to what that says; so
    it does where `recorded` makes a recording that the driver plays.

    `wire`: the line to it, for the fault proxy, None where that is not known. `may_move`: whether a
    check may move it; by default only where no hardware moves. `may_fault`: whether faults may be
    brought about on a real line. `worlds`: what devices share, as a simulated cell. `owner`:
    folder, kind and table of the device that has to be made first, at whose port this one is."""

    def __init__(
        self,
        folder: str,
        kind: str,
        table: dict[str, Any] | None = None,
        *,
        name: str = "",
        partner: Partner | None = None,
        recorded: Record | None = None,
        wire: Wire | None = None,
        may_move: bool = False,
        may_fault: bool = False,
        worlds: dict[str, Any] | None = None,
        owner: tuple[str, str, dict[str, Any]] | None = None,
    ) -> None:
        self.folder, self.kind, self.name = folder, kind, name or f"{folder} {kind}"
        self.partner = partner
        self.wire = partner.wire if partner is not None else wire
        self._recorded = recorded
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        file = bool((table or {}).get("file"))  # of a camera
        self.played = recorded is not None or file or kind == "replay"
        self.hardware = partner is None and not self.played and kind not in SIMULATED
        self.may_move = (may_move or not self.hardware) and not self.played
        self.may_fault = may_fault or not self.hardware
        self.clock = WallClock(spin_ns=0)
        self._worlds, self._owner = dict(worlds or {}), owner
        self.owner: Any = None  # the device that was made first, beside the newest one
        self.table: dict[str, Any] = dict(table or {})
        self._own = dict(self.table)
        self._emulator: Emulator | None = None
        self.hung = False  # a check of it has not come back

    def __enter__(self) -> Subject:
        if self.partner is not None:
            self._emulator = Emulator(self.partner.name, self.partner.setup, self.partner.plant)
            self._emulator.__enter__()
            self.table = {**self.partner.table(self._emulator.uri), **self._own}
            needs = self.partner.needs
            if needs is not None:
                table = self.partner.table(self._emulator.uri, needs[0])
                self._owner = (*needs, table)
        elif self._recorded is not None:
            self._folder = tempfile.TemporaryDirectory(prefix="headway-recording-")
            try:
                self.table = {**self._recorded(Path(self._folder.name)), **self._own}
            except BaseException:
                self._folder.cleanup()
                raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if self._emulator is not None:
            self._emulator.close()
        if self._folder is not None:
            self._folder.cleanup()

    @property
    def cfg(self) -> Any:
        """The checked `Config`."""
        return device_config(self.folder, {**self.table, "kind": self.kind}, self.name)[1]

    @property
    def rate_hz(self) -> float | None:
        """The rate [Hz] that the device should have, None where nobody says one."""
        for of in (self.cfg, self.device()):
            rate = getattr(of, "rate_hz", None)
            if isinstance(rate, (int, float)) and rate > 0:
                return float(rate)
        return None

    def device(self, table: dict[str, Any] | None = None) -> Any:
        """The device, not open yet, as in a run of its own. Raises ConfigError."""
        used = self.table if table is None else table
        ctx = Context(self.clock, dict(self._worlds))
        if self._owner is not None:
            folder, kind, its = self._owner
            if self.wire is not None:
                its = self.wire.moved(its, self.wire.address(used))
            where = f"the {kind} that {self.name} shares a port with"
            self.owner = open_device(folder, kind, its, ctx, where)
        return open_device(self.folder, self.kind, used, ctx, self.name)

    @contextlib.contextmanager
    def opened(self, table: dict[str, Any] | None = None) -> Iterator[Any]:
        """The device, open, and locked against other processes where it has an address."""
        device = self.device(table)
        with self.locked(device):
            try:
                device.open(OPEN_S)
                yield device
            finally:
                device.close()

    @contextlib.contextmanager
    def latest(self, table: dict[str, Any] | None = None) -> Iterator[Latest[Any]]:
        """The device as the control loop has it: read by a thread, where it waits."""
        device = self.device(table)
        with self.locked(device):
            newest: Latest[Any] = Latest(device, self.clock, self.name)
            newest.start(OPEN_S)
            try:
                yield newest
            finally:
                newest.close()

    @contextlib.contextmanager
    def locked(self, device: Any) -> Iterator[None]:
        """Holds the device's lock, where it has an address that is no plain file."""
        uri = device.info.uri
        if not uri or Path(uri).is_file():
            yield
            return
        with DeviceLock(device.info):
            yield

    @contextlib.contextmanager
    def proxied(self) -> Iterator[tuple[ProxyProcess, dict[str, Any]]]:
        """A fault proxy on the line, and the table that leads through it. Raises NotApplicableError
        where there is no line to put it on, or faults are not allowed there."""
        if self.wire is None:
            raise NotApplicableError("there is no line to bring faults about on")
        if not self.may_fault:
            raise NotApplicableError(
                "faults on a line to real hardware want --allow-hardware, and nobody near it"
            )
        setup = {
            "kind": self.wire.kind,
            "device": self.wire.address(self.table),
            "allow_hardware": self.hardware,
        }
        with ProxyProcess(setup) as proxy:
            yield proxy, self.wire.moved(self.table, proxy.uri)

    def want_motion(self, what: str) -> None:
        """Raises NotApplicableError where a check may not move `what`."""
        if self.played:
            raise NotApplicableError("what plays a recording follows no command")
        if not self.may_move:
            raise NotApplicableError(
                f"it would move the {what}: add --move, and have the stop at hand"
            )

    def journal(self) -> list[Entry]:
        """What the emulator has written down. Raises DeviceError where there is none."""
        if self._emulator is None:
            raise DeviceError(f"{self.name} has no emulator with a journal")
        return self._emulator.journal()
