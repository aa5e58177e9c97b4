"""A policy that is a Python class of somebody else, in a process of its own.

The class needs a method `infer(obs)`, which gets an `Observation` and returns the actions as an
array (h, d), or a `Chunk`; and an attribute `actions`, an `ActionSpace` or a mapping with its keys.
It may have `name`, `cameras`, `state_names`, `needs`, `reset()` and `check_instruction(text)` as a
`Policy` has them.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from msgspec import Meta

from headway import config, plugins
from headway.actions import ActionSpace
from headway.clock import NS
from headway.edge.policy.policy import Needs
from headway.edge.policy.worker.source import Process
from headway.errors import ConfigError
from headway.types import Chunk, Observation

GROUP = "headway.policies"  # entry points that `target` may name
PATHS = ("folder", "interpreter")


class Config(config.Struct, frozen=True):
    """Keys of `[policy]` for the kind `python`.

    `target` is the class or a function that makes the policy: "module:Class", or the name of an
    entry point of the group `headway.policies`. `arguments` are given to it by name. `folder` is
    where Python looks for the module first. `interpreter` is the Python that runs it, for a policy
    whose packages live in an environment of their own; it needs numpy and msgspec.
    """

    target: Annotated[str, Meta(min_length=1)]
    arguments: dict[str, Any] = {}  # noqa: RUF012 - msgspec copies defaults
    folder: str | None = None
    interpreter: str | None = None


def process(cfg: Config) -> Process:
    """How its process is started. Raises ConfigError for a folder that is not there, and for an
    interpreter that cannot run Headway's side of it."""
    if cfg.folder is not None and not Path(cfg.folder).is_dir():
        raise ConfigError(f"[policy] folder: wanted a folder at {cfg.folder}, found none")
    if cfg.interpreter is not None:
        _check_interpreter(cfg.interpreter)
    return Process(cfg.interpreter, cfg.folder)


def _check_interpreter(path: str) -> None:
    wanted = ["numpy", "msgspec"]
    code = (
        "import sys, importlib.util as u\n"
        "need = sys.argv[1:] + (['tomli'] if sys.version_info < (3, 11) else [])\n"
        "print(*sys.version_info[:2], *[n for n in need if u.find_spec(n) is None])"
    )
    try:
        found = subprocess.run(
            [path, "-c", code, *wanted], capture_output=True, text=True, timeout=60.0, check=True
        ).stdout.split()
        major, minor, *missing = found
        version = int(major), int(minor)
    except (OSError, ValueError, subprocess.SubprocessError) as e:
        raise ConfigError(
            f"[policy] interpreter: wanted a Python at {path}, found none that runs: {e}"
        ) from None
    if version < (3, 10):
        raise ConfigError(
            f"[policy] interpreter: wanted Python 3.10 or newer, found {major}.{minor} at {path}"
        )
    if missing:
        raise ConfigError(
            f"[policy] interpreter: wanted {' and '.join(missing)} for {path}, found none: "
            f"`{path} -m pip install {' '.join(missing)}`"
        )


class PythonPolicy:
    """Makes a `Policy` of somebody's object `made`, which `target` names in errors. Raises
    ConfigError for an object without `infer`, and for `actions` that do not fit."""

    def __init__(self, made: Any, target: str) -> None:
        if not callable(getattr(made, "infer", None)):
            raise ConfigError(
                f"policy {target}: wanted a method infer(obs), found {type(made).__name__} without"
            )
        actions = getattr(made, "actions", None)
        if isinstance(actions, dict):
            actions = config.decode(actions, ActionSpace, f"policy {target}: actions")
        if not isinstance(actions, ActionSpace):
            raise ConfigError(
                f"policy {target}: wanted an attribute `actions` with the keys of an ActionSpace "
                f"(names, space, mode, chunk, dt_s, ...), found {type(actions).__name__}"
            )
        self.actions = actions
        self.name = str(getattr(made, "name", type(made).__name__))
        self.cameras = _names(made, "cameras", target)
        self.state_names = _names(made, "state_names", target)
        needs = getattr(made, "needs", Needs())
        if not isinstance(needs, Needs):
            needs = config.decode(needs, Needs, f"policy {target}: needs")
        self.needs: Needs = needs
        self.detail = f"Python {'.'.join(map(str, sys.version_info[:3]))}"
        self.facts = {"policy_engine": "python", "policy_target": target}
        self._made = made
        self._dt_ns = round(actions.dt_s * NS)

    def check_instruction(self, text: str) -> None:
        """What the object's own `check_instruction` raises, where it has one."""
        check = getattr(self._made, "check_instruction", None)
        if check is not None:
            check(text)

    def reset(self) -> None:
        """The object's own `reset`, where it has one."""
        reset = getattr(self._made, "reset", None)
        if reset is not None:
            reset()

    def infer(self, obs: Observation) -> Chunk:
        """The chunk for `obs`. Raises whatever the object raises, and SpecMismatch for rows that
        the action space does not describe."""
        said = self._made.infer(obs)
        if isinstance(said, Chunk):
            return said
        rows = np.atleast_2d(np.asarray(said, np.float64))
        return Chunk(obs.t_ns, self._dt_ns, self.actions.to_si(rows), obs.base)


def _names(made: Any, key: str, target: str) -> tuple[str, ...]:
    """The attribute `key` of `made`, a list of names. Raises ConfigError for anything else: a
    single text would be taken for a list of its letters."""
    said = getattr(made, key, ())
    names = tuple(said) if isinstance(said, Iterable) else (said,)
    if isinstance(said, str) or not all(isinstance(name, str) for name in names):
        wanted = f'("{said}",)' if isinstance(said, str) else "a tuple of texts"
        raise ConfigError(
            f"policy {target}: wanted `{key}` as names, found {said!r}: write {key} = {wanted}"
        )
    return names


def open_policy(
    target: str,
    arguments: dict[str, Any] | None = None,
    folder: str | None = None,
    interpreter: str | None = None,
) -> PythonPolicy:
    """Import and make the policy; the arguments are the keys of `Config`. Raises ConfigError for a
    target that is not there, and whatever the policy raises."""
    return PythonPolicy(make(target, arguments or {}, folder), target)


def make(target: str, arguments: dict[str, Any], folder: str | None) -> Any:
    """The object that `target` makes from `arguments`; see `Config`. Raises ConfigError."""
    if folder is not None:
        sys.path.insert(0, folder)
    if ":" not in target:
        for entry in entry_points(group=GROUP):
            if entry.name == target:
                return plugins.loaded(entry)(**arguments)
        known = sorted(e.name for e in entry_points(group=GROUP))
        raise ConfigError(
            f'[policy] target: wanted "module:Class" or an entry point of {GROUP}, found '
            f"{target!r}: {config.suggest(target, known) if known else 'there is none'}"
        )
    name, _, attribute = target.partition(":")
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as e:
        if e.name is not None and name.split(".")[0] != e.name.split(".")[0]:
            raise  # a package that the policy itself needs
        raise ConfigError(
            f"[policy] target: wanted a module `{name}`, found none: set `folder` to where it lies"
        ) from None
    if not callable(getattr(module, attribute, None)):
        public = [n for n in vars(module) if not n.startswith("_")]
        raise ConfigError(
            f"[policy] target: wanted a class or function `{attribute}` in {module.__file__}, "
            f"found none: {config.suggest(attribute, public)}"
        )
    return getattr(module, attribute)(**arguments)
