"""The verdict in words, with the number that decided. Every limit is a constant here."""

from __future__ import annotations

from collections.abc import Sequence

from headway.learn.pro.card.controls import SESSION_MOST
from headway.learn.pro.card.model import (
    Alarms,
    Control,
    Data,
    Estimate,
    Order,
    Reliability,
    Score,
    State,
    Use,
    Verdict,
)
from headway.learn.pro.card.parts import AFTER_S
from headway.tools.statistics import FEWEST

ASKED = 0.1  # share of episodes with a false alarm at which alarms are judged
UNKNOWN_DAY = (
    "and nothing says which were recorded together, so the head may tell their day: give "
    "[session] in the mapping"
)
# Alarms so much earlier than those of a clock are worth as much as more of them.
EARLIER_S = 1.0
# An alarm that misses every other failure does not spare anybody the watching.
CAUGHT_LEAST = 0.5
# Of two steps, one near a failure, a clearly useful score puts the right one first four times in
# five: the force alone does that on the recordings at hand.
AUROC_LEAST = 0.8
# Kendall's tau of 0.5: of two moments of a success, the later has the higher value three times in
# four.
ORDER_LEAST = 0.5
# Success against failure at three quarters of an episode, where there is still something to change.
OUTCOME_LEAST, OUTCOME_AT = 0.7, 0.75
# A probability that is off by more than this on average is none, but its order may be right.
ECE_MOST = 0.1
LATE = ("elapsed time", "retries so far")  # what only tells how late it is
DUMB = (*LATE, "|F|")
TREES = "trees on raw windows"


def verdict(
    data: Data,
    scores: Sequence[Score],
    completion: Sequence[Score],
    order: Order,
    reliability: Sequence[Reliability],
    controls: Sequence[Control],
) -> Verdict:
    """The verdict. `scores` are the risk and its baselines, `completion` 1 - completion and its
    baselines, of which `by_share` counts."""
    alarms = _alarms(data, scores, reliability, controls)
    reward = _reward(data, completion, order, controls)
    states = (alarms.state, reward.state)
    if "usable" in states:
        usable = [n for n, u in (("alarms", alarms), ("reward", reward)) if u.state == "usable"]
        words = f"Usable for {' and for '.join(usable)}."
        for name, use in (("alarms", alarms), ("reward", reward)):
            if use.state == "not usable":
                words += f" Not usable for {name}: {use.decided}."
            elif use.state == "cannot judge":
                words += f" For {name} it cannot be judged: {use.decided}."
        return Verdict(state="usable", words=words, alarms=alarms, reward=reward)
    state: State = "not usable" if "not usable" in states else "cannot judge"
    words = "Not usable. " if state == "not usable" else "These recordings cannot judge it. "
    words += f"For alarms: {alarms.decided}. For reward: {reward.decided}."
    return Verdict(state=state, words=words, alarms=alarms, reward=reward)


def _alarms(
    data: Data,
    scores: Sequence[Score],
    reliability: Sequence[Reliability],
    controls: Sequence[Control],
) -> Use:
    missing = _missing(data)
    if missing:
        return Use(state="cannot judge", decided=missing, reasons=(missing,))
    against = _leaks(controls, "alarms")
    risk = scores[0]
    at = alarms_at(risk, ASKED)
    if risk.why:
        return _use(against, "cannot judge", risk.why, [])
    if risk.auroc.value is None or at is None:
        why = f"no AUROC of the risk ({risk.auroc.why})" if at else "no episode is fault-free"
        return _use(against, "cannot judge", why, [])
    early = at.caught_before
    if early.of < FEWEST:
        why = f"{early.of} failures to catch, wanted at least {FEWEST}"
        return _use(against, "cannot judge", why, [])
    if not data.sessions and data.calm_before < FEWEST:
        against.append(f"failures are told from other runs alone, {UNKNOWN_DAY}")
    share = early.count / early.of
    caught = _caught(at)
    if risk.auroc.value < AUROC_LEAST or (risk.auroc.low or 0) <= 0.5:
        against.append(f"AUROC of the risk {said(risk.auroc)}, wanted at least {AUROC_LEAST:g}")
    same = risk.same_time
    if same is not None and same.value is not None and (same.low or 0) <= 0.5:
        against.append(
            f"at the same elapsed time the risk tells nothing: AUROC {said(same)}, wanted surely "
            "more than 0.5"
        )
    if share < CAUGHT_LEAST or early.low <= ASKED:
        against.append(f"{caught}, wanted at least {CAUGHT_LEAST:.0%} and surely more than "
                       f"{ASKED:.0%}")  # fmt: skip
    against += [_no_better(risk, s) for s in scores[1:] if s.name in DUMB]
    against = [a for a in against if a]
    notes = [f"AUROC of the risk {said(risk.auroc)}", caught]
    force = next((s for s in scores if s.name == "|F|"), None)
    more = force.ahead_caught_before if force is not None else None
    if force is not None and more is not None and more.value is not None:
        other = alarms_at(force, ASKED)
        if other is not None and (more.low or 0) <= 0:
            count = other.caught_before
            notes.append(
                f"a threshold on |F| alone catches {count.count} of {count.of} before the failure: "
                "the head is not clearly better"
            )
    trees = next((s for s in scores if s.name == TREES), None)
    if trees is not None and trees.ahead is not None and trees.ahead.value is not None:
        if (trees.ahead.high or 0) < 0:
            notes.append(
                f"plain trees on raw windows do better: AUROC {said(trees.auroc)}, so the head "
                "leaves something out"
            )
        else:
            notes.append(f"plain trees on raw windows: AUROC {said(trees.auroc)}")
    notes += [
        f"the risk is no probability (ECE {r.ece:.2f}, {r.sample}): take thresholds, not its value"
        for r in reliability
        if r.signal == "risk" and r.ece is not None and r.ece > ECE_MOST
    ]
    notes += _doubts(controls)
    return _use(against, "usable", caught, notes)


