"""Make a card: judge the signals of a head on labelled episodes, beside baselines and controls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from headway.learn.files import first_of_each
from headway.learn.pro.card import alarms, baselines, controls
from headway.learn.pro.card.calibration import order, reliability
from headway.learn.pro.card.measures import Floats, of_wins, wins
from headway.learn.pro.card.model import Card, Data, Estimate, Reliability
from headway.learn.pro.card.parts import Parts, kinds_of
from headway.learn.pro.card.sample import is_seen, refitted, sample_of
from headway.learn.pro.card.separation import FALSE_ALARMS, Judge
from headway.learn.pro.card.verdict import TREES, verdict
from headway.learn.pro.examples import Example

SIGNALS = ("progress", "stability", "completion", "risk", "time_to_go")
Progress = Callable[[float], object]  # is called with the share of the work that is done, 0..1


def make_card(
    examples: Sequence[Example],
    signals: Sequence[Mapping[str, NDArray[np.floating]]],
    *,
    name: str,
    seed: int = 0,
    folds: int = 5,
    threshold: float | None = None,
    source: Sequence[str] | None = None,
    fold_of: Sequence[int] | None = None,
    notes: Sequence[str] = (),
    progress: Progress | None = None,
) -> Card:
    """Judge the head `name` by its `signals`, one mapping for each of the `examples`, with arrays
    (n,) by the names in `SIGNALS`; a signal that is not there is not judged.

    `threshold` is the risk at which the head's bundle gives an alarm. `source` says of each episode
    how the head came to it, in the words of `heads.held_out`; those that were seen in training are
    left out if there are others, and by the folds the calibration is fitted anew (`sample.py`).
    `fold_of` numbers the fold of each episode that the head was held out of, for baselines that are
    trained by the same folds; by default they are drawn with `seed`, by sessions where there are
    any. The same arguments give the same card.

    Raises ValueError for signals that do not fit the examples, and Missing without scikit-learn.
    """
    _check(examples, signals, source, fold_of)
    baselines.require()
    from threadpoolctl import threadpool_limits

    # Threads that wait for each other at every tree are slow wherever something else runs.
    with threadpool_limits(limits=1):
        return _made(
            examples, signals, name, seed, folds, threshold, source, fold_of, notes, progress
        )


def _made(
    examples: Sequence[Example],
    signals: Sequence[Mapping[str, NDArray[np.floating]]],
    name: str,
    seed: int,
    folds: int,
    threshold: float | None,
    source: Sequence[str] | None,
    fold_of: Sequence[int] | None,
    notes: Sequence[str],
    progress: Progress | None,
) -> Card:
    rng = np.random.default_rng(seed)
    said = list(source) if source is not None else ["not said"] * len(examples)
    kept, words = _kept(examples, said)
    told = list(notes) + words
    parts = [Parts(examples[i]) for i in kept]
    outputs = [_whole(examples[i], signals[i]) for i in kept]
    unknown = sum(int(np.isnan(o["risk"]).sum()) for o in outputs)
    if unknown:
        told.append(f"the head gives no risk at {unknown} steps: they count as the lowest risk")
    tick = _ticker(progress, 2 * folds + 8)
    own = np.array([fold_of[i] for i in kept]) if fold_of is not None else None
    by = own if own is not None else baselines.folds_of(parts, folds, rng)

    ways = [said[i] for i in kept]
    judge = Judge(parts, rng, threshold, sample_of(ways))
    risk = [o["risk"] for o in outputs]
    head = judge.head(risk)
    tick()
    names = _baselines(parts, by, seed, tick)
    scores = [judge.score("PRO risk", "the head's risk", risk, None, _flat(risk, "risk"))]
    for title, what, values, why in names:
        tick()
        scores.append(judge.score(title, what, values, head, why))
    bad = [1 - o["completion"] for o in outputs]
    completion = judge.score(
        "PRO 1 - completion",
        "1 less the head's completion",
        bad,
        head,
        _flat([o["completion"] for o in outputs], "completion"),
    )
    diagrams = tuple(
        _reliability(signal, outputs, [getattr(p.of, signal) for p in parts], ways)
        for signal in ("risk", "completion")
    )
    tick()
    rising = order(parts, outputs, rng)
    checks = controls.all_controls(parts, outputs, by, seed, rng, tick)
    if progress is not None:
        progress(1.0)
    data = _data(parts, said, kept)
    against = [completion, *scores[1:]]
    return Card(
        name=name,
        seed=seed,
        folds=len(np.unique(by)),
        false_alarms=FALSE_ALARMS,
        verdict=verdict(data, scores, against, rising, diagrams, checks),
        data=data,
        scores=(*scores, completion),
        stability=_stability(judge, outputs),
        reliability=diagrams,
        order=rising,
        controls=checks,
        episodes=alarms.lines(parts, ways, risk, head.raised),
        notes=tuple(told),
    )


def _check(
    examples: Sequence[Example],
    signals: Sequence[Mapping[str, NDArray[np.floating]]],
    source: Sequence[str] | None,
    fold_of: Sequence[int] | None,
) -> None:
    for what, given in (("signals", signals), ("source", source), ("fold_of", fold_of)):
        if given is not None and len(given) != len(examples):
            raise ValueError(
                f"wanted `{what}` of each of {len(examples)} episodes, found {len(given)}"
            )
    for e, s in zip(examples, signals, strict=True):
        for name, x in s.items():
            if np.shape(x) != (len(e),):
                raise ValueError(
                    f"{e.name}: wanted `{name}` of shape ({len(e)},), found {np.shape(x)}"
                )


def _kept(examples: Sequence[Example], source: Sequence[str]) -> tuple[list[int], list[str]]:
    """Which episodes are judged, and what to say about it: those that the head was not trained on,
    if there are any, and of several copies of one the first."""
    new = [i for i, s in enumerate(source) if not is_seen(s)]
    seen = len(source) - len(new)
    words = []
    if seen and new:
        words.append(f"{seen} episodes were SEEN IN TRAINING; they are left out of every number")
    elif seen:
        words.append(
            f"ALL {seen} EPISODES WERE SEEN IN TRAINING: the numbers say how well the head "
            "remembers"
        )
    judged = new or list(range(len(source)))
    kept = [judged[k] for k in first_of_each([examples[i].sha256 for i in judged])]
    copies = len(judged) - len(kept)
    if copies:
        words.append(f"{copies} episodes are copies of others; they are left out")
    return kept, words


def _whole(e: Example, s: Mapping[str, NDArray[np.floating]]) -> dict[str, Floats]:
    """All of `SIGNALS`, NaN where the head gives none."""
    return {n: np.asarray(s[n], np.float64) if n in s else np.full(len(e), np.nan) for n in SIGNALS}


def _baselines(
    parts: Sequence[Parts], folds: NDArray[np.int64], seed: int, tick: Callable[[], object]
) -> list[tuple[str, str, list[Floats], str]]:
    """Name, explanation and scores of each baseline, and why it cannot be judged or ""."""
    force = [baselines.force(p.of) for p in parts]
    made = baselines.trees(parts, folds, [p.of.risk for p in parts], seed, tick)
    return [
        ("elapsed time", "seconds since the start", [baselines.elapsed(p.of) for p in parts], ""),
        (
            "retries so far",
            "how often the task was begun anew",
            [baselines.retries(p.of) for p in parts],
            "" if any(p.of.retries for p in parts) else "no retry is known",
        ),
        (
            "|F|",
            "the force alone",
            force,
            "" if any(np.isfinite(f).any() for f in force) else "no force is known",
        ),
        (
            TREES,
            "boosted trees on window statistics of the raw channels, trained on the other folds",
            made.scores,
            made.why,
        ),
    ]


def _flat(values: Sequence[Floats], signal: str) -> str:
    """Why a signal cannot be judged, or ""."""
    every = np.concatenate([*values, np.zeros(0)])
    every = every[np.isfinite(every)]
    if not len(every):
        return f"the head gives no {signal}"
    if every.min() == every.max():
        return f"the head says {signal} {every[0]:g} at every step: it was not taught"
    return ""


def _reliability(
    signal: str,
    outputs: Sequence[Mapping[str, Floats]],
    labels: Sequence[NDArray[np.float32]],
    source: Sequence[str],
) -> Reliability:
    """Whether the probability `signal` means what it says, where the folds allow it with a
    calibration that does not know the episode."""
    found = refitted([o[signal] for o in outputs], labels, source)
    return reliability(signal, found.said, labels, found.sample, found.how)


def _stability(judge: Judge, outputs: Sequence[Mapping[str, Floats]]) -> Estimate:
    """AUROC of 1 - stability for steps at which a retry is near."""
    why = _flat([o["stability"] for o in outputs], "stability")
    if why:
        return Estimate(why=why)
    unstable = [1 - o["stability"] for o in outputs]
    labels = [p.of.unstable for p in judge.parts]
    w = wins(
        [s[y == 1] for s, y in zip(unstable, labels, strict=True)],
        [s[y == 0] for s, y in zip(unstable, labels, strict=True)],
    )
    return of_wins(w, judge.weights)


def _data(parts: Sequence[Parts], source: Sequence[str], kept: Sequence[int]) -> Data:
    success = [p.of.success for p in parts]
    sessions: dict[str, int] = {}
    for p in parts:
        if p.of.session:
            sessions[p.of.session] = sessions.get(p.of.session, 0) + 1
    ways: dict[str, int] = {}
    seen = [is_seen(s) for s in source]
    judged = [source[i] for i in kept]
    for s in judged:
        ways[s] = ways.get(s, 0) + 1
    return Data(
        episodes=len(parts),
        steps=sum(p.n for p in parts),
        minutes=sum(p.n / p.of.hz for p in parts) / 60,
        hz=tuple(sorted({float(p.of.hz) for p in parts})),
        successes=success.count(True),
        failed=success.count(False),
        unknown=success.count(None),
        with_failures=sum(bool(p.of.failures) for p in parts),
        calm_before=sum(bool(p.of.failures) and bool(p.fault_free.any()) for p in parts),
        kinds=kinds_of(parts),
        sessions=dict(sorted(sessions.items())),
        seen=sum(seen),
        left_out=sum(seen) - sum(map(is_seen, judged)),
        copies=len(source) - len(kept) - (sum(seen) - sum(map(is_seen, judged))),
        source=dict(sorted(ways.items())),
    )


def _ticker(progress: Progress | None, steps: int) -> Callable[[], object]:
    done = 0

    def tick() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(min(1.0, done / steps))

    return tick
