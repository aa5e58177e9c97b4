"""The Robotiq 2F-85 and 2F-140, over Modbus RTU at a serial port, or at the TCP port of a tool
flange that passes bytes on.

A thread of its own (`drivers.bus`) exchanges with the gripper, so the arm's loop never waits for
it. `open` moves nothing. The first command activates the gripper where it is not active, which
opens and closes the jaws once. After a fault that ends the activation, as a loss of power, commands
raise GripperError until `activate` is called, because activating drops what the jaws hold.

When its host dies the gripper keeps its last goal: it goes on gripping, or moving to the end of
that motion. It notes the silence after 1 s (fault 9) and does nothing else about it.
"""

from __future__ import annotations

import math
import time
from typing import Annotated, Literal

from msgspec import Meta

from headway.clock import NS, Clock, WallClock
from headway.config import Hertz, NotNegative, Positive, Struct
from headway.drivers import Context
from headway.drivers.bus import Bus
from headway.drivers.codecs import robotiq_2f as codec
from headway.drivers.codecs.modbus_rtu import AnswerDecoder, Request
from headway.drivers.codecs.robotiq_2f import Goal, Status
from headway.drivers.counts import Counts
from headway.drivers.finding import FTDI, Found, Port, Seen, at_ports
from headway.drivers.modbus import exchange
from headway.drivers.transports import Transport
from headway.drivers.transports.address import line
from headway.errors import ConfigError, DeviceError, Stale
from headway.types import GripperState, Health, Info, Sample, Stamp

_LINE_NS = round(11 * 10 / 115_200 * NS)  # a status on the wire
_TRIES = 3
_LOOK_S = 1.0
_DENIED = 50  # exchanges after which an activation has come to nothing, as by a loss of power


class _Design(Struct, frozen=True):
    """Of the models, by Robotiq's data sheets: stroke [m]; slowest and fastest closing [m/s];
    smallest and largest grip force [N]."""

    stroke: float
    speeds: tuple[float, float]
    forces: tuple[float, float]


DESIGNS = {
    "2F-85": _Design(0.085, (0.020, 0.150), (20.0, 235.0)),
    "2F-140": _Design(0.140, (0.030, 0.250), (10.0, 125.0)),
}

Count = Annotated[int, Meta(ge=0, le=255)]


class Config(Struct, frozen=True):
    """Keys of `[gripper]` for the kind `robotiq_2f`. `port`: the serial port, by path or as
    serial:NUMBER of its USB adapter, or tcp://HOST:PORT. `stroke`: the opening at the count `open`,
    by default that of the model; at the count `closed` the pads touch. What the gripper really says
    there is in `docs/devices/robotiq_2f.md`: how to calibrate. `newton_per_ampere`: force estimated
    from the motor's current while the jaws move; 0: none."""

    port: str
    model: Literal["2F-85", "2F-140"] = "2F-85"
    baud: Annotated[int, Meta(ge=9600, le=4_000_000)] = 115_200
    slave: Annotated[int, Meta(ge=1, le=247)] = codec.SLAVE
    rate_hz: Hertz = 100.0  # of exchanges
    answer_s: Annotated[float, Meta(ge=0.005, le=1.0)] = 0.1  # to one request
    stroke: Annotated[float, Meta(gt=0.0, le=1.0)] | None = None  # [m]
    open: Count = 0
    closed: Count = 218
    speed: Positive = 0.1  # [m/s]
    newton_per_ampere: NotNegative = 0.0


