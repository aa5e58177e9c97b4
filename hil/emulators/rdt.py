"""ATI's Net F/T and Axia force/torque sensors: raw data transfer (RDT) over UDP, big-endian, and
the page `netftapi2.xml` over HTTP, which says how many counts a newton is. With the dialect
"onrobot" OnRobot's (OptoForce's) converter of a HEX sensor, which shares the packets, has fixed
counts and no page, and whose speed the host sets.

A request is 0x1234, a command, a count; an answer is rdt_sequence, ft_sequence, status, and six
counts (ATI 9620-05-Net FT, section 10). A stream goes to whoever asked last, until it is stopped or
as many records as were asked for have gone out; rdt_sequence begins at 1 with each stream,
ft_sequence counts the sensor's own samples. There is no watchdog: it streams to a host that has
died. Lost, doubled and reordered datagrams are the proxy's affair.

Faults: `silent`, `stuck` (values stand still, sequences go on), `overrange` (values at the end of
the range, bits 30 and 31 of the status), `supply`, `temperature`, `broken_gauge`, `busy` (their bit
and 31), `restart` (once: the stream ends, ft_sequence and bias begin anew).
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Annotated, Any, Literal
from urllib.parse import parse_qs, urlsplit

import numpy as np
from msgspec import Meta

from headway.config import Positive, Struct
from headway.hil.faults_table import Fault, FaultsTable
from headway.hil.journal import Journal
from headway.hil.pace import Pace
from headway.hil.plant import Plant
from headway.types import Vec

_REQUEST = struct.Struct(">HHI")
_RECORD = struct.Struct(">3I6i")
_MAGIC = 0x1234
_STOP, _ONE_BLOCK, _STREAM, _BLOCKS, _BIAS = 0, 1, 2, 3, 0x42
_FILTER, _SPEED = 0x81, 0x82  # of the dialect
_BIAS_ON = 0xFF
_BLOCK = 40  # records in a datagram of a stream of blocks
_MOST = (1 << 31) - 1
_ERROR, _OUT_OF_RANGE = 1 << 31, 1 << 30
_STATUS = {"temperature": 1 << 0, "supply": 1 << 1, "broken_gauge": 1 << 2, "busy": 1 << 3}
KINDS = ("silent", "stuck", "overrange", "restart", *_STATUS)
_ONROBOT_COUNTS = (10_000.0, 100_000.0)
_POLL_S = 0.02
_PER_UNIT = {"N": 1.0, "lbf": 1 / 4.4482216152605, "Nm": 1.0, "Nmm": 1000.0}


class Config(Struct, frozen=True):
    """`host`, `port` and `http_port`: where it listens; port 0: any that is free. `rate_hz` [Hz]:
    of the stream at first. `counts_per_force`, `counts_per_torque` for the units `force_unit` and
    `torque_unit`; the dialect has its own. `range_n` [N], `range_nm` [Nm]: what it measures up to,
    in status bit 30 beyond."""

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 0
    http_port: Annotated[int, Meta(ge=0, le=65535)] = 0
    dialect: Literal["ati", "onrobot"] = "ati"
    rate_hz: Annotated[float, Meta(gt=0.0, le=8000.0)] = 1000.0
    counts_per_force: Positive = 1e6
    counts_per_torque: Positive = 1e6
    force_unit: Literal["N", "lbf"] = "N"
    torque_unit: Literal["Nm", "Nmm"] = "Nm"
    range_n: Positive = 500.0
    range_nm: Positive = 20.0
    serial: str = "FT12345"
    product: str = "Ethernet Axia"
    faults: tuple[Fault, ...] = ()


class _Sensor:
    """What is measured, and who is told."""

    def __init__(self, cfg: Config, plant: Plant, journal: Journal, faults: FaultsTable) -> None:
        self._cfg, self._plant, self._journal, self._faults = cfg, plant, journal, faults
        ati = cfg.dialect == "ati"
        counts = (cfg.counts_per_force, cfg.counts_per_torque) if ati else _ONROBOT_COUNTS
        units = (cfg.force_unit, cfg.torque_unit) if ati else ("N", "Nm")
        per_si = [c * _PER_UNIT[u] for c, u in zip(counts, units, strict=True)]
        self._scale: Vec = np.repeat(per_si, 3)
        self._range: Vec = np.repeat([cfg.range_n, cfg.range_nm], 3)
        self._bias: Vec = np.zeros(6)
        self._last: Vec = np.zeros(6)
        self._rdt = self._ft = 0
        self._left: int | None = 0  # records of the stream, None: without end
        self._blocks = False
        self.pace = Pace(cfg.rate_hz)
        self.to: tuple[str, int] | None = None

    @property
    def streams(self) -> bool:
        """Whether records are due."""
        return self._left != 0

    def obey(self, data: bytes, sender: tuple[str, int]) -> None:
        """Do what the request `data` wants."""
        if len(data) != _REQUEST.size:
            return
        magic, command, count = _REQUEST.unpack(data)
        if magic != _MAGIC:
            return
        onrobot = self._cfg.dialect == "onrobot"
        if command in (_ONE_BLOCK, _STREAM, _BLOCKS):
            self._rdt, self._blocks, self.to = 0, command != _STREAM, sender
            self._left = (_BLOCK if command == _ONE_BLOCK else count) or None
            self.pace.restart()
            self._journal.write("activated", "stream", count=count)
        elif command == _STOP:
            self._stop("the host ended the stream")
        elif command == _BIAS:
            on = not onrobot or count == _BIAS_ON
            self._bias = self._plant.state().wrench if on else np.zeros(6)
        elif onrobot and command == _SPEED and count > 0:
            self.pace = Pace(1000.0 / count)

    def _stop(self, why: str) -> None:
        if self.streams:
            self._journal.write("stopped", why)
        self._left = 0

    def advance(self) -> None:
        """What has happened by now."""
        for fault in self._faults.starting():
            if fault.kind == "restart":
                self._stop("restart")
                self._ft, self._bias = 0, np.zeros(6)

    def datagrams(self) -> list[bytes]:
        """What is due now."""
        records = []
        for _ in self.pace.due():
            if self._left == 0:
                break
            self._left = None if self._left is None else self._left - 1
            records.append(self._record())
        if not self._blocks:
            return records
        return [b"".join(records[n : n + _BLOCK]) for n in range(0, len(records), _BLOCK)]

    def wait_s(self) -> float:
        """Until the next datagram is due [s]."""
        return self.pace.wait_s()

    def _record(self) -> bytes:
        self._rdt = (self._rdt + 1) & 0xFFFFFFFF
        self._ft = (self._ft + 1) & 0xFFFFFFFF
        if not self._faults.active("stuck"):
            self._last = self._plant.state().wrench - self._bias
        status = sum(bit for kind, bit in _STATUS.items() if self._faults.active(kind))
        wrench = self._last
        if self._faults.active("overrange"):
            wrench = np.copysign(self._range * 1.01, wrench)
        if (np.abs(wrench) > self._range).any():
            status |= _OUT_OF_RANGE
        counts = np.clip(np.clip(wrench, -self._range, self._range) * self._scale, -_MOST, _MOST)
        status |= _ERROR if status else 0
        return _RECORD.pack(self._rdt, self._ft, status, *(round(c) for c in counts))


def _page(cfg: Config) -> bytes:
    """netftapi2.xml."""
    tags = {
        "prodname": cfg.product, "setserial": cfg.serial, "cfgcpf": f"{cfg.counts_per_force:.0f}",
        "cfgcpt": f"{cfg.counts_per_torque:.0f}", "scfgfu": cfg.force_unit,
        "scfgtu": cfg.torque_unit, "comrdte": "Enabled", "comrdtrate": f"{cfg.rate_hz:.0f}",
    }  # fmt: skip
    lines = "".join(f"<{tag}>{value}</{tag}>\n" for tag, value in tags.items())
    return f'<?xml version="1.0" encoding="iso-8859-1"?>\n<netft>\n{lines}</netft>\n'.encode()


def _http(cfg: Config) -> ThreadingHTTPServer:
    page = _page(cfg)

    class Handler(BaseHTTPRequestHandler):
        """Gives the page away."""

        def do_GET(self) -> None:
            found = self.path.split("?")[0] == "/netftapi2.xml"
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "text/xml")
            self.send_header("Content-Length", str(len(page) if found else 0))
            self.end_headers()
            self.wfile.write(page if found else b"")

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    return ThreadingHTTPServer((cfg.host, cfg.http_port), Handler)


DRIVERS = (("ft", "rdt"),)
WIRE = ("udp", ("host", "port"))
SETUP = {"rate_hz": 200.0}


def table(folder: str, uri: str) -> dict[str, Any]:
    """The driver's keys for the sensor at `uri`, see `headway.hil.emulators`."""
    parts = urlsplit(uri)
    (web,) = parse_qs(parts.query)["http"]
    at = {"host": parts.hostname, "port": parts.port, "http_port": int(web)}
    return {**at, **SETUP}


