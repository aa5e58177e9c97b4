"""Workflows by name: each is a run configuration, with the scene, the task and the expert that it
names. The folder `configs/workflows` is the registry: the workflow `x` is `x.toml` there. Other
packages add workflows through entry points of the group `headway.workflows`, which name a path (or
its text), or a module with such a `CONFIG`.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

from headway import shipped
from headway.config import suggest
from headway.errors import ConfigError
from headway.plugins import loaded

GROUP = "headway.workflows"
FOLDER = shipped.ROOT / "configs" / "workflows"


def names() -> list[str]:
    """Names of all workflows, those of other packages included."""
    return sorted(
        {p.stem for p in FOLDER.glob("*.toml")} | {e.name for e in entry_points(group=GROUP)}
    )


def config_of(name: str) -> Path:
    """The run configuration of the workflow `name`. Raises ConfigError for a name that there is
    not, and for an entry point that does not lead to a file."""
    for entry in entry_points(group=GROUP):
        if entry.name != name:
            continue
        found = loaded(entry)
        if isinstance(found, ModuleType):
            found = getattr(found, "CONFIG", None)
        if not isinstance(found, (str, Path)) or not Path(found).is_file():
            raise ConfigError(
                f"wanted the entry point `{entry.name} = {entry.value}` of the group {GROUP} to "
                f"name a configuration file, or a module with its path in CONFIG, found {found!r}: "
                "mend that package"
            )
        return Path(found)
    valid = names()
    if name not in valid:
        raise ConfigError(f"wanted a workflow, found `{name}`: {suggest(name, valid)}")
    return FOLDER / f"{name}.toml"
