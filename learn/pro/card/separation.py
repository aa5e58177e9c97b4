"""How well a score tells steps near a failure from fault-free ones, and failures from successes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from headway.learn.pro.card.alarms import (
    Raised,
    alarms_of,
    more_caught,
    raised,
    rate_threshold,
)
from headway.learn.pro.card.measures import Floats, Wins, draws, less, of_wins, wins
from headway.learn.pro.card.model import Alarms, Around, At, Estimate, OfKind, Sample, Score
from headway.learn.pro.card.parts import CLEAR_S, HALF_STEP, Parts, kinds_of

LEADS_S = (0.25, 0.5, 1.0, 2.0, 4.0)  # before a failure
FAR_S = max(LEADS_S) + CLEAR_S  # steps that are compared with these are further from a failure
# A lead is left out below so many failures, or episodes to compare them with: fewer than that make
# a curve of chance, and draws of so few episodes give intervals that are too narrow.
LEAD_FEWEST = 10
SHARES = (0.25, 0.5, 0.75, 1.0)  # of an episode
ENDS_S = (0.5, 1.0, 2.0, 4.0)  # before the end of an episode
FALSE_ALARMS = (0.05, 0.1, 0.2)  # shares of episodes that may have a false alarm
# Steps are compared within such bins of elapsed time: short beside an episode, and long enough that
# steps meet others. Phases would do it better, but few recordings name them.
SAME_TIME_S = 2.0
COMPARED = 0.1  # the one of these at which scores are compared
AROUND_S, AROUND_STEP_S, AROUND_FEWEST = (-5.0, 1.0), 0.1, 3


@dataclass(frozen=True)
class Head:
    """What baselines are compared with: the wins of the head's risk, and its alarms at COMPARED."""

    wins: Wins
    raised: Raised | None


@dataclass
class Judge:
    """Judges scores of the same episodes in the same way. `weights` (B, E) are the draws of the
    bootstrap, `threshold` that of the head's bundle, `sample` whether these episodes set it."""

    parts: Sequence[Parts]
    rng: np.random.Generator
    threshold: float | None = None
    sample: Sample = "not known"
    weights: Floats = field(init=False)
    same: NDArray[np.bool_] = field(init=False)  # (E, E) episodes of one session

    def __post_init__(self) -> None:
        self.weights = draws(len(self.parts), self.rng)
        sessions = np.array([p.of.session for p in self.parts], dtype=object)
        self.same = (sessions[:, None] == sessions[None, :]) & (sessions != "")[:, None]

    def steps(self, scores: Sequence[Floats], kind: str | None = None) -> Wins:
        """Positive steps, those of failures of the `kind` alone if one is given, against negative
        ones."""
        up = [
            s[p.positive if kind is None else p.of_kind(kind)]
            for p, s in zip(self.parts, scores, strict=True)
        ]
        return wins(up, [s[p.negative] for p, s in zip(self.parts, scores, strict=True)])

    def score(
        self,
        name: str,
        what: str,
        scores: Sequence[Floats],
        head: Head | None = None,
        why: str = "",
    ) -> Score:
        """What the score `name` tells, given the `scores` (n,) of each episode, compared with the
        `head`; None for the head itself. `why` says why it cannot be judged, if so."""
        if why:
            return Score(name=name, what=what, auroc=Estimate(why=why), why=why)
        all_steps = self.steps(scores)
        kinds = kinds_of(self.parts)
        is_head = head is None
        more: dict[bool, Estimate | None] = {True: None, False: None}
        mine = self.raised(scores)
        if head is not None and head.raised is not None and mine is not None:
            more = {b: more_caught(head.raised, mine, self.weights, b) for b in more}
        return Score(
            name=name,
            what=what,
            auroc=of_wins(all_steps, self.weights),
            ahead=None if head is None else less(head.wins, all_steps, self.weights),
            ahead_caught_before=more[True],
            ahead_caught=more[False],
            within_session=of_wins(all_steps.among(self.same), self.weights)
            if self.same.any()
            else None,
            same_time=of_wins(self.at_same_time(scores), self.weights),
            by_lead=self.by_lead(scores),
            by_kind=tuple(
                OfKind(kind=k, auroc=of_wins(self.steps(scores, k), self.weights)) for k in kinds
            ),
            by_share=self.outcomes(scores, SHARES, _at_share),
            by_end=self.outcomes(scores, ENDS_S, _at_end),
            alarms=self.alarms(scores, self.threshold if is_head else None),
            around=around(self.parts, scores) if is_head else None,
        )

    def at_same_time(self, scores: Sequence[Floats]) -> Wins:
        """Positive against negative steps of the same elapsed time, so that a clock tells
        nothing."""
        up = [p.positive for p in self.parts]
        return self.matched(scores, up, [p.negative for p in self.parts])

    def matched(
        self,
        scores: Sequence[Floats],
        up: Sequence[NDArray[np.bool_]],
        down: Sequence[NDArray[np.bool_]],
    ) -> Wins:
        """The steps `up` (n,) of each episode against the steps `down`, in pairs of the same
        `SAME_TIME_S` since the start."""
        n = len(self.parts)
        found = Wins(np.zeros((n, n)), np.zeros((n, n)))
        at = [(p.of.t / SAME_TIME_S).astype(int) for p in self.parts]
        late = [a[u] for a, u in zip(at, up, strict=True)]
        every = list(zip(scores, at, up, down, strict=True))
        for b in np.unique(np.concatenate([*late, np.zeros(0, int)])):
            here = [s[u & (a == b)] for s, a, u, _ in every]
            found = found.plus(wins(here, [s[d & (a == b)] for s, a, _, d in every]))
        return found

    def head(self, risk: Sequence[Floats]) -> Head:
        """The head, whose `risk` (n,) in each episode others are compared with."""
        return Head(self.steps(risk), self.raised(risk))

    def raised(self, scores: Sequence[Floats]) -> Raised | None:
        """The alarms of `scores` at COMPARED; None where no episode is fault-free."""
        at = rate_threshold(self.parts, scores, COMPARED)
        return None if at is None else raised(self.parts, scores, at)

    def by_lead(self, scores: Sequence[Floats]) -> tuple[At, ...]:
        """The score so long before the first failure, one step of each episode, against fault-free
        steps of other episodes at the same elapsed time, which do not fail for at least `FAR_S`.
        So what the lead is compared with is neither earlier nor later in its episode."""
        calm = [
            p.fault_free if p.first is None else p.fault_free & (p.of.t < p.first.t - FAR_S)
            for p in self.parts
        ]
        found, others = [], ~np.eye(len(self.parts), dtype=bool)
        for lead in LEADS_S:
            up = [np.arange(p.n) == _before(p, lead) for p in self.parts]
            w = self.matched(scores, up, calm).among(others)
            found.append(At(at=lead, auroc=of_wins(w, self.weights, fewest=LEAD_FEWEST)))
        return tuple(found)

    def outcomes(
        self,
        scores: Sequence[Floats],
        points: Sequence[float],
        place: Callable[[Parts, float], int | None],
    ) -> tuple[At, ...]:
        """Failed episodes against successes, by the score at the step that `place` gives for each
        of `points`."""
        if all(p.of.success is None for p in self.parts):
            return ()
        found = []
        for x in points:
            sides: dict[bool, list[Floats]] = {True: [], False: []}
            for p, s in zip(self.parts, scores, strict=True):
                i = place(p, x) if p.of.success is not None else None
                at = s[:0] if i is None else s[i : i + 1]
                for outcome, side in sides.items():
                    side.append(at if p.of.success is outcome else s[:0])
            w = wins(sides[False], sides[True])
            found.append(At(at=x, auroc=of_wins(w, self.weights, "episodes with an outcome")))
        return tuple(found)

    def alarms(self, scores: Sequence[Floats], threshold: float | None) -> tuple[Alarms, ...]:
        """Alarms at each of `FALSE_ALARMS`, and above `threshold` where one is given."""
        at: list[tuple[float | None, float | None]] = [
            (rate, rate_threshold(self.parts, scores, rate)) for rate in FALSE_ALARMS
        ]
        at.append((None, threshold))
        return tuple(
            alarms_of(
                raised(self.parts, scores, x),
                x,
                rate,
                "in-sample" if rate is not None else self.sample,
            )
            for rate, x in at
            if x is not None
        )


