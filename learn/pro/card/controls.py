"""Negative controls: what a sound head must not show.

A head that knows the day, the cell or the file format may know the outcome from it, where failures
and successes come from different ones. So: can the session be told from the head's signals and from
its features, in parts of episodes in which nothing went wrong? Do trees that learn shuffled labels
stay at chance? Does the risk drift in the order of recording?
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headway.kernels import spec
from headway.learn.pro.card.baselines import Step, known_features, trees
from headway.learn.pro.card.measures import Floats, Wins, draws, interval, of_wins, wins
from headway.learn.pro.card.model import Control, Estimate
from headway.learn.pro.card.parts import Parts
from headway.tools.statistics import FEWEST

# A score that tells sessions with an AUROC of more than 0.65 in parts without failures owes them a
# good part of what it says: of two such parts it puts two in three into the right session.
SESSION_MOST = 0.65
# The session alone tells failures this well at most, before features that show it are a danger.
OUTCOME_MOST = 0.65
# Of cards without any fault one in twenty would fail an interval of 95 %.
SHUFFLED_SHARE = 0.99
SHUFFLED_ROUNDS = 40  # enough to learn what can be learned by heart
SHORTEST_S = 1.0  # of a fault-free part that is looked at
ALARM_SIGNALS = ("risk", "stability")
REWARD_SIGNALS = ("progress", "completion", "time_to_go")
SUMMARY = (0.1, 0.5, 0.9)  # quantiles of a signal over a fault-free part
FOLDS = 5


def calm(parts: Sequence[Parts]) -> list[int]:
    """The episodes that have a fault-free part of at least `SHORTEST_S`."""
    return [i for i, p in enumerate(parts) if p.fault_free.sum() >= max(1, SHORTEST_S * p.of.hz)]


def signals_of(p: Parts, signals: Mapping[str, Floats], names: Sequence[str]) -> Floats:
    """What the signals `names` are like in the fault-free part of an episode."""
    out: list[float] = []
    for name in names:
        x = signals[name][p.fault_free]
        x = x[np.isfinite(x)]
        if not len(x):
            x = np.zeros(1)
        out += [x.mean(), x.std(), *np.quantile(x, SUMMARY)]
    return np.array(out)


def features_of(p: Parts) -> Floats:
    """What the features are like in the fault-free part of an episode, as the head gets them: 0
    where they are masked."""
    known = known_features(p.of, range(spec.N_FEATURES))
    x = (p.of.features * known)[p.fault_free].astype(np.float64)
    x = np.sign(x) * np.log1p(np.abs(x))
    return np.concatenate([x.mean(axis=0), x.std(axis=0)])


def told_apart(
    rows: NDArray[np.float64], groups: Sequence[str], rng: np.random.Generator
) -> tuple[Estimate, tuple[str, ...]]:
    """How well a linear classifier (logistic regression) tells the `groups` (m,) of episodes from
    `rows` (m, D), each episode by a model that did not see it: the mean over groups of the AUROC of
    one against the rest. Also the groups of at least FEWEST episodes, which are those that are
    told."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    names = np.array(groups, dtype=object)
    large = tuple(
        g for g in sorted(set(groups)) if FEWEST <= (names == g).sum() <= len(names) - FEWEST
    )
    if not large:
        return Estimate(why=f"no two groups have at least {FEWEST} episodes each"), ()
    found: list[Wins] = []
    splitter = StratifiedKFold(FOLDS, shuffle=True, random_state=int(rng.integers(2**31)))
    for g in large:
        y = names == g
        scores = np.zeros(len(y))
        for fit, ask in splitter.split(rows, y):
            model = make_pipeline(
                StandardScaler(), LogisticRegression(C=0.1, class_weight="balanced", max_iter=5000)
            ).fit(rows[fit], y[fit])
            scores[ask] = model.decision_function(rows[ask])
        found.append(wins([scores[i : i + int(y[i])] for i in range(len(y))],
                          [scores[i : i + int(not y[i])] for i in range(len(y))]))  # fmt: skip
    weights = draws(len(names), rng)
    low, high = interval(np.mean([w.drawn(weights) for w in found], axis=0))
    return (
        Estimate(
            value=float(np.mean([w.auroc() for w in found])),
            low=low,
            high=high,
            positives=len(names),
            negatives=len(large),
        ),
        large,
    )


class Key(NamedTuple):
    """What episodes may be known by: its `name`, the group (E,) of each episode, "" where it is not
    known, and what to say where none is."""

    name: str
    groups: Sequence[str]
    none: str


