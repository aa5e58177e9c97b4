"""The compiled kinematics, imported on first use."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from headway.errors import Missing

VERSION = 1  # of what the compiled module offers


def module() -> Any:
    """The compiled module. Raises Missing when it was not built, or from other sources."""
    try:
        m = import_module("headway.drivers._kinematics")
    except ImportError as e:
        raise Missing(
            f"wanted compiled kinematics, found no headway.drivers._kinematics ({e}): build it "
            "with a C++17 compiler by `pip install -e .`, or ask for impl='python'"
        ) from None
    if m.VERSION != VERSION:
        raise Missing(
            f"wanted compiled kinematics of version {VERSION}, found {m.VERSION}: rebuild it by "
            "`pip install -e .`"
        )
    return m


def optional() -> Any:
    """The compiled module, or None where it is missing."""
    try:
        return module()
    except Missing:
        return None
