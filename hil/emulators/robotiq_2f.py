"""Robotiq 2F-85 and 2F-140 grippers on a serial port, 115200 8N1, Modbus slave 9.

Three registers from 1000 on are written (rACT, rGTO, rATR, rARD; rPR; rSP, rFR), three from 2000 on
are read (gACT, gGTO, gSTA, gOBJ; gFLT, gPR; gPO, gCU), as section 4 of the 2F-85's manual has them.
0 is open, 255 closed; the jaws, their stroke and what is between them are the plant's.

Its promises: it moves after an activation only; a fault from A on needs rACT = 0 and a new
activation; after a second without a frame it says gFLT 9 in its next status, once. It has no
watchdog: when the host dies it ends its motion and keeps its grip.

Faults: `silent`; `overheat` (8: it stands still until that is over); `undervoltage` (A), `internal`
(C), `activation` (D), `overcurrent` (E): it stands still until it is activated anew, which works
after the fault is over.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from msgspec import Meta

from headway.config import NotNegative, Positive, Struct
from headway.hil import modbus
from headway.hil.device_port import DevicePort
from headway.hil.faults_table import Fault, FaultsTable
from headway.hil.journal import Journal
from headway.hil.plant import Plant

BAUD, SLAVE = 115200, 9
_WRITTEN, _READ, _COUNT = 1000, 2000, 3  # first registers, and how many
_TRAVEL = 218  # counts from jaws that are open to closed: 0.39 mm each in a 2F-85
_DELAYED, _ACTIVATE_FIRST, _OVERHEAT, _NO_COMMS = 5, 7, 8, 9
_RELEASING, _RELEASED = 0xB, 0xF
_MAJOR = {"undervoltage": 0xA, "internal": 0xC, "activation": 0xD, "overcurrent": 0xE}
KINDS = ("silent", "overheat", *_MAJOR)
_MOVING, _STOPPED_OPENING, _STOPPED_CLOSING, _ARRIVED = range(4)  # gOBJ
_RESET, _ACTIVATING, _ACTIVE = 0, 1, 3  # gSTA
_STILL_M, _STILL_S = 2e-4, 0.06  # jaws that move less than this in that time touch something
_POLL_S = 0.01
_MOVING_MA10 = 30  # gCU of jaws that move [10 mA]


class Config(Struct, frozen=True):
    """`link`: a symbolic link to the port, "" for none. `activation_s` [s]: how long an activation
    takes; `comms_s` [s]: after how long a silence gFLT is 9. `speed` [m/s] and `force` [N]: those
    of the bytes 0 and 255, a 2F-85's unless said otherwise. `paced`: answers take the time that
    115200 bit/s need."""

    link: str = ""
    activation_s: NotNegative = 0.5
    comms_s: Positive = 1.0
    speed: tuple[Positive, Positive] = (0.02, 0.15)
    force: tuple[Positive, Positive] = (20.0, 235.0)
    open_count: Annotated[int, Meta(ge=0, le=30)] = 3  # gPO of open jaws
    paced: bool = False
    faults: tuple[Fault, ...] = ()


class _Gripper:
    """What is behind the port."""

    def __init__(self, cfg: Config, plant: Plant, journal: Journal, faults: FaultsTable) -> None:
        self.cfg, self._plant, self._journal, self._faults = cfg, plant, journal, faults
        self._written = [0] * _COUNT
        self._status, self._fault = _RESET, 0
        self._heard: float | None = None  # when the last frame came
        self._active_at = 0.0
        self._width = plant.state().width
        self._from, self._since = self._width, 0.0  # for whether it moves
        self._target: float | None = None
        self._closing, self._object = False, _MOVING

    def advance(self) -> None:
        """What has happened by now."""
        now = time.monotonic()
        state = self._plant.state()
        self._width = state.width
        for fault in self._faults.starting():
            if fault.kind in _MAJOR:
                self._fail(_MAJOR[fault.kind])
            elif fault.kind == "overheat":
                self._stand_still()
        self._look(now)
        if self._heard is not None and now - self._heard >= self.cfg.comms_s:
            self._heard = None
            if self._fault < _NO_COMMS:
                self._fault = _NO_COMMS
                self._journal.write("fault", "no communication", gFLT=float(_NO_COMMS))
        if self._status == _ACTIVATING and now >= self._active_at and self._object != _MOVING:
            self._status = _ACTIVE
            self._journal.write("activated")
            if self._fault == _DELAYED:
                self._fault = 0
            self._obey()
        if self._fault == _RELEASING and self._object != _MOVING:
            self._fault = _RELEASED

    def _look(self, now: float) -> None:
        """Set gOBJ from where the jaws are."""
        if self._target is None:
            return
        if abs(self._width - self._target) <= 0.5 * self._plant.stroke / _TRAVEL:
            self._object = _ARRIVED
        elif abs(self._width - self._from) > _STILL_M:
            self._from, self._since, self._object = self._width, now, _MOVING
        elif now - self._since >= _STILL_S:
            self._object = _STOPPED_CLOSING if self._closing else _STOPPED_OPENING

    def _fail(self, code: int) -> None:
        self._fault = code
        self._stand_still()
        self._journal.write("stopped", "fault", gFLT=float(code))

    def _stand_still(self) -> None:
        if self._target is not None:
            self._move(self._width, *self._force_and_speed())
            self._target = None

    def _force_and_speed(self) -> tuple[float, float]:
        low, high = self.cfg.force
        force = low + (high - low) * (self._written[2] & 0xFF) / 255
        low, high = self.cfg.speed
        return force, low + (high - low) * (self._written[2] >> 8) / 255

    def _move(self, width: float, force: float, speed: float) -> None:
        if width == self._target:
            return
        self._target, self._closing = width, width < self._width
        self._from, self._since, self._object = self._width, time.monotonic(), _MOVING
        self._plant.grip(width, force=force, speed=speed)

    def read(self, register: int, count: int) -> Sequence[int]:
        """As modbus.Slave wants it."""
        self._heard = time.monotonic()
        values = {
            **dict(zip(range(_WRITTEN, _WRITTEN + _COUNT), self._written, strict=True)),
            **dict(zip(range(_READ, _READ + _COUNT), self._read_registers(), strict=True)),
        }
        try:
            found = [values[r] for r in range(register, register + count)]
        except KeyError:
            raise modbus.RefusedError from None
        if self._fault == _NO_COMMS and register + count > _READ + 1:
            self._fault = 0  # it has been told
        return found

    def _read_registers(self) -> tuple[int, int, int]:
        actions = self._written[0] >> 8
        first = actions & 0x09 | self._status << 4 | self._object << 6
        fault = _OVERHEAT if self._faults.active("overheat") else self._fault
        travelled = (1.0 - self._width / self._plant.stroke) * _TRAVEL
        position = min(max(round(travelled), self.cfg.open_count), 255)
        current = _MOVING_MA10 if self._object == _MOVING else 0
        requested = self._written[1] & 0xFF
        return first << 8, fault << 8 | requested, position << 8 | current

    def write(self, register: int, values: Sequence[int]) -> None:
        """As modbus.Slave wants it."""
        self._heard = time.monotonic()
        if not _WRITTEN <= register <= register + len(values) <= _WRITTEN + _COUNT:
            raise modbus.RefusedError
        self._written[register - _WRITTEN : register - _WRITTEN + len(values)] = values
        self._obey()

    def _obey(self) -> None:
        """Do what the written registers ask for."""
        actions = self._written[0] >> 8
        act, go, release = bool(actions & 0x01), bool(actions & 0x08), bool(actions & 0x10)
        if not act:
            self._reset(go)
        elif release:
            if self._fault not in (_RELEASING, _RELEASED):
                self._fault = _RELEASING
                opens = bool(actions & 0x20)
                self._move(self._plant.stroke if opens else 0.0, *self._force_and_speed())
                self._journal.write("stopped", "automatic release")
        elif self._fault >= 0xA:
            pass
        elif self._status == _RESET:
            self._activate(go)
        elif self._status == _ACTIVATING:
            self._fault = _DELAYED if go else 0
        elif go and not self._faults.active("overheat"):
            width = max(1.0 - (self._written[1] & 0xFF) / _TRAVEL, 0.0) * self._plant.stroke
            if width != self._target:
                self._journal.write("command", width=width)
            self._move(width, *self._force_and_speed())
        else:
            self._stand_still()

    def _reset(self, go: bool) -> None:
        self._stand_still()
        self._status, self._object = _RESET, _MOVING
        self._fault = _ACTIVATE_FIRST if go else 0

    def _activate(self, go: bool) -> None:
        for kind, code in _MAJOR.items():
            if self._faults.active(kind):
                self._fault = code
                return
        self._status, self._fault = _ACTIVATING, _DELAYED if go else 0
        self._active_at = time.monotonic() + self.cfg.activation_s
        self._move(self._plant.stroke, *(self.cfg.force[0], self.cfg.speed[1]))


DRIVERS = (("grippers", "robotiq_2f"),)
WIRE = ("serial", ("port",))


def table(folder: str, uri: str) -> dict[str, Any]:
    """The driver's keys for the gripper at `uri`, see `headway.hil.emulators`."""
    return {"port": uri}


def serve(
    cfg: Config,
    plant: Plant,
    journal: Journal,
    ready: Callable[[str], None],
    stop: threading.Event,
) -> None:
    """Be the gripper until `stop` is set."""
    faults = FaultsTable(cfg.faults, KINDS, journal)
    port = DevicePort(BAUD, cfg.link, journal, paced=cfg.paced)
    gripper = _Gripper(cfg, plant, journal, faults)
    slave = modbus.Slave(SLAVE, gripper.read, gripper.write)
    ready(port.path)
    while not stop.is_set():
        data = port.read(_POLL_S)
        if port.opened:
            faults.begin()
        gripper.advance()
        if faults.active("silent"):
            continue
        for answer in slave.feed(data):
            port.answer(answer)
    port.close()
