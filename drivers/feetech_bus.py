"""The line of Feetech servos that an arm and its jaw share (SO-100, SO-101).

One thread owns the port (`headway.drivers.bus`): each exchange sends the newest goals in one packet
and reads all servos with another. An exchange in which one servo is missing, or has an error bit,
is not used at all. Registers after Feetech's memory table of the STS3215.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from headway.clock import NS, Clock
from headway.drivers.bus import Bus
from headway.drivers.codecs import feetech
from headway.drivers.codecs.feetech import Status, StatusDecoder
from headway.drivers.servo_calibration import Motor
from headway.drivers.transports import Transport
from headway.errors import DeviceError, Stale

BAUD = 1_000_000
MODEL = 777  # of an STS3215
_FIRMWARE, _MODEL, _RANGE, _OFFSET, _MODE, _TORQUE = 0, 3, 9, 31, 33, 40
_GOAL, _PRESENT, _VOLTS = 42, 56, 62
_COUNT = 15  # registers 56 to 70: position, speed, load, voltage, temperature, ..., current
_ANSWER_S = 0.02  # to wait for the servos; their answers take 1.5 ms
_WRITE_S = 0.1
_TRIES = 3  # of a request while the bus does not run
_POSITION_BIT, _OFFSET_BIT, _LOAD_BIT = 15, 11, 10
_AMPERE = 0.0065  # per count of the current


@dataclass(frozen=True, slots=True)
class Reading:
    """What the servos measured: for each, in their order, position [counts], speed [counts/s], load
    (-1..1 of the duty), voltage [V], temperature [degC], and current [A]."""

    position: tuple[int, ...]
    speed: tuple[int, ...]
    load: tuple[float, ...]
    volts: tuple[float, ...]
    celsius: tuple[int, ...]
    ampere: tuple[float, ...]


class FeetechBus:
    """The servos `names` (with their ids) at `transport`; `rate_hz` [Hz] of the exchanges. Devices
    that share it call `open` and `close` in pairs. `check` is called when the servos were found and
    are not read yet: it may use `read` and `calibration`, and raise DeviceError.

    `goal` sets goals of some servos, which the next exchange sends; those of the others stay. The
    torque is off until `hold` has set the goals to where the servos are."""

    def __init__(
        self,
        transport: Transport,
        names: Mapping[str, int],
        clock: Clock,
        rate_hz: float,
        check: Callable[[FeetechBus], None] | None = None,
    ) -> None:
        self.transport, self.names, self.clock = transport, dict(names), clock
        self.firmware = ""  # of the first servo, once it was opened
        self._check = check
        self.ids = tuple(self.names.values())
        self._decoder = StatusDecoder(_COUNT)
        self.bus: Bus[dict[int, int], Reading] = Bus(
            f"the servo line {transport.uri}", self._exchange, clock, rate_hz
        )
        self._goals: dict[int, int] = {}
        self._users = 0
        self.holding: set[int] = set()  # ids whose torque is on

    @property
    def crc_errors(self) -> int:
        """Answers with a wrong checksum."""
        return self._decoder.errors

    # Opening and closing: nobody else uses the port then, as the bus does not run.

    def open(self, timeout_s: float) -> None:
        """Open the port, find all servos, and begin to read them. Raises DeviceError."""
        self._users += 1
        if self._users > 1:
            return
        try:
            self.transport.open(timeout_s)
            self._decoder.reset()
            self._find()
            self.firmware = ".".join(map(str, self.read(self.ids[0], _FIRMWARE, 2)))
            if self._check is not None:
                self._check(self)
            self._exchange(None)
        except BaseException:
            self._users = 0
            self.transport.close()
            raise
        self.bus.start()

    def close(self) -> None:
        """Stop reading with the last user; the servos hold their last goals, or are limp as they
        were."""
        self._users = max(0, self._users - 1)
        if self._users == 0:
            self.bus.close()
            self.transport.close()

    def _find(self) -> None:
        """Raises DeviceError unless each id is a servo of the right model in position mode."""
        silent = [f"{name} (id {i})" for name, i in self.names.items() if not self._is_there(i)]
        if silent:
            raise DeviceError(
                f"wanted {len(self.ids)} servos at {self.transport.uri}, found no answer of "
                f"{', '.join(silent)}: is the arm's supply on, are all plugs in, is this its port?"
            )
        for name, i in self.names.items():
            model = int.from_bytes(self.read(i, _MODEL, 2), "little")
            if model != MODEL:
                raise DeviceError(
                    f"wanted an STS3215 (model {MODEL}) as {name} (id {i}) at "
                    f"{self.transport.uri}, found model {model}: is this the right port?"
                )
            mode = self.read(i, _MODE, 1)[0]
            if mode != 0:
                raise DeviceError(
                    f"wanted {name} (id {i}) in position mode, found mode {mode}: set register "
                    f"{_MODE} to 0 with Feetech's tool, or by `lerobot-setup-motors`"
                )

    def _is_there(self, servo: int) -> bool:
        """Whether `servo` answers a ping."""
        try:
            self._sure(feetech.packet(servo, feetech.PING), servo)
        except DeviceError:
            return False
        return True

    def present(self, servo: int) -> bool:
        """Whether an STS3215 answers as `servo`, asked once; before the bus runs. Raises
        DeviceError where nobody answers."""
        answer = self._ask(feetech.read(servo, _MODEL, 2), (servo,))[0]
        return int.from_bytes(answer.data, "little") == MODEL

    def read(self, servo: int, address: int, count: int) -> bytes:
        """`count` registers of `servo` from `address` on; before the bus runs. Raises
        DeviceError."""
        found = self._sure(feetech.read(servo, address, count), servo)
        if len(found.data) != count:
            raise DeviceError(
                f"wanted {count} registers of servo {servo}, found {len(found.data)}: is this an "
                "STS3215?"
            )
        return found.data

    def calibration(self, motors: Mapping[str, Motor]) -> dict[str, Motor]:
        """The calibration that the servos themselves hold, for `motors`; before the bus runs."""
        found = {}
        for name, m in motors.items():
            low, high = (self.read(m.id, _RANGE + 2 * k, 2) for k in (0, 1))
            offset = int.from_bytes(self.read(m.id, _OFFSET, 2), "little")
            found[name] = Motor(
                m.id,
                m.drive_mode,
                feetech.signed(offset, _OFFSET_BIT),
                int.from_bytes(low, "little"),
                int.from_bytes(high, "little"),
            )
        return found

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
        switch their torque on. Also leaves a fault of the bus. Waits for the port. Raises
        DeviceError."""
        self.bus.close()  # from here on the port is ours
        try:
            self._goals = {i: g for i, g in self._goals.items() if i not in ids}
            reading = self._exchange(None)
            here = {i: p for i, p in zip(self.ids, reading.position, strict=True) if i in ids}
            for i, p in here.items():
                self._write(i, _GOAL, p.to_bytes(2, "little"))
                if int.from_bytes(self.read(i, _GOAL, 2), "little") != p:
                    raise DeviceError(
                        f"servo {i} did not take its position as goal: activate again"
                    )
            for i in ids:
                self._write(i, _TORQUE, b"\x01")
            self._goals |= here
            self.holding |= set(ids)
        finally:
            self.bus.reset()
            self.bus.start()
        return reading

    def release(self, ids: Sequence[int]) -> None:
        """Switch the torque of `ids` off: an arm falls down. Raises DeviceError."""
        self.bus.close()
        try:
            self.holding -= set(ids)
            self._goals = {i: g for i, g in self._goals.items() if i not in ids}
            for i in ids:
                self._write(i, _TORQUE, b"\x00")
        finally:
            self.bus.start()

    # The port.

    def _exchange(self, goals: dict[int, int] | None) -> Reading:
        """Send `goals`, and read all servos. Raises DeviceError where one is missing or reports an
        error."""
        if goals:
            rows = {
                i: feetech.unsigned(g, _POSITION_BIT).to_bytes(2, "little")
                for i, g in goals.items()
            }
            self.transport.write(feetech.sync_write(_GOAL, rows), _WRITE_S)
        found = self._ask(feetech.sync_read(_PRESENT, _COUNT, self.ids), self.ids)
        return reading_of([s.data for s in found])

    def _write(self, servo: int, address: int, data: bytes) -> None:
        self._sure(feetech.write(servo, address, data), servo)

    def _sure(self, request: bytes, servo: int) -> Status:
        """The answer of `servo` to `request`, which may be sent several times: a single damaged
        byte is no absence. Raises DeviceError."""
        for _ in range(_TRIES - 1):
            with contextlib.suppress(DeviceError):
                return self._ask(request, (servo,))[0]
        return self._ask(request, (servo,))[0]

    def _ask(self, request: bytes, ids: Sequence[int]) -> list[Status]:
        """Send `request`; the answers of the servos `ids`, in that order. Raises DeviceError."""
        self.transport.discard()
        self._decoder.reset()
        self.transport.write(request, _WRITE_S)
        until = self.clock.now() + round(_ANSWER_S * NS)
        found: dict[int, Status] = {}
        while len(found) < len(ids):
            left = (until - self.clock.now()) / NS
            data = self.transport.read(512, max(0.0, left)) if left > 0 else b""
            if not data:
                silent = [self._name(i) for i in ids if i not in found]
                raise DeviceError(f"no answer of {', '.join(silent)} at {self.transport.uri}")
            found |= {s.id: s for s in self._decoder.feed(data) if s.id in ids}
        bad = [f"{self._name(i)}: {s.errors() or s.error}" for i, s in found.items() if s.error]
        if bad:
            raise DeviceError(
                f"servos report errors: {'; '.join(bad)}: remove the load or let them cool down, "
                "then activate() again"
            )
        return [found[i] for i in ids]

    def _name(self, servo: int) -> str:
        for name, i in self.names.items():
            if i == servo:
                return f"{name} (id {i})"
        return f"servo {servo}"


