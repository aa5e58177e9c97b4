"""The Robotiq FT 300 and FT 300-S at a serial port: 100 Hz, +-300 N, +-30 Nm.

The sensor has neither a clock nor numbers of samples, so a sample is stamped by its arrival less
the time that its bytes take on the line (8.3 ms at 19200 bit/s), and losses show in the rate alone.
It keeps streaming when its host dies, which `open` finds and stops. Zeroing is done by the loop.
"""

from __future__ import annotations

import time
from dataclasses import replace

import msgspec

from headway.clock import NS, Clock, WallClock
from headway.drivers import Context, identity
from headway.drivers.codecs import modbus_rtu
from headway.drivers.codecs.modbus_rtu import AnswerDecoder
from headway.drivers.codecs.robotiq_stream import SIZE, STOP, StreamDecoder, StreamFrame
from headway.drivers.finding import FTDI, Found, Port, Seen, at_ports
from headway.drivers.modbus import exchange
from headway.drivers.mounting import Mounting, MountingConfig
from headway.drivers.stream_source import StreamSource
from headway.drivers.transports import Transport
from headway.drivers.transports.address import line
from headway.errors import DeviceError
from headway.types import Info, Sample, Stamp, Wrench

SLAVE = 9
BAUD = 19_200
RATE_HZ = 100.0
FORCE_MAX, TORQUE_MAX = 300.0, 30.0  # [N], [Nm]
_SELECT_OUTPUT, _STREAM = 410, 0x0200
_FIRMWARE, _SERIAL = (500, 3), (510, 4)  # register, count
_LINE_NS = round(SIZE * 10 / BAUD * NS)  # a frame on the wire
_SILENT_S = 0.08  # without a byte: the sensor does not stream
_ANSWER_S = 0.4
_TRIES = 3
_SURE = 3  # whole frames, and no other device has sent them
_LOOK_S = 1.0


class Config(MountingConfig, frozen=True, kw_only=True):
    """Keys of `[ft]` for the kind `ft300`, beside those of `MountingConfig`. `port`: the serial
    port, by path or as serial:NUMBER of its USB adapter, or tcp://HOST:PORT. `serial` and
    `firmware`: what the sensor must say it is; not asked for when empty."""

    port: str
    serial: str = ""  # as in "FTS-0123"
    firmware: tuple[int, ...] = ()  # the oldest that will do