def separation_control(
    what: str,
    question: str,
    rows: Callable[[int], Floats],
    parts: Sequence[Parts],
    key: Key,
    rng: np.random.Generator,
    decides: bool = True,
) -> Control:
    """Whether the groups of `key` can be told from `rows(i)`, which describes the fault-free part
    of episode i; `what` it is made of."""
    name = f"{key.name} from {what}"
    chosen = [i for i in calm(parts) if key.groups[i]]
    why = key.none if not any(key.groups) else _single([g for g in key.groups if g])
    if not why and len({key.groups[i] for i in chosen}) < 2:
        why = "fault-free parts of at least two are wanted"
    estimate = Estimate(why=why)
    groups: tuple[str, ...] = ()
    if not why:
        table = np.array([rows(i) for i in chosen])
        estimate, groups = told_apart(table, [key.groups[i] for i in chosen], rng)
    if estimate.value is None or estimate.low is None:
        return Control(
            name=name,
            question=question,
            estimate=estimate,
            limit=SESSION_MOST,
            decides=decides,
            said=f"cannot judge: {estimate.why}",
        )
    much = estimate.value > SESSION_MOST
    said = f"told apart with an AUROC of {estimate.value:.2f}"
    if much:
        said += f", more than {SESSION_MOST:g}"
        said += "" if estimate.low > 0.5 else ", which may be chance with so few episodes"
    return Control(
        name=name,
        question=question,
        estimate=estimate,
        limit=SESSION_MOST,
        passed=not (much and estimate.low > 0.5),
        decides=decides,
        said=said,
        groups=groups,
    )


def outcome_control(parts: Sequence[Parts], key: Key, rng: np.random.Generator) -> Control:
    """Whether the group of an episode alone tells that it failed, by how many of the others of its
    group did. Fails where no group has both failed and other episodes."""
    name, question = f"{key.name} and outcome", f"Does the {key.name} alone tell failures?"
    chosen = [i for i, p in enumerate(parts) if key.groups[i] and p.failed is not None]
    failed = np.array([bool(parts[i].failed) for i in chosen], bool)
    groups = np.array([key.groups[i] for i in chosen], dtype=object)
    why = key.none if not any(key.groups) else _single(groups)
    if not why and (failed.all() or not failed.any()):
        why = "failed and other episodes are wanted"
    if not why and len(set(groups)) == len(groups):
        why = "each episode has one of its own"
    if why:
        return Control(
            name=name,
            question=question,
            estimate=Estimate(why=why),
            limit=OUTCOME_MOST,
            said=f"cannot judge: {why}",
        )
    others = [(groups == g) & (np.arange(len(groups)) != i) for i, g in enumerate(groups)]
    share = np.array([failed[o].mean() if o.any() else failed.mean() for o in others])
    at = np.arange(len(failed))
    w = wins([share[i : i + failed[i]] for i in at], [share[i : i + (not failed[i])] for i in at])
    estimate = of_wins(w, draws(len(failed), rng))
    names = tuple(sorted(set(groups)))
    mixed = sum(len(set(failed[groups == g])) == 2 for g in names)
    passed: bool | None = None
    if not mixed:
        said, passed = "they coincide: none has both failed and other episodes", False
    elif estimate.value is None:
        said = f"cannot judge: {estimate.why}"
    else:
        tells = estimate.value > OUTCOME_MOST and (estimate.low or 0) > 0.5
        passed = None if tells else True  # by itself no fault, but see `verdict`
        said = f"it alone tells failures with an AUROC of {estimate.value:.2f}; "
        if estimate.value < 0.5:  # an episode that failed lowers the share of its own others
            said = "it alone tells no failures (an AUROC below 0.5 counts as chance here); "
        said += f"{mixed} of {len(names)} have both failed and other episodes"
    return Control(
        name=name,
        question=question,
        estimate=estimate,
        limit=OUTCOME_MOST,
        passed=passed,
        said=said,
        groups=names,
    )


def _single(groups: Sequence[str] | NDArray[np.object_]) -> str:
    return "all episodes are of one" if len(set(groups)) < 2 else ""


def shuffled_control(
    parts: Sequence[Parts], folds: NDArray[np.int64], seed: int, step: Step
) -> Control:
    """Trees that learn labels of other episodes, turned in time, must tell nothing of such labels:
    else the folds share something, or the judging is wrong."""
    rng = np.random.default_rng(seed)
    labels = []
    for p, j in zip(parts, rng.permutation(len(parts)), strict=True):
        other = parts[j].of.risk
        turned = np.roll(other, int(rng.integers(max(1, len(other)))))
        labels.append(np.resize(turned, p.n) if len(other) else np.full(p.n, np.nan, np.float32))
    made = trees(parts, folds, labels, seed, step, SHUFFLED_ROUNDS)
    estimate = Estimate(why=made.why)
    if not made.why:
        w = wins(
            [s[y == 1] for s, y in zip(made.scores, labels, strict=True)],
            [s[y == 0] for s, y in zip(made.scores, labels, strict=True)],
        )
        estimate = of_wins(w, draws(len(parts), rng), share=SHUFFLED_SHARE)
    if estimate.value is None or estimate.low is None or estimate.high is None:
        said, chance = f"cannot judge: {estimate.why}", None
    else:
        # Below 0.5 nothing leaks: of few episodes those that are held out have the larger share of
        # the class that the others have less of.
        chance = estimate.low <= 0.5
        said = (
            f"AUROC {estimate.value:.2f}, {SHUFFLED_SHARE:.0%} interval {estimate.low:.2f} to "
            f"{estimate.high:.2f}: "
            + ("no better than chance" if chance else "the judging itself leaks")
        )
    return Control(
        name="shuffled labels",
        question="Do trees that learn shuffled labels stay at chance?",
        estimate=estimate,
        passed=chance,
        said=said,
    )