class GripperError(DeviceError):
    """The gripper refuses to work. `code` is its gFLT, 0 where it has lost its activation."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class Robotiq2f:
    """The gripper that `cfg` describes, at the other end of `transport`."""

    waits = True

    def __init__(self, clock: Clock, cfg: Config, transport: Transport) -> None:
        self.clock, self.cfg, self.transport = clock, cfg, transport
        self.design = DESIGNS[cfg.model]
        self.stroke = cfg.stroke or self.design.stroke
        self.info = Info("robotiq_2f", f"Robotiq {cfg.model}", "", "", transport.uri)
        self.counts = Counts(clock, round(NS / cfg.rate_hz))
        self.bus: Bus[Goal, Status] = Bus(
            f"the {self.info.model}", self._exchange, clock, cfg.rate_hz
        )
        self._answers = AnswerDecoder()
        self._number = 0  # of the last exchange that `read` gave out
        self._status: Status | None = None  # the newest; replaced, never written into
        self._may_activate = True  # the next command may activate the gripper by itself
        self._asked = False  # to activate; taken by the bus's thread
        # Of the bus's thread alone:
        self._steps: list[Request] = []  # that are left of an activation
        self._waits = False  # for an activation to end
        self._denied = 0  # exchanges meanwhile in which it said that it was not told to activate
        self._goal: Goal | None = None  # to be sent once active
        self._force = 0  # that was sent last, 0..255

    def open(self, timeout_s: float) -> None:
        if self.counts.state == "ok":
            return
        self.bus.close()
        self.transport.open(timeout_s)
        try:
            self._status = self._first_status(timeout_s)
        except BaseException:
            self.transport.close()
            raise
        if self._status.active:
            self._may_activate = False
        self._steps, self._waits, self._goal, self._asked = [], False, None, False
        self.counts.opened()
        self.bus.start()

    def read(self, timeout_s: float) -> Sample[GripperState]:
        if self.counts.state == "closed":
            raise DeviceError(f"the {self.info.model} is closed: open it before reading")
        try:
            self._number, arrival, status = self.bus.newest(self._number, timeout_s)
        except Stale:
            self.counts.timeouts += 1
            raise
        except DeviceError:
            self.counts.state = "fault"
            raise
        self.counts.crc_errors = self._answers.errors
        flags = self._flags(status)
        measured = arrival - _LINE_NS
        valid = status.active
        seq = self.counts.sample(measured, valid)
        state = GripperState(
            self.width_of(status.position), self.width_of(status.wanted), self._force_of(status)
        )
        stamp = Stamp(measured, arrival, seq, error_ns=self.counts.period_ns)
        return Sample(stamp, state, valid, flags)

    def command(self, width: float, *, force: float) -> None:
        if not (math.isfinite(width) and math.isfinite(force)):
            raise DeviceError(
                f"the {self.info.model} wants finite numbers, found width {width}, force {force}"
            )
        self._refuse_in_fault()
        forces, speeds = self.design.forces, self.design.speeds
        goal = Goal(self.position_of(width), _share(self.cfg.speed, speeds), _share(force, forces))
        self.bus.command(goal)

    def stop(self) -> None:
        status = self._status
        if status is not None:
            self.bus.command(Goal(status.position, 0, self._force, go=False))

    def activate(self) -> None:
        """Leave a fault, and activate the gripper where it is not active: its jaws open and close
        once, and what they hold falls. Commands given before are forgotten. Returns at once; until
        it is done, samples are not valid and have the flag "activating"."""
        self._asked = True
        self.bus.reset()

    def close(self) -> None:
        self.bus.close()
        self.transport.close()
        if self.counts.state == "ok":
            self.counts.state = "closed"

    def health(self) -> Health:
        return self.counts.health()

    def width_of(self, position: int) -> float:
        """The opening [m] at the count `position`."""
        share = (position - self.cfg.open) / (self.cfg.closed - self.cfg.open)
        return self.stroke * (1.0 - min(max(share, 0.0), 1.0))

    def position_of(self, width: float) -> int:
        """The count at the opening `width` [m]. The ends are those of the gripper, whatever the
        calibration: "closed" presses even on paper."""
        if width >= self.stroke:
            return 0
        if width <= 0.0:
            return 255
        cfg = self.cfg
        return round(cfg.open + (1.0 - width / self.stroke) * (cfg.closed - cfg.open))

    def _first_status(self, timeout_s: float) -> Status:
        """What the gripper says at first. Raises DeviceError where nobody answers, or somebody
        else."""
        until = time.monotonic() + timeout_s
        said: DeviceError | None = None
        for _ in range(_TRIES):
            left = until - time.monotonic()
            if left <= 0.0:
                break
            try:
                return self._ask_status(min(left, self.cfg.answer_s))
            except DeviceError as e:
                said = e
        raise DeviceError(
            f"{said or 'no time was left'}: wanted a {self.info.model} there: is it powered (24 "
            f"V), are A and B of RS-485 not swapped, is its address {self.cfg.slave} and its speed "
            f"{self.cfg.baud} bit/s, is it this port?"
        )

    def look(self, timeout_s: float) -> Status | None:
        """The gripper's status, None where none answers. Raises DeviceError where the port cannot
        be opened."""
        self.transport.open(timeout_s)
        try:
            return self._first_status(timeout_s)
        except DeviceError:
            return None
        finally:
            self.transport.close()

    def _exchange(self, command: Goal | None) -> Status:
        """One turn of the bus: send what is due, then ask for the status."""
        known = self._status
        assert known is not None  # `open` has read it
        if self._asked:
            self._asked, self._goal = False, None
            self._begin(known)
        if command is not None:
            self._goal = command if command.go or known.active else None
            if self._goal is not None and not self._busy and self._may_activate:
                self._begin(known)
        if self._steps:
            self._ask(self._steps[0], self.cfg.answer_s)
            del self._steps[0]
        elif self._goal is not None and known.active and not self._busy:
            self._ask(codec.goal(self._goal, self.cfg.slave), self.cfg.answer_s)
            self._force = self._goal.force
            self._goal = None
        status = self._ask_status(self.cfg.answer_s)
        if self._waits and not self._steps:
            self._denied = 0 if status.activated else self._denied + 1
            if status.active or _major(status) or self._denied > _DENIED:
                self._waits = self._may_activate = False
        if not (status.active or self._busy or self._may_activate):
            self._goal = None  # it was meant for before the fault
        self._status = status
        return status

    @property
    def _busy(self) -> bool:
        """Whether an activation is under way."""
        return bool(self._steps) or self._waits

    def _begin(self, known: Status) -> None:
        """Begin to activate; nothing where the gripper is active."""
        if not known.active:
            self._steps = [codec.reset(self.cfg.slave), codec.activate(self.cfg.slave)]
            self._waits, self._denied = True, 0

    def _ask_status(self, timeout_s: float) -> Status:
        return codec.status(self._ask(codec.ask(self.cfg.slave), timeout_s))

    def _ask(self, request: Request, timeout_s: float) -> tuple[int, ...]:
        answer = exchange(self.transport, self._answers, request, timeout_s)
        if answer.refused:
            raise DeviceError(
                f"wanted a {self.info.model} at {self.transport.uri}, found a Modbus device that "
                f"says: {answer.why}: name another port or `slave`"
            )
        return answer.registers

    def _refuse_in_fault(self) -> None:
        """Raises GripperError where the gripper does not follow goals, and may not be activated
        without being asked."""
        status = self._status
        if status is None or self._may_activate or self._busy or self._asked:
            return
        code = status.fault
        if code >= codec.FIRST_MAJOR or code == codec.TOO_HOT:
            raise GripperError(
                f"the {self.info.model} at {self.transport.uri} is in fault {code:#x}: "
                f"{codec.FAULTS[code]}"
                + (": activate() it again" if code >= codec.FIRST_MAJOR else ""),
                code,
            )
        if not status.active:
            raise GripperError(
                f"wanted the {self.info.model} at {self.transport.uri} to be active, found that it "
                "is not any more: did it lose its power? activate() it again",
                0,
            )

    def _flags(self, status: Status) -> tuple[str, ...]:
        flags: tuple[str, ...] = ()
        if not status.active:
            flags = ("activating",) if self._busy else ("not active",)
        if status.fault:
            flags += (f"fault {status.fault:#x}",)
        return flags

    def _force_of(self, status: Status) -> float:
        """The grip force [N]. Jaws that were stopped press with the limit of their goal, and hold
        that by their gear with hardly any current; while they move, the current tells."""
        low, high = self.design.forces
        pressed = low + (high - low) * self._force / 255.0 if status.held else 0.0
        return max(pressed, status.current * self.cfg.newton_per_ampere)


def _major(status: Status) -> bool:
    return status.fault >= codec.FIRST_MAJOR


def _share(value: float, ends: tuple[float, float]) -> int:
    """`value` as 0..255 between `ends`, and within them."""
    low, high = ends
    return round(255 * min(max((value - low) / (high - low), 0.0), 1.0))


def find(seen: Seen) -> list[Found]:
    """Grippers at serial ports, by asking for their status, which moves nothing."""

    def found(port: Port, model: str, sure: bool) -> Found:
        todo = {
            "model": "2F-85 or 2F-140; the gripper does not tell, and Robotiq's others answer alike"
        }
        keys = {"port": port.address}
        return Found("grippers", "robotiq_2f", port.address, model, port.serial, sure, keys, todo)

    def ask(port: Port) -> Found | None:
        gripper = connect(Config(port=port.path), Context(WallClock(spin_ns=0)))
        status = gripper.look(_LOOK_S)
        if status is None:
            return None
        return found(port, f"Robotiq gripper, {'' if status.active else 'not '}activated", True)

    return at_ports(seen, FTDI, lambda port: found(port, "perhaps a Robotiq gripper", False), ask)


def connect(cfg: Config, ctx: Context) -> Robotiq2f:
    """The gripper that `cfg` describes, not open yet. Raises ConfigError for a calibration without
    a stroke."""
    if cfg.closed <= cfg.open:
        raise ConfigError(
            f"[gripper] kind robotiq_2f: wanted `closed` above `open`, found {cfg.closed} and "
            f"{cfg.open}: 0 is the open end of the gripper, 255 the closed one"
        )
    return Robotiq2f(ctx.clock, cfg, line(cfg.port, cfg.baud))
