"""How a policy's own process makes the policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Process:
    """What the process differs in from the loop's: the Python that runs it, None for the same one,
    and a folder that Python searches for modules first, None for none."""

    interpreter: str | None = None
    folder: str | None = None


@dataclass(frozen=True)
class PolicySource:
    """The function `factory`, "module:function", makes the policy from `arguments`, which fit into
    JSON, in the process `process`."""

    factory: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    process: Process = Process()
