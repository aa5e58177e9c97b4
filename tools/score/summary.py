"""What is kept of each scored file until all are done, and the files about all of them."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headway.edge.pro.operator import SIGNALS
from headway.errors import RecordingError
from headway.files import whole
from headway.kernels import spec
from headway.tools.score.files import SUMMARY, Episode
from headway.tools.score.results import identity
from headway.tools.score.scoring import Scored
from headway.tools.score.verdict import Verdict

INDEX = "index.html"
COLUMNS = (
    "name", "source", "episode", "session", "robot", "task", "outcome", "duration_s", "rate_hz",
    "rate_lowest_hz", "rate_highest_hz", "masked", "force_max_n", "onsets", "progress",
    "completion", "risk_max", "stability_min", "threshold", "threshold_source", "verdict",
    "alarm_s", "first_failure_s", "failures", "retries", "judged_until_s", "left_out",
)  # fmt: skip
POINTS = 120  # of a sparkline


@dataclass(frozen=True)
class Result:
    """One scored file or episode: `row` is its line of the summary, by `COLUMNS`, None for what is
    not known; `trace` its risk over time, the largest of each of at most `POINTS` parts."""

    row: dict[str, str | float | int | None]
    verdict: Verdict | None  # None without a head
    trace: Sequence[float]
    failures: Sequence[tuple[float, str]]
    retries: Sequence[tuple[float, str]]
    masked: dict[str, str]  # mask bit -> what would unmask it
    notes: Sequence[str]
    odd: int  # how many things in the file could not be read


def result_of(
    scored: Scored, name: str, verdict: Verdict | None, replaced: str | None = None
) -> Result:
    """What is kept of a scored file whose results are called `name`; `replaced`: a note on earlier
    results of it."""
    data, seen = scored.telemetry, scored.summary
    rates = list(data.rates.values())
    row = dict.fromkeys(COLUMNS) | {
        "name": name,
        "source": identity(Episode(scored.path)),
        "episode": data.episode,
        "session": data.session,
        "robot": scored.given.robot,
        "task": scored.given.task,
        "outcome": {True: "success", False: "failure", None: None}[data.success],
        "duration_s": (data.n - 1) / data.hz,
        "rate_hz": data.hz,
        "rate_lowest_hz": min(rates),
        "rate_highest_hz": max(rates),
        "masked": " ".join(scored.masked),
        "force_max_n": seen.force,
        "onsets": None if seen.force is None else seen.onsets,
        "first_failure_s": data.failures[0][0] if data.failures else None,
        "failures": _said(data.failures),
        "retries": _said(data.retries),
        "judged_until_s": data.end_s,
        "left_out": scored.odd,
    }
    if scored.signal_store is not None and "progress" in seen.last:
        said = {
            "progress": seen.last["progress"],
            "completion": seen.last["completion"],
            "risk_max": seen.risk,
            "stability_min": seen.stability,
        }
        row |= {k: v for k, v in said.items() if k.partition("_")[0] in scored.learned}
    if verdict is not None:
        row |= {
            "threshold": verdict.threshold.risk,
            "threshold_source": verdict.threshold.source,
            "verdict": verdict.text,
            "alarm_s": verdict.t,
        }
    notes = [*scored.notes, replaced] if replaced else scored.notes
    return Result(
        row, verdict, trace(scored), data.failures, data.retries, scored.masked, notes, scored.odd
    )


def _said(moments: Iterable[tuple[float, str]]) -> str:
    return "; ".join(f"{t:.3f} {word}" for t, word in moments)


def trace(scored: Scored) -> list[float]:
    """The largest risk of each of at most `POINTS` equal parts of a file; [] without a head that
    learned it."""
    if scored.signal_store is None or "risk" not in scored.learned or not len(scored):
        return []
    n, column, at = len(scored), SIGNALS.index("risk"), 0
    out = np.zeros(min(n, POINTS))
    for block in scored.signal_store.blocks():
        part = (at + np.arange(len(block))) * len(out) // n
        np.maximum.at(out, part, block[:, column])
        at += len(block)
    return [float(x) for x in out]


def write_summary(out: Path, results: Iterable[Result]) -> Path:
    """Write `SUMMARY` to the folder `out`: a line for each result. Raises RecordingError."""
    path = out / SUMMARY
    try:
        with whole(path) as part, part.open("w", newline="", encoding="utf-8") as f:
            rows = csv.writer(f)
            rows.writerow(COLUMNS)
            rows.writerows([_cell(r.row[c]) for c in COLUMNS] for r in results)
    except OSError as e:
        raise RecordingError(
            f"cannot write {path}: {e.strerror or e}: choose another place by --out"
        ) from None
    return path


def _cell(value: str | float | int | None) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def write_index(
    out: Path, title: str, head: str, results: Sequence[Result], failed: Sequence[str]
) -> Path:
    """Write `INDEX` to the folder `out`, the page about all results. `head` names the PRO head, ""
    for none; `failed` says what was not scored. Raises RecordingError."""
    from headway.tools.report import Entry, write_score_index

    verdicts = [r.verdict for r in results if r.verdict is not None]
    facts = [("files", str(len(results)))]
    for key in ("robot", "task"):
        named = sorted({str(r.row[key]) for r in results if r.row[key]})
        facts += [(key, ", ".join(named))] if named else []
    for word in ("success", "failure"):
        n = sum(r.row["outcome"] == word for r in results)
        facts += [(f"outcome {word}", str(n))] if n else []
    if head:
        alarmed = [r for r in results if r.row["alarm_s"] is not None]
        facts.append(("PRO head", head))
        levels = {v.threshold.risk for v in verdicts}
        if levels == {None}:
            facts.append(("threshold", "none"))
        else:
            facts.append(("threshold", ", ".join(f"{x:.3f}" for x in levels if x is not None)))
            told = sum(v.threshold.risk is not None for v in verdicts)
            facts.append(("alarms in", f"{len(alarmed)} of {told}"))
        lacking = sum(bool(v.lacking) for v in verdicts)
        facts += [("cannot tell of", f"{lacking} of {len(results)}")] if lacking else []
    said = {
        f"threshold: a risk above {v.threshold.risk:.3f}, {v.threshold.source}"
        if v.threshold.risk is not None
        else v.text
        for v in verdicts
    }
    shared = [n for n in results[0].notes if all(n in r.notes for r in results)]
    entries = [
        Entry(
            name=str(r.row["name"]),
            page=f"{r.row['name']}.html",
            outcome=str(r.row["outcome"] or "-"),
            seconds=float(r.row["duration_s"] or 0.0),
            verdict="" if r.verdict is None else r.verdict.short,
            cells=[
                _number(r.row["risk_max"], 2),
                _number(r.row["progress"], 2),
                _number(r.row["completion"], 2),
                _number(r.row["force_max_n"], 1),
                f"{len(r.masked)}/{spec.N_MASKS}",
            ],
            trace=r.trace,
            threshold=None if r.verdict is None else r.verdict.threshold.risk,
            alarm_s=None if r.verdict is None else r.verdict.t,
            failures=r.failures,
            retries=r.retries,
        )
        for r in results
    ]
    return write_score_index(
        out / INDEX,
        title=title,
        facts=facts,
        columns=("risk at most", "progress", "completion", "|F| at most [N]", "masked"),
        entries=entries,
        failed=failed,
        notes=[*sorted(said), *shared],
    )


def _number(x: str | float | int | None, digits: int) -> str:
    return f"{x:.{digits}f}" if isinstance(x, float) else "-"
