"""Force/torque sensors that speak RDT over UDP: ATI's Net F/T and Axia, OnRobot's (OptoForce's)
HEX.

Records carry a sequence number, so what is lost, sent twice or overtaken is known; older records
are discarded. The start of the stream is itself a datagram that may be lost, and is repeated.
Whoever asks last is sent the stream, until it asks to stop: a sensor whose host died goes on
sending to nobody, which does no harm.
"""

from __future__ import annotations

import http.client
import time
from dataclasses import replace
from typing import Annotated, Any, Literal

from msgspec import Meta

from headway.clock import NS, Clock
from headway.config import Hertz, Positive
from headway.drivers import Context, identity
from headway.drivers.codecs import rdt
from headway.drivers.codecs.rdt import Record, RecordDecoder, Scale
from headway.drivers.device_clock import DeviceClock
from headway.drivers.finding import Found, Seen
from headway.drivers.mounting import Mounting, MountingConfig
from headway.drivers.stream_source import StreamSource
from headway.drivers.transports import Transport
from headway.drivers.transports.udp import Udp
from headway.errors import ConfigError, DeviceError
from headway.types import Info, Sample, Stamp, Wrench

PAGE = "/netftapi2.xml"
_PAGE_MOST = 1 << 20  # bytes of it
_PAGE_S = 2.0  # to wait for it, where there may be no sensor
_START_TRIES, _START_S = 10, 0.1
_RESTARTED = 8  # records in a row whose numbers are old: the sensor counts anew
_HALF = 2**31
# No network holds datagrams so long [ns]: the sensor's clock runs slower than `clock_hz` says.
_LATEST_NS = 250_000_000

# Bits of the status, after the manual of the Ethernet Axia; those that make a reading worthless.
_STATUS = (
    (1 << 1, "supply voltage"),
    (1 << 2, "broken gauge"),
    (1 << 3, "busy"),
    (1 << 27, "gauge out of range"),
    (1 << 28, "simulated"),
    (1 << 29, "calibration checksum"),
    (1 << 30, "overrange"),
)
_TEMPERATURE, _ANY_ERROR = 1 << 0, 1 << 31
_BAD = sum(bit for bit, _ in _STATUS)


class Config(MountingConfig, frozen=True, kw_only=True):
    """Keys of `[ft]` for the kind `rdt`, beside those of `MountingConfig`. `host`: the sensor's
    address. `dialect`: "ati" or "onrobot".

    `rate_hz`: an ATI sensor is set to its rate on its own web page, and this says which; OnRobot's
    are told. `counts_per_force` and `counts_per_torque` [1/N, 1/Nm]: ATI's are asked for at
    http://HOST/netftapi2.xml where they are not given. `filter`: of OnRobot, 0 (none) to 6 (1.5
    Hz). `clock_hz`: how fast the second number of the records grows, if that is known (7000 for a
    Net F/T): then samples are stamped by the sensor's clock, else by their arrival. A sample with
    the flag "clock rate" says that it is wrong. `serial` and
    `firmware`: what the page must say; not asked for when empty."""

    host: str
    dialect: Literal["ati", "onrobot"] = "ati"
    rate_hz: Hertz = 1000.0
    counts_per_force: Positive | None = None
    counts_per_torque: Positive | None = None
    filter: Annotated[int, Meta(ge=0, le=6)] = 0
    clock_hz: Annotated[float, Meta(gt=0.0, le=1e6)] | None = None
    port: Annotated[int, Meta(ge=1, le=65535)] = rdt.PORT
    http_port: Annotated[int, Meta(ge=1, le=65535)] = 80
    serial: str = ""
    firmware: tuple[int, ...] = ()


