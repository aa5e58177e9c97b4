"""A Universal Robots controller: RTDE, the ports for programs, and the dashboard.

See docs/devices/ur_emulator.md for what of a real one is there, what is assumed, and what is not.
"""

from __future__ import annotations

import contextlib
import selectors
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Annotated, Any, Literal
from urllib.parse import parse_qs, urlsplit

from msgspec import Meta

from headway.clock import NS
from headway.config import Struct
from headway.errors import ConfigError
from headway.hil.emulators._ur import programs
from headway.hil.emulators._ur.conductor import Conductor
from headway.hil.emulators._ur.dashboard import DashboardSession
from headway.hil.emulators._ur.faults import Fault
from headway.hil.emulators._ur.fields import Version
from headway.hil.emulators._ur.kinematics import Kinematics
from headway.hil.emulators._ur.memory import Memory
from headway.hil.emulators._ur.robot import ERROR, Program, Robot, Settings
from headway.hil.emulators._ur.rtde import RtdeSession
from headway.hil.emulators._ur.scripts import ScriptSession
from headway.hil.emulators._ur.wire import Link, Session, listen
from headway.hil.journal import Journal
from headway.hil.plant import Plant

Port = Annotated[int, Meta(ge=0, le=65535)]
Seconds = Annotated[float, Meta(ge=0.0, le=60.0)]
_PORTS = ("rtde", "primary", "script", "realtime", "dashboard")


class Config(Struct, frozen=True):
    """Keys of the emulator `ur`. Ports: 0 for a free one; a client that knows only the real ones,
    as ur-rtde, wants 30004, 30001 to 30003 and 29999. `firmware`: 5.x is an e-Series at 500 Hz,
    3.x a CB3 at 125 Hz. `tcp` (6,): position [m] and rotation vector [rad] of the TCP in the
    flange's frame. `in_use`: inputs of RTDE that a fieldbus holds. `unlock_s` [s] that a protective
    stop lasts at least. `servoj_jump_rad` [rad]: two targets of servoj that are further apart bring
    about a protective stop (assumed: no number is published)."""

    host: str = "127.0.0.1"
    rtde: Port = 0
    primary: Port = 0
    script: Port = 0  # the secondary port, 30002
    realtime: Port = 0
    dashboard: Port = 0
    model: Literal["ur3", "ur5", "ur10", "ur3e", "ur5e", "ur10e", "ur16e"] = "ur5e"
    firmware: Annotated[str, Meta(pattern=r"^[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+$")] = "5.12.0.1101319"
    serial: Annotated[str, Meta(pattern=r"^[0-9]+$")] = "20225500001"
    tcp: tuple[float, float, float, float, float, float] = (0.0,) * 6
    remote: bool = True  # remote control; a CB3 has no such switch
    powered: bool = True  # on, with the brakes released
    in_use: tuple[str, ...] = ()
    unlock_s: Seconds = 5.0
    power_s: Seconds = 0.5
    servoj_jump_rad: Annotated[float, Meta(gt=0.0, le=7.0)] = 0.2
    seed: int = 0  # of the packages that the fault `skip` leaves out
    faults: tuple[Fault, ...] = ()

    @property
    def version(self) -> Version:
        """The numbers of the firmware."""
        major, minor, bugfix, build = (int(n) for n in self.firmware.split("."))
        return major, minor, bugfix, build

    @property
    def rate(self) -> float:
        """Of the control cycle [Hz]."""
        return 500.0 if self.version[0] >= 5 else 125.0


DRIVERS = (("arms", "ur"), ("ft", "ur"), ("grippers", "vacuum_ur"))
WIRE = ("tcp", ("host", "rtde_port"))


def table(folder: str, uri: str) -> dict[str, Any]:
    """The driver's keys for the controller at `uri`, see `headway.hil.emulators`."""
    parts = urlsplit(uri)
    ports = {name: int(numbers[0]) for name, numbers in parse_qs(parts.query).items()}
    keys = {
        "host": parts.hostname,
        "rtde_port": ports["rtde"],
        "dashboard_port": ports["dashboard"],
    }
    return {**keys, "script_port": ports["script"]} if folder == "arms" else keys


def serve(
    cfg: Config,
    plant: Plant,
    journal: Journal,
    ready: Callable[[str], None],
    stop: threading.Event,
) -> None:
    """Be the controller that `cfg` describes, moved by `plant`. Raises ConfigError."""
    e_series = cfg.model.endswith("e")
    if e_series != (cfg.version[0] >= 5) or plant.joints != 6:
        raise ConfigError(
            f"the emulator ur wants 6 joints, and firmware 5.x for an e-Series or 3.x for a CB3, "
            f"found {plant.joints} joints and the model {cfg.model} with {cfg.firmware}"
        )
    server = _Server(cfg, plant, journal)
    try:
        ready(server.open())
        server.run(stop)
    finally:
        server.close()


