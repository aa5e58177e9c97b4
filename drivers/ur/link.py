"""The RTDE connection to one controller, and the thread that owns it.

The thread reads and does nothing else that could wait. Commands are written by whoever gives them:
each is one package that is handed to the kernel at once or not at all, so the control loop never
waits. A buffer in the kernel that is full means that the controller has acknowledged nothing for
hundreds of packages: that is a fault, and no queue is kept. Packages that TCP delivers late and
together do no harm: each overwrites the registers of the one before, of which the program at the
controller reads the newest.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Annotated, Protocol

import msgspec
from msgspec import Meta

from headway import config
from headway.clock import NS, Clock
from headway.drivers import identity
from headway.drivers.codecs import rtde
from headway.drivers.codecs.rtde import Package, Recipe, RtdeDecoder
from headway.drivers.device_clock import DeviceClock
from headway.drivers.transports.tcp import Tcp
from headway.drivers.ur import greeting
from headway.drivers.ur.fields import Reader, State, outputs
from headway.drivers.ur.greeting import Greeting
from headway.errors import ConfigError, DeviceError, HeadwayError, Stale
from headway.types import Info

Port = Annotated[int, Meta(ge=0, le=65535)]
_POLL_S = 0.005
# Bytes, of which the kernel takes over 1000 for a small package: of hundreds of them, less than a
# second's.
_SEND_BUFFER = 200_000
_DEAD_S = 1.0  # of silence: the connection is given up
_JOIN_S = 2.0
_MOST_S = 1e9  # that a controller has run
_MOST_GAP_NS = 10 * NS  # a longer one is a clock that was set
_TEXTS = 5  # messages of the controller that are kept


class LinkConfig(config.Struct, frozen=True):
    """Keys that all devices at a controller have; the first one of a run says what differs from
    these. `host`: the controller's name or address. `rate_hz`: of its state, 500 for e-Series and
    125 for CB3. `registers`: the first of the registers that are used, 0 or 24; the lower half
    belongs to fieldbuses where there are some. `dashboard_port` 0: there is none. `serial` and
    `firmware`: the robot's serial number, and the oldest version that will do, as [5, 9]."""

    host: Annotated[str, Meta(min_length=1)]
    rtde_port: Port = 30004
    dashboard_port: Port = 29999
    rate_hz: config.Hertz = 500.0
    registers: Annotated[int, Meta(ge=0, le=24)] = 0
    serial: str = ""
    firmware: tuple[int, ...] = ()


class Heard(msgspec.Struct, frozen=True):
    """A state as it came: its `number`, which skips those that were lost, the time of measurement
    `t_ns` and of arrival [ns], and the bound of the first one's error [ns]. `resets`: how
    often the controller's clock has begun anew."""

    number: int
    t_ns: int
    arrival_ns: int
    error_ns: int
    device_ns: int
    resets: int
    state: State


class Follower(Protocol):
    """Who is told of everything, by the link's thread. Must not wait."""

    def heard(self, state: State) -> None:
        """A state has come."""

    def passed(self, now_ns: int) -> None:
        """It is `now_ns` [ns]; called every few milliseconds."""

    def lost(self, why: str) -> None:
        """The connection is lost."""


