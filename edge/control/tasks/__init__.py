"""Tasks: what the robot is to do in an episode, and how far it is, judged by its own sensors.

Each module of this folder is a kind, and so is each module that another package names in an entry
point of the group `headway.tasks`. A kind's module has

- `Config`, a `headway.config.Struct`: the keys of `[task]` beyond those of `Common`;
- `make(cfg, about)`, which gives a new `Task` for one episode. It is also called once before the
  first episode, with the seed 0, so that what is wrong is found before anything moves;
- and, where the task may contradict the world of a `[cell]`, `check(cfg, name, asked, where)`: it
  raises ConfigError then. `name` is the task's, `asked` what the world expects
  (`headway.drivers.Asked`), and `where` names the section in errors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

import msgspec
from msgspec import Meta

from headway import config, plugins, shipped
from headway.config import Positive
from headway.drivers.kinematics import Chain
from headway.edge.control.events import EventKind
from headway.errors import ConfigError
from headway.types import ArmState, GripperState, OrderState, Pose, Vec

FOLDER = "edge.control.tasks"
MOST_PHASES = 8  # PRO's features have one bit for each
_NEEDED = ("phases", "phase", "retries", "recovering", "done", "outcome", "goal", "step")


class Sensed(msgspec.Struct, frozen=True):
    """What a task is told at a tick. None: no device gives it, or not well enough to be used."""

    t_ns: int  # of the tick, on the run's clock [ns]
    dt: float  # since the tick before [s]
    elapsed: float  # since the first tick [s]
    state: ArmState | None
    # On the tool, at the TCP and in the TCP frame (6,) [N, Nm]; the next tick refills the array.
    wrench: Vec | None
    grip: GripperState | None
    ended: bool = False  # the policy says that it is done
    operator: bool = False  # an operator has ended the episode; it ends with this tick
    order: OrderState | None = None  # what the station says of the order


Place = Annotated[float, Meta(ge=-10.0, le=10.0)]  # a coordinate within reach of any arm [m]

# Is called in the tick in which something happens, with the event's kind, a text for people, and
# the numbers of the event by name.
OnEvent = Callable[[EventKind, str, dict[str, float]], None]


@dataclass(frozen=True)
class TaskAbout:
    """What a task may know of its episode: `seed`, from which alone it draws random numbers; the
    names of the arm's `joints`, and `chain`, its kinematics up to the TCP; the largest opening
    `stroke` [m] of the jaws, None without a gripper; and `happened`, which records an event."""

    seed: int
    joints: tuple[str, ...]
    chain: Chain
    stroke: float | None
    happened: OnEvent


class Task(Protocol):
    """A task in one episode. It may also have two attributes that are not listed here: `numbers`,
    floats by name (with the unit as a suffix, such as `distance_m`), which go into the result as
    they are at the end; and `instruction`, a text or None: whenever it becomes another text, the
    policy is given that."""

    @property
    def phases(self) -> tuple[str, ...]:
        """Names of the phases, at most MOST_PHASES. They do not change."""

    @property
    def phase(self) -> int:
        """Index of the present phase in `phases`."""

    @property
    def retries(self) -> int:
        """How often something had to be tried again so far."""

    @property
    def recovering(self) -> bool:
        """Whether the robot is getting ready to try again."""

    @property
    def done(self) -> bool:
        """Whether the task ends the episode at this tick."""

    @property
    def outcome(self) -> bool | None:
        """Whether the task has been carried out; None where its sensors cannot judge that. The
        world's verdict counts then, where there is a world."""

    @property
    def goal(self) -> Pose | None:
        """Where the TCP should be, None where there is no such place. An orientation of NaN means
        that only the position matters. A task that has a goal has one from the beginning: where a
        new task has none, policies that want to know the goal are refused."""

    def step(self, sensed: Sensed) -> None:
        """Take in one tick. Called once per tick, before the row of telemetry is filled."""


class Kind(Protocol):
    """What the module of a kind has; it may have `check` too (see above)."""

    Config: type[config.Struct]

    def make(self, cfg: Any, about: TaskAbout, /) -> Task:
        """A new task for one episode. Raises ConfigError for a robot that the task cannot judge."""


class Common(config.Struct, frozen=True):
    """The keys of `[task]` that all kinds have."""

    kind: Annotated[str, Meta(min_length=1)] = shipped.TASK
    # what the task is called, to PRO and in recordings; None: as its kind
    name: Annotated[str, Meta(min_length=1)] | None = None
    limit_s: Positive = 18.0  # time limit of an episode [s]


@dataclass(frozen=True)
class TaskSettings:
    """The section `[task]` of a run: `kind`, `name` and the time limit `limit_s` [s] of an episode,
    the `module` of the kind, and its checked `cfg`."""

    kind: str
    name: str
    limit_s: float
    module: Kind
    cfg: Any

    def make(self, about: TaskAbout) -> Task:
        """A new task for the episode that `about` describes. Raises ConfigError for a task that
        does not fit the robot, lacks an attribute of `Task`, or has too many phases."""
        task = self.module.make(self.cfg, about)
        lacks = [name for name in _NEEDED if not hasattr(task, name)]
        if lacks or not callable(task.step):
            raise ConfigError(
                f"task {self.name}: wanted {', '.join(_NEEDED[:-1])} and a method step(sensed), "
                f"found {type(task).__name__} without {', '.join(lacks) or 'a method step'}: add "
                f"what is missing in the kind {self.kind} (docs/tasks.md)"
            )
        if len(task.phases) > MOST_PHASES:
            raise ConfigError(
                f"task {self.name} wants at most {MOST_PHASES} phases, found {len(task.phases)} "
                f"({', '.join(task.phases)}): join some of them in the kind {self.kind}"
            )
        return task


def index_of(name: str, known: Sequence[str]) -> float:
    """Index of the task `name` among those that PRO knows; NaN, which is not known, for another."""
    return known.index(name) if name in known else math.nan


def decode(table: dict[str, Any], where: str) -> TaskSettings:
    """The checked section `[task]` that `table` holds; `where` names it in errors. Raises
    ConfigError."""
    own = {f.encode_name for f in msgspec.structs.fields(Common)}
    common = config.decode({k: v for k, v in table.items() if k in own}, Common, where)
    try:
        module: Any = plugins.load(FOLDER, common.kind)
    except ConfigError as e:
        raise ConfigError(f"{where}: {e}") from None
    for name in ("Config", "make"):
        if not hasattr(module, name):
            raise ConfigError(
                f"{where}: the kind {common.kind} wants `{name}` in its module {module.__name__}, "
                "found none: see headway.edge.control.tasks"
            )
    rest = {k: v for k, v in table.items() if k not in own}
    valid = [*own, *(f.encode_name for f in msgspec.structs.fields(module.Config))]
    for key in rest:
        if key == "index" and key not in valid:
            raise ConfigError(
                f"{where}: `index` is no longer a key: PRO is told the task's `name`, by default "
                "its kind; leave `index` out"
            )
        if key not in valid:
            raise ConfigError(f"{where}: unknown key `{key}`: {config.suggest(key, valid)}")
    cfg = config.decode(rest, module.Config, where)
    return TaskSettings(common.kind, common.name or common.kind, common.limit_s, module, cfg)
