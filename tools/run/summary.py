"""The summary of `headway run`: the success rate with its confidence interval, and how well PRO's
risk told failures from successes, compared with baselines that need no learning."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from rich.markup import escape
from rich.table import Table

from headway.edge.control.result import Result, Trace, success_of
from headway.edge.policy.policy import About
from headway.tools.statistics import FEWEST, auroc, wilson

LEAD_S = 2.0  # how long before the end of an episode signals are compared [s]


@dataclass(frozen=True)
class EpisodeSummary:
    """An episode after its end: its result, the PRO signals over time, and the time that each chunk
    took the policy [ms]."""

    seed: int  # of its scene
    result: Result
    trace: Trace
    cost_ms: Sequence[float] = ()


def episode_line(seed: int, r: Result, has_ft: bool, has_pro: bool) -> str:
    """The episode of `seed` and its result `r` in a line of the console, with rich's markup, and a
    further line for a fault or a policy that failed. `has_ft` and `has_pro`: whether the run has an
    F/T sensor and PRO, without which there is no force and no reward to tell."""
    word = {True: "[green]success[/green]", False: "[red]failure[/red]", None: "no verdict"}
    rejected = f"{r.rejected} rejected"
    if r.refused:
        rejected += f" ({max(r.refused, key=lambda name: r.refused[name])})"
    parts = [r.end, f"{r.seconds:.1f} s", f"{r.retries} retries"]
    parts += [f"peak {r.peak_force:.0f} N"] if has_ft else []
    parts += [rejected, *([f"{r.clamped} clamped"] if r.clamped else []), f"{r.missed} missed"]
    parts += [f"reward {r.reward:+.2f}"] if has_pro else []
    parts += [f"{k} {'-' if v is None else f'{v:.4g}'}" for k, v in r.numbers.items()]
    said = f"seed {seed}: {word[r.success]} ({escape(', '.join(parts))})"
    if r.why:
        said += f"\n  [red]{escape(r.why)}[/red]"
    if r.policy_failed and r.policy_failed not in r.why:
        said += f"\n  [yellow]{escape(r.policy_failed)}[/yellow]"
    return said


def success_line(results: Sequence[Result]) -> str:
    """Success rate of the episodes that have an outcome, with its Wilson interval (see
    `tools.statistics.wilson`); "" when none has."""
    known = [r for r in results if success_of(r.end, r.success) is not None]
    if not known:
        return ""
    good = sum(bool(r.success) for r in known)
    low, high = wilson(good, len(known))
    return (
        f"success {good}/{len(known)} = {good / len(known):.1%}, "
        f"95 % Wilson interval {low:.1%} to {high:.1%}"
    )


def cost_line(episodes: Sequence[EpisodeSummary], about: About | None) -> str:
    """What a chunk cost the policy `about`, over all `episodes`; "" without a chunk."""
    cost = [ms for e in episodes for ms in e.cost_ms]
    if not cost or about is None:
        return ""
    several = f" of {about.candidates} candidates" if about.candidates > 1 else ""
    return (
        f"policy {about.name}: {np.median(cost):.2f} ms a chunk{several} (median), at most "
        f"{max(cost):.2f} ms, n = {len(cost)}"
    )


def numbers_lines(results: Sequence[Result]) -> list[str]:
    """A line for each number that the task measured: its least, median and largest value at the end
    of the episodes that have it."""
    lines = []
    for name in dict.fromkeys(k for r in results for k in r.numbers):
        values = [v for r in results if (v := r.numbers.get(name)) is not None]
        if values:
            lines.append(
                f"{name} at the end of {len(values)} episodes: least {min(values):.4g}, median "
                f"{np.median(values):.4g}, largest {max(values):.4g}"
            )
    return lines


def separation(episodes: Sequence[EpisodeSummary]) -> Table | str | None:
    """A table of the AUROC of failure at two moments: LEAD_S before the end of each episode, and at
    a fixed time at which all episodes still run, when the elapsed time says nothing. With fewer
    than FEWEST failures or successes, a sentence instead; None when no episode has a verdict or PRO
    is off."""
    known = [e for e in episodes if e.result.success is not None and len(e.trace.t)]
    if not known:
        return None
    failed = np.array([not e.result.success for e in known])
    if min(failed.sum(), (~failed).sum()) < FEWEST:
        return (
            f"no AUROC of failure: it wants at least {FEWEST} failures and {FEWEST} successes, "
            f"found {failed.sum()} and {(~failed).sum()}: run more --episodes"
        )
    common = min(e.trace.t[-1] for e in known)
    moments = {
        f"{LEAD_S:g} s before the end": [max(0.0, e.trace.t[-1] - LEAD_S) for e in known],
        f"{common:.1f} s into each": [common] * len(known),
    }
    table = Table(title=f"AUROC of failure ({failed.sum()} failed, {(~failed).sum()} succeeded)")
    table.add_column("score")
    for name in moments:
        table.add_column(name, justify="right")
    columns: dict[str, Callable[[Trace, int], float]] = {
        "PRO risk": lambda tr, i: tr.risk[i],
        "PRO 1 - completion": lambda tr, i: 1 - tr.completion[i],
        "elapsed time only": lambda tr, i: tr.t[i],
        "retry count only": lambda tr, i: tr.retries[i],
        "last wrench only (|F|)": lambda tr, i: tr.force[i],
    }
    for name, score in columns.items():
        cells = []
        for at in moments.values():
            values = [score(e.trace, e.trace.index(t)) for e, t in zip(known, at, strict=True)]
            cells.append(f"{auroc(values, failed):.3f}")
        table.add_row(name, *cells)
    return table
