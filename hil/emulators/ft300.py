"""Robotiq FT 300 and FT 300-S force/torque sensor on a serial port, 19200 8N1, Modbus slave 9.

Registers are answered until a write of 0x0200 to register 410 starts the stream: 16 bytes 100 times
a second, no answers any more. Some fifty bytes 0xFF in a row end it (Robotiq FT 300 manual, section
4; the layout of the identity registers after Robotiq's own driver, rq_sensor_com.cpp). The sensor
does not zero by itself and has no watchdog: it streams whether somebody listens or not.

Faults: `silent` (nothing is sent or answered), `stuck` (the values stand still while the frames go
on), `overrange` (all values at the end of their range).
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import numpy as np
from msgspec import Meta

from headway.config import Struct
from headway.hil import modbus
from headway.hil.device_port import DevicePort
from headway.hil.faults_table import Fault, FaultsTable
from headway.hil.journal import Journal
from headway.hil.pace import Pace
from headway.hil.plant import Plant
from headway.types import Vec

BAUD, SLAVE = 19200, 9
HEADER = b"\x20\x4e"
_STREAM, _START = 410, 0x0200
_JAM = b"\xff" * 50
_MOST = 32767  # of a value in a frame
_SCALE = (100.0,) * 3 + (1000.0,) * 3  # counts per N, per Nm
_GRAVITY = (0, 0, 1000)  # what the accelerometer of a sensor that lies flat says [mg]
_POLL_S = 0.05
KINDS = ("silent", "stuck", "overrange")


class Config(Struct, frozen=True):
    """`link`: a symbolic link to the port, "" for none. `rate_hz` of the stream; `streams`: whether
    it streams already when the host connects. `serial`: three letters, a dash and a number;
    `firmware`: three letters, a dash and three numbers. `paced`: answers take the time that 19200
    bit/s need."""

    link: str = ""
    rate_hz: Annotated[float, Meta(gt=0.0, le=100.0)] = 100.0
    streams: bool = False
    serial: Annotated[str, Meta(pattern=r"^[A-Z]{3}-\d{1,9}$")] = "FTS-1234"
    firmware: Annotated[str, Meta(pattern=r"^F[A-Z]{2}-\d{1,2}\.\d{1,2}\.\d{1,2}$")] = "FTS-2.0.1"
    year: Annotated[int, Meta(ge=0, le=65535)] = 2024
    paced: bool = False
    faults: tuple[Fault, ...] = ()


class _Sensor:
    """What is behind the port: registers, and whether it streams."""

    def __init__(self, cfg: Config, plant: Plant, faults: FaultsTable) -> None:
        self._plant, self._faults = plant, faults
        self._identity = _identity(cfg)
        self._last: tuple[int, ...] = (0,) * 6
        self._tail = b""
        self.streams = cfg.streams

    def values(self) -> tuple[int, ...]:
        """The wrench in counts: 1/100 N, 1/1000 Nm, cut off at the end of their range."""
        if not self._faults.active("stuck"):
            wrench: Vec = self._plant.state().wrench
            if self._faults.active("overrange"):
                wrench = np.copysign(np.inf, wrench)
            self._last = tuple(
                round(min(max(w * s, -_MOST), _MOST)) for w, s in zip(wrench, _SCALE, strict=True)
            )
        return self._last

    def frame(self) -> bytes:
        """One of the stream."""
        body = HEADER + struct.pack("<6h", *self.values())
        return body + modbus.crc(body)

    def hear_jam(self, data: bytes) -> None:
        """Let 50 bytes 0xFF in a row end the stream."""
        heard = self._tail + data
        self.streams = _JAM not in heard
        self._tail = heard[-len(_JAM) :] if self.streams else b""

    def read(self, register: int, count: int) -> Sequence[int]:
        """As modbus.Slave wants it."""
        forces = [value & 0xFFFF for value in self.values()]
        have = {
            **dict(zip(range(180, 186), forces, strict=True)),
            **dict(zip(range(190, 193), _GRAVITY, strict=True)),
            **self._identity,
            _STREAM: 0,
        }
        try:
            return [have[r] for r in range(register, register + count)]
        except KeyError:
            raise modbus.RefusedError from None

    def write(self, register: int, values: Sequence[int]) -> None:
        """As modbus.Slave wants it."""
        if register != _STREAM:
            raise modbus.RefusedError
        self.streams = values[0] == _START
        self._tail = b""


def _identity(cfg: Config) -> dict[int, int]:
    """Registers 500 to 502 (firmware), 510 to 513 (serial number), 514 (year)."""
    letters, numbers = cfg.firmware.split("-")
    firmware = letters.encode() + bytes(int(n) for n in numbers.split("."))
    letters, number = cfg.serial.split("-")
    serial = letters.encode() + b"\0"
    words = (*struct.unpack(">2H", serial), int(number) & 0xFFFF, int(number) >> 16)
    return {
        **dict(zip(range(500, 503), struct.unpack(">3H", firmware), strict=True)),
        **dict(zip(range(510, 514), words, strict=True)),
        514: cfg.year,
    }


DRIVERS = (("ft", "ft300"),)
WIRE = ("serial", ("port",))


def table(folder: str, uri: str) -> dict[str, Any]:
    """The driver's keys for the sensor at `uri`, see `headway.hil.emulators`."""
    return {"port": uri}


def serve(
    cfg: Config,
    plant: Plant,
    journal: Journal,
    ready: Callable[[str], None],
    stop: threading.Event,
) -> None:
    """Be the sensor until `stop` is set."""
    faults = FaultsTable(cfg.faults, KINDS, journal)
    port = DevicePort(BAUD, cfg.link, journal, paced=cfg.paced)
    sensor = _Sensor(cfg, plant, faults)
    slave = modbus.Slave(SLAVE, sensor.read, sensor.write)
    pace = Pace(cfg.rate_hz)
    ready(port.path)
    while not stop.is_set():
        data = port.read(min(pace.wait_s(), _POLL_S) if sensor.streams else _POLL_S)
        if port.opened:
            faults.begin()
        faults.starting()
        if data and sensor.streams:
            sensor.hear_jam(data)
            if not sensor.streams:
                journal.write("stopped", "the host ended the stream")
        elif data:
            answers = slave.feed(data)
            if not faults.active("silent"):
                for answer in answers:
                    port.answer(answer)
            if sensor.streams:
                pace.restart()
                journal.write("activated", "the host started the stream")
        if sensor.streams:
            for _ in pace.due():
                frame = sensor.frame()
                if not faults.active("silent"):
                    port.send(frame)
    port.close()
