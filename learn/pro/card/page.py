"""A card as one self-contained HTML page: the verdict first, then every number behind it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from headway.learn.pro.card import figures
from headway.learn.pro.card.figures import Axes, Line
from headway.learn.pro.card.model import (
    Alarms,
    At,
    Card,
    Control,
    Delay,
    Estimate,
    Score,
    Share,
    State,
    Use,
)
from headway.learn.pro.card.separation import FALSE_ALARMS
from headway.learn.pro.card.verdict import alarms_at, said
from headway.tools.report.page import banner, document, facts, section, table
from headway.tools.report.series import Timeline

BADGE = {"usable": "good", "not usable": "bad", "cannot judge": ""}
COMPLETION = "PRO 1 - completion"


def page(card: Card) -> str:
    """The page of `card` as text."""
    title = f"PRO card: {card.name}"
    risks = [s for s in card.scores if s.name != COMPLETION]
    completion = next((s for s in card.scores if s.name == COMPLETION), None)
    after = section("Steps near a failure against fault-free steps", _separation(risks))
    after += section("Alarms", _alarms(risks))
    after += section("Kinds of failure", _kinds(risks))
    if completion is not None:
        after += section("Success against failure", _outcomes(card, [completion, *risks]))
    after += section("Are the probabilities right?", _calibration(card))
    after += section("Does the value rise?", _order(card))
    after += section("Controls", _controls(card.controls))
    after += section("What was judged", _data(card) + _episodes(card))
    return document(title, _head(title, card), Timeline(), after=after)


def _head(title: str, card: Card) -> str:
    v, d = card.verdict, card.data
    out = f"<h1>{_badge(v.state)}{escape(title)}</h1><p><b>{escape(v.words)}</b></p>"
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
    at = alarms_at(risk, 0.1)
    pairs = [
        ("episodes", str(d.episodes)),
        ("with failures", str(d.with_failures)),
        ("successes / failed", f"{d.successes} / {d.failed}" if d.successes + d.failed else "-"),
        ("AUROC of the risk", said(risk.auroc)),
        ("caught at 10 % false alarms", _share(at.caught) if at else "-"),
        ("recorded", f"{d.minutes:.1f} min"),
    ]
    return out + facts(pairs)


def _badge(state: State) -> str:
    return f'<span class="badge {BADGE[state]}">{escape(state)}</span>'


def _reasons(use: Use) -> str:
    return "<ul>" + "".join(f"<li>{escape(r)}</li>" for r in use.reasons) + "</ul>"


def _separation(risks: Sequence[Score]) -> str:
    with_sessions = any(s.within_session is not None for s in risks)
    head = ["score", "AUROC", "at the same elapsed time", "head ahead by", "episodes + / -"]
    if with_sessions:
        head.insert(3, "within a session")
    rows = []
    for s in risks:
        row = [
            s.name,
            said(s.auroc) if not s.auroc.why else s.auroc.why,
            _said(s.same_time),
            _said(s.ahead),
            f"{s.auroc.positives} / {s.auroc.negatives}",
        ]
        if with_sessions:
            row.insert(3, _said(s.within_session))
        rows.append(row)
    leads = [x.at for x in risks[0].by_lead] or [1.0]
    axes = Axes((max(leads), min(leads)), (0.0, 1.0), "seconds before the failure", "AUROC")
    drawn = [Line(s.name, *_points(s.by_lead, i == 0)) for i, s in enumerate(risks)]
    plots = figures.lines("AUROC so long before a failure", drawn, axes, leads, 0.5)
    plots += figures.around(risks[0].around)
    return _dim(
        "Each interval holds 95 % of 1000 draws of whole episodes. AUROC: how often a step near a "
        "failure has the higher score than a fault-free one; 0.5 is chance. Where episodes end at "
        "their failures a clock is better than that, but not at the same elapsed time."
    ) + table(head, rows) + plots  # fmt: skip


def _alarms(risks: Sequence[Score]) -> str:
    rows = []
    for s in risks:
        for a in s.alarms:
            asked = "the bundle's threshold" if a.asked is None else f"{a.asked:.0%}"
            rows.append(
                [
                    s.name,
                    asked,
                    _share(a.false),
                    _share(a.caught),
                    f"{a.at_failure.count} of {a.at_failure.of}",
                    _delay(a.delay),
                    f"{a.threshold:.3g}",
                ]
            )
    if not rows:
        return _dim("No episode has a fault-free part, so no alarm can be called false.")
    head = ["score", "false alarms asked", "false alarms", "failures caught",
            "alarm at the failure", "delay [s]", "threshold"]  # fmt: skip
    lines = [Line(s.name, _caught(s.alarms)) for s in risks]
    axes = Axes(
        (0.0, 1.1 * max(FALSE_ALARMS)),
        (0.0, 1.0),
        "share of episodes with a false alarm",
        "failures caught",
    )
    note = (
        "False: in the part of an episode until 1 s before its first failure, or in all of one "
        "without. Caught: from 0.25 s before to 0.5 s after it, and no false alarm before; an "
        "alarm at the failure counts whatever came before. Delay of those caught: median "
        "(quartiles), negative before the failure. The thresholds are set on these very episodes; "
        "on others the share of false alarms varies around the one that was asked."
    )
    return _dim(note) + table(head, rows) + figures.lines("Alarms", lines, axes, FALSE_ALARMS)


def _kinds(risks: Sequence[Score]) -> str:
    head, rows = ["kind", "episodes"], []
    shown = [s for s in risks if not s.why]
    if not shown or not shown[0].by_kind:
        return _dim("No failure is known.")
    for s in shown:
        head += [f"{s.name}: AUROC", "caught at 10 %"]
    for k in shown[0].by_kind:
        row = [k.kind, str(k.auroc.positives)]
        for s in shown:
            mine = next((x.auroc for x in s.by_kind if x.kind == k.kind), None)
            at = alarms_at(s, 0.1)
            caught = next((x.caught for x in at.kinds if x.kind == k.kind), None) if at else None
            row += [_said(mine), f"{caught.count} of {caught.of}" if caught else "-"]
        rows.append(row)
    return table(head, rows)


def _outcomes(card: Card, scores: Sequence[Score]) -> str:
    shown = [s for s in scores if s.by_share]
    if not shown:
        why = "no outcome is known" if not card.data.successes + card.data.failed else ""
        return _dim(f"Not judged: {why or scores[0].why}.")
    head = ["score", *(f"{x.at:.0%} of the episode" for x in shown[0].by_share)]
    head += [f"{x.at:g} s before the end" for x in shown[0].by_end]
    rows = [[s.name, *(_said(x.auroc) for x in (*s.by_share, *s.by_end))] for s in shown]
    note = (
        "AUROC of failed episodes against successes. Late in an episode, and at shares of it, a "
        "clock may look good, because failures last longer or shorter than successes."
    )
    return _dim(note) + table(head, rows)


def _calibration(card: Card) -> str:
    rows = []
    for r in card.reliability:
        if r.why:
            rows.append([r.signal, r.why, "", "", str(r.steps)])
        else:
            rows.append(
                [r.signal, _number(r.ece), _number(r.brier), _number(r.brier_constant),
                 str(r.steps)]
            )  # fmt: skip
    head = ["signal", "ECE", "Brier score", "Brier of a constant", "steps"]
    plots = "".join(figures.reliability(r) for r in card.reliability)
    stability = card.stability
    text = said(stability) if stability.value is not None else f"not judged: {stability.why}"
    return table(head, rows) + plots + _dim(f"AUROC of 1 - stability for retries: {text}.")


def _order(card: Card) -> str:
    o = card.order
    if o.why:
        return _dim(f"Not judged: {o.why}.")
    rows = [
        ["Kendall's tau with time, successes", _said(o.tau_successes), "1"],
        ["value-order correlation (Spearman), successes", _said(o.voc_successes), "1"],
        ["value-order correlation (Spearman), failures", _said(o.voc_failures), "1"],
        [
            "mean error of time-to-go on successes [s]",
            _number(o.error_s),
            _number(o.clock_error_s),
        ],
    ]
    return _dim("The value is -time_to_go. It ought to rise on successes and not on failures.") + (
        table(["", "head", "a clock"], rows)
    )


def _controls(controls: Sequence[Control]) -> str:
    rows = []
    for c in controls:
        if c.passed is None:
            state = "cannot judge" if c.estimate.value is None else "note"
        elif c.passed:
            state = "passed"
        else:
            state = "FAILED" if c.decides else "note"
        rows.append([c.name, c.question, state, c.said, _said(c.estimate)])
    note = "A sound head passes these. A note does not decide by itself."
    return _dim(note) + table(["control", "question", "", "found", "AUROC or correlation"], rows)


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
            _number(e.failure_t),
            _number(e.peak),
            e.alarm,
            _number(e.delay),
            e.source,
        )
        for e in card.episodes
    ]
    return (
        "<details><summary>Each episode, with the alarms of the head at 10 % false ones</summary>"
        f"{table(head, rows)}</details>"
    )


def _points(
    found: Sequence[At], intervals: bool
) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    points, ends = [], []
    for x in found:
        e = x.auroc
        if e.value is not None:
            points.append((x.at, e.value))
            if intervals and e.low is not None and e.high is not None:
                ends.append((e.low, e.high))
    return points, ends if len(ends) == len(points) else []


def _caught(alarms: Sequence[Alarms]) -> list[tuple[float, float]]:
    return [
        (a.false.count / a.false.of, a.caught.count / a.caught.of)
        for a in alarms
        if a.asked is not None and a.false.of and a.caught.of
    ]


def _said(e: Estimate | None) -> str:
    return "-" if e is None else said(e)


def _share(s: Share) -> str:
    if not s.of:
        return "none"
    return f"{s.count} of {s.of}, {s.count / s.of:.0%} ({s.low:.0%}-{s.high:.0%})"


def _delay(d: Delay) -> str:
    if d.median is None or d.q25 is None or d.q75 is None:
        return "-"
    return f"{d.median:+.2f} ({d.q25:+.2f} to {d.q75:+.2f})"


def _number(x: float | None) -> str:
    return "-" if x is None else f"{x:.3f}"


def _dim(text: str) -> str:
    return f'<p class="dim">{escape(text)}</p>'
