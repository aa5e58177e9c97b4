"""An arm of Feetech STS3215 servos, such as the SO-100 and SO-101.

The servos have no watchdog for their bus: when the host dies they hold their last goal, with
torque. There is no second way to reach them, so the watchdog process cannot stop this arm either;
holding is all that can be had, and a software stop is not a safety function.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from msgspec import Meta

from headway import config
from headway.clock import NS, WallClock
from headway.drivers import Context, RemoteStop
from headway.drivers.counts import Counts
from headway.drivers.feetech_bus import BAUD, FeetechBus, Reading, servos_at
from headway.drivers.finding import Found, Port, Seen
from headway.drivers.model import RobotModel, load
from headway.drivers.servo_calibration import RAD, Motor, check, read
from headway.drivers.transports.serial import SerialPort
from headway.errors import ConfigError, DeviceError
from headway.types import ArmState, Health, Info, Sample, Sent, Stamp, Vec

remote_stop: RemoteStop | None = None  # see above
WORLD = "feetech"  # under which devices of the run find the buses, by port
# USB ids of the chips on boards for these servos: CH343 (Waveshare, Feetech) and CH340 (older ones,
# and much else).
ADAPTERS = ((0x1A86, 0x55D3), (0x1A86, 0x7523))
_OPEN_S = 1.0
_NM_PER_A = 1.0  # torque for current, of the STS3215 at 7.4 V: about 1.6 Nm at its stall of 2.4 A
_LEAD_NS = NS // 1000  # from the measurement to the end of an exchange: half of its 2 ms


class Config(config.Struct, frozen=True):
    """Keys of `[arm]` for the kind `feetech`. `port`: a path, one of /dev/serial/by-id, or
    `serial:NUMBER` of its USB adapter. `calibration`: the arm's file as `lerobot-calibrate` writes
    it. `model`: the robot; its joints are motors of the calibration. `jaw`: the motor of the jaw,
    "" for an arm without one. `rate_hz` of reading and writing all servos. `step` [rad]: commands
    that are farther than this from the last one are refused. `check_calibration`: whether the
    servos have to hold the file's calibration. `tool` as for other arms."""

    port: Annotated[str, Meta(min_length=1)]
    calibration: Annotated[str, Meta(min_length=1)]
    model: Annotated[str, Meta(min_length=1)] = "so101"
    jaw: str = "gripper"
    rate_hz: Annotated[float, Meta(ge=10.0, le=400.0)] = 200.0
    step: Annotated[float, Meta(gt=0.0, le=3.2)] = 0.3
    check_calibration: bool = True
    tool: str | tuple[float, ...] | None = None


class FeetechArm:
    """The arm of `model` whose servos are at `bus`; `motors` has the calibration of its joints."""

    waits = True

    def __init__(
        self,
        cfg: Config,
        ctx: Context,
        model: RobotModel,
        motors: dict[str, Motor],
        bus: FeetechBus,
    ) -> None:
        self.model, self.chain = model, model.chain
        self.info = Info("feetech", f"{model.name} of STS3215 servos", uri=cfg.port)
        self._cfg, self._clock, self._bus = cfg, ctx.clock, bus
        self._joints = tuple(motors[name] for name in model.joints)
        self._ids = tuple(m.id for m in self._joints)
        self._places = [bus.ids.index(i) for i in self._ids]
        # Only what both the model and the calibration allow.
        ends = np.array([[m.angle(m.range_min), m.angle(m.range_max)] for m in self._joints])
        self._low = np.maximum(ends.min(axis=1), model.limits.q_min)
        self._high = np.minimum(ends.max(axis=1), model.limits.q_max)
        self.limits = replace(model.limits, q_min=self._low, q_max=self._high)
        self._counts = Counts(ctx.clock, round(NS / cfg.rate_hz))
        self._number = 0
        self._active = False
        self._sent: Vec = np.full(model.n, np.nan)

    def open(self, timeout_s: float) -> None:
        if self._counts.state == "ok":
            return
        self._bus.open(timeout_s)
        self.info = Info("feetech", self.info.model, "", self._bus.firmware, self._cfg.port)
        self._number, self._active = 0, False
        self._counts.opened()

    def read(self, timeout_s: float) -> Sample[ArmState]:
        if self._counts.state == "closed":
            raise DeviceError(f"the {self.info.model} is closed: open it before reading")
        try:
            number, arrival, value = self._bus.bus.newest(self._number, timeout_s)
        except DeviceError:
            if self._bus.bus.fault:
                self._active = False
                self._counts.state = "fault"
            raise
        finally:
            self._counts.crc_errors = self._bus.crc_errors
        self._number = number
        t_ns = arrival - _LEAD_NS
        seq = self._counts.sample(t_ns)
        return Sample(Stamp(t_ns, arrival, seq, error_ns=_LEAD_NS), self._state(value))

    def _state(self, value: Reading) -> ArmState:
        joints, places = self._joints, self._places
        q = np.array([m.angle(value.position[k]) for m, k in zip(joints, places, strict=True)])
        dq = np.array([m.sign * value.speed[k] * RAD for m, k in zip(joints, places, strict=True)])
        tau = np.array(
            [m.sign * value.ampere[k] * _NM_PER_A for m, k in zip(joints, places, strict=True)]
        )
        tcp, twist = self.chain.motion(q, dq)
        q_ref = np.where(np.isfinite(self._sent), self._sent, q)
        return ArmState(q, dq, q_ref, tcp, twist, tau_ext=tau, powered=self._active)

    def activate(self) -> None:
        reading = self._bus.hold(self._bus.ids)  # with the jaw, so that its commands never wait
        self._sent = self._state(reading).q
        self._counts.state = "ok"
        self._active = True

    def command(self, q: Vec, *, deadline_ns: int) -> Sent:
        if not self._active:
            raise DeviceError(f"the {self.info.model} wants activate() before a command")
        if q.shape != (self.model.n,) or not np.isfinite(q).all():
            raise DeviceError(
                f"the {self.info.model} wants {self.model.n} finite joint positions, of "
                f"{', '.join(self.model.joints)}, found {q}"
            )
        outside = (q < self._low - 1e-6) | (q > self._high + 1e-6)
        if outside.any():
            i = int(np.argmax(outside))
            raise DeviceError(
                f"wanted {self.model.joints[i]} within {self._low[i]:.3f} to {self._high[i]:.3f} "
                f"rad, its calibrated range and the model's limits, found {q[i]:.3f}: nothing was "
                "sent"
            )
        jump = float(np.abs(q - self._sent).max())
        if jump > self._cfg.step:
            raise DeviceError(
                f"wanted a command within {self._cfg.step:g} rad of the last one, found a jump of "
                f"{jump:.3f} rad: nothing was sent"
            )
        self._bus.goal({m.id: m.counts(float(x)) for m, x in zip(self._joints, q, strict=True)})
        self._sent = q.copy()
        return Sent(self._sent, self._clock.now())

    def stop(self, category: int = 2) -> None:
        """Category 2 and 1: hold where the arm is, with torque (an arm without torque would fall
        down); after 1 it wants `activate` again. Category 0 switches the torque off: it falls."""
        self._active = self._active and category == 2
        if category == 0:
            self._bus.release(self._ids)
        elif self._bus.holding and not self._bus.bus.fault:
            reading = self._bus.stay(self._ids)
            if reading is not None:
                self._sent = self._state(reading).q

    def close(self) -> None:
        if self._counts.state != "closed":
            self._bus.close()
        self._active = False
        self._counts.state = "closed"

    def health(self) -> Health:
        return self._counts.health()


