"""Which implementation computes each part of a run, such as the guard or the PRO head.

A run prints this at its start and records it, and `headway run --require` makes demands on it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from headway.errors import Missing


@dataclass(frozen=True)
class Part:
    """The part `name` is computed by the implementation `by`, such as "cpp" or "ort". `could` names
    all implementations that might compute it, `by` among them."""

    name: str
    by: str
    could: Collection[str]


def in_words(parts: Iterable[Part]) -> str:
    """The parts on one line for people, such as "guard in cpp, PRO head in ort"."""
    return ", ".join(f"{p.name} in {p.by}" for p in parts)


def check(required: Iterable[str], parts: Collection[Part]) -> None:
    """Check that each implementation in `required` computes every one of `parts` that it could, and
    at least one. Raises Missing."""
    for name in required:
        able = [p for p in parts if name in p.could]
        if able and all(p.by == name for p in able):
            continue
        other = [p for p in able if p.by != name]
        why = in_words(other) if other else f"nothing that {name} could compute"
        raise Missing(
            f"--require {name}: this run would have {why} ({in_words(parts)}): install what "
            f"{name} needs (see `headway doctor`), or do not require it"
        )
