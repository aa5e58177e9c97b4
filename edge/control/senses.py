"""What the loop sees of its devices: the newest valid value of each, or None and the reason."""

from __future__ import annotations

import numpy as np

from headway.clock import NS, Rate
from headway.drivers.latest import Latest
from headway.edge.control.jitter import Jitter
from headway.edge.control.log import NullLog
from headway.edge.control.station import Station
from headway.edge.control.stuck import StuckSensor
from headway.errors import DeviceError, Stale
from headway.types import ArmState, Frame, GripperState, OrderState, T_co, Wrench


class Senses:
    """Reads the sensors during one episode. A value is None where it is missing, too old or not
    valid, and whoever uses it has to treat None as unsafe. `trouble`: what was missing last."""

    def __init__(self, station: Station, log: NullLog) -> None:
        self._station, self._log = station, log
        self._cfg = cfg = station.settings.loop
        self._max_age_ns = round(cfg.max_age_s * NS)
        self._frame_age_ns = round(cfg.camera_max_age_s * NS)
        self._order_age_ns = round(cfg.station_max_age_s * NS)
        self._stuck = StuckSensor(cfg.ft_stuck_s)
        self.jitter = Jitter()  # of the arm's samples
        self.trouble = ""

    def arm_at_rest(self) -> ArmState:
        """The state of the arm, which has to be at rest. Raises Stale."""
        return self._station.arm.latest(self._max_age_ns).value

    def read(self) -> tuple[ArmState | None, Wrench | None, GripperState | None]:
        """State of the arm, wrench of the F/T sensor (in its own frame) and state of the gripper,
        each None without a valid sample of at most `loop.max_age_s`."""
        station, most = self._station, self._max_age_ns
        state = self._fresh(station.arm, most, self.jitter)
        wrench = self._fresh(station.ft, most) if station.ft else None
        if wrench is not None and self._stuck.check(wrench, station.clock.now()):
            self.trouble = f"the F/T sensor gives the same for {self._cfg.ft_stuck_s} s"
            self._log.once(station.clock.now(), "stuck", self.trouble)
            wrench = None
        grip = self._fresh(station.gripper, most) if station.gripper else None
        return state, wrench, grip

    def order(self) -> OrderState | None:
        """What the station says, None without a valid sample of at most `loop.station_max_age_s`,
        and where there is no station."""
        orders = self._station.orders
        return None if orders is None else self._fresh(orders, self._order_age_ns)

    def frames(self, t_ns: int) -> dict[str, Frame]:
        """The cameras' images of at most `loop.camera_max_age_s`, by camera name. They are recorded
        as seen at the tick `t_ns` [ns]."""
        images = {}
        for name, camera in self._station.cameras.items():
            frame = self._fresh(camera, self._frame_age_ns)
            if frame is not None:
                images[name] = frame
                self._log.image(t_ns, name, frame)
        return images

    def tare(self) -> None:
        """Measure the F/T sensor's bias with the arm at rest: the mean wrench over `loop.tare_s`
        without the tool's weight. Raises Stale, and DeviceError for a wrench or a TCP orientation
        that is not finite or not valid."""
        station, cfg = self._station, self._cfg
        if station.ft is None or cfg.tare_s <= 0:  # 0: the source is tared already
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