class _Server:
    """Sockets and the control cycle, in one thread."""

    def __init__(self, cfg: Config, plant: Plant, journal: Journal) -> None:
        self._cfg, self._journal = cfg, journal
        self._memory = Memory(cfg.version, cfg.in_use)
        self._period = int(NS / cfg.rate)
        settings = Settings(self._period, cfg.unlock_s, cfg.power_s)
        kinematics = Kinematics(cfg.model, cfg.tcp)
        self._robot = Robot(
            settings, self._memory, kinematics, cfg.servoj_jump_rad, plant, journal, self._say
        )
        self._robot.remote = cfg.remote or cfg.version[0] < 5
        if not cfg.powered:
            self._robot.power(False)
        self._conductor = Conductor(cfg.faults, cfg.seed, self._robot, journal)
        self._select = selectors.DefaultSelector()
        self._ports = {name: getattr(cfg, name) for name in _PORTS}
        self._listening = False
        self._sessions: list[Session] = []
        self._log: deque[tuple[str, int]] = deque(maxlen=100)
        self._last = ""

    def open(self) -> str:
        """Open all ports. Returns the address of them all."""
        cfg = self._cfg
        for name in _PORTS:
            sock = listen(cfg.host, self._ports[name])
            self._ports[name] = sock.getsockname()[1]
            self._select.register(sock, selectors.EVENT_READ, name)
        self._listening = True
        return f"ur://{cfg.host}?" + "&".join(f"{name}={self._ports[name]}" for name in _PORTS)

    def run(self, stop: threading.Event) -> None:
        """Serve until `stop` is set."""
        first, cycle = time.monotonic_ns(), 0
        while not stop.is_set():
            due = first + cycle * self._period
            while (left := due - time.monotonic_ns()) > 0:
                self._wait(left / NS)
            self._wait(0.0)
            now = time.monotonic_ns()
            self._robot.cycle(now)
            self._conduct(now)
            self._publish(cycle, now)
            cycle = max(cycle, (now - first) // self._period) + 1  # what was missed is left out

    def close(self) -> None:
        """Close all connections and ports."""
        for session in self._sessions:
            self._end(session)
        self._sessions.clear()
        self._unlisten()
        self._select.close()

    def _wait(self, seconds: float) -> None:
        for key, _ in self._select.select(seconds):
            if isinstance(key.data, str):
                self._accept(key.fileobj, key.data)
            else:
                session: Session = key.data
                data = session.link.receive()
                if data:
                    session.feed(data, time.monotonic_ns())
                if session.link.closed:
                    self._end(session)
                    self._sessions.remove(session)

    def _accept(self, listener: object, name: str) -> None:
        try:
            sock, _ = listener.accept()  # type: ignore[attr-defined]
        except OSError:  # the client has left already
            return
        link, cfg = Link(sock), self._cfg
        session: Session
        if name == "rtde":
            session = RtdeSession(link, self._memory, cfg.version, cfg.rate)
            self._conductor.connected(time.monotonic_ns())
        elif name == "dashboard":
            about = (cfg.model, cfg.serial, cfg.version)
            session = DashboardSession(
                link, self._robot, about, self._replay, self._conductor.begin
            )
        else:
            session = ScriptSession(link, name == "primary", cfg.version, self._upload)
        self._sessions.append(session)
        self._select.register(sock, selectors.EVENT_READ, session)
        self._journal.write("connected", name)

    def _end(self, session: Session) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._select.unregister(session.link.sock)
        session.end()
        session.link.close()
        self._journal.write("disconnected", type(session).__name__)

    def _publish(self, cycle: int, now: int) -> None:
        quiet = self._conductor.quiet(now)
        for text, level in self._log:
            for session in self._sessions:
                if isinstance(session, ScriptSession):
                    session.text(text, level, now)
                elif isinstance(session, RtdeSession):
                    session.text(text, level)
        self._log.clear()
        for session in self._sessions:
            if isinstance(session, RtdeSession) and not quiet:
                session.publish(cycle)
            else:
                session.link.flush()

    def _conduct(self, now: int) -> None:
        """What the present faults do to the connections."""
        self._conductor.step(now)
        if self._conductor.drops():
            for session in [
                s for s in self._sessions if self._conductor.away(now) or isinstance(s, RtdeSession)
            ]:
                self._end(session)
                self._sessions.remove(session)
        if self._conductor.away(now):
            if self._listening:
                self._unlisten()
                self._last = ""
        elif not self._listening:
            self.open()

    def _unlisten(self) -> None:
        for key in list(self._select.get_map().values()):
            if isinstance(key.data, str):
                self._select.unregister(key.fileobj)
                key.fileobj.close()  # type: ignore[union-attr]
        self._listening = False

    def _say(self, text: str, level: int) -> None:
        self._log.append((text, level))

    def _upload(self, source: str) -> None:
        if not self._robot.remote:
            self._say("the program was refused: the robot is in local control", ERROR)
            return
        self._start(source)

    def _replay(self) -> bool:
        return bool(self._last) and self._start(self._last)

    def _start(self, source: str) -> bool:
        program: Program | None = programs.load(source, self._robot)
        if program is None or not self._robot.play(program):
            return False
        self._last = source
        return True
