"""The line of servos that an arm and its jaw share: Feetech's STS3215 (SO-100, SO-101), or
Dynamixel's X series.

One thread owns the port (`headway.drivers.bus`): each exchange sends the newest goals in one packet
and reads all servos with another. An exchange in which one servo is missing, or has an error bit,
is not used at all. What differs between the makes is a `Family`.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from headway.clock import NS, Clock
from headway.drivers.bus import Bus
from headway.drivers.codecs import Decoder
from headway.drivers.servo_calibration import Motor
from headway.drivers.servo_family import Answer, Family, Reading
from headway.drivers.servo_marks import Marks
from headway.drivers.transports import Transport
from headway.errors import DeviceError, Stale

_ANSWER_S = 0.02  # to wait for the servos; their answers take 1.5 ms
_WRITE_S = 0.1
_TRIES = 3  # of a request while the bus does not run
_SETTLE_S = 0.2  # at most, for a line to fall silent
_LOOK_NS = NS // 10  # between looks at the marks, each of which takes as long as an exchange


class _ReportedError(DeviceError):
    """Servos that answer, and report an error: those `ids`."""

    def __init__(self, text: str, ids: tuple[int, ...]) -> None:
        super().__init__(text)
        self.ids = ids


class ServoBus:
    """The servos `names` (with their ids) of `family` at `transport`; `rate_hz` [Hz] of the
    exchanges. Devices that share it call `open` and `close` in pairs. `check` is called when the
    servos were found and are not read yet: it may use `read` and `calibration`, and raise
    DeviceError.

    `goal` sets goals of some servos, which the next exchange sends; those of the others stay. The
    torque is off until `hold` has set the goals to where the servos are.

    A servo whose power was away has forgotten torque and goal, and may be back before anybody
    missed it. So each servo is marked, and the marks are looked at (`Marks`)."""

    def __init__(
        self,
        transport: Transport,
        names: Mapping[str, int],
        clock: Clock,
        rate_hz: float,
        family: Family,
        check: Callable[[ServoBus], None] | None = None,
    ) -> None:
        self.transport, self.names, self.clock = transport, dict(names), clock
        self.family = family
        self.firmware = ""  # of the first servo, once it was opened
        self._check = check
        self.ids = tuple(self.names.values())
        self._decoder: Decoder[Any] = family.decoder()
        self.bus: Bus[dict[int, int], Reading] = Bus(
            f"the servo line {transport.uri}", self._exchange, clock, rate_hz
        )
        self._goals: dict[int, int] = {}
        self._users = 0
        self._turn = threading.RLock()  # arm and jaw reopen the line in threads of their own
        self._late = False  # whether an answer may come that nobody waits for any more
        self._heard_ns: int | None = None  # the last exchange while servos have torque
        self._lapsed = False  # whether their watchdog must have stopped them since
        self.holding: set[int] = set()  # ids whose torque is on
        self._marks = Marks(family.registers)
        self._looked_ns = 0  # when the marks were looked at

    @property
    def crc_errors(self) -> int:
        """Answers with a wrong checksum."""
        return self._decoder.errors

    # Opening and closing: nobody else uses the port then, as the bus does not run.

    def open(self, timeout_s: float) -> None:
        """Open the port, find all servos, and begin to read them. Raises DeviceError."""
        with self._turn:
            if self._users == 0:
                self._begin(timeout_s)
            self._users += 1

    def _begin(self, timeout_s: float) -> None:
        # What happened to the servos meanwhile is not known: they have to be activated again.
        self.holding, self._goals, self._heard_ns, self._lapsed = set(), {}, None, False
        try:
            self.transport.open(timeout_s)
            self._decoder.reset()
            self._find()
            version = self.read(self.ids[0], *self.family.registers.firmware)
            self.firmware = ".".join(map(str, version))
            if self._check is not None:
                self._check(self)
            self._mark(self.ids)
            # What a servo reports, such as an overload before, is told by `read` until `hold`.
            with contextlib.suppress(_ReportedError):
                self._measure(_TRIES)
        except BaseException:
            self.transport.close()
            raise
        self.bus.start()

    def close(self) -> None:
        """Stop reading with the last user; the servos hold their last goals, or are limp as they
        were."""
        with self._turn:
            self._users = max(0, self._users - 1)
            if self._users == 0:
                self.bus.close()
                self.transport.close()

    @contextlib.contextmanager
    def _paused(self) -> Iterator[None]:
        """The port is the caller's within. Raises DeviceError where the line is closed."""
        with self._turn:
            if self._users == 0:
                raise DeviceError(f"the servo line {self.transport.uri} is closed: open it first")
            self.bus.pause()
            try:
                yield
            finally:
                self.bus.start()

    def _find(self) -> None:
        """Raises DeviceError unless each id is a servo of the right model in a position mode."""
        silent = [f"{name} (id {i})" for name, i in self.names.items() if not self._is_there(i)]
        if silent:
            raise DeviceError(
                f"wanted {len(self.ids)} servos at {self.transport.uri}, found no answer of "
                f"{', '.join(silent)}: is the arm's supply on, are all plugs in, is this its port?"
            )
        family = self.family
        for name, i in self.names.items():
            model = int.from_bytes(self.read(i, family.registers.model, 2), "little")
            if model not in family.models:
                numbers = ", ".join(map(str, sorted(family.models)))
                raise DeviceError(
                    f"wanted a servo {family.name} (model {numbers}) as {name} (id {i}) at "
                    f"{self.transport.uri}, found model {model}: is this the right port?"
                )
            family.refuse_mode(self.read, i, self._name(i))

    def _is_there(self, servo: int) -> bool:
        """Whether `servo` answers a ping."""
        packets = self.family.packets
        try:
            self._sure(packets.packet(servo, packets.PING), (servo,), despite=True)
        except DeviceError:
            return False
        return True

    def present(self, servo: int) -> bool:
        """Whether a servo of the family answers as `servo`, also one that reports an error; before
        the bus runs. Raises DeviceError where nobody answers."""
        model = int.from_bytes(self.read(servo, self.family.registers.model, 2), "little")
        return model in self.family.models

    def read(self, servo: int, address: int, count: int) -> bytes:
        """`count` registers of `servo` from `address` on, also of one that reports an error; before
        the bus runs. Raises DeviceError."""
        request = self.family.packets.read(servo, address, count)
        found = self._sure(request, (servo,), despite=True)[0]
        if len(found.data) != count:
            raise DeviceError(
                f"wanted {count} registers of servo {servo}, found {len(found.data)}: is this a "
                f"{self.family.name}?"
            )
        return found.data

    def calibration(self, motors: Mapping[str, Motor]) -> dict[str, Motor]:
        """The calibration that the servos themselves hold, for `motors`; before the bus runs."""
        return {name: self.family.calibration(self.read, m) for name, m in motors.items()}

    # While the bus runs: what its users call.

    def goal(self, goals: Mapping[int, int]) -> None:
        """Let the servos go to `goals` [counts by id]. Raises DeviceError for a servo without
        torque, and in fault; nothing is sent then."""
        limp = set(goals) - self.holding
        if limp:
            raise DeviceError(f"servos {sorted(limp)} are without torque: activate() first")
        self._goals = {**self._goals, **goals}
        self.bus.command(dict(self._goals))

    def stay(self, ids: Sequence[int]) -> Reading | None:
        """Let the goals of those of `ids` that have torque be where they are, without waiting for
        the port; returns the reading that says where, None where there is none. Raises DeviceError
        in fault."""
        try:
            _, _, reading = self.bus.newest(0, 0.0)
        except Stale:
            return None
        places = dict(zip(self.ids, reading.position, strict=True))
        self.goal({i: places[i] for i in ids if i in self.holding})
        return reading

    def hold(self, ids: Sequence[int]) -> Reading:
        """Set the goals of `ids` to where they are, check that the servos have taken them, and
        switch their torque on. Also leaves a fault of the bus, and what servos keep reporting until
        their torque is switched off. Waits for the port. Raises DeviceError."""
        with self._paused():
            try:
                return self._hold(ids)
            finally:
                self.bus.reset()

    def _hold(self, ids: Sequence[int]) -> Reading:
        self._goals = {i: g for i, g in self._goals.items() if i not in ids}
        registers, watchdog = self.family.registers, self.family.watchdog
        try:
            reading = self._measure(_TRIES)
        except _ReportedError as e:
            self._put(registers.torque, dict.fromkeys(e.ids, b"\x00"), despite=True)
            reading = self._measure(_TRIES)
        here = {i: p for i, p in zip(self.ids, reading.position, strict=True) if i in ids}
        if watchdog is not None:
            self._put(watchdog[0], dict.fromkeys(ids, watchdog[1]))
        self._put(registers.goal, {i: self.family.goal(p) for i, p in here.items()})
        self._put(registers.torque, dict.fromkeys(ids, b"\x01"))
        if watchdog is not None:
            self._put(watchdog[0], dict.fromkeys(ids, watchdog[2]))
        self._mark(ids)
        self._goals |= here
        self.holding |= set(ids)
        self._heard_ns, self._lapsed = None, False
        return reading

    def release(self, ids: Sequence[int]) -> None:
        """Switch the torque of `ids` off: an arm falls down. Raises DeviceError."""
        with self._paused():
            self.holding -= set(ids)
            self._goals = {i: g for i, g in self._goals.items() if i not in ids}
            self._put(self.family.registers.torque, dict.fromkeys(ids, b"\x00"), despite=True)
            self._mark(ids)

    # The port.

    def _exchange(self, goals: dict[int, int] | None) -> Reading:
        """Send `goals`, and read all servos. Raises DeviceError where one is missing or reports an
        error."""
        family, now = self.family, self.clock.now()
        if family.watchdog is not None and self.holding and self._heard_ns is not None:
            self._lapsed |= now - self._heard_ns > family.watchdog_s * NS
        if self._lapsed:
            raise DeviceError(
                f"the servos at {self.transport.uri} heard nothing for {family.watchdog_s:g} s, "
                "and their watchdog has stopped them: activate() again"
            )
        if now - self._looked_ns >= _LOOK_NS:  # before goals go to a servo that forgot its own
            self._look()
            self._looked_ns = now
        if goals:
            rows = {i: family.goal(g) for i, g in goals.items()}
            self.transport.write(family.packets.sync_write(family.registers.goal, rows), _WRITE_S)
        reading = self._measure()
        self._heard_ns = now
        return reading

    def _measure(self, tries: int = 1) -> Reading:
        """Read all servos, with so many `tries` for answers that do not come. Raises DeviceError
        where one is missing or reports an error."""
        rows = self._rows(*self.family.registers.present, self.ids, tries=tries)
        return self.family.reading([rows[i] for i in self.ids])

    def _mark(self, ids: Sequence[int]) -> None:
        """Mark the servos `ids`, or see that they are marked. Raises DeviceError where one is
        missing."""
        self._marks.make(
            ids,
            lambda address, which: self._rows(address, 2, which, tries=_TRIES, despite=True),
            lambda address, rows: self.transport.write(
                self.family.packets.sync_write(address, rows), _WRITE_S
            ),
        )

    def _look(self) -> None:
        """Raises DeviceError where a servo has lost its mark."""
        found = self._rows(self.family.registers.limit, 2, self.ids)
        lost = [self._name(i) for i in self._marks.lost(found)]
        if lost:
            raise DeviceError(
                f"servos at {self.transport.uri} have started anew, without torque and goal: "
                f"{', '.join(lost)}: is the supply strong enough, are the plugs tight? activate() "
                "again"
            )

    def _put(self, address: int, rows: Mapping[int, bytes], *, despite: bool = False) -> None:
        """Write `rows` by servo into the registers from `address` on, all at once, and see that
        they are there. Raises DeviceError for a servo that has not taken them, and as `_ask`."""
        count = len(next(iter(rows.values()))) if rows else 0
        refused: list[str] = []
        for _ in range(_TRIES):
            if not rows:
                return
            self.transport.write(self.family.packets.sync_write(address, rows), _WRITE_S)
            found = self._rows(address, count, tuple(rows), tries=_TRIES, despite=despite)
            refused = [self._name(i) for i, row in rows.items() if found[i] != row]
            if not refused:
                return
        raise DeviceError(
            f"wanted {', '.join(refused)} at {self.transport.uri} to take what was written into "
            f"register {address}, found that it does not: is it damaged, or in another mode?"
        )

    def _rows(
        self, address: int, count: int, ids: Sequence[int], *, tries: int = 1, despite: bool = False
    ) -> dict[int, bytes]:
        """`count` registers from `address` on of the servos `ids`, by servo, with so many `tries`
        for answers that do not come. Raises as `_ask`."""
        request = self.family.packets.sync_read(address, count, ids)
        found = self._sure(request, ids, tries=tries, despite=despite)
        return {s.id: s.data for s in found}

    def _sure(
        self, request: bytes, ids: Sequence[int], *, tries: int = _TRIES, despite: bool = False
    ) -> list[Answer]:
        """The answers of `ids` to `request`, which may be sent several times, so that one damaged
        byte does not make a servo count as missing. Raises as `_ask`."""
        for _ in range(tries - 1):
            with contextlib.suppress(DeviceError):
                return self._ask(request, ids, despite=despite)
        return self._ask(request, ids, despite=despite)

    def _ask(self, request: bytes, ids: Sequence[int], *, despite: bool = False) -> list[Answer]:
        """Send `request`; the answers of the servos `ids`, in that order. Raises DeviceError where
        one is missing, and `_ReportedError` where one reports an error, unless `despite`."""
        if self._late:
            self._settle()
        self.transport.discard()
        self._decoder.reset()
        self.transport.write(request, _WRITE_S)
        until = self.clock.now() + round(_ANSWER_S * NS)
        found: dict[int, Answer] = {}
        while len(found) < len(ids):
            left = (until - self.clock.now()) / NS
            data = self.transport.read(512, max(0.0, left)) if left > 0 else b""
            if not data:
                silent = [self._name(i) for i in ids if i not in found]
                self._late = True
                raise DeviceError(f"no answer of {', '.join(silent)} at {self.transport.uri}")
            found |= {s.id: s for s in self._decoder.feed(data) if s.id in ids}
        bad = {i: f"{self._name(i)}: {s.errors() or s.error}" for i, s in found.items() if s.error}
        if bad and not despite:
            raise _ReportedError(
                f"servos report errors: {'; '.join(bad.values())}: remove the load or let them "
                "cool down, then activate() again",
                tuple(bad),
            )
        return [found[i] for i in ids]

    def _settle(self) -> None:
        """Wait until the line is silent: an answer does not say what it answers, so one that comes
        late would be taken for the answer to the next request."""
        until = self.clock.now() + round(_SETTLE_S * NS)
        while self.clock.now() < until and self.transport.read(512, _ANSWER_S):
            pass
        self._late = False

    def _name(self, servo: int) -> str:
        for name, i in self.names.items():
            if i == servo:
                return f"{name} (id {i})"
        return f"servo {servo}"


def servos_at(
    transport: Transport, clock: Clock, family: Family, timeout_s: float, most: int = 8
) -> tuple[list[int], float]:
    """The ids from 1 to `most` at which a servo of `family` answers at `transport`, and the
    supply [V] of the first; only reads are sent. Raises DeviceError where the port cannot be
    opened, and Busy where another process has it."""
    transport.open(timeout_s)
    found: list[int] = []
    volts = 0.0
    try:
        for i in range(1, most + 1):
            bus = ServoBus(transport, {f"servo {i}": i}, clock, 1.0, family)
            with contextlib.suppress(DeviceError):
                if bus.present(i):
                    volts = volts or family.volts(bus.read, i)
                    found.append(i)
    finally:
        transport.close()
    return found, volts
