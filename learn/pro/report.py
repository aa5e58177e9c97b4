"""Judge a PRO head: how well it separates failures from successes at several lead times compared
with baselines, such as the elapsed time alone; its alarms at a threshold from the validation split;
and its calibration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.stats import rankdata

from headway.edge.pro.risk import conformal_index, fewest_successes
from headway.learn.pro.recordings import Labelled
from headway.tools.statistics import FEWEST, auroc

Outputs = dict[str, NDArray[Any]]  # the signals of an episode by name, each (n,)
Judged = tuple[list[Labelled], list[Outputs]]
Score = Callable[[Labelled, Outputs], NDArray[Any]]

LEADS_S = (0.5, 1.0, 2.0, 3.0)  # before the end of an episode
FALSE_ALARMS = 0.1  # largest share of successes that may have an alarm

SCORES: dict[str, Score] = {
    "PRO risk": lambda s, o: o["risk"],
    "PRO 1 - completion": lambda s, o: 1 - o["completion"],
    "elapsed time only": lambda s, o: s.elapsed,
    "retry count only": lambda s, o: s.retry_count,
    "last wrench only (|F|)": lambda s, o: s.force,
}


def judge(validation: Judged, test: Judged, hz: float) -> dict[str, float]:
    """Print the tables and return the metrics for the bundle's provenance. `validation` and `test`
    are episodes with the head's signals, at `hz` [Hz]."""
    items, _ = test
    console = Console()
    failures = sum(not s.success for s in items)
    metrics: dict[str, float] = {
        "test_episodes": float(len(items)),
        "test_failures": float(failures),
    }
    if min(failures, len(items) - failures) < FEWEST:
        console.print(
            f"no AUROC of failure and no share of alarms: the test split wants at least {FEWEST} "
            f"failures and {FEWEST} successes, found {failures} and {len(items) - failures}: "
            "record more episodes"
        )
    else:
        metrics |= _separation(console, test, hz)
    metrics |= _alarms(console, validation, test)
    metrics |= _calibration(console, test)
    metrics |= _order(console, test)
    return {k: float(v) for k, v in metrics.items() if np.isfinite(v)}


def _separation(console: Console, test: Judged, hz: float) -> dict[str, float]:
    items, signals = test
    failed = np.array([not s.success for s in items])
    metrics: dict[str, float] = {}
    table = Table(title=f"test split: AUROC of failure ({failed.sum()} of {len(items)} failed)")
    table.add_column("score")
    for lead in LEADS_S:
        table.add_column(f"{lead:g} s before the end", justify="right")
    early = min(len(s.elapsed) for s in items) - 1
    table.add_column(f"{early / hz:.1f} s into each", justify="right")
    for name, score in SCORES.items():
        cells = []
        for lead in LEADS_S:
            back = round(lead * hz)
            at = [
                score(s, o)[max(0, len(s.elapsed) - 1 - back)]
                for s, o in zip(items, signals, strict=True)
            ]
            cells.append(auroc(at, failed))
        cells.append(
            auroc([score(s, o)[early] for s, o in zip(items, signals, strict=True)], failed)
        )
        table.add_row(name, *(f"{c:.3f}" for c in cells))
        if name.startswith("PRO risk"):
            metrics |= {
                f"auroc_risk_{lead:g}s": c for lead, c in zip(LEADS_S, cells[:-1], strict=True)
            }
            metrics["auroc_risk_early"] = cells[-1]
    console.print(table)
    return metrics


def _alarms(console: Console, validation: Judged, test: Judged) -> dict[str, float]:
    """Alarms in the test split: `risk` above the conformal threshold at level FALSE_ALARMS, which
    comes from the successes of the validation split, as in `headway.edge.pro.risk`."""
    peaks = sorted(float(o["risk"].max()) for s, o in zip(*validation, strict=True) if s.success)
    index = conformal_index(len(peaks), FALSE_ALARMS)
    if index is None:
        console.print(
            f"no threshold for alarms: at most {FALSE_ALARMS:.0%} false ones want at least "
            f"{fewest_successes(FALSE_ALARMS)} successes in the validation split, found "
            f"{len(peaks)}"
        )
        return {}
    threshold = peaks[index]
    caught, false, left = 0, 0, []
    for s, o in zip(*test, strict=True):
        over = np.flatnonzero(o["risk"] > threshold)
        if len(over) and not s.success:
            caught += 1
            left.append(1 - over[0] / len(s.elapsed))
        false += bool(len(over)) and s.success
    failures = sum(not s.success for s in test[0])
    successes = len(test[0]) - failures
    median = float(np.median(left)) if left else float("nan")
    console.print(
        f"alarms at risk > {threshold:.3f}: {caught}/{failures} failures caught with a median of "
        f"{median:.0%} of the episode left, {false}/{successes} false alarms on successes"
    )
    if min(failures, successes) < FEWEST:
        return {"risk_threshold": threshold}
    return {
        "risk_threshold": threshold,
        "alarm_caught": caught / failures,
        "alarm_false": false / successes,
    }


def _calibration(console: Console, test: Judged) -> dict[str, float]:
    found: dict[str, float] = {}
    for name in ("completion", "risk"):
        p = np.concatenate([o[name] for o in test[1]])
        y = np.concatenate(
            [np.full(len(s.risk), s.success) if name == "completion" else s.risk for s in test[0]]
        ).astype(float)
        bins = np.minimum((p * 10).astype(int), 9)
        ece = sum(
            abs(p[bins == b].mean() - y[bins == b].mean()) * (bins == b).mean()
            for b in range(10)
            if (bins == b).any()
        )
        found |= {f"ece_{name}": float(ece), f"brier_{name}": float(np.mean((p - y) ** 2))}
    console.print("  ".join(f"{k} {v:.3f}" for k, v in found.items()))
    return found


def _order(console: Console, test: Judged) -> dict[str, float]:
    """Mean rank correlation of -time_to_go with time. A good head has a high one on successes and a
    low one on failures; the elapsed time alone has 1.0 on both."""
    found: dict[str, float] = {}
    for wanted, name in ((True, "successes"), (False, "failures")):
        rho = [
            _spearman(-o["time_to_go"]) for s, o in zip(*test, strict=True) if s.success == wanted
        ]
        found[f"value_order_{name}"] = float(np.mean(rho)) if rho else float("nan")
    console.print(
        "value order (Spearman with time; a clock has 1.00 on both): "
        + "  ".join(f"{k} {v:.2f}" for k, v in found.items())
    )
    return found


def _spearman(values: NDArray[Any]) -> float:
    """Spearman's rank correlation of `values` (n,) with time, where equal values share their mean
    rank; 0 where all are equal."""
    if np.ptp(values) == 0:
        return 0.0
    return float(np.corrcoef(rankdata(values), np.arange(len(values)))[0, 1])