def _caught(at: Alarms) -> str:
    """How many failures the alarms catch, and when, in words."""
    early, late = at.caught_before, at.caught
    lead = "" if at.lead.median is None else f", by {at.lead.median:.2f} s in the median"
    return (
        f"{early.count} of {early.of} failures caught before they happened "
        f"({early.count / early.of:.0%}, {early.low:.0%}-{early.high:.0%}{lead}), {late.count} by "
        f"{AFTER_S:g} s after, where {at.false.count} of {at.false.of} episodes have a false "
        f"alarm; whatever came before, alarms at {at.at_failure_before.count} before the failure, "
        f"at {at.at_failure.count} by {AFTER_S:g} s after"
    )


def _reward(
    data: Data, completion: Sequence[Score], order: Order, controls: Sequence[Control]
) -> Use:
    missing = _missing(data)
    if not missing and data.successes + data.failed == 0:
        missing = "no outcome is known"
    if not missing and min(data.successes, data.failed) < FEWEST:
        missing = (
            f"{data.successes} successes and {data.failed} failures by their outcome, wanted "
            f"{FEWEST} of each"
        )
    if missing:
        return Use(state="cannot judge", decided=missing, reasons=(missing,))
    against = _leaks(controls, "reward")
    if order.why:
        return _use(against, "cannot judge", order.why, [])
    head = completion[0]
    if head.why:
        return _use(against, "cannot judge", head.why, [])
    at = _at_share(head)
    if at is None or at.value is None or order.tau_successes.value is None:
        why = at.why if at is not None and at.why else "no completion and no time-to-go"
        return _use(against, "cannot judge", why, [])
    if not data.sessions:
        against.append(f"outcomes are told from other runs, {UNKNOWN_DAY}")
    where = f"at {OUTCOME_AT:.0%} of the episode"
    if at.value < OUTCOME_LEAST or (at.low or 0) <= 0.5:
        against.append(
            f"success against failure {where}: AUROC of the completion {said(at)}, wanted at "
            f"least {OUTCOME_LEAST:g}"
        )
    for s in completion[1:]:
        other = _at_share(s)
        if s.name not in DUMB or other is None or other.value is None:
            continue
        # That failures are shorter than successes tells them as well as that they are longer.
        if max(other.value, 1 - other.value) >= at.value:
            against.append(
                f"success against failure {where}: {s.name} alone has {said(other)}, the "
                f"completion {said(at)}"
            )
    tau = order.tau_successes
    assert tau.value is not None
    if tau.value < ORDER_LEAST:
        against.append(
            f"the value rises too little over successes: Kendall's tau {said(tau)}, wanted at "
            f"least {ORDER_LEAST:g}"
        )
    rise, fall = order.voc_successes, order.voc_failures
    if fall.value is not None and rise.value is not None and fall.value >= rise.value:
        against.append(
            "the value rises as much on failures as on successes, as a clock's: order "
            f"{said(fall)} against {said(rise)}"
        )
    notes = [
        f"success against failure {where}: AUROC of the completion {said(at)}",
        f"Kendall's tau of the value on successes {said(tau)}",
    ]
    return _use(against, "usable", notes[0], [*notes, *_doubts(controls)])


