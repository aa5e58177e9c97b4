"""Bota's SensONE and Rokubi force/torque sensors of generation 0 on a serial port, 460800 8N1.

The sensor starts anew whenever its port is opened, says so (`App Init`), and then streams with the
configuration that it has. ASCII lines configure it: `C` ends the stream, `c,...` and `f,...` set
calibration and filter, `s` saves, `R` streams again; each is answered `r,0,<letter>,<error>`. A
frame is AA and 34 bytes, little-endian: status, six floats [N, Nm], time [us], temperature [degC],
then CRC-16/X-25. It streams whether somebody listens or not, and has no watchdog.

Faults: `silent`, `stuck` (values stand still, the time goes on), `overrange` (status bit 1, values
at the end of the range), `invalid` (bit 2), `throttled` (bit 0), `nan` (values that are no
numbers), `restart` (once: as after a loss of power), `clock_back` (once: the time jumps back by
half a second).
"""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
from msgspec import Meta

from headway.config import NotNegative, Positive, Struct
from headway.hil.device_port import DevicePort
from headway.hil.faults_table import Fault, FaultsTable
from headway.hil.journal import Journal
from headway.hil.pace import Pace
from headway.hil.plant import Plant
from headway.types import Vec

BAUD = 460800
HEADER = 0xAA
_PAYLOAD = struct.Struct("<H6fIf")
SAMPLE_US = 19.53125  # of one step of the filter's length
_BITS = {"throttled": 1, "overrange": 2, "invalid": 4}
KINDS = ("silent", "stuck", "nan", "restart", "clock_back", *_BITS)
_BACK_US = 500_000
_POLL_S = 0.02
_WANTS = {"C": 0, "c": 4, "f": 4, "s": 0, "R": 0}  # numbers behind each letter


class Config(Struct, frozen=True):
    """`link`: a symbolic link to the port, "" for none. `boot_s` [s]: from the opening of the port
    to the end of its start, about 3 s with a real one; `reboots`: whether opening starts it anew.
    `sinc_length`: of the filter at first; 512 is a frame each 10 ms. `streams`: whether it streams
    after its start. `clock_us` [us]: its time at the start, which is near its end at 2**32.
    `range_n` [N], `range_nm` [Nm]: what it measures up to."""

    link: str = ""
    boot_s: NotNegative = 0.5
    reboots: bool = True
    streams: bool = True
    sinc_length: Annotated[int, Meta(ge=51, le=4096)] = 512
    clock_us: Annotated[int, Meta(ge=0, lt=1 << 32)] = 0
    range_n: Positive = 500.0
    range_nm: Positive = 15.0
    firmware: str = "5.0.2"
    serial: str = "SENONE1234"
    faults: tuple[Fault, ...] = ()


