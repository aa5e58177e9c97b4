"""What each decision of a rollout was worth: its advantage.

A potential Phi [s] says at every decision what is still to be paid until the order is done. With
PRO it is

    Phi = -[p tau + (1 - p) Cf] - (lines left after the one that is due) Cr

where p is the probability that the due line is closed, tau [s] the time until then, Cf [s] what a
line costs that is not, and Cr [s] what a line takes. The gain of a decision is the difference of
the potentials over the next n decisions (Ng, Harada & Russell 1999; a potential cannot pay for
dawdling), less what PRO says about risk and unsteadiness on the way:

    G_k = Phi_{k+n} - Phi_k - sum_{j=k}^{k+n-1} (lambda risk_j + mu unstable_j) dt

At the end of an episode stands what the station's outcome says. The advantage is G in units of its
deviation, less a baseline b of what the eyes saw, which was learned on the other fold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from headway.config import Struct
from headway.errors import ConfigError
from headway.learn.execution import outcome, process
from headway.learn.execution.lessons import Floats, Lesson, Singles, episode_of, of_all
from headway.learn.execution.outcome import OutcomeFit
from headway.learn.execution.process import Head, Signals
from headway.learn.execution.regression import Regression, cross_fitted

Credit = Literal["pro", "outcome", "attempts", "clock", "shuffled"]
CLOCK_SHARE = 0.55  # of the time limit, up to which the clock pays


class Worth(Struct, frozen=True):
    """How gains are made. `horizon_s` [s] of decisions; `risk` and `unstable` are lambda and mu [s]
    of loss a second; `fail` and `line` scale Cf and Cr, see `costs`. `demonstrations`: whether PRO
    and the outcome are taught by demonstrations too. They end well, and the policy did not drive:
    what looks like one may seem to end well."""

    horizon_s: float = 3.0
    risk: float = 0.17
    unstable: float = 0.17
    fail: float = 1.2
    line: float = 1.0
    demonstrations: bool = True


@dataclass(frozen=True)
class Costs:
    """What a line costs that is not closed (`fail`), and what one takes that is (`line`) [s]."""

    fail: float
    line: float


@dataclass(frozen=True)
class Judged:
    """The advantage (D,) of every decision of all lessons, one lesson after another, in units of
    its deviation. `heads` are PRO's of the two folds, () where PRO had no part."""

    advantage: Singles
    heads: tuple[Head, ...] = ()


class How(Protocol):
    """What decides about worth, see `headway.learn.execution.settings.Learning`."""

    @property
    def worth(self) -> Worth: ...
    @property
    def process(self) -> process.ProcessFit: ...
    @property
    def outcome(self) -> OutcomeFit: ...
    @property
    def baseline(self) -> Regression: ...


def judge(lessons: Sequence[Lesson], credit: Credit, how: How, seed: int) -> Judged:
    """The advantages of all decisions by the kind of `credit`. Raises ConfigError for less than two
    lessons in a fold."""
    if len(lessons) < 2 * process.FOLDS:
        raise ConfigError(
            f"wanted at least {2 * process.FOLDS} episodes to learn what decisions are worth, "
            f"found {len(lessons)}: collect more"
        )
    worth = how.worth
    teaches = np.array([worth.demonstrations or not x.demonstration for x in lessons])
    taught = [int(teaches[process.fold_of(len(lessons)) == k].sum()) for k in range(process.FOLDS)]
    if credit in ("pro", "shuffled", "outcome") and min(taught) < 2:
        raise ConfigError(
            "wanted at least 2 rollouts of the policy in each fold, found demonstrations alone: "
            "collect more, or leave out `worth.demonstrations = false`"
        )
    heads: list[Head] = []
    if credit in ("pro", "shuffled"):
        signals, heads = process.cross_fitted(lessons, how.process, seed, teaches)
        made = with_signals(lessons, signals, worth)
    elif credit == "outcome":
        value = outcome.cross_fitted(lessons, how.outcome, seed, teaches)
        made = with_outcome(lessons, value, worth)
    elif credit == "attempts":
        made = [attempts(x) for x in lessons]
    else:
        made = [clock(x, worth) for x in lessons]
    gain = np.concatenate(made)
    if credit == "shuffled":
        gain = np.random.default_rng([seed, 29]).permutation(gain)
    return Judged(advantages(lessons, gain, how.baseline, seed), tuple(heads))


def advantages(lessons: Sequence[Lesson], gain: Floats, how: Regression, seed: int) -> Singles:
    """The gains (D,) of all decisions without what the code of the decision explains, in units of
    the deviation of the rest."""
    y = (gain / (gain.std() + 1e-6)).astype(np.float32)
    code = of_all(lessons, "code").astype(np.float32)
    fold = process.fold_of(len(lessons))[episode_of(lessons)]
    rest = y - cross_fitted(code, y, fold, how, seed)
    return (rest / (rest.std() + 1e-6)).astype(np.float32)