def _no_better(risk: Score, other: Score) -> str:
    """Why the risk is no better than a simple score, or an empty text. It must clearly catch more
    than a score that only tells how late it is. The force is a fair way to find failures, so that a
    head must be no worse."""
    at, mine = alarms_at(other, ASKED), alarms_at(risk, ASKED)
    if at is None or mine is None or other.auroc.value is None or risk.auroc.value is None:
        return ""
    more = other.ahead_caught_before
    if more is not None and more.value is not None:
        counts = (
            f"{mine.caught_before.count} against {at.caught_before.count} of "
            f"{at.caught_before.of} failures before they happened"
        )
        if other.name in LATE and _earlier(mine, at):
            return ""  # a clock finds what runs out of time, but only then
        if other.name in LATE and (more.low or 0) <= 0:
            return (
                f"the risk does not clearly catch more than {other.name} alone, nor "
                f"{EARLIER_S:g} s earlier: {counts}"
            )
        if more.value < 0:
            return f"the risk catches less than {other.name} alone: {counts}"
    if risk.auroc.value <= other.auroc.value:
        return (
            f"the risk tells failures no better than {other.name} alone: AUROC "
            f"{said(risk.auroc)} against {said(other.auroc)}"
        )
    return ""


def _earlier(mine: Alarms, other: Alarms) -> bool:
    """Whether the median alarm of `mine` that catches a failure before it happens comes EARLIER_S
    before that of `other`."""
    a, b = mine.lead.median, other.lead.median
    return a is not None and b is not None and a >= b + EARLIER_S


def _missing(data: Data) -> str:
    if not data.episodes:
        return "there is no episode"
    if data.seen > data.left_out:
        return f"the head was trained on all {data.seen} of these episodes"
    if data.episodes < 2 * FEWEST:
        return f"{data.episodes} episodes, wanted at least {2 * FEWEST}"
    return ""


def _leaks(controls: Sequence[Control], use: str) -> list[str]:
    """The controls that rule the `use` out."""
    found = []
    by_name = {c.name: c for c in controls}
    for key in ("session", "file kind"):
        outcome = by_name.get(f"{key} and outcome")
        if outcome is not None and outcome.passed is False:
            found.append(f"{key} and outcome coincide: nothing tells a failure from the {key}")
        signals = by_name.get(f"{key} from signals of {use}")
        if signals is not None and signals.passed is False:
            found.append(f"the head's signals tell the {key} in parts without failures: "
                         f"AUROC {said(signals.estimate)}, at most {SESSION_MOST:g}")  # fmt: skip
        features = by_name.get(f"{key} from features")
        tells = outcome is not None and outcome.passed is None and outcome.estimate.value
        if outcome is not None and tells and features is not None and features.passed is False:
            found.append(
                f"the features tell the {key} (AUROC {said(features.estimate)}), and the {key} "
                f"tells failures (AUROC {said(outcome.estimate)})"
            )
    shuffled = by_name.get("shuffled labels")
    if shuffled is not None and shuffled.passed is False:
        found.append(f"shuffled labels are not at chance: {shuffled.said}")
    return found


def _doubts(controls: Sequence[Control]) -> list[str]:
    """What does not decide and ought to be known."""
    return [
        f"{c.name}: {c.said}"
        for c in controls
        if (c.passed is False and not c.decides)
        or (c.name == "session and outcome" and not c.passed)
    ]  # fmt: skip


def _use(against: Sequence[str], otherwise: State, decided: str, notes: Sequence[str]) -> Use:
    if against:
        return Use(state="not usable", decided=against[0], reasons=(*against, *notes))
    return Use(state=otherwise, decided=decided, reasons=tuple(notes) or (decided,))


def alarms_at(score: Score, asked: float | None) -> Alarms | None:
    """The alarms at the share `asked` of false ones; None where there are none."""
    return next((a for a in score.alarms if a.asked == asked), None)


def _at_share(score: Score) -> Estimate | None:
    return next((x.auroc for x in score.by_share if x.at == OUTCOME_AT), None)


def said(e: Estimate) -> str:
    """An estimate in text: the value, and its interval in brackets."""
    if e.value is None:
        return "-"
    if e.low is None or e.high is None:
        return f"{e.value:.3f}"
    between = "-" if e.low >= 0 else " to "
    return f"{e.value:.3f} ({e.low:.3f}{between}{e.high:.3f})"
