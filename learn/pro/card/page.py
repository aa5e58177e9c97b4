"""A card as one self-contained HTML page: the verdict first, then every number behind it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from headway.learn.pro.card import figures, risks, words
from headway.learn.pro.card.model import (
    Card,
    Control,
    Score,
    State,
    Use,
)
from headway.learn.pro.card.parts import AFTER_S
from headway.learn.pro.card.separation import COMPARED
from headway.learn.pro.card.verdict import alarms_at, said
from headway.tools.report.page import banner, document, facts, section, table
from headway.tools.report.series import Timeline

BADGE = {"usable": "good", "not usable": "bad", "cannot judge": ""}
COMPLETION = "PRO 1 - completion"
ABOUT = (
    "PRO is a head that says at each step of an episode how likely a failure is (risk), how likely "
    "a good end (completion) and how long until then (time-to-go). This card judges it on "
    "recordings, beside simple scores that it has to be better than, for two uses: alarms by its "
    "risk, and a reward by its completion and time-to-go."
)


def page(card: Card) -> str:
    """The page of `card` as text."""
    title = f"PRO card: {card.name}"
    shown = [s for s in card.scores if s.name != COMPLETION]
    completion = next((s for s in card.scores if s.name == COMPLETION), None)
    after = section("Steps near a failure against fault-free steps", risks.separation(shown))
    after += section("How long before a failure", risks.leads(shown))
    after += section("Alarms", risks.alarms(shown))
    after += section("Kinds of failure", risks.kinds(shown))
    if completion is not None:
        after += section("Success against failure", _outcomes(card, [completion, *shown]))
    after += section("Are the probabilities right?", _calibration(card))
    after += section("Does the value rise?", _order(card))
    after += section("Controls", _controls(card.controls))
    after += section("What was judged", _data(card) + _episodes(card))
    return document(title, _head(title, card), Timeline(), after=after)


def _head(title: str, card: Card) -> str:
    v, d = card.verdict, card.data
    out = f"<h1>{escape(title)}</h1>{words.dim(ABOUT)}<p><b>{escape(v.words)}</b></p>"
    if d.seen and d.left_out:
        out += banner("warn", "Seen in training:", f"{d.seen} episodes, left out of every number.")
    elif d.seen:
        out += banner(
            "bad",
            "SEEN IN TRAINING.",
            f"The head was trained on all {d.seen} of these episodes. The numbers below say how "
            "well it remembers them, not how well it works.",
        )
    for name, use in (("Alarms", v.alarms), ("Reward", v.reward)):
        out += f"<h3>{name}: {_badge(use.state)}</h3>{_reasons(use)}"
    risk = card.scores[0]
    at = alarms_at(risk, COMPARED)
    pairs = [
        ("episodes", f"{d.episodes}, {d.minutes:.1f} min"),
        ("with failures", str(d.with_failures)),
        ("successes / failed", f"{d.successes} / {d.failed}" if d.successes + d.failed else "-"),
        ("AUROC of the risk", said(risk.auroc)),
        ("failures caught before", words.share(at.caught_before) if at else "-"),
        ("median lead", words.median(at.lead) if at else "-"),
        (f"caught by {AFTER_S:g} s after", words.share(at.caught) if at else "-"),
    ]
    return out + facts(pairs) + words.dim(f"Failures caught: where {COMPARED:.0%} of the episodes "
                                          "have a false alarm.")  # fmt: skip


def _badge(state: State) -> str:
    return f'<span class="badge {BADGE[state]}">{escape(state)}</span>'


def _reasons(use: Use) -> str:
    return "<ul>" + "".join(f"<li>{escape(r)}</li>" for r in use.reasons) + "</ul>"


def _outcomes(card: Card, scores: Sequence[Score]) -> str:
    shown = [s for s in scores if s.by_share]
    if not shown:
        why = "no outcome is known" if not card.data.successes + card.data.failed else ""
        return words.dim(f"Not judged: {why or scores[0].why}.")
    head = ["score", *(f"{x.at:.0%} of the episode" for x in shown[0].by_share)]
    head += [f"{x.at:g} s before the end" for x in shown[0].by_end]
    rows = [[s.name, *(words.estimate(x.auroc) for x in (*s.by_share, *s.by_end))] for s in shown]
    note = (
        "AUROC of failed episodes against successes. Late in an episode, and at shares of it, a "
        "clock may look good, because failures last longer or shorter than successes."
    )
    return words.dim(note) + table(head, rows)


def _calibration(card: Card) -> str:
    rows = []
    for r in card.reliability:
        if r.why:
            rows.append([r.signal, r.why, "", "", "", str(r.steps)])
        else:
            rows.append(
                [r.signal, words.number(r.ece), r.sample + (f": {r.how}" if r.how else ""),
                 words.number(r.brier), words.number(r.brier_constant), str(r.steps)]
            )  # fmt: skip
    head = ["signal", "ECE", "its calibration", "Brier score", "Brier of a constant", "steps"]
    plots = "".join(figures.reliability(r) for r in card.reliability)
    stability = card.stability
    text = said(stability) if stability.value is not None else f"not judged: {stability.why}"
    note = (
        "ECE, the expected calibration error: how far what the head says is from what was so, in "
        "the mean over steps. In-sample: the calibration was fitted to these very episodes, which "
        "flatters it. In the diagrams the grey bars are the shares of the steps (square roots), "
        "and the dashed line is where the two agree."
    )
    return (
        words.dim(note)
        + table(head, rows)
        + plots
        + words.dim(f"AUROC of 1 - stability for retries: {text}.")
    )


def _order(card: Card) -> str:
    o = card.order
    if o.why:
        return words.dim(f"Not judged: {o.why}.")
    rows = [
        ["Kendall's tau with time, successes", words.estimate(o.tau_successes), "1"],
        ["value-order correlation (Spearman), successes", words.estimate(o.voc_successes), "1"],
        ["value-order correlation (Spearman), failures", words.estimate(o.voc_failures), "1"],
        [
            "mean error of time-to-go on successes [s]",
            words.number(o.error_s),
            words.number(o.clock_error_s),
        ],
    ]
    return words.dim(
        "The value is -time_to_go. It ought to rise on successes and not on failures."
    ) + (table(["", "head", "a clock"], rows))


def _controls(controls: Sequence[Control]) -> str:
    rows = []
    for c in controls:
        if c.passed is None:
            state = "cannot judge" if c.estimate.value is None else "note"
        elif c.passed:
            state = "passed"
        else:
            state = "FAILED" if c.decides else "note"
        rows.append([c.name, c.question, state, c.said, words.estimate(c.estimate)])
    note = "A sound head passes these. A note does not decide by itself."
    return words.dim(note) + table(
        ["control", "question", "result", "found", "AUROC or correlation"], rows
    )


def _data(card: Card) -> str:
    d = card.data
    rates = ", ".join(f"{x:.4g}" for x in d.hz)
    rows = [
        ["steps", str(d.steps)],
        ["steps a second", rates],
        ["without an outcome", str(d.unknown)],
        ["failures", ", ".join(f"{k} {n}" for k, n in d.kinds.items()) or "none known"],
        ["sessions", ", ".join(f"{k} {n}" for k, n in d.sessions.items()) or "none known"],
        ["episodes by how the head came to them",
         ", ".join(f"{k}: {n}" for k, n in d.source.items())],
        ["folds of the baselines", str(card.folds)],
        ["seed", str(card.seed)],
    ]  # fmt: skip
    notes = "".join(f"<li>{escape(n)}</li>" for n in card.notes)
    return table(["", ""], rows, "plain") + (f"<ul>{notes}</ul>" if notes else "")


def _episodes(card: Card) -> str:
    """A folded table of all episodes."""
    head = ("episode", "session", "outcome", "failure", "at [s]", "largest risk before", "alarm",
            "delay [s]", "head")  # fmt: skip
    rows = [
        (
            e.name,
            e.session or "-",
            {True: "success", False: "failed", None: "-"}[e.success],
            e.kind or "-",
            words.number(e.failure_t),
            words.number(e.peak),
            e.alarm,
            words.number(e.delay),
            e.source,
        )
        for e in card.episodes
    ]
    return (
        "<details><summary>Each episode, with the alarms of the head at 10 % false ones</summary>"
        f"{table(head, rows)}</details>"
    )