def serve(
    cfg: Config,
    plant: Plant,
    journal: Journal,
    ready: Callable[[str], None],
    stop: threading.Event,
) -> None:
    """Be the sensor until `stop` is set. The address is `udp://HOST:PORT`, with `?http=PORT` where
    there is a page."""
    faults = FaultsTable(cfg.faults, KINDS, journal)
    sensor = _Sensor(cfg, plant, journal, faults)
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind((cfg.host, cfg.port))
    udp.setblocking(False)
    uri = f"udp://{cfg.host}:{udp.getsockname()[1]}"
    with contextlib.ExitStack() as closing:
        closing.callback(udp.close)
        if cfg.dialect == "ati":
            web = closing.enter_context(_http(cfg))
            threading.Thread(target=web.serve_forever, args=(_POLL_S,), daemon=True).start()
            closing.callback(web.shutdown)
            uri += f"?http={web.server_address[1]}"
        ready(uri)
        connected = False
        while not stop.is_set():
            wait = min(sensor.wait_s(), _POLL_S) if sensor.streams else _POLL_S
            if select.select([udp], [], [], wait)[0]:
                with contextlib.suppress(OSError):  # a host that is gone refuses what was sent
                    data, sender = udp.recvfrom(64)
                    if not connected:
                        connected = True
                        journal.write("connected")
                    faults.begin()
                    if not faults.active("silent"):
                        sensor.obey(data, sender)
            sensor.advance()
            if not sensor.streams or sensor.to is None:
                continue
            for datagram in sensor.datagrams():
                if not faults.active("silent"):
                    with contextlib.suppress(OSError):
                        udp.sendto(datagram, sensor.to)