class Rdt(StreamSource[Record, Wrench]):
    """The sensor that `cfg` describes, at the other end of `transport`."""

    numbered = True

    def __init__(self, clock: Clock, cfg: Config, transport: Transport) -> None:
        model = "OnRobot HEX" if cfg.dialect == "onrobot" else "ATI Net F/T"
        info = Info("rdt", model, cfg.serial, "", transport.uri)
        super().__init__(clock, info, transport, RecordDecoder(), cfg.rate_hz)
        self.info = info
        self.cfg = cfg
        self.mounting = Mounting(cfg, "rdt")
        self.device_clock = DeviceClock(
            wraps_ns=round(2**32 / cfg.clock_hz * NS) if cfg.clock_hz else 0
        )
        self._scale = rdt.ONROBOT
        self._last_seq: int | None = None
        self._old = 0  # records with old numbers in a row
        self._last_ns = 0

    def greet(self, timeout_s: float) -> None:
        until = time.monotonic() + timeout_s
        self._last_seq, self._old = None, 0
        self.device_clock.restart()
        self._scale = scale_of(self.cfg, until)
        found = self._scale
        info = replace(
            self.info,
            model=found.model or self.info.model,
            serial=found.serial,
            firmware=found.firmware,
        )
        identity.check(info, serial=self.cfg.serial, firmware=self.cfg.firmware)
        self.info = info
        if self.cfg.dialect == "onrobot":
            period = max(1, round(1000.0 / self.cfg.rate_hz))
            for command, value in (
                (rdt.PERIOD_MS, period), (rdt.FILTER, self.cfg.filter), (rdt.BIAS, 0),
            ):  # fmt: skip
                self.transport.write(rdt.request(command, value))
        self._start(until)

    def sample(self, frame: Record, arrival_ns: int) -> Sample[Wrench] | None:
        if not self._passed(frame.seq):
            return None
        counts, scale = frame.counts, self._scale
        wrench, flags = self.mounting.wrench(
            tuple(c / scale.force for c in counts[:3]) + tuple(c / scale.torque for c in counts[3:])
        )
        flags += self._complaints(frame, flags)
        valid = not flags
        if frame.status & _TEMPERATURE:
            flags += ("temperature",)
        device_ns: int | None = None
        measured = arrival_ns - self.behind * self.counts.period_ns
        error = self.counts.period_ns
        if self.cfg.clock_hz:
            resets = self.device_clock.resets
            device_ns = round(frame.ft_seq / self.cfg.clock_hz * NS)
            mapped, mapped_error = self.device_clock.map(device_ns, arrival_ns)
            if arrival_ns - mapped > _LATEST_NS:
                flags += ("clock rate",)
                self.device_clock.restart()
            else:
                measured, error = mapped, mapped_error
            if self.device_clock.resets != resets:
                flags += ("clock reset",)
        self._last_ns = measured = max(measured, self._last_ns)
        seq = self.counts.sample(measured, valid)
        return Sample(Stamp(measured, arrival_ns, seq, device_ns, error), wrench, valid, flags)

    def part(self) -> None:
        self.transport.write(rdt.request(rdt.STOP))

    def _start(self, until: float) -> None:
        """Ask for the stream until a record comes."""
        for _ in range(_START_TRIES):
            self.transport.write(rdt.request(rdt.START))
            again = min(time.monotonic() + _START_S, until)
            while (left := again - time.monotonic()) > 0.0:
                if records := self.decoder.feed(self.transport.read(4096, left)):
                    self._last_seq = records[-1].seq  # what comes after it is the reader's
                    return
            if time.monotonic() >= until:
                break
        raise DeviceError(
            f"wanted the {self.info.model} at {self.transport.uri} to stream, found that nothing "
            "came: is it on, is this its address (`host`), is RDT enabled on its web page, and "
            "does a firewall let UDP from it through?"
        )

    def _passed(self, seq: int) -> bool:
        """Count what is missing before the record `seq`; False for one that comes twice or too
        late."""
        if self._last_seq is None:
            self._last_seq = seq
            return True
        step = (seq - self._last_seq) % 2**32
        if 0 < step < _HALF:
            self.counts.lost += step - 1
            self._old = 0
        else:
            self._old += 1
            if self._old < _RESTARTED:
                self.counts.reordered += 1
                return False
            self._old = 0  # it was started anew, by somebody else or a loss of power
        self._last_seq = seq
        return True

    def _complaints(self, frame: Record, known: tuple[str, ...]) -> tuple[str, ...]:
        """Why the sensor says that a reading is worthless. OnRobot has other bits, of which only
        "none" is known."""
        status = frame.status
        if self.cfg.dialect == "onrobot":
            return (f"status {status:#x}",) if status else ()
        named = tuple(word for bit, word in _STATUS if status & bit and word not in known)
        others = status & ~(_BAD | _ANY_ERROR | _TEMPERATURE)
        if status & _ANY_ERROR and not (named or known) and (others or not status & _TEMPERATURE):
            return (f"status {status:#x}",)
        return named