def around(parts: Sequence[Parts], scores: Sequence[Floats]) -> Around | None:
    """The quartiles of the scores around the first failures, where at least `AROUND_FEWEST`
    episodes have one."""
    low, high = AROUND_S
    grid = np.arange(round(low / AROUND_STEP_S), round(high / AROUND_STEP_S) + 1) * AROUND_STEP_S
    lines = []
    for p, s in zip(parts, scores, strict=True):
        if p.first is None or not p.n:
            continue
        t = p.first.t + grid
        i = np.searchsorted(p.of.t, t + HALF_STEP, side="right") - 1
        there = (i >= 0) & (t <= p.of.t[-1] + AROUND_STEP_S)
        lines.append(np.where(there, s[np.maximum(i, 0)], np.nan))
    table = np.array(lines).reshape(-1, len(grid))
    often = np.isfinite(table).sum(axis=0) >= AROUND_FEWEST
    if not often.any():
        return None
    q25, median, q75 = np.nanquantile(table[:, often], [0.25, 0.5, 0.75], axis=0)
    return Around(
        t=tuple(grid[often].tolist()),
        q25=tuple(q25.tolist()),
        median=tuple(median.tolist()),
        q75=tuple(q75.tolist()),
    )


def _before(p: Parts, lead: float) -> int:
    """The last step at least `lead` [s] before the first failure; -1 where there is none."""
    if p.first is None:
        return -1
    return int(np.searchsorted(p.of.t, p.first.t - lead + HALF_STEP, side="right")) - 1


def _at_share(p: Parts, share: float) -> int | None:
    return max(0, math.ceil(share * p.end - 1e-9) - 1) if p.end else None


def _at_end(p: Parts, back: float) -> int | None:
    i = p.end - 1 - round(back * p.of.hz)
    return i if i >= 0 and p.end else None