def bus_of(cfg: Config, ctx: Context) -> tuple[FeetechBus, dict[str, Motor], RobotModel]:
    """The bus of the arm that `cfg` describes, shared by all devices of the run at its port, the
    calibrated motors, and the robot's model. Raises ConfigError for what does not fit."""
    model = load(cfg.model, cfg.tool)
    names = [*model.joints, *([cfg.jaw] if cfg.jaw else [])]
    motors = read(Path(cfg.calibration), names)
    buses: dict[str, Any] = ctx.worlds.setdefault(WORLD, {})
    if cfg.port not in buses:
        ids = {name: m.id for name, m in motors.items()}
        path = Path(cfg.calibration)

        def same(found: FeetechBus) -> None:
            check(path, motors, found.calibration(motors))

        bus = FeetechBus(
            SerialPort(cfg.port, BAUD), ids, ctx.clock, cfg.rate_hz,
            same if cfg.check_calibration else None,
        )  # fmt: skip
        buses[cfg.port] = (bus, motors, cfg.jaw)
    bus, shared, _ = buses[cfg.port]
    if shared != motors:
        raise ConfigError(f"two arms at {cfg.port}: a line has one arm with its jaw")
    return bus, motors, model


def connect(cfg: Config, ctx: Context) -> FeetechArm:
    """The arm, not open yet. Raises ConfigError for a model or a calibration that does not fit."""
    bus, motors, model = bus_of(cfg, ctx)
    return FeetechArm(cfg, ctx, model, motors, bus)


def find(seen: Seen) -> list[Found]:
    """Lines of servos, by pinging the ids 1 to 8 where ports may be asked; the highest id is taken
    for the jaw's."""
    return [f for port in seen.of_usb(ADAPTERS) for f in _at(port, seen.probe)]


def _at(port: Port, probe: bool) -> list[Found]:
    model, sure, jaw = "perhaps STS3215 servos", False, True
    if probe:
        ids, volts = servos_at(SerialPort(port.path, BAUD), WallClock(spin_ns=0), _OPEN_S)
        if not ids:
            return []
        model, sure, jaw = f"{len(ids)} STS3215 servos, {volts:.1f} V", True, len(ids) > 5
    address = port.address
    todo = {"calibration": "the file that `lerobot-calibrate` has written for this arm"}
    keys = {"port": address, "model": "so101"}
    arm = Found("arms", "feetech", address, model, port.serial, sure, keys, todo)
    if not jaw:
        return [arm]
    return [
        arm,
        Found("grippers", "feetech", address, "jaw, the last servo", port.serial, sure,
              {"port": address}),
    ]  # fmt: skip