class _Sensor:
    """What is behind the port."""

    def __init__(self, cfg: Config, plant: Plant, journal: Journal, faults: FaultsTable) -> None:
        self._cfg, self._plant, self._journal, self._faults = cfg, plant, journal, faults
        self._range: Vec = np.repeat([cfg.range_n, cfg.range_nm], 3)
        self._last: Vec = np.zeros(6)
        self._line = b""
        self._sinc = self._saved = cfg.sinc_length
        self._up_at: float | None = None  # when its start ends, None: it has
        self._zero = time.monotonic()
        self._back_us = 0
        self.streams = cfg.streams
        self.pace = Pace(1e6 / (self._sinc * SAMPLE_US))

    def start(self) -> None:
        """As when the power comes."""
        self._up_at = time.monotonic() + self._cfg.boot_s
        self.streams, self._line, self._back_us = False, b"", 0
        self._sinc = self._saved

    def advance(self) -> bytes:
        """What it says by itself, beside the stream."""
        for fault in self._faults.starting():
            if fault.kind == "restart":
                self.start()
            elif fault.kind == "clock_back":
                self._back_us += _BACK_US
        if self._up_at is None or time.monotonic() < self._up_at:
            return b""
        self._up_at, self._zero = None, time.monotonic()
        self._stream(self._cfg.streams)
        return (
            f"\r\nBota Systems\r\nFW {self._cfg.firmware}\r\nSN {self._cfg.serial}\r\nApp Init\r\n"
        ).encode()

    def hear(self, data: bytes) -> bytes:
        """The answers to the lines that end in `data`."""
        if self._up_at is not None:
            return b""
        self._line += data
        *lines, self._line = self._line.replace(b"\r", b"\n").split(b"\n")
        return b"".join(self._obey(line) for line in lines if line)

    def _obey(self, line: bytes) -> bytes:
        letter, *rest = line.decode("ascii", "replace").strip().split(",")
        wrong = letter not in _WANTS or len(rest) != _WANTS[letter] or not _numbers(rest)
        if letter not in _WANTS:
            return b""
        if letter not in ("C", "R") and self.streams:
            return b""  # it listens for C only
        if not wrong and letter == "C":
            if self.streams:
                self._journal.write("stopped", "the host configures it")
            self.streams = False
        elif not wrong and letter == "f":
            wrong = not 51 <= int(rest[0]) <= 4096
            self._sinc = self._sinc if wrong else int(rest[0])
        elif not wrong and letter == "c":
            wrong = rest[2] != "0" or rest[3] != "4"  # another format or speed is not emulated
        elif not wrong and letter == "s":
            self._saved = self._sinc
        elif not wrong and letter == "R":
            self._stream(True)
        return f"r,0,{letter},{int(wrong)}\r\n".encode()

    def _stream(self, on: bool) -> None:
        self.streams = on
        self.pace = Pace(1e6 / (self._sinc * SAMPLE_US))
        if on:
            self._journal.write("activated", "stream")

    def frame(self, at: float) -> bytes:
        """The one of the stream that is due `at` [s]."""
        if not self._faults.active("stuck"):
            self._last = self._plant.state().wrench
        wrench = self._last
        if self._faults.active("overrange"):
            wrench = np.copysign(self._range, wrench)
        if self._faults.active("nan"):
            wrench = np.full(6, np.nan)
        status = sum(bit for kind, bit in _BITS.items() if self._faults.active(kind))
        if (np.abs(wrench) >= self._range).any():
            status |= _BITS["overrange"]
        wrench = np.clip(wrench, -self._range, self._range)
        clock = round((at - self._zero) * 1e6) + self._cfg.clock_us - self._back_us
        payload = _PAYLOAD.pack(status, *wrench, clock & 0xFFFFFFFF, 31.5)
        return bytes([HEADER]) + payload + crc(payload)


def _numbers(words: list[str]) -> bool:
    return all(word.isdigit() for word in words)


def crc(data: bytes) -> bytes:
    """CRC-16/X-25 of `data`, low byte first."""
    remainder = 0xFFFF
    for byte in data:
        remainder = remainder >> 8 ^ _REMAINDERS[(remainder ^ byte) & 0xFF]
    return (remainder ^ 0xFFFF).to_bytes(2, "little")


def _remainder(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (0x8408 if byte & 1 else 0)
    return byte


_REMAINDERS = [_remainder(byte) for byte in range(256)]


DRIVERS = (("ft", "bota"),)
WIRE = ("serial", ("port",))


def table(folder: str, uri: str) -> dict[str, Any]:
    """The driver's keys for the sensor at `uri`, see `headway.hil.emulators`."""
    return {"port": uri, "sinc_length": 512}  # 100 Hz


def serve(
    cfg: Config,
    plant: Plant,
    journal: Journal,
    ready: Callable[[str], None],
    stop: threading.Event,
) -> None:
    """Be the sensor until `stop` is set."""
    faults = FaultsTable(cfg.faults, KINDS, journal)
    port = DevicePort(BAUD, cfg.link, journal)
    sensor = _Sensor(cfg, plant, journal, faults)
    opened = 0
    ready(port.path)
    while not stop.is_set():
        data = port.read(min(sensor.pace.wait_s(), _POLL_S) if sensor.streams else _POLL_S)
        if port.opened != opened:
            opened = port.opened
            faults.begin()
            if cfg.reboots:
                sensor.start()
        said = sensor.advance() + (sensor.hear(data) if data else b"")
        if not faults.active("silent") and said:
            port.send(said)
        if sensor.streams:
            for at in sensor.pace.due():
                frame = sensor.frame(at)
                if not faults.active("silent"):
                    port.send(frame)
    port.close()
