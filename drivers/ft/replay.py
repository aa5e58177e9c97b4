"""A force/torque sensor that plays a recording back.

Telemetry holds the wrench in the TCP frame, with gravity and bias already removed: a run that plays
it back must not compensate a second time.
"""

from __future__ import annotations

from headway import config
from headway.drivers import Context
from headway.drivers.replay_source import ReplaySource, Tape, bad, info, tape_of
from headway.types import Wrench

PATHS = ("path",)  # keys of `Config`, see `headway.plugins.with_paths`


class Config(config.Struct, frozen=True):
    """Keys of `[ft]` for the kind `replay`. `path`: the recording; `topic`: where its telemetry is;
    `frame_id`: the frame of the recorded wrench."""

    path: str
    topic: str = "/telemetry"
    frame_id: str = "tcp"


class ReplayForceTorque(ReplaySource[Wrench]):
    """The wrench of the telemetry on `tape`. A sample with NaN or infinity is not valid."""

    def __init__(self, tape: Tape, cfg: Config) -> None:
        times, self._rows = tape.rows(cfg.topic, ("wrench",))
        super().__init__(tape, info(tape, "F/T sensor"), times)
        self._frame = cfg.frame_id

    def sample(self, i: int) -> tuple[Wrench, tuple[str, ...]]:
        w = self._rows["wrench"][i].copy()
        return Wrench(w[:3], w[3:], self._frame), bad(wrench=w)


def connect(cfg: Config, ctx: Context) -> ReplayForceTorque:
    """The recorded sensor, not open yet. Raises RecordingError for a file that cannot be read or
    lacks `topic`, and ConfigError where that has no rows with a wrench."""
    return ReplayForceTorque(tape_of(cfg.path, ctx), cfg)
