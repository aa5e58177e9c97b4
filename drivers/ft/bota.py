"""Bota Systems SensONE, Rokubi and others of generation 0 at a serial port.

The sensor starts anew when its port is opened, which takes about 3 s, prints a banner, and then
takes its settings. Its clock stamps each sample; a gap in these times is a loss. This generation
does not tell its serial number on the line, so none can be checked. It is left streaming when it is
closed, as it is after a host died: that is how it also starts.
"""

from __future__ import annotations

import time
from typing import Annotated, Final, Literal

from msgspec import Meta

from headway.clock import NS, Clock
from headway.config import SecondsOrNone
from headway.drivers import Context
from headway.drivers.codecs import bota
from headway.drivers.codecs.bota import BotaDecoder, BotaFrame
from headway.drivers.device_clock import DeviceClock
from headway.drivers.finding import FTDI, Found, Port, Seen, at_ports
from headway.drivers.mounting import Mounting, MountingConfig
from headway.drivers.stream_source import StreamSource
from headway.drivers.transports import Transport
from headway.drivers.transports.address import line
from headway.errors import DeviceError
from headway.types import Info, Sample, Stamp, Wrench

BAUD: Final = 460_800
_ANSWER_S = 0.5
_TRIES = 3
_SETTLE_S = 0.2  # frames that come for so long without a banner: it did not start anew
_SURE = 5  # whole frames, and no other device has sent them
_BOOT_S = 5.0  # that a sensor takes at most to start
_FLAGS = ((bota.OVERRANGE, "overrange"), (bota.INVALID, "invalid"), (bota.RAW, "raw"))


class Config(MountingConfig, frozen=True, kw_only=True):
    """Keys of `[ft]` for the kind `bota`, beside those of `MountingConfig`. `port`: the serial
    port, by path or as serial:NUMBER of its USB adapter. `baud` [bit/s]: the speed that the sensor
    is set to, of those that it knows. A sample takes `sinc_length` x 19.53 us;
    `chop`, `fast` and `fir` are the sensor's other filters. `boot_s`: how long it may take to
    start, which each `open` waits for in addition to its own timeout. `save`: keep the settings in
    the sensor's memory, which wears out by it."""

    port: str
    baud: Literal[9600, 57_600, 115_200, 230_400, 460_800] = BAUD
    sinc_length: Annotated[int, Meta(ge=51, le=512)] = 51  # 51: 1004 Hz, 512: 100 Hz
    chop: bool = False
    fast: bool = False
    fir: bool = False
    temperature_compensation: bool = False
    save: bool = False
    boot_s: SecondsOrNone = _BOOT_S