class Ft300(StreamSource[StreamFrame, Wrench]):
    """The sensor that `cfg` describes, at the other end of `transport`."""

    def __init__(self, clock: Clock, cfg: Config, transport: Transport) -> None:
        info = Info("ft300", "Robotiq FT 300", cfg.serial, "", transport.uri)
        super().__init__(clock, info, transport, StreamDecoder(), RATE_HZ, dead_s=0.5)
        self.info = info
        self.cfg = cfg
        self.mounting = Mounting(_with_range(cfg), "ft300")
        self._answers = AnswerDecoder()
        self._last_ns = 0

    def greet(self, timeout_s: float) -> None:
        until = time.monotonic() + timeout_s
        heard = len(self._listen_once())
        if heard:
            self._silence(until)
        found = self._identity(until, heard)
        identity.check(found, serial=self.cfg.serial, firmware=self.cfg.firmware)
        self.info = found
        self._ask(modbus_rtu.write(SLAVE, _SELECT_OUTPUT, (_STREAM,)), until, heard)

    def sample(self, frame: StreamFrame, arrival_ns: int) -> Sample[Wrench]:
        wrench, flags = self.mounting.wrench(frame.wrench)
        if frame.saturated:
            flags += ("saturated",)
        measured = arrival_ns - _LINE_NS - self.behind * self.counts.period_ns
        self._last_ns = measured = max(measured, self._last_ns)
        seq = self.counts.sample(measured, not flags)
        stamp = Stamp(measured, arrival_ns, seq, error_ns=self.counts.period_ns)
        return Sample(stamp, wrench, not flags, flags)

    def part(self) -> None:
        self.transport.write(STOP)

    def look(self, timeout_s: float) -> Info | None:
        """What the sensor says about itself; without its numbers where it streams already, as it is
        not stopped for that. None where nobody answers, or another device. Changes nothing at the
        sensor. Raises DeviceError where the port cannot be opened."""
        self.transport.open(timeout_s)
        try:
            heard = self._listen_once()
            if not heard:
                return self._identity(time.monotonic() + timeout_s, 0)
            return self.info if len(StreamDecoder().feed(heard)) >= _SURE else None
        except DeviceError:
            return None
        finally:
            self.transport.close()

    def _identity(self, until: float, heard: int) -> Info:
        """What the sensor, which does not stream, says about itself. Raises DeviceError."""
        firmware = self._read(*_FIRMWARE, until, heard)
        number = self._read(*_SERIAL, until, heard)
        found = replace(self.info, firmware=firmware_text(firmware), serial=serial_text(number))
        if not found.firmware.startswith("F"):
            raise DeviceError(
                f"wanted a Robotiq FT 300 at {self.transport.uri}, found a Modbus device whose "
                f"firmware is {found.firmware}: name another port"
            )
        return found

    def _listen_once(self) -> bytes:
        """What comes while the sensor is left alone: nothing, unless it streams already."""
        heard = b""
        until = time.monotonic() + _SILENT_S
        while (left := until - time.monotonic()) > 0.0:
            heard += self.transport.read(256, left)
        return heard

    def _silence(self, until: float) -> None:
        """Jam the line until the sensor stops streaming."""
        while time.monotonic() < until:
            self.transport.write(STOP)
            # The jam itself is on the line for 26 ms, and what was sent before has to pass.
            quiet = time.monotonic() + 0.5
            while time.monotonic() < quiet:
                if not self.transport.read(256, 0.1):
                    return
        raise DeviceError(
            f"wanted the stream at {self.transport.uri} to stop, found that it goes on: is it "
            "another device than a Robotiq FT 300?"
        )

    def _read(self, address: int, count: int, until: float, heard: int) -> bytes:
        registers = self._ask(modbus_rtu.read(SLAVE, address, count), until, heard).registers
        return b"".join(r.to_bytes(2, "big") for r in registers)

    def _ask(self, request: modbus_rtu.Request, until: float, heard: int) -> modbus_rtu.Answer:
        """The answer to `request`, which is repeated: a stream that stops may spoil the first."""
        said = ""
        for _ in range(_TRIES):
            left = until - time.monotonic()
            if left <= 0.0:
                break
            try:
                answer = exchange(self.transport, self._answers, request, min(left, _ANSWER_S))
            except DeviceError as e:
                said = str(e)
                continue
            if answer.refused:
                raise DeviceError(
                    f"wanted a Robotiq FT 300 at {self.transport.uri}, found a Modbus device that "
                    f"says: {answer.why}: name another port"
                )
            return answer
        hint = (
            "bytes came that are none of it: is it another device, or set to another speed than "
            f"{BAUD} bit/s?"
            if heard
            else "is it powered (24 V), is the cable in, is it this port?"
        )
        raise DeviceError(f"{said or 'no time was left'}: wanted a Robotiq FT 300 there: {hint}")


def firmware_text(raw: bytes) -> str:
    """The version in registers 500-502: three letters and three numbers, as in "FTS-1.2.3"; some
    firmware has six letters there."""
    return _letters(raw) or f"{_letters(raw[:3])}-{raw[3]}.{raw[4]}.{raw[5]}"


def serial_text(raw: bytes) -> str:
    """The number in registers 510-513: three letters, then a number in the last two registers, of
    which the later one is the more significant. All letters: taken as they are."""
    number = int.from_bytes(raw[6:8], "big") << 16 | int.from_bytes(raw[4:6], "big")
    return _letters(raw) or f"{_letters(raw[:3])}-{number:04d}"


def _letters(raw: bytes) -> str:
    """`raw` as text without the zeros at its end; "" if it is none."""
    text = raw.rstrip(b"\0 ").decode("ascii", "replace")
    return text if text.isprintable() and "\ufffd" not in text else ""


def _with_range(cfg: Config) -> MountingConfig:
    """`cfg` with the sensor's range, where it does not narrow it further."""
    return msgspec.structs.replace(
        cfg,
        force_max=min(cfg.force_max, FORCE_MAX),
        torque_max=min(cfg.torque_max, TORQUE_MAX),
    )


def find(seen: Seen) -> list[Found]:
    """Sensors at serial ports, by their numbers, or by their stream."""

    def perhaps(port: Port) -> Found:
        return _found(port, "perhaps a Robotiq FT 300", port.serial, sure=False)

    def ask(port: Port) -> Found | None:
        info = connect(Config(port=port.path), Context(WallClock(spin_ns=0))).look(_LOOK_S)
        if info is None:
            return None
        said = f"{info.model}, {info.firmware or 'which streams already'}"
        return _found(port, said, info.serial, sure=True)

    return at_ports(seen, FTDI, perhaps, ask)


def _found(port: Port, model: str, serial: str, *, sure: bool) -> Found:
    keys = {"port": port.address, **({"serial": serial} if sure and serial else {})}
    return Found("ft", "ft300", port.address, model, serial, sure, keys)


def connect(cfg: Config, ctx: Context) -> Ft300:
    """The sensor that `cfg` describes, not open yet."""
    return Ft300(ctx.clock, cfg, line(cfg.port, BAUD))
