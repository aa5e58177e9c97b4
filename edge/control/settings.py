"""The run configuration: one TOML file that names the robot, the task, the policy and the limits.
`load(path)` reads and checks it."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

from msgspec import Meta, structs

from headway import config
from headway.config import Hertz, Seconds, SecondsOrNone
from headway.drivers import Asked, device_config
from headway.edge.control.payload import ToolConfig
from headway.edge.control.tasks.pick_place import TaskConfig, ZoneConfig
from headway.edge.guard.guard import GuardConfig
from headway.edge.host.realtime import RealtimeConfig
from headway.edge.motion.chunks import Seam
from headway.edge.policy.remote.layout import RemoteConfig
from headway.edge.pro.risk import RiskConfig
from headway.errors import ConfigError

FilePath = Annotated[str, Meta(min_length=1)]
LONGEST_TICKS = 10_000_000  # of an episode, 5.5 h at 500 Hz: memory is kept for every tick


class LoopConfig(config.Struct, frozen=True):
    """The `[loop]` section."""

    hz: Annotated[float, Meta(ge=1.0, le=10_000.0)] = 500.0
    policy_hz: Hertz | None = None  # None: the policy's own rate
    pro_hz: Hertz = 50.0
    max_age_s: Seconds = 0.02  # of arm, wrench and gripper samples
    # a wrench that stays the same in every bit for this long counts as missing; 0: never
    ft_stuck_s: SecondsOrNone = 0.0
    camera_max_age_s: Seconds = 0.25  # of camera images
    # a chunk made from an observation older than this is not followed
    chunk_max_age_s: Seconds = 1.0
    grip_force: Annotated[float, Meta(gt=0.0, le=10_000.0)] = 15.0  # [N]
    # before each episode the F/T sensor is tared for this long, at rest; 0: it is tared already
    tare_s: Annotated[float, Meta(ge=0.0, le=60.0)] = 0.1
    # Without a sensor that the guard needs, or without a chunk, the arm brakes and holds; after
    # this long the episode ends as a fault.
    fault_after_s: Seconds = 2.0
    # in real time the loop is killed after this long without a tick; 0: never
    watchdog_s: SecondsOrNone = 0.5
    restart_s: Seconds = 20.0  # as fault_after_s, while a policy that crashed is started again

    def __post_init__(self) -> None:
        for key in ("policy_hz", "pro_hz"):
            rate = getattr(self, key)
            if rate is not None and not divides(rate, self.hz):
                raise ValueError(f"{key} wants a divisor of hz = {self.hz}, found {rate}")
        if 0.0 < self.watchdog_s < 2.0 / self.hz:
            raise ValueError(
                f"watchdog_s wants 0 or at least two ticks, {2.0 / self.hz:g} s, found "
                f"{self.watchdog_s}"
            )


def divides(rate: float, hz: float) -> bool:
    """Whether something that happens `rate` times a second [Hz] falls on every n-th tick of a loop
    at `hz` [Hz], with n a whole number."""
    return 0.0 < rate <= hz and abs(hz / rate - round(hz / rate)) < 1e-9


class PolicyConfig(config.Struct, frozen=True):
    """The `[policy]` section: either a bundle, which runs on this computer, or a policy server,
    `[policy.remote]`."""

    bundle: FilePath | None = None
    engine: str = "auto"
    # how a new chunk takes over from the one before, see edge/motion/chunks.py
    seam: Seam = "blend"
    ensemble_decay: Annotated[float, Meta(ge=-10.0, le=10.0)] = 0.01  # of seam = "ensemble"
    # Whether each chunk is checked as a whole before it is followed: joint limits, speed,
    # workspace, collisions. flag: a chunk that fails is logged; refuse: it is not followed either.
    # The guard checks every single command in any case.
    chunk_check: Literal["off", "flag", "refuse"] = "flag"
    # in lock-step only: from an observation to its chunk [s]
    latency_s: Annotated[float, Meta(ge=0.0, le=60.0)] = 0.02
    # in real time only, for the policy's own process
    hang_s: Seconds = 1.0  # without an answer for this long, it is killed and started again
    restarts: Annotated[int, Meta(ge=0, le=1000)] = 3  # per episode; the next end is final
    warm_up: Annotated[int, Meta(ge=0, le=1000)] = 3  # inferences at the start, not used
    remote: RemoteConfig | None = None

    def __post_init__(self) -> None:
        if (self.bundle is None) == (self.remote is None):
            raise ValueError("[policy] wants either `bundle` or [policy.remote]")


class ProConfig(config.Struct, frozen=True):
    """The `[pro]` section; a run without it has no signals of PRO."""

    bundle: FilePath  # of the PRO head
    engine: str = "auto"
    features: Literal["auto", "cuda", "cpp", "numpy"] = "auto"  # what computes them


class Settings(config.Struct, frozen=True):
    """The whole configuration. The tables `arm`, `ft`, `gripper`, `camera` and `cell` have the key
    `kind` and the keys of the driver or world of that kind."""

    arm: dict[str, Any]
    task: TaskConfig
    guard: GuardConfig
    ft: dict[str, Any] | None = None
    gripper: dict[str, Any] | None = None
    camera: list[dict[str, Any]] = []  # noqa: RUF012 - msgspec copies defaults
    cell: dict[str, Any] | None = None
    tool: ToolConfig = ToolConfig()
    loop: LoopConfig = LoopConfig()
    policy: PolicyConfig | None = None
    pro: ProConfig | None = None
    risk: RiskConfig | None = None
    realtime: RealtimeConfig = RealtimeConfig()
    instruction: str | None = None  # for the policy; a [cell] gives its own instructions

    def __post_init__(self) -> None:
        if self.guard.risk_max is not None and self.risk and self.risk.abort_alpha is not None:
            raise ValueError(
                f"a risk that stops the robot wants one limit, found guard.risk_max = "
                f"{self.guard.risk_max:g} and risk.abort_alpha = {self.risk.abort_alpha:g}: leave "
                "one of them out"
            )
        if self.task.limit_s * self.loop.hz > LONGEST_TICKS:
            raise ValueError(
                f"task.limit_s wants at most {LONGEST_TICKS / self.loop.hz:g} s at loop.hz = "
                f"{self.loop.hz:g}, found {self.task.limit_s:g}: room is kept for every tick"
            )


def with_policy_server(settings: Settings, url: str) -> Settings:
    """`settings` with the policy server at `url` (ws:// or wss://) instead of the policy that
    `[policy]` names."""
    old = settings.policy
    if old is None:
        new = PolicyConfig(remote=RemoteConfig(url))
    else:
        remote = structs.replace(old.remote, url=url) if old.remote else RemoteConfig(url)
        new = structs.replace(old, bundle=None, remote=remote)
    return structs.replace(settings, policy=new)


def load(path: Path | str) -> Settings:
    """Read the run configuration at `path`. Relative paths in it start at the folder of that file,
    or of the file that a symbolic link leads to; those of the result are absolute. Raises
    ConfigError."""
    settings = config.load(path, Settings)
    folder = Path(path).resolve().parent
    for part, key in (("policy", "bundle"), ("pro", "bundle"), ("risk", "calibration")):
        section = getattr(settings, part)
        if section is not None and getattr(section, key) is not None:
            absolute = str(folder / getattr(section, key))
            section = structs.replace(section, **{key: absolute})
            settings = structs.replace(settings, **{part: section})
    cell = settings.cell
    if cell is not None and str(cell.get("robot", "")).endswith(".urdf"):  # else a shipped one
        cell = {**cell, "robot": str(folder / cell["robot"])}
        settings = structs.replace(settings, cell=cell)
    model = settings.arm.get("model")
    if isinstance(model, str) and model.endswith(".urdf"):  # else the name of a shipped one
        settings = structs.replace(settings, arm={**settings.arm, "model": str(folder / model)})
    check_devices(settings, str(path))
    return settings


def check_devices(settings: Settings, where: str) -> None:
    """Check the tables of all devices and of the cell before any of them is opened. Raises
    ConfigError, which names the file `where`, the section and the key."""
    place = f"{where}: "
    device_config("arms", settings.arm, f"{place}[arm]")
    if settings.ft is not None:
        device_config("ft", settings.ft, f"{place}[ft]")
    if settings.gripper is not None:
        device_config("grippers", settings.gripper, f"{place}[gripper]")
    cameras(settings, place)
    world(settings, place)


def world(settings: Settings, place: str = "") -> tuple[ModuleType, Any] | None:
    """Module and checked `Config` of the world that `[cell]` describes, None without a `[cell]`.
    The world decides the task, its places and its instructions. So ConfigError is raised for a
    table that does not fit, and for settings that contradict the world. `place` comes before the
    section in errors."""
    if settings.cell is None:
        return None
    where = f"{place}[cell]"
    module, cfg = device_config("worlds", {"kind": "sim", **settings.cell}, where)
    asked: Asked = module.asked(cfg, where)
    if settings.instruction is not None and asked.instructions:
        raise ConfigError(
            f"{place}`instruction` is not followed in a [cell]: in each episode its {asked.name} "
            f"asks for one of {', '.join(map(repr, asked.instructions))}; found "
            f"{settings.instruction!r}: leave it out"
        )
    task = settings.task
    if asked.task is not None and task.index != asked.task:
        raise ConfigError(
            f"{place}`task.index` wants {asked.task}, the task of the cell's {asked.name}, found "
            f"{task.index}"
        )
    for key, (x, y) in asked.places.items():
        zone: ZoneConfig = getattr(task, key)
        if not zone.holds(x, y):
            raise ConfigError(
                f"{place}`task.{key}` wants a zone that holds ({x:g}, {y:g}), where the cell's "
                f"{asked.name} has it, found centre {zone.centre} and half {zone.half}"
            )
    return module, cfg


def cameras(settings: Settings, place: str = "") -> dict[str, tuple[ModuleType, Any]]:
    """Driver module and checked `Config` of each camera, by its name. `place` comes before the
    section in errors. Raises ConfigError, also for two cameras of one name."""
    found: dict[str, tuple[ModuleType, Any]] = {}
    for i, table in enumerate(settings.camera):
        where = f"{place}[[camera]] {i + 1}"
        module, cfg = device_config("cameras", table, where)
        name = str(getattr(cfg, "name", f"camera{i}"))
        if name in found:
            raise ConfigError(
                f"{where} is named `{name}` as one before it: policies and recordings tell cameras "
                "apart by `name`, give it another"
            )
        found[name] = module, cfg
    return found