class Link:
    """The connection that `cfg` describes. It is open while one of its users is: `join` and `leave`
    it. `clock` is CLOCK_MONOTONIC."""

    def __init__(self, cfg: LinkConfig, clock: Clock) -> None:
        self.cfg, self.clock = cfg, clock
        self.transport = Tcp(cfg.host, cfg.rtde_port, _SEND_BUFFER)
        self.uri = f"rtde://{cfg.host}:{cfg.rtde_port}"
        self.info = Info("ur", "Universal Robots", cfg.serial, "", self.uri)
        self.fault = "it is closed"  # "" while it is open
        self.decoder = RtdeDecoder()
        self.device_clock = DeviceClock()
        self.texts: list[str] = []  # the newest messages of the controller
        self.timeless = 0  # states without a time that is a number, which were dropped
        self._wanted: list[tuple[str, ...]] = []
        self._recipes: dict[tuple[str, ...], Recipe] = {}
        self._followers: list[Follower] = []
        self._users: set[int] = set()
        self._reader: Reader | None = None
        self._opening = threading.RLock()
        self._writing = threading.Lock()
        self._new = threading.Condition()
        self._newest: Heard | None = None
        self._number = 0
        self._heard_ns = 0
        self._thread: threading.Thread | None = None

    def agree(self, cfg: LinkConfig) -> None:
        """Raises ConfigError where `cfg` says otherwise than the link's; defaults say nothing."""
        for f in msgspec.structs.fields(LinkConfig):
            mine, found = getattr(self.cfg, f.name), getattr(cfg, f.name)
            if found not in (mine, f.default):
                raise ConfigError(
                    f"the devices at {cfg.host} share one connection: wanted `{f.name}` = {mine!r} "
                    f"as the first of them says, found {found!r}: leave it out in all but the first"
                )

    def writes(self, names: Sequence[str]) -> tuple[str, ...]:
        """Ask for the right to write the fields `names`, before the link is opened. Returns what
        `send` names them by."""
        key = tuple(names)
        if key not in self._wanted:
            self._wanted.append(key)
        return key

    def follow(self, follower: Follower) -> None:
        """Tell `follower` of everything from now on."""
        self._followers.append(follower)

    def join(self, user: object, timeout_s: float) -> None:
        """Open the link within `timeout_s` [s] for `user`, where it is not open, or lost. Raises
        DeviceError, and Busy for fields that somebody else writes."""
        with self._opening:
            if self.fault:
                self._connect(timeout_s)
            missing = [key for key in self._wanted if key not in self._recipes]
            if missing:
                raise DeviceError(
                    f"wanted all devices at {self.uri} to be made before the first one is opened, "
                    f"found that {', '.join(missing[0])} came later: make them first"
                )
            self._users.add(id(user))

    def leave(self, user: object) -> None:
        """`user` needs the link no longer; the last one closes it. Never raises."""
        with self._opening:
            self._users.discard(id(user))
            if not self._users:
                self._end("it is closed")
                self._finish()

    def send(self, key: tuple[str, ...], values: Sequence[float]) -> None:
        """Write `values` to the fields `key`, all at once. Never waits. Raises DeviceError where
        the link is not open, or the controller takes nothing; the link is lost then."""
        recipe = self._recipes.get(key)
        if self.fault or recipe is None:
            raise DeviceError(f"wanted to write to {self.uri}, found: {self.fault}: open it")
        data = recipe.pack(*values)
        try:
            with self._writing:  # held by another thread for one such write at most
                self.transport.write(data, 0.0)
        except DeviceError as e:
            self._end(str(e))
            raise DeviceError(f"the connection to {self.uri} is lost: {self.fault}") from None

    @property
    def newest(self) -> Heard | None:
        """The newest state, None before the first one and while the link is lost."""
        return self._newest

    def wait(self, after: int, timeout_s: float) -> Heard:
        """The newest state if its number is above `after`, else the next one, which is waited for
        at most `timeout_s` [s]. Raises Stale without one, and DeviceError, at once, when the link
        is lost."""

        def ready() -> bool:
            return bool(self.fault) or (self._newest is not None and self._newest.number > after)

        with self._new:
            self._new.wait_for(ready, timeout_s)
            if self.fault:
                raise DeviceError(f"the connection to {self.uri} is lost: {self.fault}")
            if self._newest is None or self._newest.number <= after:
                raise Stale(
                    f"wanted a state of the controller at {self.uri} within {timeout_s:g} s, found "
                    "silence: is it switched on and in this network?"
                )
            return self._newest

    def _connect(self, timeout_s: float) -> None:
        self._end("it is being opened")
        self._finish()
        self._newest = None  # that thread may have had one more
        until = time.monotonic() + timeout_s
        self.transport.open(timeout_s)
        try:
            self.decoder.reset()
            self.decoder.expect(None)
            hello = Greeting(self.transport, self.decoder, until)
            firmware = hello.version()
            if firmware[0] == greeting.CB3 and self.cfg.rate_hz > greeting.CB3_HZ:
                raise ConfigError(
                    f"`rate_hz` wants at most {greeting.CB3_HZ:g} for a controller of the CB3 "
                    f"series as that at {self.uri}, found {self.cfg.rate_hz:g}"
                )
            self._identify(firmware, max(0.1, until - time.monotonic()))
            reader = Reader(hello.reads(self.cfg.rate_hz, outputs(self.cfg.registers)))
            recipes = {key: hello.writes(key) for key in self._wanted}
            self.decoder.expect(reader.recipe)
            hello.start()
        except BaseException:
            self.transport.close()
            raise
        self._reader, self._recipes, self.texts = reader, recipes, hello.texts
        self.device_clock.restart()
        self._heard_ns = time.monotonic_ns()
        self.fault = ""
        for package in hello.rest():
            self._take(package, self.clock.now())
        self._thread = threading.Thread(target=self._run, name=f"link-{self.uri}", daemon=True)
        self._thread.start()

    def _identify(self, firmware: tuple[int, ...], timeout_s: float) -> None:
        """Ask which robot this is, and keep it in `info`. At every connection, since another robot
        may have got the address while there was none. Raises DeviceError for one that is not as
        `cfg` says, and where the dashboard does not answer."""
        cfg = self.cfg
        found = greeting.identity(cfg.host, cfg.dashboard_port, firmware, timeout_s)
        if found is None and cfg.serial:
            raise DeviceError(
                f"wanted the robot with the serial number {cfg.serial} at {self.uri}, found no "
                "dashboard that would tell: leave `serial` out for this controller"
            )
        model, serial = found or ("", "")
        version = ".".join(map(str, firmware))
        info = Info("ur", model or "Universal Robots", serial, version, self.uri)
        identity.check(info, serial=cfg.serial, firmware=cfg.firmware)
        self.info = info

    def _end(self, why: str) -> None:
        """Close the connection because of `why`, where it is open. Anybody may call it."""
        with self._new:
            self._newest = None
            if not self.fault:
                self.fault = why
                for follower in self._followers:
                    follower.lost(why)
            self._new.notify_all()
        self.transport.close()

    def _finish(self) -> None:
        """Wait for the thread of a connection that has ended."""
        thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join(_JOIN_S)

    def _run(self) -> None:
        mine = self._thread
        try:
            while not self.fault and self._thread is mine:
                data = self.transport.read(65536, _POLL_S)
                now = self.clock.now()
                for package in self.decoder.feed(data):
                    self._take(package, now)
                if now - self._heard_ns > _DEAD_S * NS:
                    raise DeviceError(f"the controller has been silent for {_DEAD_S:g} s")
                for follower in self._followers:
                    follower.passed(now)
        except HeadwayError as e:
            if not self.fault:
                self._end(str(e))

    def _take(self, package: Package, now_ns: int) -> None:
        if package.kind == rtde.MESSAGE:
            self.texts = [*self.texts[1 - _TEXTS :], rtde.text(package.payload).text]
            return
        if package.kind != rtde.DATA or self._reader is None:
            return
        state = self._reader.state(package.payload)
        if not 0.0 <= state.timestamp < _MOST_S:  # NaN as well: it cannot be given a time
            self.timeless += 1
            return
        self._heard_ns = now_ns
        device_ns = round(state.timestamp * NS)
        resets = self.device_clock.resets
        t_ns, error_ns = self.device_clock.map(device_ns, now_ns)
        restarted, resets = self.device_clock.resets > resets, self.device_clock.resets
        period = round(NS / self.cfg.rate_hz)
        last = self._newest
        passed = 0 if last is None or restarted else device_ns - last.device_ns
        # Rounded to whole periods: what the controller skipped when it was loaded was lost.
        gap = passed if passed < _MOST_GAP_NS else 0
        self._number += max(1, (gap + period // 2) // period)
        # The controller stamps a state and sends it within one period.
        heard = Heard(self._number, t_ns, now_ns, error_ns + period, device_ns, resets, state)
        for follower in self._followers:
            follower.heard(state)
        with self._new:
            self._newest = heard
            self._new.notify_all()
