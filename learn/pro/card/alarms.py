"""Alarms of a score above a threshold: how many failures they catch, and when, at a stated share of
false ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headway.learn.pro.card.measures import Floats, interval, quartiles, share_of
from headway.learn.pro.card.model import Alarm, Alarms, Caught, Estimate, Judged, Sample
from headway.learn.pro.card.parts import HALF_STEP, Parts, label
from headway.tools.statistics import FEWEST


def rate_threshold(parts: Sequence[Parts], scores: Sequence[Floats], rate: float) -> float | None:
    """The threshold above which exactly the share `rate` (0..1) of the episodes, rounded down, goes
    in its fault-free part; fewer where scores are equal. None where no episode has one."""
    peaks = sorted((x for x in peaks_of(parts, scores) if np.isfinite(x)), reverse=True)
    if not peaks:
        return None
    return peaks[math.floor(rate * len(peaks) + 1e-9)]


def peaks_of(parts: Sequence[Parts], scores: Sequence[Floats]) -> list[float]:
    """The largest score in the fault-free part of each episode that has one."""
    return [
        float(np.nan_to_num(s[p.fault_free], nan=-np.inf).max())
        for p, s in zip(parts, scores, strict=True)
        if p.fault_free.any()
    ]


@dataclass(frozen=True)
class Raised:
    """What alarms do in each of E episodes."""

    calm: NDArray[np.bool_]  # (E,) has a fault-free part
    false: NDArray[np.bool_]  # (E,) an alarm in it
    failed: NDArray[np.bool_]  # (E,) has a failure whose steps are judged
    hit: NDArray[np.bool_]  # (E,) an alarm at the failure, whatever came before
    hit_before: NDArray[np.bool_]  # (E,) one of these strictly before the failure
    delay: Floats  # (E,) of the alarm that catches it [s after the failure], NaN without one
    kinds: NDArray[np.object_]  # (E,) name of the failure, "" without one

    @property
    def caught(self) -> NDArray[np.bool_]:
        return np.isfinite(self.delay)

    @property
    def caught_before(self) -> NDArray[np.bool_]:
        """(E,) caught strictly before the failure."""
        return np.asarray(self.delay < -HALF_STEP)  # false for NaN


def raised(parts: Sequence[Parts], scores: Sequence[Floats], threshold: float) -> Raised:
    """What becomes of the episodes with an alarm wherever a score is above `threshold`. An alarm in
    the fault-free part is a false one, and then the failure of that episode counts as missed: the
    robot stands already."""
    n = len(parts)
    false, hit, hit_before = np.zeros(n, bool), np.zeros(n, bool), np.zeros(n, bool)
    delay = np.full(n, np.nan)
    for i, (p, s) in enumerate(zip(parts, scores, strict=True)):
        over = s > threshold  # false for NaN
        false[i] = (over & p.fault_free).any()
        hits = np.flatnonzero(over & p.window)
        hit[i] = len(hits) > 0
        hit_before[i] = p.before[hits].any()
        if p.first is not None and len(hits) and not false[i]:
            delay[i] = p.of.t[hits[0]] - p.first.t
    return Raised(
        calm=np.array([p.fault_free.any() for p in parts], bool),
        false=false,
        failed=np.array([p.window.any() for p in parts], bool),
        hit=hit,
        hit_before=hit_before,
        delay=delay,
        kinds=np.array([label(p.first) if p.first else "" for p in parts], object),
    )


def alarms_of(found: Raised, threshold: float, asked: float | None, sample: Sample) -> Alarms:
    """The counts of `found` at `threshold`, which was set for the share `asked` of false alarms, by
    these episodes or not, as `sample` says."""
    kinds = sorted(set(found.kinds[found.failed]))
    failed = int(found.failed.sum())
    return Alarms(
        asked=asked,
        threshold=threshold,
        sample=sample,
        false=share_of(int(found.false.sum()), int(found.calm.sum())),
        caught_before=share_of(int(found.caught_before.sum()), failed),
        lead=quartiles(-found.delay[found.caught_before]),
        caught=share_of(int(found.caught.sum()), failed),
        delay=quartiles(found.delay[found.caught]),
        at_failure_before=share_of(int(found.hit_before.sum()), failed),
        at_failure=share_of(int(found.hit.sum()), failed),
        kinds=tuple(_caught(k, found) for k in kinds),
    )


def more_caught(a: Raised, b: Raised, weights: Floats, before: bool) -> Estimate:
    """The share of failures that `a` catches less that of `b`, with the interval of the draws
    `weights` (B, E); of those caught before the failure where `before` is true."""
    failed = a.failed & b.failed
    n = int(failed.sum())
    if n < FEWEST:
        return Estimate(positives=n, why=f"wanted at least {FEWEST} failures, found {n}")
    mine, other = (x.caught_before if before else x.caught for x in (a, b))
    more = (mine.astype(float) - other) * failed
    of = weights @ failed
    drawn = np.divide(weights @ more, of, out=np.full(len(of), np.nan), where=of > 0)
    low, high = interval(drawn)
    return Estimate(value=float(more.sum() / n), low=low, high=high, positives=n)


def lines(
    parts: Sequence[Parts],
    source: Sequence[str],
    scores: Sequence[Floats],
    found: Raised | None,
) -> tuple[Judged, ...]:
    """Each episode with what the alarms `found` did in it."""
    out = []
    for i, (p, way, s) in enumerate(zip(parts, source, scores, strict=True)):
        peak = s[p.fault_free & np.isfinite(s)]
        delay = found.delay[i] if found is not None else np.nan
        out.append(
            Judged(
                name=p.of.name,
                session=p.of.session,
                source=way,
                success=p.of.success,
                kind=label(p.first) if p.first else "",
                failure_t=p.first.t if p.first else None,
                peak=float(peak.max()) if len(peak) else None,
                alarm=_word(found, i),
                delay=float(delay) if np.isfinite(delay) else None,
            )
        )
    return tuple(out)


def _word(found: Raised | None, i: int) -> Alarm:
    if found is None or not (found.calm[i] or found.failed[i]):
        return "not judged"
    if found.false[i]:
        return "false"
    if not found.failed[i]:
        return "none"
    if found.caught_before[i]:
        return "caught before"
    return "caught after" if found.caught[i] else "missed"


def _caught(kind: str, found: Raised) -> Caught:
    this = found.failed & (found.kinds == kind)
    delay, early = found.delay[this & found.caught], found.delay[this & found.caught_before]
    of = int(this.sum())
    return Caught(
        kind=kind,
        caught_before=share_of(len(early), of),
        lead=quartiles(-early),
        caught=share_of(len(delay), of),
        delay=quartiles(delay),
    )
