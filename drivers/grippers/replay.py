"""A gripper that plays a recording back. Commands are checked, then ignored."""

from __future__ import annotations

import math
from typing import Annotated

from msgspec import Meta

from headway import config
from headway.drivers import Context
from headway.drivers.replay_source import ReplaySource, Tape, bad, info, tape_of
from headway.errors import DeviceError
from headway.types import GripperState

PATHS = ("path",)  # keys of `Config`, see `headway.plugins.with_paths`


class Config(config.Struct, frozen=True):
    """Keys of `[gripper]` for the kind `replay`. `path`: the recording; `topic`: where its
    telemetry is."""

    path: str
    topic: str = "/telemetry"
    stroke: Annotated[float, Meta(gt=0.0, le=1.0)] = 0.085  # of the recorded gripper [m]


class ReplayGripper(ReplaySource[GripperState]):
    """The gripper of the telemetry on `tape`. A sample with a width of NaN or infinity is not
    valid."""

    def __init__(self, tape: Tape, cfg: Config) -> None:
        columns = ("width", "width_ref", "grip_force", "vacuum")
        times, self._rows = tape.rows(cfg.topic, columns)
        super().__init__(tape, info(tape, "gripper"), times)
        self.stroke = cfg.stroke

    def sample(self, i: int) -> tuple[GripperState, tuple[str, ...]]:
        row = self._rows[i]
        width, ref, force, vacuum = (
            float(row[n]) for n in ("width", "width_ref", "grip_force", "vacuum")
        )
        known = None if math.isnan(vacuum) else vacuum
        return GripperState(width, ref, force, known), bad(width=width)

    def activate(self) -> None:
        """Nothing: a recording obeys nobody."""

    def command(self, width: float, *, force: float) -> None:
        if not (math.isfinite(width) and math.isfinite(force)):
            raise DeviceError(f"the gripper wants finite numbers, found {width} m, {force} N")

    def stop(self) -> None: ...


def connect(cfg: Config, ctx: Context) -> ReplayGripper:
    """The recorded gripper, not open yet. Raises RecordingError for a file that cannot be read or
    lacks `topic`, and ConfigError where that has no rows with a gripper."""
    return ReplayGripper(tape_of(cfg.path, ctx), cfg)
