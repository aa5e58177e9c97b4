"""The run configuration: one TOML file that names the robot, the task, the policy and the limits.
`load(path)` reads and checks it."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

from msgspec import Meta, structs

from headway import bundle, config, plugins
from headway.config import Hertz, Seconds, SecondsOrNone
from headway.drivers import Asked, device_config
from headway.edge.control import tasks
from headway.edge.control.payload import ToolConfig
from headway.edge.control.tasks import TaskSettings
from headway.edge.guard.guard import GuardConfig
from headway.edge.host.realtime import RealtimeConfig
from headway.edge.policy.config import COMMON, PolicyConfig, decode, with_paths, with_trust
from headway.edge.pro.risk import RiskConfig
from headway.errors import ConfigError

FilePath = Annotated[str, Meta(min_length=1)]
EXPERT = "expert"  # the kind of policies that are scripted, and the key of their name
# The sections that hold the table of one device, and the folders of `drivers` with its kinds.
DEVICE_FOLDERS = {
    "arm": "arms", "ft": "ft", "gripper": "grippers", "station": "stations", "input": "inputs"
}  # fmt: skip
LONGEST_TICKS = 10_000_000  # of an episode, 5.5 h at 500 Hz: memory is kept for every tick


class LoopConfig(config.Struct, frozen=True):
    """The `[loop]` section."""

    hz: Annotated[float, Meta(ge=1.0, le=10_000.0)] = 500.0
    policy_hz: Hertz | None = None  # None: the policy's own rate
    pro_hz: Hertz = 50.0  # of PRO's head, a divisor of hz
    max_age_s: Seconds = 0.02  # of arm, wrench and gripper samples
    # a wrench that stays the same in every bit for this long counts as missing; 0: never
    ft_stuck_s: SecondsOrNone = 0.0
    camera_max_age_s: Seconds = 0.25  # of camera images
    station_max_age_s: Seconds = 0.5  # of what the station says
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
        if self.policy_hz is not None and not divides(self.policy_hz, self.hz):
            raise ValueError(f"policy_hz wants a divisor of hz = {self.hz}, found {self.policy_hz}")
        if 0.0 < self.watchdog_s < 2.0 / self.hz:
            raise ValueError(
                f"watchdog_s wants 0 or at least two ticks, {2.0 / self.hz:g} s, found "
                f"{self.watchdog_s}"
            )


def divides(rate: float, hz: float) -> bool:
    """Whether something that happens `rate` times a second [Hz] falls on every n-th tick of a loop
    at `hz` [Hz], with n a whole number."""
    return 0.0 < rate <= hz and abs(hz / rate - round(hz / rate)) < 1e-9


class ProConfig(config.Struct, frozen=True):
    """The `[pro]` section; a run without it has no signals of PRO."""

    bundle: FilePath  # of the PRO head
    engine: str = "auto"
    engine_cache: str = ""  # folder of built engines; "": the bundle's with `.engines` after it
    features: Literal["auto", "cuda", "cpp", "numpy"] = "auto"  # what computes them


class Settings(config.Struct, frozen=True):
    """The whole configuration. The tables `arm`, `ft`, `gripper`, `station`, `camera`, `input`,
    `cell`, `task` and `policy` have the key `kind` and the keys of the driver, world, task or
    policy of that kind."""

    arm: dict[str, Any]
    task: dict[str, Any]
    guard: GuardConfig
    ft: dict[str, Any] | None = None
    gripper: dict[str, Any] | None = None
    station: dict[str, Any] | None = None
    camera: list[dict[str, Any]] = []  # noqa: RUF012 - msgspec copies defaults
    input: dict[str, Any] | None = None  # what a person steers by, for `headway teleop`
    cell: dict[str, Any] | None = None
    tool: ToolConfig = ToolConfig()
    loop: LoopConfig = LoopConfig()
    policy: dict[str, Any] | None = None
    pro: ProConfig | None = None
    risk: RiskConfig | None = None
    realtime: RealtimeConfig = RealtimeConfig()
    instruction: str | None = None  # for the policy; a [cell] gives its own instructions
    # A trust store (docs/bundle-security.md): it has to vouch for every bundle of the run.
    trust: FilePath | None = None

    def __post_init__(self) -> None:
        if self.guard.risk_max is not None and self.risk and self.risk.abort_alpha is not None:
            raise ValueError(
                f"a risk that stops the robot wants one limit, found guard.risk_max = "
                f"{self.guard.risk_max:g} and risk.abort_alpha = {self.risk.abort_alpha:g}: leave "
                "one of them out"
            )
        if self.loop.grip_force > self.guard.grip_force_max:
            raise ValueError(
                f"loop.grip_force, which closes the jaws where the policy asks for no force, wants "
                f"at most guard.grip_force_max = {self.guard.grip_force_max:g} N, found "
                f"{self.loop.grip_force:g}"
            )
        if self.pro is not None and not divides(self.loop.pro_hz, self.loop.hz):
            raise ValueError(
                f"loop.pro_hz wants a divisor of loop.hz = {self.loop.hz:g}, found "
                f"{self.loop.pro_hz:g}"
            )


def with_policy(settings: Settings, policy: str, mapping: Path | None = None) -> Settings:
    """`settings` with another policy than `[policy]` names: the scripted `EXPERT` of the simulated
    world, the bundle in a folder, or the policy server at a URL, see `with_policy_server`. Raises
    ConfigError and, for a folder without a bundle, BundleError."""
    common = _common(settings)
    if policy == EXPERT:
        scene = (settings.cell or {}).get("scene")
        if scene is None:
            raise ConfigError(
                f"wanted a simulated world for the policy `{EXPERT}`, found no [cell] with a "
                "`scene`: a scripted expert looks into the world; name the folder of a bundle"
            )
        table = {**common, "kind": EXPERT, EXPERT: scene}
    elif Path(policy).is_dir():
        table = {**common, "kind": "bundle", "bundle": str(Path(policy).resolve())}
        # How much noise chunks are made from is about the work, so it holds for any policy of it.
        noise = (settings.policy or {}).get("noise")
        if noise is not None and draws_from_noise(Path(policy)):
            table["noise"] = noise
    else:
        return with_policy_server(settings, policy, mapping)
    decode(table, "[policy]")
    return structs.replace(settings, policy=table)


def draws_from_noise(folder: Path) -> bool:
    """Whether the policy in `folder` makes its chunks from noise. Raises BundleError."""
    made = bundle.load(folder).manifest.policy
    return made is not None and made.noise is not None


def with_policy_server(settings: Settings, url: str, mapping: Path | None = None) -> Settings:
    """`settings` with the policy server at `url` (ws:// or wss://) instead of the policy that
    `[policy]` names. `mapping`: a TOML file with the layout of its messages, for a server that does
    not describe itself. Raises ConfigError."""
    old = settings.policy or {}
    same = old.get("kind") == "remote"
    table = {k: v for k, v in old.items() if same or k in COMMON} | {"kind": "remote", "url": url}
    if mapping is not None:
        table["layout"] = config.read_toml(mapping)
    decode(table, "[policy]" if mapping is None else f"{mapping}: [policy]")
    return structs.replace(settings, policy=table)


def with_operator(settings: Settings, kind: str | None = None) -> Settings:
    """`settings` with a person who steers by the input `kind` (None: that of `[input]`, else the
    keyboard) instead of the policy of `[policy]`, asked at the input's own pace, and without
    `[risk]`, whose calibration is about a policy. Raises ConfigError."""
    table = settings.input or {"kind": "keyboard"}
    if kind is not None and kind != table.get("kind"):
        table = {"kind": kind}
    device_config("inputs", table, "[input]")
    common = _common(settings)
    target = f"headway.drivers.inputs.{table['kind']}:connect"
    return structs.replace(
        settings,
        input=table,
        policy={**common, "kind": "teleop", "target": target},
        loop=structs.replace(settings.loop, policy_hz=None),
        risk=None,
    )


def _common(settings: Settings) -> dict[str, Any]:
    """What `[policy]` says that holds for every kind of policy."""
    return {k: v for k, v in (settings.policy or {}).items() if k in COMMON}


def with_instruction(settings: Settings, text: str) -> Settings:
    """`settings` with the instruction `text`: a world that can be told what to ask for asks for it.
    Raises ConfigError where the world gives its own."""
    asked = None
    if settings.cell is not None:
        module, _ = device_config("worlds", {"kind": "sim", **settings.cell}, "[cell]")
        asking = getattr(module, "asking", None)
        asked = None if asking is None else asking(settings.cell, text)
    if asked is not None:
        settings = structs.replace(settings, cell=asked)
    else:
        settings = structs.replace(settings, instruction=text)
    world(settings)
    return settings


def load(path: Path | str) -> Settings:
    """Read the run configuration at `path`. Relative paths in it start at the folder of that file,
    or of the file that a symbolic link leads to, and "~" is the home folder; those of the result
    are absolute. Raises ConfigError."""
    settings, where = config.load(path, Settings), str(path)
    folder = Path(path).resolve().parent
    for part, key in (("pro", "bundle"), ("pro", "engine_cache"), ("risk", "calibration")):
        section = getattr(settings, part)
        if section is not None and (name := getattr(section, key)):
            section = structs.replace(section, **{key: _at(folder, name)})
            settings = structs.replace(settings, **{part: section})
    if settings.trust is not None:
        settings = structs.replace(settings, trust=_at(folder, settings.trust))
    if settings.policy is not None:
        settings = structs.replace(settings, policy=with_paths(settings.policy, folder))
    settings = structs.replace(settings, arm=_with_model(settings.arm, "model", folder))
    if settings.cell is not None:
        cell = _with_model(settings.cell, "robot", folder)
        if isinstance(name := cell.get("file"), str):  # that describes the world
            cell = {**cell, "file": _at(folder, name)}
        settings = structs.replace(settings, cell=cell)
    check_devices(settings, where)
    return _with_device_paths(settings, folder)


def _with_device_paths(settings: Settings, base: Path) -> Settings:
    """`settings`, which have been checked, with the paths in the tables of devices made absolute,
    from the folder `base` on."""

    def absolute(folder: str, table: dict[str, Any]) -> dict[str, Any]:
        return plugins.with_paths(f"drivers.{folder}", table["kind"], table, base)

    sections = ((section, getattr(settings, section)) for section in DEVICE_FOLDERS)
    made: dict[str, Any] = {s: absolute(DEVICE_FOLDERS[s], t) for s, t in sections if t is not None}
    made["camera"] = [absolute("cameras", table) for table in settings.camera]
    return structs.replace(settings, **made)


def _with_model(table: dict[str, Any], key: str, folder: Path) -> dict[str, Any]:
    """The section `table` with the path of a robot model in `key` made absolute, from `folder` on;
    the name of a shipped robot stays."""
    model = table.get(key)
    if isinstance(model, str) and model.endswith(".urdf"):
        return {**table, key: _at(folder, model)}
    return table


def _at(folder: Path, name: str) -> str:
    """The path `name`, from `folder` on; "~" is the home folder. Raises ConfigError without one."""
    return str(folder / config.at_home(name))


def check_devices(settings: Settings, where: str) -> None:
    """Check the tables of all devices, of the task and of the cell before any device is opened.
    Raises ConfigError, which names the file `where`, the section and the key."""
    place = f"{where}: "
    for section, kinds in DEVICE_FOLDERS.items():
        table = getattr(settings, section)
        if table is not None:
            device_config(kinds, table, f"{place}[{section}]")
    cameras(settings, place)
    policy(settings, place)
    task(settings, place)
    world(settings, place)


def policy(settings: Settings, place: str = "") -> PolicyConfig | None:
    """The policy that `[policy]` describes, checked; None without one. `place` comes before the
    section in errors. Raises ConfigError."""
    if settings.policy is None:
        return None
    return decode(with_trust(settings.policy, settings.trust), f"{place}[policy]")


def task(settings: Settings, place: str = "") -> TaskSettings:
    """The task that `[task]` describes, checked; `place` comes before the section in errors. Raises
    ConfigError."""
    where = f"{place}[task]"
    found = tasks.decode(settings.task, where)
    hz = settings.loop.hz
    if found.limit_s * hz > LONGEST_TICKS:
        raise ConfigError(
            f"{where}: `limit_s` wants at most {LONGEST_TICKS / hz:g} s at loop.hz = {hz:g}, found "
            f"{found.limit_s:g}: room is kept for every tick"
        )
    return found


def world(settings: Settings, place: str = "") -> tuple[ModuleType, Any] | None:
    """Module and checked `Config` of the world that `[cell]` describes, None without a `[cell]`.
    The world decides its instructions, and may expect a task and places of it. So ConfigError is
    raised for a table that does not fit, and for settings that contradict the world. `place` comes
    before the section in errors."""
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
    found = task(settings, place)
    check = getattr(found.module, "check", None)
    if check is not None:
        check(found.cfg, found.name, asked, f"{place}[task]")
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
