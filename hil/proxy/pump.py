"""The proxy itself: connections between real ends, with a line of faults in each direction."""

from __future__ import annotations

import os
import queue
import select
import socket
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from headway.clock import NS
from headway.config import Struct
from headway.errors import ConfigError, DeviceError
from headway.hil.proxy.ends import Datagrams, End, Pty, Stream, Tty
from headway.hil.proxy.faults import BREAKS, Fault, Random, Wire, check
from headway.hil.proxy.line import Line

_ANSWER_S = 5.0
_LONGEST_S = 0.1  # of a wait, after which a serial port's speed and the end are looked at
_BACKLOG = 1 << 16  # bytes on their way; whoever sends more has to wait


class ProxyConfig(Struct, frozen=True):
    """`device`: the path of a serial port, or HOST:PORT. `link` (serial): a symbolic link that
    leads to the port for the host, "" for one in a temporary folder; `port` (TCP, UDP): at which
    this computer listens, 0 for a free one. `allow_hardware`: the device need not be an emulator on
    this computer."""

    kind: Wire
    device: str
    link: str = ""
    port: int = 0
    allow_hardware: bool = False
    fault: tuple[Fault, ...] = ()
    random: Random = Random()


class _Session:
    """A connection from `host` to `device`, with a line each way."""

    def __init__(self, host: End, device: End, number: int, cfg: ProxyConfig) -> None:
        datagrams = cfg.kind == "udp"
        self.host, self.device = host, device
        self.to_host = Line(cfg.random, 2 * number + cfg.random.seed * 1009, datagrams)
        self.to_device = Line(cfg.random, 2 * number + 1 + cfg.random.seed * 1009, datagrams)

    def plan(self, fault: Fault, zero_ns: int) -> None:
        if fault.direction in ("to_host", "both"):
            self.to_host.plan(fault, zero_ns)
        if fault.direction in ("to_device", "both"):
            self.to_device.plan(fault, zero_ns)

    @property
    def ways(self) -> tuple[tuple[End, Line, End], ...]:
        return (self.host, self.to_device, self.device), (self.device, self.to_host, self.host)


