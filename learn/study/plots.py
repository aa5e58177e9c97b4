"""The pictures of a study, as PNG and SVG: the same numbers as in the tables of its page."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from headway.errors import Missing, OutputError
from headway.learn import files
from headway.learn.study.bootstrap import Estimate
from headway.learn.study.measures import MEASURES
from headway.learn.study.summary import Arm, Point, Summary, Workflow

# Colours that people who do not see red and green tell apart (Okabe & Ito 2008).
COLOURS = ("#0072B2", "#E69F00", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#000000", "#999999")
STYLE = {
    "svg.hashsalt": "headway",  # the same numbers give the same file
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
OPERATOR_MIN = (0.0, 0.5, 1.0, 3.0, 10.0, 30.0, 75.0)  # marks of the axis [min]
RECOVERY = (("recovery", "after the first failure"), ("injected", "after an injected failure"))


def draw(summary: Summary, folder: Path, study: str) -> dict[str, Path]:
    """Write all pictures of `summary` into `folder`, whose files begin with the name `study`, and
    return the paths of the PNGs by what they show. Raises Missing without matplotlib, OutputError
    where they cannot be written."""
    try:
        import matplotlib as mpl
    except ImportError as e:
        raise Missing(f"plots want matplotlib: pip install 'headway[study]' ({e})") from None
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    made = {}
    with mpl.rc_context(STYLE):
        for name, fill, columns in (
            ("curves", _curves, len(summary.workflows)),
            ("operator", _operator, len(summary.workflows)),
            ("recovery", _recovery, len(RECOVERY)),
            ("attempts", _attempts, 1),
            ("differences", _differences, len(summary.workflows)),
        ):
            width = 2.0 + (2.7 if columns > 2 else 3.2) * columns
            figure, axes = plt.subplots(
                1, columns, figsize=(width, _height(name, summary)), squeeze=False, dpi=120,
                sharey=name in ("curves", "operator", "recovery"),
                sharex=name in ("curves", "operator", "differences"),
            )  # fmt: skip
            fill(summary, list(axes[0]))
            figure.tight_layout()
            made[name] = _save(figure, folder / f"{study}-{name}")
            plt.close(figure)
    return made


def main_arms(summary: Summary) -> list[str]:
    """The arms that are not controls: those that are run first."""
    first = min(arm.priority for arm in summary.plan.arms)
    return [arm.name for arm in summary.plan.arms if arm.priority == first]


def _height(name: str, summary: Summary) -> float:
    if name != "differences":
        return 3.2
    return 1.2 + 0.27 * max(1, len(summary.plan.measured.compare))


def _save(figure: Any, stem: Path) -> Path:
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(stem.with_suffix(".svg"), metadata={"Date": None})
        figure.savefig(stem.with_suffix(".png"), metadata={"Software": None})
    except OSError as e:
        raise OutputError(f"cannot write {stem}: {files.advice(e)}") from e
    return stem.with_suffix(".png")


def _colour(summary: Summary, arm: str) -> str:
    names = [a.name for a in summary.plan.arms]
    return COLOURS[names.index(arm) % len(COLOURS)]


def _curves(summary: Summary, axes: list[Any]) -> None:
    """Success against robot minutes, with intervals as bands."""
    _successes(summary, axes, lambda point: point.minutes)
    for ax in axes:
        ax.set_xlabel("robot time [min]")


def _operator(summary: Summary, axes: list[Any]) -> None:
    """Success against the minutes of an operator, with intervals as bands."""
    _successes(summary, axes, lambda point: point.operator_s / 60.0)
    for ax in axes:
        # Even up to a minute and by powers of ten beyond: arms differ by a factor of 25.
        ax.set_xscale("symlog", linthresh=1.0)
        ax.set_xlim(left=0.0)
        ax.set_xticks(OPERATOR_MIN, [f"{x:g}" for x in OPERATOR_MIN])
        ax.set_xlabel("operator time [min]")


def _successes(summary: Summary, axes: list[Any], along: Callable[[Point], float]) -> None:
    """Success of the main arms after each round, by what `along` says of that."""
    for ax, workflow in zip(axes, summary.workflows, strict=True):
        for arm in _chosen(summary, workflow):
            x = [along(point) for point in arm.curve]
            y = [point.success.value for point in arm.curve]
            colour = _colour(summary, arm.name)
            # Rounds with fewer test orders have hollow marks.
            most = max(summary.plan.suites["main"].orders)
            full = [summary.plan.suites["main"].orders[point.round] == most for point in arm.curve]
            ax.plot(x, y, color=colour, label=f"{arm.name} (n={len(arm.seeds)})")
            for xs, ys, whole in zip(x, y, full, strict=True):
                face = colour if whole else "white"
                ax.plot(xs, ys, "o", color=colour, mfc=face, ms=4)
            low = [_or(point.success.low, point.success.value) for point in arm.curve]
            high = [_or(point.success.high, point.success.value) for point in arm.curve]
            ax.fill_between(x, low, high, color=colour, alpha=0.15, lw=0)
        ax.axhline(workflow.level, color="#444444", lw=0.8, ls=":")
        ax.set(ylim=(0, 1), title=workflow.name)
        _legend(ax, "best")
    axes[0].set_ylabel("order success")


def _recovery(summary: Summary, axes: list[Any]) -> None:
    """How often orders with a failure end well."""
    for ax, (name, title) in zip(axes, RECOVERY, strict=True):
        _points(summary, ax, lambda arm, name=name: arm.numbers[name])  # type: ignore[misc]
        ax.set(ylim=(0, 1), title=title)
    axes[0].set_ylabel("share of orders that were right")
    _legend(axes[0])


def _attempts(summary: Summary, axes: list[Any]) -> None:
    _points(summary, axes[0], lambda arm: arm.numbers["attempts"])
    axes[0].set_ylim(bottom=0)
    axes[0].set_ylabel("failed attempts per item")
    _legend(axes[0])


def _points(summary: Summary, ax: Any, number: Callable[[Arm], Estimate]) -> None:
    """A number of each arm with its interval, workflow by workflow."""
    arms = main_arms(summary)
    for i, name in enumerate(arms):
        shift = 0.16 * (i - (len(arms) - 1) / 2)
        label: str | None = name
        for x, workflow in enumerate(summary.workflows):
            for arm in workflow.arms:
                if arm.name != name or not arm.seeds or not math.isfinite(number(arm).value):
                    continue
                e = number(arm)
                error = [[e.value - _or(e.low, e.value)], [_or(e.high, e.value) - e.value]]
                ax.errorbar(
                    [x + shift], [e.value], yerr=error, fmt="o", ms=5, capsize=2,
                    color=_colour(summary, name), label=label,
                )  # fmt: skip
                ax.annotate(
                    f"n={e.n}", (x + shift, e.value + error[1][0]), (0, 2),
                    textcoords="offset points", fontsize=6, ha="center",
                )  # fmt: skip
                label = None
    ax.set_xticks(range(len(summary.workflows)), [w.name for w in summary.workflows])
    ax.set_xlim(-0.5, len(summary.workflows) - 0.5)


def _differences(summary: Summary, axes: list[Any]) -> None:
    """The primary measure of the first arm less the second, all comparisons."""
    names = [f"{a} - {b}" for a, b in summary.plan.measured.compare]
    for i, (ax, workflow) in enumerate(zip(axes, summary.workflows, strict=True)):
        for versus in workflow.versus:
            y = names.index(f"{versus.first} - {versus.second}")
            e = versus.numbers[MEASURES[0].name]
            error = [[e.value - _or(e.low, e.value)], [_or(e.high, e.value) - e.value]]
            ax.errorbar([e.value], [y], xerr=error, fmt="o", ms=4, capsize=2, color="#333333")
            ax.annotate(
                f"n={e.n}", (e.value, y), (0, 4), textcoords="offset points", fontsize=6,
                ha="center",
            )  # fmt: skip
        ax.axvline(0.0, color="#444444", lw=0.8, ls=":")
        ax.set_yticks(range(len(names)), names if i == 0 else [""] * len(names))
        ax.set_ylim(len(names) - 0.5, -0.5)
        ax.set(xlabel="success, difference", title=workflow.name)


def _chosen(summary: Summary, workflow: Workflow) -> Sequence[Arm]:
    main = main_arms(summary)
    return [arm for arm in workflow.arms if arm.name in main and arm.seeds]


def _legend(ax: Any, where: str = "lower left") -> None:
    if ax.get_legend_handles_labels()[0]:
        ax.legend(frameon=False, fontsize=8, loc=where)


def _or(value: float, other: float) -> float:
    return value if math.isfinite(value) else other
