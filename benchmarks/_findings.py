"""What a benchmark says, and the statistics that several of them use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray


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
    """`skipped`: why nothing could be measured here. `failed`: what the benchmark raised instead.
    `notes`: under which conditions it was measured."""

    title: str
    numbers: Sequence[Number] = ()
    tables: Sequence[Table] = ()
    notes: Sequence[str] = field(default=())
    skipped: str = ""
    failed: str = ""


PERCENTILES = ("p50", "p95", "p99")


def percentiles(values: ArrayLike, scale: float = 1.0) -> tuple[float, float, float]:
    """p50, p95 and p99 of `values` times `scale`; NaN where there are none."""
    v = np.asarray(values, float) * scale
    if not v.size:
        return np.nan, np.nan, np.nan
    a, b, c = np.percentile(v, (50, 95, 99))
    return float(a), float(b), float(c)


def lateness(late: ArrayLike, missed: ArrayLike, period: float) -> NDArray[np.float64]:
    """How late each tick was that was due, in the unit of `period`. The ticks that came began
    `late` after their own deadlines, and skipped the `missed` deadlines right before those.

    A skipped tick is as late as the one that came instead. Without the skipped ones a loop that
    stands still would look punctual ("coordinated omission", G. Tene)."""
    own, skipped = np.asarray(late, float), np.asarray(missed, int)
    ticks = skipped + 1
    periods = np.repeat(np.cumsum(ticks), ticks) - 1 - np.arange(ticks.sum())
    return np.asarray(np.repeat(own, ticks) + period * periods)
