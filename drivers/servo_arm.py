"""An arm of servos at one line (`headway.drivers.servo_bus`), whatever their make."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Annotated, Any

import numpy as np
from msgspec import Meta

from headway import config
from headway.clock import NS, WallClock
from headway.drivers import Context
from headway.drivers.finding import Found, Port, Seen
from headway.drivers.model import RobotModel, load
from headway.drivers.servo_bus import ServoBus, servos_at
from headway.drivers.servo_calibration import RAD, Motor, check, read
from headway.drivers.servo_device import ServoDevice
from headway.drivers.servo_family import Family, Reading
from headway.drivers.transports.serial import SerialPort
from headway.errors import ConfigError, DeviceError
from headway.types import ArmState, Info, Sample, Sent, Stamp, Vec

WORLD = "servos"  # under which devices of the run find the lines, by port
_OPEN_S = 1.0
_LEAD_NS = NS // 1000  # from the measurement to the end of an exchange: half of its 2 ms


class ServoArmConfig(config.Struct, frozen=True):
    """Keys that arms of servos have. `port`: a path, one of /dev/serial/by-id, or
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


class ServoArm(ServoDevice):
    """The arm of `model` whose servos are at `bus`; `motors` has the calibration of its joints.
    `kind` names its driver. `nm_per_a` [Nm/A]: torque of a joint per current of its servo, 0 where
    that is not known: then the arm states no torques."""

    def __init__(
        self,
        kind: str,
        cfg: ServoArmConfig,
        ctx: Context,
        model: RobotModel,
        motors: dict[str, Motor],
        bus: ServoBus,
        nm_per_a: float,
    ) -> None:
        info = Info(kind, f"{model.name} of {bus.family.name} servos", uri=cfg.port)
        super().__init__(info, ctx.clock, bus)
        self.info = info
        self.model, self.chain = model, model.chain
        self._nm_per_a = nm_per_a
        self._cfg, self._clock = cfg, ctx.clock
        self._joints = tuple(motors[name] for name in model.joints)
        self._ids = tuple(m.id for m in self._joints)
        self._places = [bus.ids.index(i) for i in self._ids]
        # Only what both the model and the calibration allow.
        ends = np.array([[m.angle(m.range_min), m.angle(m.range_max)] for m in self._joints])
        self._low = np.maximum(ends.min(axis=1), model.limits.q_min)
        self._high = np.minimum(ends.max(axis=1), model.limits.q_max)
        self.limits = replace(model.limits, q_min=self._low, q_max=self._high)
        self._active = False
        self._sent: Vec = np.full(model.n, np.nan)

    def open(self, timeout_s: float) -> None:
        if not self.is_open:
            super().open(timeout_s)
            self.info = replace(self.info, firmware=self.bus.firmware)
            self._active = False

    def failed(self) -> None:
        self._active = False

    def read(self, timeout_s: float) -> Sample[ArmState]:
        try:
            arrival, value = self.newest(timeout_s)
        finally:
            self.counts.crc_errors = self.bus.crc_errors
        t_ns = arrival - _LEAD_NS
        seq = self.counts.sample(t_ns)
        return Sample(Stamp(t_ns, arrival, seq, error_ns=_LEAD_NS), self._state(value))

    def _state(self, value: Reading) -> ArmState:
        joints, places = self._joints, self._places
        q = np.array([m.angle(value.position[k]) for m, k in zip(joints, places, strict=True)])
        dq = np.array([m.sign * value.speed[k] * RAD for m, k in zip(joints, places, strict=True)])
        tau: Vec | None = None
        if self._nm_per_a > 0.0:
            amperes = [m.sign * value.ampere[k] for m, k in zip(joints, places, strict=True)]
            tau = np.array(amperes) * self._nm_per_a
        tcp, twist = self.chain.motion(q, dq)
        q_ref = np.where(np.isfinite(self._sent), self._sent, q)
        return ArmState(q, dq, q_ref, tcp, twist, tau_ext=tau, powered=self._active)

    def activate(self) -> None:
        reading = self.bus.hold(self.bus.ids)  # with the jaw, so that its commands never wait
        self._sent = self._state(reading).q
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
        self.bus.goal({m.id: m.counts(float(x)) for m, x in zip(self._joints, q, strict=True)})
        self._sent = q.copy()
        return Sent(self._sent, self._clock.now())

    def stop(self, category: int = 2) -> None:
        """Category 2 and 1: hold where the arm is, with torque (an arm without torque would fall
        down); after 1 it wants `activate` again. Category 0 switches the torque off: it falls."""
        self._active = self._active and category == 2
        if category == 0:
            self.bus.release(self._ids)
        elif self.bus.holding and not self.bus.bus.fault:
            reading = self.bus.stay(self._ids)
            if reading is not None:
                self._sent = self._state(reading).q

    def close(self) -> None:
        super().close()
        self._active = False


def bus_of(
    cfg: ServoArmConfig, ctx: Context, family: Family
) -> tuple[ServoBus, dict[str, Motor], RobotModel]:
    """The bus of the arm of `family` that `cfg` describes, shared by all devices of the run at its
    port, the calibrated motors, and the robot's model. Raises ConfigError for what does not fit."""
    model = load(cfg.model, cfg.tool)
    names = [*model.joints, *([cfg.jaw] if cfg.jaw else [])]
    path = config.at_home(cfg.calibration)  # where LeRobot leaves it: below ~/.cache
    motors = read(path, names, servo_inverts=family.servo_inverts)
    buses: dict[str, Any] = ctx.worlds.setdefault(WORLD, {})
    if cfg.port not in buses:
        ids = {name: m.id for name, m in motors.items()}

        def same(found: ServoBus) -> None:
            check(path, motors, found.calibration(motors))

        bus = ServoBus(
            SerialPort(cfg.port, family.baud), ids, ctx.clock, cfg.rate_hz, family,
            same if cfg.check_calibration else None,
        )  # fmt: skip
        buses[cfg.port] = (bus, motors, cfg.jaw)
    bus, shared, _ = buses[cfg.port]
    if shared != motors:
        raise ConfigError(f"two arms at {cfg.port}: a line has one arm with its jaw")
    return bus, motors, model


def find_lines(
    kind: str, seen: Seen, adapters: Iterable[tuple[int, int]], family: Family
) -> list[Found]:
    """Lines of servos of `family` at ports whose USB adapter is one of `adapters`, by asking the
    ids 1 to 8 where ports may be asked; the highest id is taken for the jaw's."""
    return [f for port in seen.of_usb(adapters) for f in _at(kind, port, seen.probe, family)]


def _at(kind: str, port: Port, probe: bool, family: Family) -> list[Found]:
    model, sure, jaw = f"perhaps {family.name} servos", False, True
    if probe:
        line = SerialPort(port.path, family.baud)
        ids, volts = servos_at(line, WallClock(spin_ns=0), family, _OPEN_S)
        if not ids:
            return []
        model, sure, jaw = f"{len(ids)} {family.name} servos, {volts:.1f} V", True, len(ids) > 5
    address = port.address
    todo = {"calibration": "the file that `lerobot-calibrate` has written for this arm"}
    keys = {"port": address, "model": "so101"}
    found = [Found("arms", kind, address, model, port.serial, sure, keys, todo)]
    if jaw:
        of_jaw = {"port": address}
        found.append(
            Found("grippers", kind, address, "jaw, the last servo", port.serial, sure, of_jaw)
        )
    return found
