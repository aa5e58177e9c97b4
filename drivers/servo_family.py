"""What a make of servos is to the line that they share (`headway.drivers.servo_bus`): its
registers, its packets, and what it measures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from headway.drivers.codecs import Decoder
from headway.drivers.servo_calibration import Motor

ReadRegisters = Callable[[int, int, int], bytes]  # servo, address, count


class Registers(NamedTuple):
    """Addresses in a servo's memory: of its `model` (2 bytes), its `torque` switch and its `goal`;
    address and count of its `firmware` and of what is measured, `present`. `lasting` and `limit` (2
    bytes each): a limit of the torque that lasts, and the one in force, which begins as `lasting`
    whenever power comes."""

    firmware: tuple[int, int]
    model: int
    torque: int
    goal: int
    present: tuple[int, int]
    lasting: int
    limit: int


class Answer(Protocol):
    """What a servo answers."""

    @property
    def id(self) -> int:
        """Of the servo."""

    @property
    def error(self) -> int:
        """0 where all is well."""

    @property
    def data(self) -> bytes:
        """The registers that were asked for."""

    def errors(self) -> str:
        """The errors in words."""


class Packets(Protocol):
    """A codec's module, as `headway.drivers.codecs.feetech`."""

    PING: int

    def packet(self, servo: int, instruction: int, data: bytes = b"") -> bytes:
        """An instruction to `servo`."""

    def read(self, servo: int, address: int, count: int) -> bytes:
        """Ask for registers."""

    def write(self, servo: int, address: int, data: bytes) -> bytes:
        """Write registers."""

    def sync_read(self, address: int, count: int, servos: Iterable[int]) -> bytes:
        """Ask several servos for registers."""

    def sync_write(self, address: int, data: Mapping[int, bytes]) -> bytes:
        """Write registers of several servos."""


class Family(Protocol):
    """A make of servos: its `models` by number, its `packets`, and what its registers mean.
    `servo_inverts`: whether a servo turns the other way by itself where its calibration says
    `drive_mode` 1, so that the driver must not. `watchdog`: address, value that clears and value
    that arms the servo's watchdog for `watchdog_s` [s]; None without one."""

    name: str
    models: frozenset[int]
    baud: int
    registers: Registers
    servo_inverts: bool
    watchdog: tuple[int, bytes, bytes] | None
    watchdog_s: float
    packets: Packets

    def decoder(self) -> Decoder[Any]:
        """Of its answers, which are `Answer`s."""

    def goal(self, counts: int) -> bytes:
        """The goal register for a position [counts]."""

    def refuse_mode(self, read: ReadRegisters, servo: int, name: str) -> None:
        """Raises DeviceError unless `servo`, called `name`, is in a mode in which it goes to the
        positions of its calibration."""

    def volts(self, read: ReadRegisters, servo: int) -> float:
        """The supply [V] of `servo`."""

    def calibration(self, read: ReadRegisters, motor: Motor) -> Motor:
        """What the servo itself holds of the calibration `motor`."""

    def reading(self, rows: Sequence[bytes]) -> Reading:
        """What servos measured whose registers `present` are `rows`."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What the servos measured: for each, in their order, position [counts], speed [counts/s], load
    (-1..1 of the duty), voltage [V], temperature [degC], and current [A], NaN where its unit is not
    known."""

    position: tuple[int, ...]
    speed: tuple[float, ...]
    load: tuple[float, ...]
    volts: tuple[float, ...]
    celsius: tuple[int, ...]
    ampere: tuple[float, ...]