class Proxy:
    """The proxy that `cfg` describes. `uri` is where the host finds it, once `open` was called.
    Raises ConfigError for a fault that its wire cannot have, and for real hardware that was not
    allowed; `open` raises DeviceError for a device that is not there."""

    def __init__(self, cfg: ProxyConfig) -> None:
        check(cfg.kind, cfg.fault, cfg.random)
        if not cfg.allow_hardware and not is_emulated(cfg.kind, cfg.device):
            raise ConfigError(
                f"wanted an emulator on this computer behind the fault proxy, found {cfg.device}: "
                "faults on a line to real hardware want --allow-hardware, and nobody near it"
            )
        self.cfg, self.uri = cfg, ""
        self.hits: Counter[str] = Counter()  # of sessions that are over
        self._sessions: list[_Session] = []
        self._faults = list(cfg.fault)  # with times since `_zero_ns`
        self._number = 0
        self._port = cfg.port
        self._listener: socket.socket | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._link = Path(cfg.link)
        self._zero_ns = 0
        self._breaks: list[tuple[int, int, str]] = []  # begin [ns], end [ns], kind
        self._broken_until = 0
        self._asked: queue.SimpleQueue[Fault] = queue.SimpleQueue()
        self._begun: queue.SimpleQueue[int] = queue.SimpleQueue()  # when each of them began [ns]
        self._bell, self._ring = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def open(self) -> str:
        """Connect to the device, and take connections. Returns the address for the host: the path
        of the link, or HOST:PORT."""
        self._zero_ns = time.monotonic_ns()
        for fault in self._faults:
            self._plan_break(fault, self._zero_ns)
        if self.cfg.kind == "serial":
            if not self.cfg.link:
                self._folder = tempfile.TemporaryDirectory(prefix="headway-proxy-")
                self._link = Path(self._folder.name) / "port"
            self._connect()
            self.uri = str(self._link)
        else:
            self._connect()
            self.uri = f"127.0.0.1:{self._port}"
        return self.uri

    def inject(self, fault: Fault) -> int:
        """Let `fault` begin `fault.at_s` from now, while another thread runs the proxy. Returns the
        time [ns] from which `at_s` counts. Raises ConfigError where the fault cannot happen on this
        wire, DeviceError where nobody runs the proxy."""
        check(self.cfg.kind, (fault,), Random())
        self._asked.put(fault)
        os.write(self._ring, b"!")
        try:
            return self._begun.get(timeout=_ANSWER_S)
        except queue.Empty:
            raise DeviceError("wanted a proxy that runs, found that it takes no faults") from None

    def run(self, stop: threading.Event) -> None:
        """Pass bytes on until `stop` is set."""
        while not stop.is_set():
            self._step()

    def close(self) -> None:
        """End all connections."""
        self._disconnect()
        for fd in (self._bell, self._ring):
            os.close(fd)
        if self._folder is not None:
            self._folder.cleanup()

    # Connections.

    def _connect(self) -> None:
        """Open what the host connects to."""
        kind, device = self.cfg.kind, self.cfg.device
        if kind == "serial":
            self._begin(Pty(self._link), Tty(device))
        elif kind == "udp":
            front = Datagrams(("127.0.0.1", self._port), None)
            self._port = front.port
            self._begin(front, Datagrams(None, _address(device)))
        else:
            self._listener = socket.create_server(("127.0.0.1", self._port), backlog=8)
            self._listener.setblocking(False)
            self._port = self._listener.getsockname()[1]

    def _accept(self) -> None:
        assert self._listener is not None
        try:
            front, _ = self._listener.accept()
        except OSError:
            return
        try:
            back = socket.create_connection(_address(self.cfg.device), 2.0)
        except OSError:
            front.close()
            return
        self._begin(Stream(front), Stream(back))

    def _begin(self, host: End, device: End) -> None:
        session = _Session(host, device, self._number, self.cfg)
        self._number += 1
        for fault in self._faults:
            session.plan(fault, self._zero_ns)
        self._sessions.append(session)

    def _end(self, session: _Session, reset: bool = False) -> None:
        self._sessions.remove(session)
        self.hits += session.to_host.hits + session.to_device.hits
        session.host.close(reset)
        session.device.close(reset)

    def _disconnect(self, reset: bool = False) -> None:
        for session in list(self._sessions):
            self._end(session, reset)
        if self._listener is not None and not reset:
            self._listener.close()
            self._listener = None

    # Faults of the connection.

    def _plan_break(self, fault: Fault, zero_ns: int) -> None:
        if fault.kind in BREAKS:
            begin = zero_ns + round(fault.at_s * NS)
            self._breaks.append((begin, begin + round(fault.for_s * NS), fault.kind))
            self._breaks.sort()

    def _take_asked(self) -> None:
        while True:
            try:
                fault = self._asked.get_nowait()
            except queue.Empty:
                return
            now = time.monotonic_ns()
            self._plan_break(fault, now)
            for session in self._sessions:
                session.plan(fault, now)
            self._begun.put(now)

    def _break(self, now: int) -> None:
        """Cut and mend the connection, as planned."""
        while self._breaks and self._breaks[0][0] <= now:
            _, end, kind = self._breaks.pop(0)
            self.hits[kind] += 1
            self._disconnect(reset=kind == "reset")
            if kind == "unplug":
                self._broken_until = max(end, now + 1)
        if self._broken_until and now >= self._broken_until:
            try:
                self._connect()
            except (DeviceError, OSError):  # the device itself is gone: try again
                self._broken_until = now + NS // 10
            else:
                self._broken_until = 0

    # Bytes.

    def _step(self) -> None:
        now = time.monotonic_ns()
        self._take_asked()
        self._break(now)
        ends, poll = self._watched()
        for fd, _ in poll.poll(1000.0 * self._wait_s(now)):
            if fd == self._bell:
                os.read(self._bell, 64)
            elif self._listener is not None and fd == self._listener.fileno():
                self._accept()
            elif fd in ends:
                self._hear(*ends[fd])
        now = time.monotonic_ns()
        for session in self._sessions:
            for _, line, target in session.ways:
                for data in line.take(now):
                    target.write(data)
                target.flush()
            self._follow_speed(session)

    def _watched(self) -> tuple[dict[int, tuple[_Session, End, Line]], select.poll]:
        poll = select.poll()
        poll.register(self._bell, select.POLLIN)
        if self._listener is not None:
            poll.register(self._listener, select.POLLIN)
        ends = {}
        for session in self._sessions:
            for source, line, _ in session.ways:
                if line.backlog < _BACKLOG:
                    ends[source.fileno()] = (session, source, line)
                    poll.register(source.fileno(), select.POLLIN)
        return ends, poll

    def _hear(self, session: _Session, source: End, line: Line) -> None:
        if session not in self._sessions:
            return
        data = source.read()
        if data is None:
            self._end(session)
            if self.cfg.kind == "serial":  # the device is gone: so is the port
                self._broken_until = time.monotonic_ns() + NS // 10
        elif data:
            line.feed(data, time.monotonic_ns())

    def _wait_s(self, now: int) -> float:
        times = [line.next_ns() for s in self._sessions for _, line, _ in s.ways]
        times += [self._breaks[0][0] if self._breaks else None, self._broken_until or None]
        soonest = min((t for t in times if t is not None), default=now + NS)
        return min(max(0.0, (soonest - now) / NS), _LONGEST_S)

    def _follow_speed(self, session: _Session) -> None:
        if isinstance(session.host, Pty) and isinstance(session.device, Tty):
            session.device.follow(session.host.line.speed)


def is_emulated(kind: str, device: str) -> bool:
    """Whether `device` can only be an emulator on this computer: a pseudo-terminal, or a loopback
    address."""
    if kind == "serial":
        return os.path.realpath(device).startswith("/dev/pts/")
    return _address(device)[0] in ("127.0.0.1", "localhost", "::1")


def _address(device: str) -> tuple[str, int]:
    host, _, port = device.rpartition(":")
    if not host or not port.isdigit():
        raise ConfigError(f"wanted the device as HOST:PORT, found {device!r}: write both")
    return host, int(port)
