"""What a benchmark says, and the two statistics that all of them use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True, slots=True)
class Number:
    """One measured number, beside its target where the project has set one."""

    name: str
    value: float
    unit: str = ""
    target: float | None = None
    at_most: bool = True  # the target is an upper bound, else a lower one

    @property
    def met(self) -> bool | None:
        """None without a target. A NaN meets nothing."""
        if self.target is None:
            return None
        return self.value <= self.target if self.at_most else self.value >= self.target


@dataclass(frozen=True, slots=True)
class Table:
    """Further numbers: one row per subject, all in `unit`."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[float, ...]], ...]
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Findings:
    """`skipped`: why nothing could be measured here. `notes`: under which conditions it was."""

    title: str
    numbers: Sequence[Number] = ()
    tables: Sequence[Table] = ()
    notes: Sequence[str] = field(default=())
    skipped: str = ""


PERCENTILES = ("p50", "p95", "p99")


def percentiles(values: ArrayLike, scale: float = 1.0) -> tuple[float, float, float]:
    """p50, p95 and p99 of `values` times `scale`; NaN where there are none."""
    v = np.asarray(values, float) * scale
    if not v.size:
        return np.nan, np.nan, np.nan
    a, b, c = np.percentile(v, (50, 95, 99))
    return float(a), float(b), float(c)
