"""The run configuration: one TOML file says which robot, task, policy and limits."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

from msgspec import structs

from headway import config
from headway.edge.chunks import Seam
from headway.edge.guard import GuardConfig
from headway.edge.monitor import TaskConfig
from headway.edge.payload import ToolConfig
from headway.edge.realtime import RealtimeConfig
from headway.edge.remote.layout import RemoteConfig
from headway.edge.risk import RiskConfig
from headway.errors import ConfigError


class LoopConfig(config.Struct, frozen=True):
    """The `[loop]` section."""

    hz: float = 500.0
    policy_hz: float = 10.0
    pro_hz: float = 50.0
    max_age_s: float = 0.02  # of arm, wrench and gripper samples
    ft_stuck_s: float = 0.0  # wrenches equal in every bit for so long are no wrench; 0: they are
    camera_max_age_s: float = 0.25
    chunk_max_age_s: float = 1.0  # a chunk made from an observation older than this is not followed
    grip_force: float = 15.0  # [N]
    tare_s: float = 0.1  # at rest before each episode
    # Without a sensor that the guard needs, or without a plan, the arm brakes and holds; after this
    # long the episode ends as a fault.
    fault_after_s: float = 2.0
    watchdog_s: float = 0.5  # real time: no tick for so long, and the loop is killed; 0: never
    restart_s: float = 20.0  # the same while a policy that crashed is being started again


class PolicyConfig(config.Struct, frozen=True):
    """Either a bundle, which runs here, or a server: `[policy.remote]`."""

    bundle: str | None = None
    engine: str = "auto"
    seam: Seam = "blend"  # how a new chunk takes over from the one before, see edge/chunks.py
    ensemble_decay: float = 0.01  # of seam = "ensemble"
    # Every chunk is looked at whole before it is followed: limits, speed, workspace, collisions.
    # flag: said in the log; refuse: not followed; the guard checks each command all the same.
    chunk_check: Literal["off", "flag", "refuse"] = "flag"
    latency_s: float = 0.02  # in lock-step only: when a chunk becomes available
    # in real time only, for the policy's own process
    hang_s: float = 1.0  # an observation not answered for so long: killed and started again
    restarts: int = 3  # per episode; then the policy is gone
    warm_up: int = 3  # inferences that nobody sees
    remote: RemoteConfig | None = None

    def __post_init__(self) -> None:
        if (self.bundle is None) == (self.remote is None):
            raise ValueError("[policy] wants either `bundle` or [policy.remote]")


class ProConfig(config.Struct, frozen=True):
    bundle: str
    engine: str = "auto"
    features: str = "auto"  # cuda | cpp | numpy


class Settings(config.Struct, frozen=True):
    """`[arm]`, `[ft]`, `[gripper]`, `[[camera]]`: `kind`, then that driver's own keys."""

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
    instruction: str | None = None


def with_policy_server(settings: Settings, url: str) -> Settings:
    """The same run with the policy server at `url` instead of what `[policy]` names."""
    old = settings.policy
    if old is None:
        new = PolicyConfig(remote=RemoteConfig(url))
    else:
        remote = structs.replace(old.remote, url=url) if old.remote else RemoteConfig(url)
        new = structs.replace(old, bundle=None, remote=remote)
    return structs.replace(settings, policy=new)


def load(path: Path | str) -> Settings:
    """Read a run configuration; bundle paths are relative to the file. Raises ConfigError."""
    settings = config.load(path, Settings)
    hz = settings.loop.hz
    if not 0 < hz < math.inf:
        raise ConfigError(f"{path}: `loop.hz` wants a positive number, found {hz}")
    for key in ("policy_hz", "pro_hz"):
        rate = getattr(settings.loop, key)
        if not 0 < rate <= hz or abs(hz / rate - round(hz / rate)) > 1e-9:
            raise ConfigError(
                f"{path}: `loop.{key}` wants a divisor of loop.hz = {hz}, found {rate}"
            )
    return settings
