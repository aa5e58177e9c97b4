"""A rig as a world: the simulated cell behind emulated devices, in a process of its own.

The run's drivers are those of real devices and know nothing of it; only the episodes, their
outcome and the images of a camera of kind `rig` come from it directly.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NamedTuple

from msgspec import Meta

from headway import config
from headway.drivers import Asked, Context
from headway.drivers.rig import AskOutcome, AskReset, RigFile, RigLink, RigProcess, read_rig_file
from headway.drivers.worlds import sim
from headway.errors import ConfigError

_RESET_S = 30.0


class Config(config.Struct, frozen=True):
    """Keys of `[cell]` for the kind `rig`. `file` describes the rig; `start_s` [s]: how long it may
    take to start."""

    file: Annotated[str, Meta(min_length=1)]
    start_s: config.Seconds = 60.0


def asked(cfg: Config, where: str) -> Asked:
    """What the scene of the rig's cell expects of a run; see `headway.drivers.worlds.sim`."""
    return sim.asked(read_rig_file(Path(cfg.file)).cell, where)


class RigPlan(NamedTuple):
    """A rig that has not been started: what its `file` says. It has no socket yet."""

    file: RigFile
    address: str = ""


class RigWorld:
    """The world of the rig that `cfg` names, started here: `file` describes it, `address` is its
    socket."""

    def __init__(self, cfg: Config) -> None:
        self.file = read_rig_file(Path(cfg.file))
        self._process = RigProcess(Path(cfg.file), cfg.start_s)
        self.address = self._process.address
        self._link = RigLink(self.address)

    def reset(self, seed: int) -> str:
        return self._link.ask(AskReset(seed), _RESET_S).text

    def outcome(self) -> bool | None:
        return self._link.ask(AskOutcome(), 1.0).done

    def close(self) -> None:
        """End the rig; it ends with this process at the latest."""
        self._link.close()
        self._process.close()


def describe(cfg: Config, ctx: Context) -> None:
    """Put what the rig's file says into `ctx`, without starting the rig: its cameras can then be
    described, but not be opened. Raises ConfigError."""
    ctx.worlds["rig"] = RigPlan(read_rig_file(Path(cfg.file)))


def connect(cfg: Config, ctx: Context) -> RigWorld:
    """Start the rig, and put it into `ctx`, where cameras of kind `rig` find it. Raises ConfigError
    where the clock is not that of the wall, since its devices keep their own time; DeviceError
    where the rig does not start."""
    if not ctx.clock.realtime:
        raise ConfigError(
            "[cell] kind rig wants a run in real time, found one in lock-step: its devices keep "
            "their own time; add --realtime"
        )
    world = ctx.worlds["rig"] = RigWorld(cfg)
    return world
