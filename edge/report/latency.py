"""How long every stage of the loop took: percentiles and histograms on one logarithmic axis."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.edge.log import STAGES, TIMING
from headway.edge.report.page import banner, number
from headway.errors import HeadwayError
from headway.mcaplog import Recording

PERCENTILES = (50, 95, 99, 100)
BINS, HEIGHT, STEP = 60, 30, 4  # bars of a histogram, its height and the width of a bar [px]
Rows = NDArray[np.void]


def timings(recording: Recording) -> tuple[Rows | None, str]:
    """Rows of `edge.log.TIMING` from the topic or from the file beside the recording, and where
    they come from, or why there are none."""
    if "/timing" in recording.topics:
        try:
            rows = recording.rows("/timing")
        except HeadwayError as e:
            return None, str(e)
        return _checked(rows, "the /timing topic")
    beside = recording.path.with_suffix(".timing.npy")
    if not beside.exists():
        return None, f"no /timing topic and no {beside.name} beside the recording"
    try:
        rows = np.load(beside, allow_pickle=False)
    except (OSError, ValueError, EOFError) as e:
        return None, f"{beside.name} cannot be read: {e}"
    return _checked(rows, f"{beside.name}, written beside the recording")


def _checked(rows: Any, source: str) -> tuple[Rows | None, str]:
    missing = [n for n in TIMING.names or () if n not in (rows.dtype.names or ())]
    if missing or rows.ndim != 1:
        return None, f"{source} has no {', '.join(missing) or 'rows'}"
    return (rows, source) if len(rows) else (None, f"{source} is empty")


def total_ns(rows: Rows) -> NDArray[np.int64]:
    """Time spent in all stages of each tick [ns]."""
    return np.asarray(np.sum([rows[s] for s in STAGES], axis=0), np.int64)


def latency_html(rows: Rows | None, source: str, clock: str, hz: float | None) -> str:
    """Table of stages, all of them together, and lateness [us]; `hz` is the rate of the loop."""
    if rows is None:
        return f'<p class="dim">Not recorded: {escape(source)}.</p>'
    total = total_ns(rows)
    columns = {s: rows[s] for s in STAGES} | {"all stages": total, "lateness": rows["late"]}
    if clock != "wall":
        columns.pop("lateness")
    us = {name: np.asarray(v, np.float64) / 1e3 for name, v in columns.items()}
    positive = np.concatenate([v[v > 0] for v in us.values()] + [np.array([1.0, 10.0])])
    low, high = np.floor(np.log10(positive.min())), np.ceil(np.log10(positive.max()))
    head = "".join(f"<th class=num>{'max' if p == 100 else f'p{p}'}</th>" for p in PERCENTILES)
    body = []
    for name, values in us.items():
        at = [float(x) for x in np.percentile(values, PERCENTILES)]
        cells = "".join(f"<td class=num>{number(x)}</td>" for x in at)
        body.append(
            f"<tr><td>{escape(name)}</td>{cells}<td>{_histogram(values, low, high, at)}</td></tr>"
        )
    notes = [f"{len(rows)} ticks, from {source}."]
    if clock == "wall":
        notes.append("Wall clock: the loop kept real deadlines; lateness is how late a tick began.")
    else:
        notes.append(
            f"{clock.capitalize()} clock: the loop ran in lock-step with a simulation, so these "
            "are the durations of this computer's work on each tick; there were no real deadlines "
            "and there is no lateness."
        )
    out = ""
    if hz:
        over = int((total > 1e9 / hz).sum())
        share = number(100 * over / len(rows))
        notes.append(
            f"A period at {number(hz)} Hz is {number(1e6 / hz)} us; {over} ticks ({share} %) took "
            "longer."
        )
        if over and clock == "wall":
            out = banner("warn", "Overruns:", f"{over} ticks took longer than their period.")
    notes.append("Bars go with the square root of the counts; black is p50, red p99.")
    return (
        f'{out}<p class="dim">{escape(" ".join(notes))}</p><div class="scroll">'
        f'<table class="latency"><thead><tr><th>stage [us]</th>{head}<th>{_scale(low, high)}</th>'
        f"</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def _histogram(values: NDArray[np.float64], low: float, high: float, at: list[float]) -> str:
    """Heights go with the square root of the counts, so that single late ticks are seen."""
    floor = 10.0**low
    counts, _ = np.histogram(np.log10(np.maximum(values, floor)), BINS, (low, high))
    tall = np.sqrt(counts / max(1, counts.max())) * (HEIGHT - 2)
    bars = "".join(
        f'<rect x="{i * STEP}" y="{HEIGHT - h:.1f}" width="{STEP - 1}" height="{h:.1f}"/>'
        for i, h in enumerate(tall)
        if h > 0
    )
    marks = ""
    for name, x in zip(("p50", "p99"), (at[0], at[2]), strict=True):
        if x > floor:
            px = (np.log10(x) - low) / (high - low) * BINS * STEP
            marks += f'<line class="{name}" x1="{px:.1f}" x2="{px:.1f}" y1="0" y2="{HEIGHT}"/>'
    width = BINS * STEP
    return (
        f'<svg width="{width}" height="{HEIGHT}" viewBox="0 0 {width} {HEIGHT}" role="img">{bars}'
        f'<line class="axis" x1="0" x2="{width}" y1="{HEIGHT}" y2="{HEIGHT}"/>{marks}</svg>'
    )


def _scale(low: float, high: float) -> str:
    width, steps = BINS * STEP, range(int(low), int(high) + 1)
    names = {-3: "1 ns", 0: "1 us", 3: "1 ms", 6: "1 s"}
    texts = []
    for d in steps:
        x = (d - low) / (high - low) * width
        anchor = "start" if d == steps[0] else "end" if d == steps[-1] else "middle"
        if d in names:
            texts.append(f'<text x="{x:.0f}" y="11" text-anchor="{anchor}">{names[d]}</text>')
        texts.append(f'<line class="axis" x1="{x:.0f}" x2="{x:.0f}" y1="13" y2="18"/>')
    return f'<svg width="{width}" height="18" viewBox="0 0 {width} 18">{"".join(texts)}</svg>'
