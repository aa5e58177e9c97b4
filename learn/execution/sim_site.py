"""A workflow's simulated station as a place where units run their episodes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from msgspec import structs

import headway
from headway import plugins
from headway.edge.control import settings as run_settings
from headway.edge.control.settings import Settings
from headway.edge.policy.policy import Policy
from headway.errors import ConfigError
from headway.learn.execution.base import Base
from headway.learn.execution.settings import Learning
from headway.learn.execution.site import Driver
from headway.learn.inject import INJECT, Injector
from headway.learn.oracle import Demonstrator, Oracle
from headway.learn.rollout import Rollout, Runner
from headway.workflows import config_of

EXPERTS = "learn.experts"
# What decides how a unit goes, beside its settings and the policy: files of the package.
_CODE = ("learn/execution", "learn/oracle.py", "learn/inject.py", "learn/rollout.py")
# Kinds of the workflow's name in these folders decide as well, those of other packages too.
_OF_WORKFLOW = ("drivers.sim.scenes", "edge.control.tasks", EXPERTS)


class SimSite:
    """The workflow `name`. Raises ConfigError for one that there is not, or without a simulated
    world."""

    def __init__(self, name: str, how: Learning, base: Base) -> None:
        self.name, self.how, self.base = name, how, base
        self._path = config_of(name)
        self._settings = run_settings.load(self._path)
        if self._settings.cell is None:
            raise ConfigError(
                f"{self._path}: wanted a workflow with a section [cell], found none: units run in "
                "a simulated world"
            )

    @property
    def made_of(self) -> dict[str, str]:
        """See `Site`."""
        root = Path(headway.__file__).parent
        files: list[Path] = []
        for name in _CODE:
            path = root / name
            files += sorted(path.glob("*.py")) if path.is_dir() else [path]
        modules = [
            plugins.load(folder, self.name)
            for folder in _OF_WORKFLOW
            if self.name in plugins.kinds(folder)
        ]
        return {
            "workflow's configuration": _hash([self._path]),
            "workflow's code": _hash([Path(m.__file__) for m in modules if m.__file__]),
            "code": _hash(files),
        }

    @contextmanager
    def open(self, driver: Driver, scene: Mapping[str, Any]) -> Iterator[SimSession]:
        """See `Site`."""
        change = {k: v for k, v in scene.items() if k != INJECT}
        settings = self.settings(driver, change)
        session = SimSession(settings, driver, self, bool(scene.get(INJECT)))
        try:
            yield session
        finally:
            session.close()

    def settings(self, driver: Driver, scene: Mapping[str, Any]) -> Settings:
        """The run configuration with the policy of `driver`, and `scene` over the scene's."""
        old = self._settings
        assert old.cell is not None
        cell = {
            **old.cell,
            "scene_config": {**old.cell.get("scene_config", {}), **self.how.workflow, **scene},
        }
        policy: dict[str, Any] = {
            "kind": "bundle", "bundle": str(driver.policy),
            "latency_s": (old.policy or {}).get("latency_s", 0.02),
        }  # fmt: skip
        if driver.noise != 1.0:
            policy["noise"] = driver.noise
        if driver.critic is not None:
            policy |= {
                "critic": str(driver.critic), "candidates": driver.candidates,
                "temperature": driver.temperature,
            }  # fmt: skip
        made = structs.replace(old, cell=cell, policy=policy, pro=None, risk=None)
        run_settings.check_devices(made, str(self._path))
        return made


class SimSession(Runner):
    """A station that is open, with the policy of `driver` and whoever else drives."""

    def __init__(self, settings: Settings, driver: Driver, site: SimSite, inject: bool) -> None:
        self._who, self._site, self._inject = driver.who, site, inject
        self._oracle: Oracle | None = None
        self._injector: Injector | None = None
        super().__init__(settings, to_latent=site.base.to_latent)

    def episode(self, seed: int, left_s: float = 0.0) -> Rollout:
        """See `Session`."""
        if self._oracle is not None:
            self._oracle.left_s = left_s
        made = super().episode(seed)
        return made if self._injector is None else self._injector.told(made)

    def driver(self, policy: Policy) -> Policy:
        """See `Runner`."""
        if self._who != "policy":
            world = self.station.world
            assert world is not None
            module: Any = plugins.load(EXPERTS, self._site.name)
            pushed = self._site.how.demonstrations.disturb if self._who == "demonstrator" else 0.0
            expert = module.connect(world, disturb=pushed, cameras=policy.cameras)
            thinking: Any = policy
            if self._who == "demonstrator":
                return Demonstrator(thinking, expert)
            self._oracle = Oracle(thinking, expert, self._site.how.oracle)
            policy = self._oracle
        if self._inject:
            self._injector = Injector(policy)
            policy = self._injector
        return policy


def _hash(files: list[Path]) -> str:
    """Of the contents of `files`, in their order."""
    made = hashlib.sha256()
    for path in files:
        data = path.read_bytes()
        made.update(f"{path.name} {len(data)} ".encode() + data)
    return made.hexdigest()
