"""Which parts of a model bear a lower precision: each is tried alone, and then as many together as
an error budget allows.

The parts are sorted by what the precision in them alone costs, and the longest beginning of that
list is taken whose model keeps the budget. It is found by bisection, since more parts are rarely
better; the model that is taken is one that was measured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import onnx

from headway.export.parity import Gap

Apply = Callable[[Sequence["Part"]], onnx.ModelProto]  # the model with the precision in these parts
Measure = Callable[[onnx.ModelProto], Sequence[Gap]]  # compares a model with the original


@dataclass(frozen=True)
class Part:
    """The `nodes` of a model that get a precision together, under a `name` for people; `size` says
    how much of the model they are: weights of a layer, or nodes."""

    name: str
    nodes: tuple[str, ...]
    size: int


@dataclass(frozen=True)
class Sensitivity:
    """What the precision in `part` alone does: the worst `cosine` over all outputs and samples."""

    part: Part
    cosine: float


@dataclass(frozen=True)
class Plan:
    """The parts that are `chosen`, out of all that could be, `found` with the sensitive ones last;
    and the worst `cosine` of the model with them."""

    chosen: tuple[Part, ...]
    found: tuple[Sensitivity, ...]
    cosine: float

    @property
    def share(self) -> float:
        """The chosen parts' share of the size of all."""
        total = sum(s.part.size for s in self.found)
        return sum(p.size for p in self.chosen) / total if total else 0.0


def worst(gaps: Sequence[Gap]) -> float:
    """The smallest of their cosines."""
    return min(g.cosine for g in gaps)


def sensitivities(
    parts: Sequence[Part], apply: Apply, measure: Measure, kind: str
) -> tuple[Sensitivity, ...]:
    """Each of `parts` alone, the least sensitive first; prints each, with the name `kind`."""
    found = []
    for k, part in enumerate(parts, start=1):
        cosine = worst(measure(apply([part])))
        found.append(Sensitivity(part, cosine))
        print(f"{kind} in part {k} of {len(parts)} alone, {part.name}: cosine {cosine:.6f}")
    return tuple(sorted(found, key=lambda s: -s.cosine))


def mixed(apply: Apply, measure: Measure, budget: float, found: Sequence[Sensitivity]) -> Plan:
    """The plan with the longest beginning of `found` whose worst cosine is `budget` or more;
    without one, that of no part."""
    low, high = 0, len(found)  # `low` parts keep the budget
    best = 1.0
    while low < high:
        middle = (low + high + 1) // 2
        cosine = worst(measure(apply([s.part for s in found[:middle]])))
        if cosine >= budget:
            low, best = middle, cosine
        else:
            high = middle - 1
    return Plan(tuple(s.part for s in found[:low]), tuple(found), best)
