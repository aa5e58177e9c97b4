"""Observations in three parts, each of which is used for one thing only: the ranges of the
activations, the choice of what gets a precision, and the judgement of what was chosen. A choice
that is judged on what it was made with looks better than it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from headway.errors import ConfigError
from headway.export.samples import Sample

PARTS = 3
FEWEST = 9  # observations: three for each part


@dataclass(frozen=True)
class Splits:
    """Observations to `calibrate`, `choose` and `judge` with. `dealt` is what went to a part as a
    whole: "recordings" or "rows"."""

    calibrate: tuple[Sample, ...]
    choose: tuple[Sample, ...]
    judge: tuple[Sample, ...]
    dealt: str

    @property
    def counts(self) -> dict[str, int]:
        """How many observations each part has, by its name."""
        return {
            "calibrate": len(self.calibrate), "choose": len(self.choose), "judge": len(self.judge),
        }  # fmt: skip

    def __str__(self) -> str:
        named = ", ".join(f"{n} to {name}" for name, n in self.counts.items())
        whole = ", no recording in two of them" if self.dealt == "recordings" else ""
        return f"{sum(self.counts.values())} observations: {named}{whole}"


def split(groups: Sequence[Sequence[Sample]]) -> Splits:
    """The observations of `groups`, those of a recording each, dealt out in turn. A recording goes
    to one part as a whole, since its observations resemble each other; where there are fewer
    recordings than parts, each observation is dealt by itself. Raises ConfigError for fewer
    observations than `FEWEST`."""
    total = sum(len(g) for g in groups)
    if total < FEWEST:
        raise ConfigError(f"wanted {FEWEST} observations or more, found {total}")
    whole = len(groups) >= PARTS
    dealt = [list(g) for g in groups] if whole else [[s] for g in groups for s in g]
    parts: list[list[Sample]] = [[], [], []]
    for k, group in enumerate(dealt):
        parts[k % PARTS] += group
    calibrate, choose, judge = map(tuple, parts)
    return Splits(calibrate, choose, judge, "recordings" if whole else "rows")
