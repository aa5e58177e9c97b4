"""Find kinds by name. The folder is the registry: kind `x` of the folder `drivers.cameras` is the
module `headway.drivers.cameras.x`. Other packages add kinds through entry points of the group
`headway.<folder>`, for example `headway.cameras`. No list has to be edited.
"""

from __future__ import annotations

import difflib
import pkgutil
import sys
from collections.abc import Sequence
from functools import lru_cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from headway.config import at_home
from headway.errors import ConfigError


def kinds(folder: str) -> list[str]:
    """Names of all kinds in `folder` (such as "drivers.cameras"), those of other packages
    included."""
    package = import_module(f"headway.{folder}")
    ours = {m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_")}
    return sorted(ours | {e.name for e in _entries(folder)})


def load(folder: str, kind: str, wants: Sequence[str] = ()) -> ModuleType:
    """The module of `kind` in `folder`, which has the names that are in `wants`. Raises
    ConfigError, which names the valid kinds, the entry point that does not load, or the first name
    that the module does not have."""
    module = _module(folder, kind)
    for name in wants:
        if not hasattr(module, name):
            raise ConfigError(
                f"the kind {kind} of {folder} wants `{name}` in its module {module.__name__}, "
                f"found none: see headway.{folder}"
            )
    return module


def with_paths(folder: str, kind: str, table: dict[str, Any], base: Path) -> dict[str, Any]:
    """The config table of a `kind` in `folder` with its paths made absolute, from the folder `base`
    on; "~" is the home folder. The kind's module names the keys that are paths in `PATHS`. Raises
    ConfigError as `load`, and without a home folder."""
    paths = getattr(load(folder, kind), "PATHS", ())
    named = {key: table[key] for key in paths if isinstance(table.get(key), str) and table[key]}
    return {**table, **{key: str(base / at_home(v)) for key, v in named.items()}}


def _module(folder: str, kind: str) -> ModuleType:
    for entry in _entries(folder):
        if entry.name == kind:
            module = loaded(entry)
            if not isinstance(module, ModuleType):
                raise ConfigError(f"entry point {entry.value} of {_group(folder)} is not a module")
            return module
    valid = kinds(folder)
    if kind not in valid:
        near = difflib.get_close_matches(kind, valid, n=1)
        hint = f"did you mean `{near[0]}`?" if near else f"valid: {', '.join(valid)}"
        raise ConfigError(f"wanted a kind of {folder}, found `{kind}`: {hint}")
    return import_module(f"headway.{folder}.{kind}")


def loaded(entry: EntryPoint) -> Any:
    """What `entry` names. Raises ConfigError, with the entry point, its package and the reason,
    where it does not load."""
    try:
        return entry.load()
    except Exception as e:  # a package of somebody else may raise anything when it is imported
        package = entry.dist.name if entry.dist is not None else "an unknown package"
        raise ConfigError(
            f"wanted the entry point `{entry.name} = {entry.value}` of the group {entry.group}, "
            f"from the package {package}, found that it does not load: {type(e).__name__}: {e}: "
            "mend that package, or install it again"
        ) from e


def _entries(folder: str) -> tuple[EntryPoint, ...]:
    return _entries_on(tuple(sys.path), _group(folder))


@lru_cache(maxsize=256)
def _entries_on(path: tuple[str, ...], group: str) -> tuple[EntryPoint, ...]:
    """The entry points of `group` in the packages on the import path `path`. Looking through all
    installed packages takes 10 ms and a run asks at each episode, so it is done once per path."""
    return tuple(entry_points(group=group))


def _group(folder: str) -> str:
    return f"headway.{folder.rsplit('.', 1)[-1]}"
