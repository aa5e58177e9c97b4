"""Devices behind small Protocols: Camera, ForceTorqueSensor, Arm, Gripper; and the World around
them, where it can be set up anew.

Drivers block in `read`; concurrency is written once, in `headway.drivers.latest`. The folder is the
registry: `open_device("cameras", "sim", table, ctx)` loads `drivers/cameras/sim.py` and calls its
`connect(cfg, ctx)`, whose `Config` is a strict struct.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Protocol

from headway import config, plugins
from headway.clock import Clock
from headway.drivers.kinematics import Chain
from headway.errors import ConfigError
from headway.types import (
    ArmState,
    Frame,
    GripperState,
    Health,
    Info,
    Limits,
    Sample,
    Sent,
    T_co,
    Vec,
    Wrench,
)


class Source(Protocol[T_co]):
    """Anything that yields stamped samples.

    `waits`: whether `read` waits for something outside (a socket, a port, a renderer). A source
    that does not needs no thread: whoever wants a sample takes one."""

    info: Info
    waits: bool

    def open(self, timeout_s: float) -> None:
        """Connect. Idempotent; moves nothing. Raises DeviceError."""

    def read(self, timeout_s: float) -> Sample[T_co]:
        """The next sample, waiting at most `timeout_s`. Raises Stale or DeviceError."""

    def close(self) -> None:
        """Bounded in time; never raises."""

    def health(self) -> Health: ...


class Camera(Source[Frame], Protocol):
    has_depth: bool


class ForceTorqueSensor(Source[Wrench], Protocol): ...


class Arm(Source[ArmState], Protocol):
    limits: Limits
    chain: Chain  # its kinematics up to the TCP

    def activate(self) -> None:
        """Goal := measured position, then torque on."""

    def command(self, q: Vec, *, deadline_ns: int) -> Sent:
        """Servo towards joint positions `q` (n,) [rad]. Raises DeviceError; non-finite values are
        refused and nothing reaches the wire."""

    def stop(self, category: int = 2) -> None:
        """Stop category 0, 1 or 2 of IEC 60204-1. A software stop is not a safety function."""


# Stops an arm without the loop and without its connection, as the watchdog process does when the
# loop hangs: called with the arm's config table, without `kind`. Raises what goes wrong.
RemoteStop = Callable[[dict[str, Any]], None]


class ArmModule(Protocol):
    """What each module of `drivers/arms` offers."""

    remote_stop: RemoteStop | None  # None: this arm stops only through the loop's connection
    Config: type[config.Struct]

    def connect(self, cfg: Any, ctx: Context, /) -> Arm:
        """The arm of the checked config `cfg`; not yet open."""


class Gripper(Source[GripperState], Protocol):
    stroke: float  # largest jaw opening [m]

    def command(self, width: float, *, force: float) -> None:
        """Move the jaws to `width` [m] with at most `force` [N]."""

    def stop(self) -> None: ...


class World(Protocol):
    """What stands around the robot, where that can be set up anew for each episode and can be asked
    how an episode ended: a simulated cell, a test rig that resets itself."""

    def reset(self, seed: int) -> str:
        """Set up the episode of `seed`, which alone decides it. Returns the instruction: what the
        world asks for."""

    def outcome(self) -> bool:
        """Whether what was asked for has been done, as the world's own sensors tell."""


@dataclass(frozen=True)
class Asked:
    """What a world asks of a run: the task's index, a place (x, y) [m] in the base frame that each
    named zone of the task has to hold, and the instructions, one of which each episode has. `name`
    is for messages."""

    name: str
    task: int
    places: Mapping[str, tuple[float, float]]
    instructions: tuple[str, ...]


@dataclass
class Context:
    """What a device may need beyond its own table: the clock, and worlds shared by several devices
    (the simulated cell, an opened recording), keyed by the module that made them."""

    clock: Clock
    worlds: dict[str, Any] = field(default_factory=dict)


def device_config(folder: str, table: dict[str, Any], where: str) -> tuple[ModuleType, Any]:
    """The module of the device that `table` describes, and its checked `Config`. `folder`:
    "cameras", "ft", "arms", "grippers" or "worlds"; `where`: the table's place, for errors.

    Raises ConfigError for no kind or an unknown one, an unknown key, or a value that does not fit.
    """
    rest = dict(table)
    kind = rest.pop("kind", None)
    if kind is None:
        raise ConfigError(f'{where} wants a key `kind`, for example kind = "sim"')
    module = plugins.load(f"drivers.{folder}", str(kind))
    return module, config.decode(rest, module.Config, where)


def open_device(
    folder: str, kind: str, table: dict[str, Any], ctx: Context, where: str = ""
) -> Any:
    """The device `kind` of `folder` from its config table without the kind. Raises what
    `device_config` raises."""
    place = where or f"[{folder}] kind {kind}"
    module, cfg = device_config(folder, {**table, "kind": kind}, place)
    return module.connect(cfg, ctx)
