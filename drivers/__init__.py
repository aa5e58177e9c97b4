"""The Protocols that every device implements (Camera, ForceTorqueSensor, Arm, Gripper,
OrderStation, Input, and World for surroundings that can be reset), and the functions that find and
open a device.

A driver may block in `read`; the threads that this needs are all in `headway.drivers.latest`. The
folder is the registry: `open_device("cameras", "sim", table, ctx)` loads `drivers/cameras/sim.py`,
decodes `table` into that module's strict struct `Config`, and calls its `connect(cfg, ctx)`. A
module may also offer `find`, for `headway devices` (`headway.drivers.finding`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Protocol

from headway import config, plugins
from headway.actions import ActionSpace
from headway.clock import Clock
from headway.drivers.kinematics import Chain
from headway.drivers.model import RobotModel
from headway.errors import ConfigError
from headway.types import (
    ArmState,
    Frame,
    GripperState,
    Health,
    Info,
    Limits,
    OrderState,
    Sample,
    Sent,
    T_co,
    Vec,
    Wrench,
)


class Source(Protocol[T_co]):
    """Anything that yields stamped samples.

    `waits`: whether `read` waits for something outside the program (a socket, a port, a renderer).
    A source that never waits needs no reader thread: the caller reads it directly."""

    info: Info
    waits: bool

    def open(self, timeout_s: float) -> None:
        """Connect within `timeout_s` [s]. Does nothing when already open, and never moves the
        robot. Raises DeviceError."""

    def read(self, timeout_s: float) -> Sample[T_co]:
        """The next sample, waiting at most `timeout_s` [s]; 0 does not wait. Raises Stale when no
        sample came in time, and DeviceError when the device failed."""

    def close(self) -> None:
        """Disconnect. Returns within a bounded time and never raises."""

    def health(self) -> Health:
        """The present state of the device, and counts since it was opened."""


class Camera(Source[Frame], Protocol):
    """A camera. `has_depth`: whether its frames have a depth image. Each sample has arrays of its
    own, since policies may look back at earlier ones. A camera whose images have a size that is
    known before it is open has it in `size`, (height, width) [px]."""

    has_depth: bool


class ForceTorqueSensor(Source[Wrench], Protocol):
    """A force/torque sensor. Where its readings include the tool's weight and a bias,
    `edge.control.payload` takes them out."""


class Arm(Source[ArmState], Protocol):
    """An arm of n joints, of the robot `model`. Commands are obeyed after `activate` only."""

    model: RobotModel
    limits: Limits  # those of `model`, or what is left of them, as by a calibration
    chain: Chain  # that of `model`: its kinematics up to the TCP

    def activate(self) -> None:
        """Set the servo's goal to the measured position, then switch the torque on."""

    def command(self, q: Vec, *, deadline_ns: int) -> Sent:
        """Servo towards joint positions `q` (n,) [rad], to be reached at `deadline_ns` [ns] of the
        run's clock. Returns the positions sent. Raises DeviceError, also for values that are not
        finite; nothing is sent then."""

    def stop(self, category: int = 2) -> None:
        """Stop with category 0, 1 or 2 of IEC 60204-1. A software stop is not a safety function."""


# A function that stops an arm over a connection of its own, called by the watchdog process when the
# control loop hangs. Its argument is the arm's config table without `kind`. It may raise anything.
RemoteStop = Callable[[dict[str, Any]], None]


class ArmModule(Protocol):
    """What each module of `drivers/arms` offers."""

    remote_stop: RemoteStop | None  # None: only the loop's own connection can stop this arm
    Config: type[config.Struct]

    def connect(self, cfg: Any, ctx: Context, /) -> Arm:
        """The arm that `cfg`, an instance of `Config`, describes; it is not open yet."""


class Gripper(Source[GripperState], Protocol):
    """A gripper with two jaws that open up to `stroke`."""

    stroke: float  # largest jaw opening [m]

    def activate(self) -> None:
        """Get ready to take commands, and leave a fault. Does nothing where it is ready; else the
        jaws may move, and what they hold may fall. Called with each episode. Raises DeviceError."""

    def command(self, width: float, *, force: float) -> None:
        """Move the jaws to the opening `width` [m] with at most `force` [N]. Raises DeviceError,
        also for numbers that are not finite."""

    def stop(self) -> None:
        """Stop the jaws where they are."""


class OrderStation(Source[OrderState], Protocol):
    """The station that the robot works at: it hands out the lines of an order one after the other,
    and its sensors confirm what has arrived."""


class Input(Protocol):
    """A device that a person steers by. `actions` has one row (`chunk` = 1): the velocity of the
    TCP, or joint positions of an arm of the same joints."""

    info: Info
    actions: ActionSpace

    def open(self, timeout_s: float) -> None:
        """Connect within `timeout_s` [s]. Does nothing when already open. Raises DeviceError, and
        Missing without its package."""

    def activate(self) -> None:
        """A person begins to steer: what was done before does not count, and a fault is left.
        Raises DeviceError where the device is still in fault."""

    def reset(self) -> None:
        """Begin an episode, with the jaws open."""

    def read(self) -> Vec | None:
        """The action (d,) of this moment, None while nobody steers: no sign of life for as long as
        the device allows, or a dead man's button that is released. Never waits. Raises DeviceError
        when the device failed."""

    def close(self) -> None:
        """Disconnect. Returns within a bounded time and never raises."""


class World(Protocol):
    """The surroundings of the robot, where a program can reset them for each episode and ask how
    the episode ended: a simulated cell, or a test rig that resets itself. The module of a world
    whose `connect` starts something also offers `describe(cfg, ctx)`, which makes its devices
    known and starts nothing."""

    def reset(self, seed: int) -> str:
        """Set up an episode; the same `seed` always gives the same one. Returns the instruction
        for the policy, "" where the world gives none."""

    def outcome(self) -> bool | None:
        """Whether the world's own sensors report that the instruction has been carried out; None
        where they cannot tell."""


@dataclass(frozen=True)
class Asked:
    """What a world expects of a run's configuration: the name of the `task` that it is built for,
    None for any; for each named zone of that task a point (x, y) [m] in the base frame that must
    lie inside it; and the instructions that episodes may give, () where the run's configuration
    gives it. `name` is for messages."""

    name: str
    task: str | None
    places: Mapping[str, tuple[float, float]]
    instructions: tuple[str, ...]


@dataclass
class Context:
    """What a device may need beyond its own config table: the run's clock, and objects that several
    devices share (the simulated cell under "sim", opened recordings)."""

    clock: Clock
    worlds: dict[str, Any] = field(default_factory=dict)


def device_config(folder: str, table: dict[str, Any], where: str) -> tuple[ModuleType, Any]:
    """The module of the device that `table` describes, and its checked `Config`. `folder` is
    "cameras", "ft", "arms", "grippers", "stations", "inputs" or "worlds"; `where` names the table
    in errors.

    Raises ConfigError for a missing or unknown `kind`, an unknown key, or an unfit value.
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
    """The device `kind` of `folder`, not open yet. `table` is its config table without `kind`;
    `where` names it in errors. Raises ConfigError like `device_config`, and what the module's
    `connect` raises."""
    place = where or f"[{folder}] kind {kind}"
    module, cfg = device_config(folder, {**table, "kind": kind}, place)
    return module.connect(cfg, ctx)