class Bota(StreamSource[BotaFrame, Wrench]):
    """The sensor that `cfg` describes, at the other end of `transport`."""

    numbered = True

    def __init__(self, clock: Clock, cfg: Config, transport: Transport) -> None:
        info = Info("bota", "Bota Systems serial gen0", "", "", transport.uri)
        self._period_us = cfg.sinc_length * bota.SINC_S * 1e6
        super().__init__(clock, info, transport, BotaDecoder(), 1e6 / self._period_us)
        self.cfg = cfg
        self.mounting = Mounting(cfg, "bota")
        on_the_wire = round(bota.SIZE * 10 / cfg.baud * NS)  # a frame
        self.device_clock = DeviceClock(delay_ns=on_the_wire, wraps_ns=bota.WRAPS_NS)
        self._last_us: int | None = None

    def greet(self, timeout_s: float) -> None:
        self.device_clock.restart()
        self._last_us = None
        heard = self._started()
        until = time.monotonic() + timeout_s
        self._command(bota.CONFIGURE_MODE, until, heard)
        cfg = self.cfg
        settings = bota.configure(
            temperature_compensation=cfg.temperature_compensation, baud=cfg.baud
        )
        self._command(settings, until, heard)
        filters = bota.filters(cfg.sinc_length, chop=cfg.chop, fast=cfg.fast, fir=cfg.fir)
        self._command(filters, until, heard)
        if cfg.save:
            self._command(bota.SAVE, until, heard)
        self._command(bota.RUN, until, heard)
        self.decoder.reset()

    def sample(self, frame: BotaFrame, arrival_ns: int) -> Sample[Wrench] | None:
        resets = self.device_clock.resets
        if not self._passed(frame.t_us):
            return None
        measured, error = self.device_clock.map(frame.t_us * 1000, arrival_ns)
        wrench, flags = self.mounting.wrench(frame.wrench)
        flags += tuple(word for bit, word in _FLAGS if frame.status & bit and word not in flags)
        seq = self.counts.sample(measured, not flags)
        valid = not flags
        if frame.status & bota.THROTTLED:
            flags += ("throttled",)
        if self.device_clock.resets != resets:
            flags += ("clock reset",)
        stamp = Stamp(measured, arrival_ns, seq, frame.t_us * 1000, error)
        return Sample(stamp, wrench, valid, flags)

    def _passed(self, t_us: int) -> bool:
        """Count the samples that are missing before the one of `t_us`; False for one that was there
        already. Where the clock was set anew, nothing is known of losses."""
        last, self._last_us = self._last_us, t_us
        if last is None:
            return True
        step = (t_us - last) % 2**32
        if step == 0:
            self.counts.reordered += 1
            return False
        if step < 2**31:
            missing = round(step / self._period_us) - 1
            if 0 < missing < self.rate_hz:  # more than a second: a reset
                self.counts.lost += missing
        return True

    def _started(self) -> int:
        """Wait until the sensor has started, or streams without having started anew, at most
        `boot_s`. Returns how many bytes came."""
        said, heard = b"", 0
        streams_since = 0.0
        until = time.monotonic() + self.cfg.boot_s
        while (left := until - time.monotonic()) > 0.0:
            data = self.transport.read(4096, min(left, 0.1))
            heard += len(data)
            said = said[-64:] + data
            if bota.BANNER in said:
                return heard
            if self.decoder.feed(data):
                streams_since = streams_since or time.monotonic()
            elif not data:
                streams_since = 0.0
            if streams_since and time.monotonic() - streams_since > _SETTLE_S:
                return heard
        return heard

    def _command(self, command: bytes, until: float, heard: int) -> None:
        """Send `command`, again if there is no answer. Raises DeviceError."""
        for _ in range(_TRIES):
            self.transport.write(command)
            again = min(time.monotonic() + _ANSWER_S, until)
            said = b""
            while (left := again - time.monotonic()) > 0.0:
                data = self.transport.read(4096, left)
                heard += len(data)
                said = said[-256:] + data
                result = bota.answer(said, command)
                if result == 0:
                    return
                if result is not None:
                    raise DeviceError(
                        f"wanted the Bota sensor at {self.transport.uri} to take "
                        f"{command.decode().strip()!r}, found its error {result}: check "
                        "`sinc_length` and the other filters in [ft]"
                    )
        hint = (
            f"bytes came that are none: is it set to another speed than {self.cfg.baud} bit/s "
            "(`baud`), or another device?"
            if heard
            else "is it powered, is the cable in, is it this port?"
        )
        raise DeviceError(
            f"wanted the Bota sensor at {self.transport.uri} to answer to "
            f"{command.decode().strip()!r}, found no answer: {hint}"
        )


def find(seen: Seen) -> list[Found]:
    """Sensors at serial ports, by their banner or their stream at the usual speed. Nothing is sent:
    opening the port makes the sensor start anew."""

    def found(port: Port, sure: bool) -> Found:
        model = "Bota Systems serial gen0" if sure else "perhaps a Bota sensor"
        keys = {"port": port.address}
        return Found("ft", "bota", port.address, model, port.serial, sure, keys)

    def ask(port: Port) -> Found | None:
        return found(port, True) if _speaks(line(port.path, BAUD)) else None

    return at_ports(seen, FTDI, lambda port: found(port, False), ask)


def _speaks(transport: Transport) -> bool:
    """Whether a sensor is heard at `transport` within the time that one takes to start. Raises
    DeviceError where it cannot be opened."""
    transport.open(1.0)
    try:
        decoder, frames, said = BotaDecoder(), 0, b""
        until = time.monotonic() + _BOOT_S
        while (left := until - time.monotonic()) > 0.0:
            data = transport.read(4096, min(left, 0.1))
            said = said[-64:] + data
            frames += len(decoder.feed(data))
            if frames >= _SURE or bota.BANNER in said:
                return True
        return False
    except DeviceError:
        return False
    finally:
        transport.close()


def connect(cfg: Config, ctx: Context) -> Bota:
    """The sensor that `cfg` describes, not open yet."""
    return Bota(ctx.clock, cfg, line(cfg.port, cfg.baud))