def drift_control(
    parts: Sequence[Parts], risk: Sequence[Floats], rng: np.random.Generator
) -> Control:
    """Spearman's rank correlation of the mean risk in the fault-free part with the place of the
    episode in the order in which the recordings were given."""
    from scipy.stats import rankdata

    name = "drift"
    question = "Does the risk of fault-free parts drift in the order of the recordings?"
    chosen = [i for i in calm(parts) if np.isfinite(risk[i][parts[i].fault_free]).all()]
    means = np.array([risk[i][parts[i].fault_free].mean() for i in chosen])
    if len(chosen) < 2 * FEWEST or np.ptp(means) == 0:
        why = f"wanted {2 * FEWEST} fault-free parts whose risk differs, found {len(chosen)}"
        return Control(
            name=name, question=question, estimate=Estimate(why=why), said=f"cannot judge: {why}"
        )
    x, y = rankdata(means), rankdata(chosen)
    weights = draws(len(chosen), rng) / len(chosen)
    mx, my = weights @ x, weights @ y
    cov = weights @ (x * y) - mx * my
    spread = np.sqrt((weights @ x**2 - mx**2) * (weights @ y**2 - my**2))
    drawn = np.divide(cov, spread, out=np.full(len(cov), np.nan), where=spread > 0)
    low, high = interval(drawn)
    rho = float(np.corrcoef(x, y)[0, 1])
    sure = low is not None and high is not None and (low > 0 or high < 0)
    return Control(
        name=name, question=question, passed=not sure, decides=False,
        estimate=Estimate(value=rho, low=low, high=high, positives=len(chosen)),
        said=f"rank correlation {rho:+.2f}" + (": it drifts" if sure else ": no drift is shown"),
    )  # fmt: skip


def all_controls(
    parts: Sequence[Parts],
    outputs: Sequence[Mapping[str, Floats]],
    folds: NDArray[np.int64],
    seed: int,
    rng: np.random.Generator,
    step: Step,
) -> tuple[Control, ...]:
    """Every control of a head whose signals (n,) in each of the episodes `parts` are `outputs`."""
    inputs = {i: features_of(parts[i]) for i in calm(parts)}

    def signals(names: Sequence[str]) -> Callable[[int], Floats]:
        return lambda i: signals_of(parts[i], outputs[i], names)

    def features(i: int) -> Floats:
        return inputs[i]

    kinds = file_kinds(parts)
    halves = ["first" if 2 * i < len(parts) else "second" for i in range(len(parts))]
    session = Key("session", [p.of.session for p in parts], "no session key in the mapping")
    kind = Key("file kind", kinds, "no episode")
    half = Key("first or second half", halves, "no episode")
    found: list[Control] = []
    for key in (session, kind, half):
        # That risks rise and fall with the weeks is worth knowing, and no leak by itself.
        decides = key is not half
        if key is kind and len(set(kinds)) == 1:
            alike = Control(
                name="file kind",
                question="Do files differ in rate or channels?",
                estimate=Estimate(),
                passed=True,
                said="all are alike",
            )
            found.append(alike)
            continue
        if decides:
            found.append(outcome_control(parts, key, rng))
        for use, names in (("alarms", ALARM_SIGNALS), ("reward", REWARD_SIGNALS)):
            said = f"Do {', '.join(names)} tell the {key.name} in parts without failures?"
            found.append(
                separation_control(
                    f"signals of {use}", said, signals(names), parts, key, rng, decides
                )
            )
        said = f"Do the head's inputs tell the {key.name} in parts without failures?"
        found.append(separation_control("features", said, features, parts, key, rng, False))
        step()
    found.append(shuffled_control(parts, folds, seed, step))
    found.append(drift_control(parts, [o["risk"] for o in outputs], rng))
    return tuple(found)


def file_kinds(parts: Sequence[Parts]) -> list[str]:
    """The rate of each episode and which groups of telemetry it has, in words: files of different
    origin often differ in these."""
    out = []
    for p in parts:
        here = p.of.mask.mean(axis=0) >= 0.5 if p.n else np.zeros(spec.N_MASKS, bool)
        known = ", ".join(m for m, k in zip(spec.MASKS, here, strict=True) if k)
        out.append(f"{p.of.hz:.4g} Hz: {known}")
    return out
