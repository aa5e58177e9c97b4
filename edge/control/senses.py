"""What the loop sees of its devices: the newest valid values, or None and why."""

from __future__ import annotations

import numpy as np

from headway.clock import NS, Rate
from headway.drivers.latest import Latest
from headway.edge.control.jitter import Jitter
from headway.edge.control.log import NullLog
from headway.edge.control.station import Station
from headway.edge.control.stuck import StuckSensor
from headway.errors import DeviceError, Stale
from headway.types import ArmState, Frame, GripperState, T_co, Wrench


class Senses:
    """What the sensors of one episode say; whoever uses it fails closed on None. `trouble`: what
    was missing last."""

    def __init__(self, station: Station, log: NullLog) -> None:
        self._station, self._log = station, log
        self._cfg = cfg = station.settings.loop
        self._max_age_ns = round(cfg.max_age_s * NS)
        self._frame_age_ns = round(cfg.camera_max_age_s * NS)
        self._stuck = StuckSensor(cfg.ft_stuck_s)
        self.jitter = Jitter()  # of the arm's samples
        self.trouble = ""

    def arm_at_rest(self) -> ArmState:
        """The arm's state. Raises Stale."""
        return self._station.arm.latest(self._max_age_ns).value

    def read(self) -> tuple[ArmState | None, Wrench | None, GripperState | None]:
        """Arm, F/T sensor and gripper, each None without a fresh valid sample."""
        station, most = self._station, self._max_age_ns
        state = self._fresh(station.arm, most, self.jitter)
        wrench = self._fresh(station.ft, most) if station.ft else None
        if wrench is not None and self._stuck.check(wrench, station.clock.now()):
            self.trouble = f"the F/T sensor gives the same for {self._cfg.ft_stuck_s} s"
            self._log.once(station.clock.now(), "stuck", self.trouble)
            wrench = None
        grip = self._fresh(station.gripper, most) if station.gripper else None
        return state, wrench, grip

    def frames(self, t_ns: int) -> dict[str, Frame]:
        """By the name of the camera; those that are fresh."""
        images = {}
        for name, camera in self._station.cameras.items():
            frame = self._fresh(camera, self._frame_age_ns)
            if frame is not None:
                images[name] = frame
                self._log.image(t_ns, name, frame)
        return images

    def tare(self) -> None:
        """Average the wrench at rest: what is left over the tool's weight is the sensor's bias."""
        station, cfg = self._station, self._cfg
        if station.ft is None or cfg.tare_s <= 0:  # 0: a source that is tared already
            return
        samples = []
        for tick in Rate(cfg.hz, station.clock):
            state = station.arm.latest(self._max_age_ns).value
            sample = station.ft.latest(self._max_age_ns)
            samples.append((sample.value, state.tcp.quat))
            if not (sample.valid and np.isfinite(station.payload.at_sensor(*samples[-1])).all()):
                raise DeviceError(
                    f"wanted finite wrenches of an arm at rest to tare with, found {sample.value} "
                    f"{', '.join(sample.flags)}: check the F/T sensor and its cable"
                )
            if tick.index / cfg.hz >= cfg.tare_s:
                break
        station.payload.tare(samples)

    def _fresh(
        self, source: Latest[T_co], max_age_ns: int, jitter: Jitter | None = None
    ) -> T_co | None:
        """The newest valid value."""
        try:
            sample = source.latest(max_age_ns)
        except Stale as e:
            self.trouble = str(e)
        else:
            self._log.sampled(source.name, sample.stamp)
            if jitter is not None:
                jitter.step(sample.stamp)
            if sample.valid:
                return sample.value
            self.trouble = f"{source.name}: invalid sample {sample.flags}"
        self._log.once(self._station.clock.now(), source.name, self.trouble)
        return None
