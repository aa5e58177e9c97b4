"""Calibration, thresholds and a summary, from heads that did not see the episodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, logit

from headway.learn.pro.card.alarms import peaks_of
from headway.learn.pro.card.parts import Parts
from headway.learn.pro.dataset import AFTER_S
from headway.learn.pro.examples import FLAGS, Example
from headway.tools.statistics import auroc

EARLY_ALARMS = 0.1  # share of the episodes that may alarm before anything went wrong


@dataclass(frozen=True)
class Platt:
    """p = sigmoid(slope * logit + shift) for each of `FLAGS` (Platt 1999)."""

    slope: tuple[float, ...]
    shift: tuple[float, ...]

    def __call__(self, logits: NDArray[Any]) -> NDArray[np.float64]:
        """Probabilities (n, 3) of logits (n, 3)."""
        found: NDArray[np.float64] = expit(logits * np.array(self.slope) + np.array(self.shift))
        return found


def platt(examples: Sequence[Example], logits: Sequence[NDArray[Any]]) -> Platt:
    """Fitted to the known labels of `examples` and the logits (n, 3) of heads that did not see
    them. A flag of which one class is not there keeps its logits."""
    slope, shift = [], []
    for i, name in enumerate(FLAGS):
        y = np.concatenate([getattr(e, name) for e in examples])
        x = np.concatenate([a[:, i] for a in logits])
        known = np.isfinite(y)
        y, x = y[known], x[known]
        a, b = 1.0, 0.0
        if (y == 0).any() and (y == 1).any():
            a, b = sigmoid(x.astype(np.float64), y.astype(np.float64))
        slope.append(a)
        shift.append(b)
    return Platt(tuple(slope), tuple(shift))


def sigmoid(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """Slope and shift with which sigmoid(slope * x + shift) tells `y` (n,) of 0 and 1, both of
    which are there, from the logits `x` (n,)."""

    def loss(p: NDArray[np.float64]) -> float:
        z = np.exp(p[0]) * x + p[1]
        return float(np.mean(np.logaddexp(0.0, z) - y * z))

    start = np.array([0.0, logit(np.clip(y.mean(), 1e-6, 1 - 1e-6))])
    # A slope below 0 would turn a head around, one far above 1 would trust it more than it should.
    found = minimize(loss, start, method="L-BFGS-B", bounds=[(-3.0, 1.0), (-20.0, 20.0)])
    return float(np.exp(found.x[0])), float(found.x[1])


def peaks(examples: Sequence[Example], risk: Sequence[NDArray[Any]]) -> list[float]:
    """The largest risk in the fault-free part of each example that has one, in their order; a card
    judges by the same parts."""
    return peaks_of([Parts(e) for e in examples], risk)


@dataclass(frozen=True)
class Summary:
    """How well the risk tells failures, in episodes that were held out."""

    auroc: float  # of steps; NaN where a class is missing
    threshold: float  # that EARLY_ALARMS of the episodes cross while nothing went wrong
    # by kind of failure: above the threshold before it, and until AFTER_S after it, of how many
    caught: dict[str, tuple[int, int, int]]
    delay_s: float  # median of the first step above near a failure; below 0: before it

    @property
    def hits(self) -> tuple[int, int, int]:
        """How many failures it is above the threshold before, and before or at, of how many."""
        before, near, of = np.sum(list(self.caught.values()) or [(0, 0, 0)], axis=0).tolist()
        return before, near, of

    @property
    def delay(self) -> str:
        """The delay in words."""
        return f"{self.delay_s:+.2f} s" if np.isfinite(self.delay_s) else "-"


def summary(examples: Sequence[Example], risk: Sequence[NDArray[Any]]) -> Summary:
    """How well `risk` (n,) of each example tells its failures."""
    y = np.concatenate([e.risk for e in examples])
    x = np.concatenate(list(risk))
    tops = peaks(examples, risk)
    threshold = float(np.quantile(tops, 1 - EARLY_ALARMS, method="higher")) if tops else np.inf
    caught: dict[str, tuple[int, int, int]] = {}
    delays = []
    for e, r in zip(examples, risk, strict=True):
        for f in e.failures[:1]:
            above = (e.risk == 1) & (e.t <= f.t + AFTER_S) & (r > threshold)
            over = e.t[above]
            early = bool((above & Parts(e).before).any())
            before, near, of = caught.get(f.label, (0, 0, 0))
            caught[f.label] = (before + early, near + bool(len(over)), of + 1)
            if len(over):
                delays.append(float(over[0] - f.t))
    return Summary(
        auroc(x[np.isfinite(y)], y[np.isfinite(y)] == 1),
        threshold,
        caught,
        float(np.median(delays)) if delays else float("nan"),
    )