def costs(lessons: Sequence[Lesson], worth: Worth) -> Costs:
    """Cf is `worth.fail` times the time that the limit leaves for a line, Cr `worth.line` times the
    median of what the lines took that were closed."""
    limit = float(np.median([x.limit_s / x.happened.lines for x in lessons]))
    took = np.concatenate([process.line_times(x) for x in lessons])
    return Costs(worth.fail * limit, worth.line * (float(np.median(took)) if len(took) else limit))


def with_signals(
    lessons: Sequence[Lesson], signals: Sequence[Signals], worth: Worth
) -> list[Floats]:
    """The gains (D,) [s] of the decisions of each lesson by PRO's `signals` at its steps."""
    price = costs(lessons, worth)
    out = []
    for x, all_steps in zip(lessons, signals, strict=True):
        s = all_steps.at(x.step)
        phi = potential(x, s, price)
        penalty = (worth.risk * s.risk + worth.unstable * s.unstable) * x.decision_s
        given_up = np.asarray(-price.fail - lines_left(x) * price.line, np.float64)
        out.append(by_itself(x, phi, final(x, phi, price), given_up, np.asarray(penalty), worth))
    return out


def potential(x: Lesson, s: Signals, price: Costs) -> Floats:
    """Phi (D,) [s] at the decisions of `x`, by the signals `s` at them."""
    p = s.closes.astype(np.float64)
    due = -(p * s.to_close + (1.0 - p) * price.fail)
    # Once all lines are closed nothing is due: what is left is the outcome.
    due[x.closed_by(x.at) >= x.happened.lines] = 0.0
    return due - lines_left(x) * price.line


def lines_left(x: Lesson) -> Floats:
    """How many lines (D,) are left at the decisions of `x` after the one that is due."""
    return np.maximum(0, x.happened.lines - 1 - x.closed_by(x.at)).astype(np.float64)


def final(x: Lesson, phi: Floats, price: Costs) -> float:
    """The potential [s] after the end of `x`: nothing is left of a success, everything that was not
    closed of a failure; where nobody knows the outcome, what was expected last stays."""
    if x.success is None or not x.known_end:
        return float(phi[-1]) if len(phi) else 0.0
    if x.success:
        return 0.0
    left = max(0, x.happened.lines - 1 - len(x.happened.closed))
    return -price.fail - left * price.line


def with_outcome(lessons: Sequence[Lesson], value: Sequence[Singles], worth: Worth) -> list[Floats]:
    """The gains (D,) by the probability of success `value` (D,) at the decisions of each lesson."""
    out = []
    for x, v in zip(lessons, value, strict=True):
        phi = v.astype(np.float64)
        end = float(x.success) if x.success is not None else float(phi[-1])
        nothing = np.zeros(len(phi))
        out.append(by_itself(x, phi, end, nothing, nothing, worth))
    return out


def clock(x: Lesson, worth: Worth) -> Floats:
    """The gains (D,) [s] of a potential that knows the time and nothing else."""
    phi = -np.maximum(0.0, CLOCK_SHARE * x.limit_s - x.at)
    end = -max(0.0, CLOCK_SHARE * x.limit_s - x.end_s)
    return gains(phi, end, np.zeros(len(phi)), steps(x, worth))


def attempts(x: Lesson) -> Floats:
    """1 for the decisions (D,) of an attempt that ended with a line being closed, 0 for all others.
    An attempt begins after the last failure event or the line before, or where somebody takes over.
    """
    gain = np.zeros(len(x.at))
    borders = np.concatenate([x.happened.failures, x.happened.closed, x.takeovers, [-np.inf]])
    for closed in x.happened.closed:
        begins = borders[borders < closed].max()
        gain[(x.at >= begins) & (x.at < closed)] = 1.0
    return gain


def gains(phi: Floats, end: float, penalty: Floats, n: int) -> Floats:
    """G (D,) of the potentials `phi` (D,) over `n` decisions, where after the last one it
    is `end`; `penalty` (D,) is paid at each decision on the way."""
    k = np.arange(len(phi))
    ahead = np.concatenate([phi, np.full(n, end)])
    paid = np.concatenate([[0.0], np.cumsum(penalty)])
    return ahead[k + n] - phi - (paid[np.minimum(k + n, len(phi))] - paid[k])


def by_itself(
    x: Lesson, phi: Floats, end: float, given_up: Floats, penalty: Floats, worth: Worth
) -> Floats:
    """`gains` of the decisions of `x`, where what somebody else achieves who takes over is no merit
    of the decisions before: for them, the potential is `given_up` (D,) from there on."""
    n, begins = steps(x, worth), np.searchsorted(x.at, x.takeovers)
    parts = [
        gains(part, float(given_up[until]) if until < len(phi) else end, paid, n)
        for part, paid, until in zip(
            np.split(phi, begins), np.split(penalty, begins), [*begins, len(phi)], strict=True
        )
    ]
    return np.concatenate(parts)


def steps(x: Lesson, worth: Worth) -> int:
    """How many decisions a gain reaches ahead."""
    return max(1, round(worth.horizon_s / x.decision_s))
