"""Six Feetech servos on one half-duplex line of 1 Mbit/s: how often a second are all of them
written and read?

An exchange is one packet with six goals, one that asks all servos, and their six answers: 166
bytes, 1.66 ms on the line, and the emulator answers no earlier than that.
"""

from __future__ import annotations

import time

from headway.benchmarks._findings import Findings, Number, Table
from headway.clock import WallClock
from headway.drivers.codecs import feetech
from headway.drivers.feetech_servo import Sts3215
from headway.drivers.servo_bus import ServoBus
from headway.drivers.transports import Transport
from headway.drivers.transports.serial import SerialPort
from headway.hil.launch import Emulator

SERVOS = 6
ASKED_HZ = (200.0, 300.0, 400.0)
TARGET_HZ = 200.0
SECONDS = 10.0
_OPEN_S = 20.0
_SYNC_WRITE_AT = 4  # the byte that says so


class _Counting:
    """The port `of`, and how many packets with goals went through it."""

    def __init__(self, of: Transport) -> None:
        self._of, self.uri = of, of.uri
        self.writes = 0

    def open(self, timeout_s: float) -> None:
        self._of.open(timeout_s)

    def read(self, size: int, timeout_s: float) -> bytes:
        return self._of.read(size, timeout_s)

    def write(self, data: bytes, timeout_s: float = 0.5) -> None:
        self.writes += data[_SYNC_WRITE_AT] == feetech.SYNC_WRITE
        self._of.write(data, timeout_s)

    def discard(self) -> None:
        self._of.discard()

    def close(self) -> None:
        self._of.close()


def measure(effort: float = 1.0) -> Findings:
    seconds = max(0.5, SECONDS * effort)
    with Emulator("feetech", {"paced": True}, {"kind": "servo", "model": "so101"}) as device:
        rows = [(f"asked {hz:g} Hz", _exchanges(device.uri, hz, seconds)) for hz in ASKED_HZ]
    best = max(min(reads, writes) for _, (reads, writes, _, _) in rows)
    number = Number(f"{SERVOS} servos read and written", best, "1/s", TARGET_HZ, at_most=False)
    columns = ("reads [1/s]", "writes [1/s]", "failed", "late")
    table = Table("exchanges", columns, tuple(rows), "as said")
    return Findings("Servos on one line of 1 Mbit/s", [number], [table])


def _exchanges(uri: str, hz: float, seconds: float) -> tuple[float, float, float, float]:
    """Reads and writes a second, and how many exchanges failed or began late."""
    port = _Counting(SerialPort(uri, 1_000_000))
    names = {f"servo {i}": i for i in range(1, SERVOS + 1)}
    bus = ServoBus(port, names, WallClock(spin_ns=0), hz, Sts3215())
    bus.open(_OPEN_S)
    try:
        here = dict(zip(bus.ids, bus.hold(bus.ids).position, strict=True))
        number, _, _ = bus.bus.newest(0, _OPEN_S)
        first, wrote, late, failed = number, port.writes, bus.bus.late, bus.bus.failed
        begun = time.monotonic()
        while (took := time.monotonic() - begun) < seconds:
            bus.goal({i: p + number % 2 for i, p in here.items()})
            number, _, _ = bus.bus.newest(number, 1.0)
        return (
            (number - first) / took,
            (port.writes - wrote) / took,
            float(bus.bus.failed - failed),
            float(bus.bus.late - late),
        )
    finally:
        bus.close()
