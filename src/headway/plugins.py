"""Find kinds by name. The folder is the registry: kind `x` of the folder `drivers.cameras` is the
module `headway.drivers.cameras.x`. Other packages add kinds through entry points of the group
`headway.<folder>`, for example `headway.cameras`. No list has to be edited.
"""

from __future__ import annotations

import difflib
import pkgutil
from importlib import import_module
from importlib.metadata import entry_points
from types import ModuleType

from headway.errors import ConfigError


def kinds(folder: str) -> list[str]:
    """Names of all kinds in `folder` (such as "drivers.cameras"), those of other packages
    included."""
    package = import_module(f"headway.{folder}")
    ours = {m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_")}
    return sorted(ours | {e.name for e in entry_points(group=_group(folder))})


def load(folder: str, kind: str) -> ModuleType:
    """The module of `kind` in `folder`. Raises ConfigError, which names the valid kinds."""
    for entry in entry_points(group=_group(folder)):
        if entry.name == kind:
            module = entry.load()
            if not isinstance(module, ModuleType):
                raise ConfigError(f"entry point {entry.value} of {_group(folder)} is not a module")
            return module
    valid = kinds(folder)
    if kind not in valid:
        near = difflib.get_close_matches(kind, valid, n=1)
        hint = f"did you mean `{near[0]}`?" if near else f"valid: {', '.join(valid)}"
        raise ConfigError(f"wanted a kind of {folder}, found `{kind}`: {hint}")
    return import_module(f"headway.{folder}.{kind}")


def _group(folder: str) -> str:
    return f"headway.{folder.rsplit('.', 1)[-1]}"
