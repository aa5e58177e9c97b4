"""The compiled kinematics, imported on first use."""

from __future__ import annotations

from typing import Any

from headway import compiled

VERSION = 4  # of what the compiled module offers


def module(impl: compiled.Impl) -> Any:
    """The compiled module where it computes, None where Python does. Raises Missing."""
    return compiled.choose(impl, "headway.drivers._kinematics", VERSION, "the compiled kinematics")