def scale_of(cfg: Config, until: float) -> Scale:
    """What the configuration says of the sensor's counts, or its web page, which must answer before
    `until` [s] of time.monotonic. Raises DeviceError where neither does."""
    force, torque = cfg.counts_per_force, cfg.counts_per_torque
    if force is not None and torque is not None:
        return Scale(force, torque)
    if cfg.dialect == "onrobot":
        return Scale(force or rdt.ONROBOT.force, torque or rdt.ONROBOT.torque)
    page = f"http://{cfg.host}:{cfg.http_port}{PAGE}"
    try:
        return rdt.scale(_page(cfg, until))
    except (OSError, http.client.HTTPException) as e:
        said = "no answer" if isinstance(e, TimeoutError) else str(e) or type(e).__name__
    except ValueError as e:
        said = str(e)
    raise DeviceError(
        f"wanted the counts per force and torque of the sensor at {page}, found {said}: is it on "
        "and is this its address? An old one without this page needs `counts_per_force` and "
        "`counts_per_torque` in [ft], from its calibration sheet"
    )


def _page(cfg: Config, until: float) -> bytes:
    """The document at the sensor's web page."""
    link = http.client.HTTPConnection(
        cfg.host, cfg.http_port, timeout=max(0.1, until - time.monotonic())
    )
    try:
        link.request("GET", PAGE)
        answer = link.getresponse()
        if answer.status != 200:
            raise ValueError(f"HTTP {answer.status} {answer.reason}")
        said = b""
        while piece := answer.read1(4096):
            said += piece
            if len(said) > _PAGE_MOST or time.monotonic() > until:
                raise ValueError("a page that does not end")
        return said
    finally:
        link.close()


def find(seen: Seen) -> list[Found]:
    """ATI's sensors among the hosts, by their web page. They are not asked by RDT: who asks last is
    sent the stream, which may be another program's. OnRobot's have no such page."""
    return [f for host in seen.hosts if (f := _at(host)) is not None]


def _at(host: str) -> Found | None:
    name, _, port = host.partition(":")
    keys: dict[str, Any] = {"host": name, **({"http_port": int(port)} if port else {})}
    try:
        said = rdt.scale(_page(Config(**keys), time.monotonic() + _PAGE_S))
    except (OSError, http.client.HTTPException, ValueError):
        return None
    keys |= {"serial": said.serial} if said.serial else {}
    model = said.model or "ATI Net F/T"
    return Found("ft", "rdt", host, model, said.serial, True, keys)


def connect(cfg: Config, ctx: Context) -> Rdt:
    """The sensor that `cfg` describes, not open yet. Raises ConfigError where only one of the two
    counts is given."""
    if (cfg.counts_per_force is None) != (cfg.counts_per_torque is None):
        raise ConfigError(
            "[ft] kind rdt: wanted both `counts_per_force` and `counts_per_torque` or neither, "
            "found one: add the other one"
        )
    return Rdt(ctx.clock, cfg, Udp(cfg.host, cfg.port))
