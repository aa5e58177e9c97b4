"""The page of a study: tables and pictures in Markdown, made from the results that there are.

A page that is there already keeps its own text: only what is between the marks is made anew.

    <!-- generated: study -->
    ...
    <!-- end -->
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from headway.errors import ConfigError
from headway.learn.files import write_text
from headway.learn.study import measures, plots
from headway.learn.study.bootstrap import Estimate
from headway.learn.study.measures import FINAL, MEASURES, PRIMARY, SECONDARY, Measure
from headway.learn.study.summary import Arm, Summary, Versus, Workflow

BEGIN, END = "<!-- generated: study -->", "<!-- end -->"
MARKED = re.compile(f"{BEGIN}\n.*?{END}", re.DOTALL)
OTHER = {
    "minutes": "robot minutes to the level",
    "operator_s": "operator seconds",
}
PICTURES = {
    "curves": "Order success against robot time, with 95 % bands; dotted: the level set "
    "beforehand; hollow marks: fewer test orders",
    "operator": "Order success against time of an operator, who demonstrates or takes over, beside "
    "the demonstrations that all arms begin with",
    "recovery": "Share of orders with a failure that were right in the end",
    "attempts": "Failed attempts per item after the last round",
    "differences": "Differences in the primary measure, with 95 % intervals",
}


def write_page(summary: Summary, page: Path, smoke: bool = False) -> list[Path]:
    """Write the page and its pictures (in `img` beside it, named after the page) and return all
    paths. Raises ConfigError for a page without marks, OutputError, and Missing without matplotlib.
    """
    text = _whole(summary)
    if page.exists():
        text = page.read_text(encoding="utf-8")
        if not MARKED.search(text):
            raise ConfigError(
                f"wanted a page with the lines {BEGIN} and {END} at {page}, found none: add them "
                "where the results should be, or name another file with --out"
            )
    pictures = plots.draw(summary, page.parent / "img", page.stem)
    made = "\n".join(_lines(summary, page, pictures, smoke))
    write_text(page, MARKED.sub(lambda _: f"{BEGIN}\n{made}\n{END}", text))
    return [page, *pictures.values()]


def _whole(summary: Summary) -> str:
    return f"# The study {summary.plan.name}\n\n{BEGIN}\n{END}\n"


def _lines(summary: Summary, page: Path, pictures: dict[str, Path], smoke: bool) -> Iterator[str]:
    yield from _head(summary, smoke)
    for name, picture in pictures.items():
        yield f"![{PICTURES[name]}]({os.path.relpath(picture, page.parent)})"
        yield f"*{PICTURES[name]}.*"
        yield ""
    for workflow in summary.workflows:
        yield from _workflow(summary, workflow)
    yield from _expected(summary)
    yield from _meanings(summary)
    yield from _missing(summary)


def _head(summary: Summary, smoke: bool) -> Iterator[str]:
    plan = summary.plan
    if smoke:
        yield "**A trial of the machinery, with next to no data: these numbers mean nothing.**"
        yield ""
    if summary.done < summary.total:
        yield (
            f"**Partial: {summary.done} of {summary.total} units are finished.** What is said here "
            "is of the seeds that are there, and may change with the others: `3 of 8` are three of "
            "eight that are planned. What is missing is listed at the end."
        )
    else:
        yield f"All {summary.total} units are finished."
    orders = ", ".join(
        f"{s}: {'/'.join(map(str, suite.orders))}" for s, suite in plan.suites.items()
    )
    yield ""
    yield (
        f"Registration `{summary.registration}`. {plan.rounds} rounds of {plan.robot_s:g} s of "
        "robot time for every arm; test orders by round, the same for all arms of a seed: "
        f"{orders}."
    )
    if summary.other is not None:
        their = summary.other.plan
        yield ""
        yield (
            f"Arms that end in -{their.name} are those of another study, with the registration "
            f"`{summary.other.registration}`: on the same test orders, but with rounds of "
            f"{their.robot_s:g} s."
        )
    yield ""


def _workflow(summary: Summary, workflow: Workflow) -> Iterator[str]:
    yield f"## {workflow.name}"
    yield ""
    for versus in workflow.versus:
        e = versus.numbers[PRIMARY.name]
        of = f"{versus.seeds} of {versus.planned} seeds"
        yield f"- {sentence(versus)}: {_number(PRIMARY, e, '+')}, {of}."
    yield ""
    first = (PRIMARY, FINAL)
    level = f"minutes to {workflow.level:g}, by seed (median)"
    yield from _table(
        ("arm", "seeds", *(m.title for m in first), level, "operator s", "rounds kept"),
        (_arm(arm) for arm in workflow.arms),
        (_versus(v) for v in workflow.versus),
    )
    rest = [m for m in MEASURES if m not in first]
    yield from _table(
        ("arm", "seeds", *(m.title + (f" [{m.unit}]" if m.unit else "") for m in rest)),
        (
            [a.name, _seeds(a), *(_number(m, a.numbers[m.name]) for m in rest)]
            for a in workflow.arms
        ),
        ([_pair(v), _seeds(v), *(_difference(m, v) for m in rest)] for v in workflow.versus),
    )
    yield from _rounds(workflow)
    seeds = summary.plan.seeds.units
    yield from _table(
        (f"{PRIMARY.title}, by seed", *map(str, seeds)),
        ([a.name, *_by_seed(a, seeds)] for a in workflow.arms),
    )


def _rounds(workflow: Workflow) -> Iterator[str]:
    """Success after each round, and the time of an operator until then."""
    tested = sorted({point.round for arm in workflow.arms for point in arm.curve})
    yield from _table(
        (
            "success, operator s until then",
            *(f"round {r}" if r else "clone" for r in tested),
            "rounds less clone",
        ),
        ([arm.name, *_points(arm, tested), _estimate(arm.gain, "+.3f")] for arm in workflow.arms),
    )


def _points(arm: Arm, rounds: Sequence[int]) -> Iterator[str]:
    found = {point.round: point for point in arm.curve}
    for r in rounds:
        yield f"{found[r].success.value:.3f}, {found[r].operator_s:.0f} s" if r in found else ""


def _table(head: Sequence[str], *rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield _row(*head)
    yield _row(*["---"] * len(head))
    for some in rows:
        yield from (_row(*cells) for cells in some)
    yield ""


def _arm(arm: Arm) -> list[str]:
    if not arm.seeds:
        return [arm.name, _seeds(arm), *[""] * 5]
    right, n = arm.final
    low, high = arm.wilson
    final = _number(FINAL, arm.numbers[FINAL.name])
    return [
        arm.name,
        _seeds(arm),
        _number(PRIMARY, arm.numbers[PRIMARY.name]),
        f"{final}; {right}/{n}, Wilson [{low:.3f}, {high:.3f}]",
        f"{' '.join(map(str, arm.times))} ({measures.median(arm.times)})",
        _estimate(arm.operator_s, ".0f"),
        f"{arm.accepted:.0%}",
    ]


def _versus(v: Versus) -> list[str]:
    sooner, later, neither = v.faster
    return [
        _pair(v),
        _seeds(v),
        _difference(PRIMARY, v),
        _difference(FINAL, v),
        f"sooner {sooner}, later {later}, neither {neither}; "
        f"{_estimate(v.numbers['minutes'], '+.0f')}",
        _estimate(v.numbers["operator_s"], "+.0f"),
        "",
    ]


def _pair(v: Versus) -> str:
    return f"{v.first} - {v.second}"


def _seeds(of: Arm | Versus) -> str:
    """How many of the planned seeds the numbers are from."""
    there = of.seeds if isinstance(of, Versus) else len(of.seeds)
    return f"{there} of {of.planned}"


def _by_seed(arm: Arm, seeds: Sequence[int]) -> list[str]:
    values = dict(zip(arm.seeds, arm.by_seed, strict=True))
    return [f"{values[s]:.3f}" if s in values else "" for s in seeds]


def _difference(measure: Measure, v: Versus) -> str:
    return _number(measure, v.numbers[measure.name], "+") if measure.name in v.numbers else ""


def sentence(versus: Versus) -> str:
    """What the primary measure says about two arms."""
    e = versus.numbers[PRIMARY.name]
    if not math.isfinite(e.low):
        return f"one seed says nothing about {versus.first} and {versus.second}"
    if e.low > 0.0:
        return f"{versus.first} is ahead of {versus.second}"
    if e.high < 0.0:
        return f"{versus.first} is behind {versus.second}"
    return f"{versus.first} and {versus.second} are not told apart by {e.n} seeds"


def _expected(summary: Summary) -> Iterator[str]:
    expected = summary.plan.measured.expected
    if not expected:
        return
    titles = {m.name: m.title for m in MEASURES} | OTHER
    main = plots.main_arms(summary)
    yield "## Beside what was expected"
    yield ""
    yield "In brackets: the seeds that a number is from, of those planned."
    yield ""
    yield _row("measure", "expected", *(w.name for w in summary.workflows))
    yield _row(*["---"] * (len(summary.workflows) + 2))
    for name, words in expected.items():
        found = []
        for workflow in summary.workflows:
            arms = (a for a in workflow.arms if a.name in main and a.seeds)
            found.append(", ".join(f"{a.name} {_short(a, name)} ({_seeds(a)})" for a in arms))
        yield _row(titles.get(name, name), words, *found)
    yield ""


def _short(arm: Arm, name: str) -> str:
    if name == "minutes":
        return str(measures.median(arm.times))
    if name == "operator_s":
        return f"{arm.operator_s.value:.0f}"
    return f"{arm.numbers[name].value:.2f}" if name in arm.numbers else "?"


def _meanings(summary: Summary) -> Iterator[str]:
    plan = summary.plan
    rounds = " and ".join(map(str, plan.measured.primary_rounds))
    yield "## What the numbers are"
    yield ""
    yield f"- **{PRIMARY.title}** (primary, fixed beforehand): {PRIMARY.meaning} ({rounds})."
    for m in SECONDARY:
        yield f"- {m.title}: {m.meaning}."
    yield (
        f"- minutes to the level: robot time after which success was at the level in "
        f"{plan.measured.hold_rounds} tested rounds in a row, at the first of them; `>=` where "
        "that never was: the true time is that or more. Differences count such times up to the end."
    )
    yield (
        "- operator s: time in which an operator would drive, all rounds: all robot time of an arm "
        "that is taught by fresh demonstrations, the corrections of the others. The demonstrations "
        "that all arms begin with are not in it, nor is the time in which who takes over watches "
        "the robot until then. A script drives here, no person."
    )
    yield (
        "- rounds less clone: success, mean of rounds, less that of the clone that the unit began "
        "with, on the orders that both were tested on (the clone had fewer). Where its interval "
        "holds 0, nothing says that the arm has learned anything, and how it stands beside another "
        "says little. Not registered; added on 1 December 2026."
    )
    yield "- rounds kept: share of the rounds whose policy the gate accepted; it is off by default."
    yield (
        "- intervals: 95 %, from draws of seeds and then of test orders with replacement, the same "
        "for all arms, scaled to the width of a t interval for "
        "so many seeds (`learn/study/bootstrap.py`). They are not adjusted "
        "for the number of comparisons. Wilson intervals take all orders as independent, which "
        "they are not: orders of one seed share a policy."
    )
    yield ""


def _missing(summary: Summary) -> Iterator[str]:
    gaps = [
        f"{arm.name} on {w.name}: {_seeds(arm)} seeds"
        for w in summary.workflows
        for arm in w.arms
        if len(arm.seeds) < arm.planned
    ]
    if gaps:
        yield "## What is missing"
        yield ""
        yield from (f"- {gap}" for gap in gaps)
        yield ""


def _number(measure: Measure, e: Estimate, sign: str = "") -> str:
    return _estimate(e, f"{sign}.{1 if measure.unit else 3}f")


def _estimate(e: Estimate, form: str) -> str:
    if not math.isfinite(e.value):
        return ""
    if not math.isfinite(e.low):
        return f"{e.value:{form}}"
    return f"{e.value:{form}} [{e.low:{form}}, {e.high:{form}}]"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
