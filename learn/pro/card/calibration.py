"""Whether probabilities mean what they say, and whether the value rises as a task goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.learn.pro.card.measures import Floats, mean
from headway.learn.pro.card.model import Bin, Order, Reliability, Sample
from headway.learn.pro.card.parts import Parts

BINS = 10


def reliability(
    signal: str,
    said: Sequence[Floats],
    labels: Sequence[NDArray[np.float32]],
    sample: Sample = "not known",
    how: str = "",
) -> Reliability:
    """The reliability diagram of the probabilities `said` (n,) of each episode against its `labels`
    (n,) of 0, 1 and NaN, over all steps that have a label (Guo et al. 2017). `sample` says whether
    their calibration was fitted to these episodes, `how` what was done that it is not."""
    p = np.concatenate([*said, np.zeros(0)])
    y = np.concatenate([*labels, np.zeros(0)]).astype(np.float64)
    known = np.isfinite(y) & np.isfinite(p)
    p, y = p[known], y[known]
    if not len(p):
        return Reliability(signal=signal, why=f"no step has a label of {signal}")
    if y.min() == y.max():
        which = "a positive" if y[0] else "a negative"
        return Reliability(
            signal=signal, steps=len(p), why=f"every step is {which} of {signal}: nothing to tell"
        )
    if p.min() == p.max():
        return Reliability(
            signal=signal,
            steps=len(p),
            why=f"the head says {signal} {p[0]:g} at every step: it was not taught",
        )
    at = np.clip((p * BINS).astype(int), 0, BINS - 1)
    bins, error = [], 0.0
    for b in range(BINS):
        here = at == b
        n = int(here.sum())
        told, was = (float(p[here].mean()), float(y[here].mean())) if n else (None, None)
        bins.append(Bin(low=b / BINS, high=(b + 1) / BINS, steps=n, said=told, was=was))
        if told is not None and was is not None:
            error += abs(told - was) * n / len(p)
    share = float(y.mean())
    return Reliability(
        signal=signal,
        sample=sample,
        how=how,
        bins=tuple(bins),
        ece=error,
        brier=float(np.mean((p - y) ** 2)),
        brier_constant=share * (1 - share),
        steps=len(p),
    )


def order(
    parts: Sequence[Parts], signals: Sequence[Mapping[str, Floats]], rng: np.random.Generator
) -> Order:
    """Rank correlations of the value -time_to_go with time, episode by episode: Kendall's tau on
    successes, Spearman's rho (value-order correlation) on successes and on failures. Where targets
    are about the lines of an order, it is the mean over the lines."""
    from scipy.stats import kendalltau, spearmanr

    tau: list[float] = []
    rho: dict[bool, list[float]] = {True: [], False: []}
    errors, clock = [], []
    outcomes = [p.of.success for p in parts]
    begun = [[float(p.of.time_to_go[x.start]) for x in p.stretches] for p in parts]
    taught = False
    for k, (p, s) in enumerate(zip(parts, signals, strict=True)):
        togo = s["time_to_go"][: p.end]
        if p.of.success is None or len(togo) < 2 or not np.isfinite(togo).all():
            continue
        taught |= bool(togo.min() < togo.max())
        rho[p.of.success].append(_correlation(spearmanr, p, togo))
        if p.of.success:
            tau.append(_correlation(kendalltau, p, togo))
            true = p.of.time_to_go[: p.end]
            if not np.isfinite(true).any():
                continue
            errors.append(float(np.nanmean(np.abs(togo - true))))
            others = [e for i, of in enumerate(begun) if i != k for e in of if np.isfinite(e)]
            if others:
                since = np.concatenate([p.of.t[x] - p.of.t[x.start] for x in p.stretches])
                left = np.maximum(0.0, np.median(others) - since)
                clock.append(float(np.nanmean(np.abs(left - true))))
    why = ""
    if all(o is None for o in outcomes):
        why = "no outcome is known, so no time-to-go was taught and none is judged"
    elif not any(rho.values()):
        why = "no episode with an outcome has a time-to-go of the head"
    elif not taught:
        why = "the head says the same time-to-go at every step: it was not taught"
        tau, rho, errors, clock = [], {True: [], False: []}, [], []
    return Order(
        tau_successes=mean(tau, rng, why or "no success"),
        voc_successes=mean(rho[True], rng, why or "no success"),
        voc_failures=mean(rho[False], rng, why or "no failure with an outcome"),
        error_s=_mean(errors),
        clock_error_s=_mean(clock),
        why=why,
    )


def _correlation(of: Callable[[Floats, Floats], Any], p: Parts, togo: Floats) -> float:
    """The rank correlation `of` -togo (end,) with time, as the mean over the episode's stretches in
    which something is due; 0 where the head says the same all the time."""
    found = []
    for x in p.stretches:
        said = togo[x]
        if len(said) > 1 and np.isfinite(p.of.completion[x]).any():
            found.append(0.0 if said.min() == said.max() else float(of(-said, p.of.t[x])[0]))
    return float(np.mean(found)) if found else 0.0


def _mean(values: Sequence[float]) -> float | None:
    known = [v for v in values if np.isfinite(v)]
    return float(np.mean(known)) if known else None
