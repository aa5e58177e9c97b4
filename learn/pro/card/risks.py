"""The parts of the page on the risk and its baselines: steps, leads, alarms, kinds."""

from __future__ import annotations

import math
from collections.abc import Sequence

from headway.learn.pro.card import figures, words
from headway.learn.pro.card.figures import Axes, Line
from headway.learn.pro.card.model import Alarms, At, Score
from headway.learn.pro.card.parts import AFTER_S, BEFORE_S, CLEAR_S
from headway.learn.pro.card.separation import (
    COMPARED,
    FALSE_ALARMS,
    FAR_S,
    LEAD_FEWEST,
    SAME_TIME_S,
)
from headway.learn.pro.card.verdict import alarms_at, said
from headway.tools.report.page import table


def separation(risks: Sequence[Score]) -> str:
    """How well steps near a failure are told from fault-free ones."""
    with_sessions = any(s.within_session is not None for s in risks)
    head = ["score", "AUROC", "at the same elapsed time", "head's AUROC less this",
            "episodes near / fault-free"]  # fmt: skip
    if with_sessions:
        head.insert(3, "within a session")
    rows = []
    for s in risks:
        row = [
            s.name,
            said(s.auroc) if not s.auroc.why else s.auroc.why,
            words.estimate(s.same_time),
            words.estimate(s.ahead),
            f"{s.auroc.positives} / {s.auroc.negatives}",
        ]
        if with_sessions:
            row.insert(3, words.estimate(s.within_session))
        rows.append(row)
    return words.dim(
        "AUROC: how often a step near a failure has a higher score than a fault-free one; 1 is "
        "perfect, 0.5 is chance. In brackets the interval of 95 % of 1000 draws of whole episodes. "
        "Near are the steps that are labelled so, in logs also those soon after the failure. Where "
        "episodes end at their failures, a clock tells them too; at the same elapsed time it does "
        f"not, since both steps of a pair are then of the same {SAME_TIME_S:g} s since the start."
    ) + table(head, rows) + figures.around(risks[0].around)  # fmt: skip


def leads(risks: Sequence[Score]) -> str:
    """How long before a failure it is told."""
    shown = [s for s in risks if s.by_lead]
    if not shown:
        return ""
    at = [x.at for x in shown[0].by_lead]
    head = ["score", *(f"{x:g} s before" for x in at)]
    of = [f"{x.auroc.positives} / {x.auroc.negatives}" for x in shown[0].by_lead]
    rows = [["failures / episodes compared with", *of]]
    for s in shown:
        found = [words.estimate(x.auroc) for x in s.by_lead]
        rows.append([s.name, *("left out" if x == "-" else x for x in found)])
    axes = Axes((max(at), min(at)), (0.0, 1.0), "seconds before the failure", "AUROC")
    drawn = [Line(s.name, *_points(s.by_lead, i == 0)) for i, s in enumerate(shown)]
    note = (
        "AUROC of one step so long before each first failure against fault-free steps of other "
        f"episodes in the same {SAME_TIME_S:g} s since the start, which do not fail for another "
        f"{FAR_S:g} s. A failure that finds no such step is not counted. A lead is left out with "
        f"fewer than {LEAD_FEWEST} failures or {LEAD_FEWEST} episodes to compare with. Intervals "
        "as above."
    )
    return (
        words.dim(note)
        + table(head, rows)
        + figures.lines("AUROC so long before a failure", drawn, axes, at, 0.5)
    )


def alarms(risks: Sequence[Score]) -> str:
    """How many failures alarms catch, and when, one share of false alarms after the other."""
    found = [(s, a) for s in risks for a in s.alarms]
    if not found:
        return words.dim("No episode has a fault-free part, so no alarm can be called false.")
    found.sort(key=lambda x: math.inf if x[1].asked is None else x[1].asked)  # keeps the scores
    head = ["false alarms asked", "score", "false alarms", "caught before the failure", "lead [s]",
            f"caught by {AFTER_S:g} s after", "delay [s]",
            f"whatever came earlier: before / by {AFTER_S:g} s after", "threshold",
            "set by these episodes?"]  # fmt: skip
    rows = [
        [
            "the bundle's threshold" if a.asked is None else f"{a.asked:.0%}",
            s.name,
            words.share(a.false),
            words.share(a.caught_before),
            words.quartiles(a.lead),
            words.share(a.caught),
            words.quartiles(a.delay, "+"),
            f"{a.at_failure_before.count} / {a.at_failure.count} of {a.at_failure.of}",
            f"{a.threshold:.3g}",
            a.sample,
        ]
        for s, a in found
    ]
    notes = (
        "An alarm is a step whose score is above the threshold. It is false in the part of an "
        f"episode until {CLEAR_S:g} s before its first failure, or anywhere in one without.",
        f"Caught before the failure: an alarm in the last {BEFORE_S:g} s before it (or since the "
        "labels say that it is near, if that is earlier), and no false one. Lead: the time from "
        "that alarm to the failure, median (quartiles). At its own step the failure is seen in the "
        "inputs of the head, as one more retry for example, so the verdict counts alarms before it "
        f"alone. Caught by {AFTER_S:g} s after: with the alarms from that step on; delay: the time "
        "from the failure to the alarm, negative before it. Whatever came earlier: both counts "
        "with the episodes that have a false alarm as well.",
        "In-sample: the threshold was set by these very episodes; on others the share of false "
        "alarms varies around the one that was asked.",
    )
    axes = Axes(
        (0.0, 1.1 * max(FALSE_ALARMS)),
        (0.0, 1.0),
        "share of episodes with a false alarm",
        "share of failures",
    )
    lines = [Line(s.name, _caught(s.alarms)) for s in risks]
    return (
        "".join(map(words.dim, notes))
        + table(head, rows)
        + figures.lines("Failures caught before they happen", lines, axes, FALSE_ALARMS)
    )


def kinds(risks: Sequence[Score]) -> str:
    """What becomes of the failures of each kind."""
    shown = [s for s in risks if not s.why]
    if not shown or not shown[0].by_kind:
        return words.dim("No failure is known.")
    head = ["kind", "episodes", "score", "AUROC", "caught before the failure", "lead [s]",
            f"caught by {AFTER_S:g} s after", "delay [s]"]  # fmt: skip
    rows = []
    for k in shown[0].by_kind:
        for s in shown:
            mine = next((x.auroc for x in s.by_kind if x.kind == k.kind), None)
            at = alarms_at(s, COMPARED)
            found = next((x for x in at.kinds if x.kind == k.kind), None) if at else None
            rows.append([k.kind, str(k.auroc.positives), s.name, words.estimate(mine)])
            rows[-1] += ["-"] * 4 if found is None else [
                words.share(found.caught_before),
                words.quartiles(found.lead),
                words.share(found.caught),
                words.quartiles(found.delay, "+"),
            ]  # fmt: skip
    note = (
        f"Alarms at {COMPARED:.0%} false ones, of the first failure of an episode. AUROC: steps "
        "near a failure of the kind against all fault-free ones."
    )
    return words.dim(note) + table(head, rows)


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
        (a.false.count / a.false.of, a.caught_before.count / a.caught_before.of)
        for a in alarms
        if a.asked is not None and a.false.of and a.caught_before.of
    ]
