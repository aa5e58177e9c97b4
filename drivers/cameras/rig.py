"""A camera of a rig: rendered in the rig's process, brought here over its socket."""

from __future__ import annotations

import numpy as np

from headway import config
from headway.clock import NS, Clock
from headway.drivers import Context
from headway.drivers.cameras import CameraName
from headway.drivers.cameras.sim import Config as CameraConfig
from headway.drivers.counts import Counts
from headway.drivers.rig import AskFrame, RigLink
from headway.errors import ConfigError, DeviceError
from headway.types import Frame, Health, Info, Sample, Stamp

_ANSWER_S = 10.0  # its renderer begins anew with each episode; meanwhile the last image grows old


class Config(config.Struct, frozen=True):
    """Keys of `[[camera]]` for the kind `rig`. `name` is that of a camera of the rig's file, which
    says how large and how fast it is."""

    name: CameraName = "wrist"


class RigCamera:
    """The camera that `of` describes, of the rig at the socket `address`."""

    waits = True

    def __init__(self, clock: Clock, address: str, of: CameraConfig) -> None:
        name = of.name
        self.info = Info("rig", f"{name} camera of the rig", uri="")
        self.has_depth, self.size = of.depth, (of.height, of.width)
        self._clock, self._name, self._address = clock, name, address
        self._counts = Counts(clock, round(NS / of.rate_hz))
        self._link: RigLink | None = None

    def open(self, timeout_s: float) -> None:
        if self._link is None:
            self._link = RigLink(self._address)
            self._counts.opened()

    def read(self, timeout_s: float) -> Sample[Frame]:
        if self._link is None:
            raise DeviceError(f"the {self.info.model} is closed: open it before reading")
        image = self._link.ask(AskFrame(self._name), _ANSWER_S).image
        assert image is not None
        size = (image.height, image.width)
        rgb = np.frombuffer(image.rgb, np.uint8).reshape(*size, 3)
        depth = None
        if image.depth is not None:
            depth = np.frombuffer(image.depth, np.uint16).reshape(size)
        frame = Frame(rgb, depth, np.array(image.intrinsics).reshape(3, 3), self._name)
        self._counts.sample(image.t_ns)
        return Sample(Stamp(image.t_ns, self._clock.now(), image.seq), frame)

    def close(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None
        self._counts.state = "closed"

    def health(self) -> Health:
        return self._counts.health()


def connect(cfg: Config, ctx: Context) -> RigCamera:
    """The camera, not open yet. Raises ConfigError in a run without a rig, and for a camera that
    its file does not have."""
    world = ctx.worlds.get("rig")
    if world is None:
        raise ConfigError('a camera of kind rig wants a `[cell]` of kind = "rig": add one')
    return RigCamera(ctx.clock, world.address, world.file.camera(cfg.name))
