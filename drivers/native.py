"""The compiled kinematics, imported on first use."""

from __future__ import annotations

from typing import Any

from headway import compiled

NAME, VERSION = "headway.drivers._kinematics", 2  # of what the compiled module offers


def module() -> Any:
    """The compiled module. Raises Missing when it was not built, or from other sources."""
    return compiled.load(NAME, VERSION, "compiled kinematics")


def optional() -> Any:
    """The compiled module, or None where it is missing."""
    return compiled.optional(NAME, VERSION)
