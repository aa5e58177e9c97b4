"""The `[policy]` section of a run's configuration: how the loop plays a policy, and which kind of
policy it is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

import msgspec
from msgspec import Meta

from headway import config, plugins
from headway.config import Seconds
from headway.edge.motion.chunks import Seam
from headway.edge.policy.policy import Policy
from headway.errors import ConfigError

FOLDER = "edge.policy.kinds"


class PolicyConfig(config.Struct, frozen=True):
    """The `[policy]` section. Beside these keys it has those of its `kind`, which `options` holds:
    see the `Config` of the modules in `headway.edge.policy.kinds`."""

    kind: str = "bundle"
    # how a new chunk takes over from the one before, see edge/motion/chunks.py
    seam: Seam = "blend"
    ensemble_decay: Annotated[float, Meta(ge=-10.0, le=10.0)] = 0.01  # of seam = "ensemble"
    # Length of the moving averages that smooth the joint reference, as a share of the usual one
    # (edge/motion/chunks.py), which delays it by 0.08 s. 0: none, for policies that act on what
    # they see at once, as those of reinforcement learning; the guard's mode "clamp" goes with it.
    smoothing: Annotated[float, Meta(ge=0.0, le=1.0)] = 1.0
    # Whether each chunk is checked as a whole before it is followed: joint limits, speed,
    # workspace, collisions. flag: a chunk that fails is logged; refuse: it is not followed either.
    # The guard checks every single command in any case.
    chunk_check: Literal["off", "flag", "refuse"] = "flag"
    # in lock-step only: from an observation to its chunk [s]
    latency_s: Annotated[float, Meta(ge=0.0, le=60.0)] = 0.02
    # for a policy with a process of its own: without an answer for this long it is started again
    hang_s: Seconds = 1.0
    restarts: Annotated[int, Meta(ge=0, le=1000)] = 3  # per episode; the next end is final
    warm_up: Annotated[int, Meta(ge=0, le=1000)] = 3  # inferences at the start, not used
    options: dict[str, Any] = {}  # noqa: RUF012 - msgspec copies defaults


class PolicyModule(Protocol):
    """What each module of `edge/policy/kinds` offers. It may also have

    - `patience_s(cfg) -> float`: how long an inference may take at least before the policy counts
      as hung [s];
    - `process(cfg) -> Process`: that the policy wants a process of its own in lock-step, too;
    - `open_in_place(cfg, world, cameras) -> Policy` instead of `open_policy`, for a policy that
      needs the `World` itself and so only runs in lock-step; `cameras` are the station's.
    """

    Config: type[config.Struct]
    PATHS: tuple[str, ...]  # keys of `Config` that are paths, relative to the configuration file

    def open_policy(self, **options: Any) -> Policy:
        """The policy that the keys of `Config`, as plain data, describe. May raise anything."""


COMMON = tuple(f.name for f in msgspec.structs.fields(PolicyConfig) if f.name != "options")


def decode(table: dict[str, Any], where: str) -> PolicyConfig:
    """The checked section `[policy]` that `table` holds; `where` names it in errors. Raises
    ConfigError, also for a key that neither the kind nor the loop knows."""
    kind = str(table.get("kind", "bundle"))
    module = plugins.load(FOLDER, kind)
    own = [f.encode_name for f in msgspec.structs.fields(module.Config)]
    options = {}
    for key, value in table.items():
        if key in own:
            options[key] = value
        elif key not in COMMON:
            hint = config.suggest(key, (*COMMON, *own))
            if key in plugins.kinds(FOLDER):
                hint = f'write kind = "{key}" and its keys into [policy]'
            raise ConfigError(f"{where}: unknown key `{key}` for a policy of kind {kind}: {hint}")
    rest = {key: value for key, value in table.items() if key in COMMON}
    cfg = config.decode({**rest, "options": options}, PolicyConfig, where)
    kind_of(cfg, where)
    return cfg


def kind_of(cfg: PolicyConfig, where: str = "[policy]") -> tuple[Any, Any]:
    """The module (a `PolicyModule`) of the policy's kind, and the checked keys of that kind as its
    `Config`. `where` names the section in errors. Raises ConfigError."""
    module = plugins.load(FOLDER, cfg.kind)
    return module, config.decode(cfg.options, module.Config, where)


def with_trust(table: dict[str, Any], trust: str | None) -> dict[str, Any]:
    """The section `[policy]` with the run's trust store, for a kind that loads bundles and a
    section that names no store of its own. Raises ConfigError for an unknown kind."""
    module = plugins.load(FOLDER, str(table.get("kind", "bundle")))
    loads = any(f.encode_name == "trust" for f in msgspec.structs.fields(module.Config))
    return {"trust": trust, **table} if trust is not None and loads else table


def with_paths(table: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The section `[policy]` with the paths of its kind made absolute, from `folder` on. Raises
    ConfigError for an unknown kind."""
    return plugins.with_paths(FOLDER, str(table.get("kind", "bundle")), table, folder)
