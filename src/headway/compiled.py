"""Our compiled modules, imported on first use; beside each stands Python that does the same."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from headway.errors import Missing


def load(name: str, version: int, what: str) -> Any:
    """The compiled module `name`, whose `VERSION` must be `version`. Raises Missing when it was not
    built, or from other sources; `what` it is, in words."""
    try:
        m = import_module(name)
    except ImportError as e:
        raise Missing(
            f"wanted {what}, found no {name} ({e}): build it with a C++17 compiler by "
            "`pip install -e .`, or ask for impl='python'"
        ) from None
    if version != m.VERSION:
        raise Missing(
            f"wanted {what} of version {version}, found {m.VERSION}: rebuild it by "
            "`pip install -e .`"
        )
    return m


def optional(name: str, version: int) -> Any:
    """The compiled module, or None where it is missing."""
    try:
        return load(name, version, name)
    except Missing:
        return None