def reading_of(rows: Sequence[bytes]) -> Reading:
    """The readings of servos whose registers 56 to 70 are `rows`. Raises DeviceError for a row of
    another length."""
    if any(len(row) != _COUNT for row in rows):
        raise DeviceError(f"wanted {_COUNT} registers of each servo, found another count")

    def word(row: bytes, at: int, bit: int) -> int:
        return feetech.signed(int.from_bytes(row[at : at + 2], "little"), bit)

    return Reading(
        tuple(word(r, 0, _POSITION_BIT) for r in rows),
        tuple(word(r, 2, _POSITION_BIT) for r in rows),
        tuple(word(r, 4, _LOAD_BIT) / 1000.0 for r in rows),
        tuple(r[6] / 10.0 for r in rows),
        tuple(r[7] for r in rows),
        tuple(word(r, 13, 15) * _AMPERE for r in rows),
    )


def servos_at(
    transport: Transport, clock: Clock, timeout_s: float, most: int = 8
) -> tuple[list[int], float]:
    """The ids from 1 to `most` at which an STS3215 answers at `transport`, and the supply [V] of
    the first; only reads are sent. Raises DeviceError where the port cannot be opened, and Busy
    where another process has it."""
    transport.open(timeout_s)
    found: list[int] = []
    volts = 0.0
    try:
        for i in range(1, most + 1):
            bus = FeetechBus(transport, {f"servo {i}": i}, clock, 1.0)
            with contextlib.suppress(DeviceError):
                if bus.present(i):
                    volts = volts or bus.read(i, _VOLTS, 1)[0] / 10.0
                    found.append(i)
    finally:
        transport.close()
    return found, volts
