"""The section of the report about timing: percentiles and histograms of every stage of the loop, on
one logarithmic axis."""

from __future__ import annotations

from html import escape

import numpy as np
from numpy.typing import NDArray

from headway.edge.control.audit import STAGES
from headway.tools.latency.analysis import Latency
from headway.tools.latency.causes import by_cause
from headway.tools.latency.rows import Line, Rows, late_ns, total_ns
from headway.tools.report.page import banner, number, table

HEADS = ("p50", "p95", "p99", "p99.9", "max")
BINS, HEIGHT, STEP = 60, 30, 4  # bars per histogram; its height, and the width of a bar [px]


def latency_html(found: Latency | None, rows: Rows | None, source: str) -> str:
    """HTML tables of what `headway latency` prints, with a histogram per stage [us]. `rows` are the
    timing rows behind `found`; `source` says where they are from, or why there are none."""
    if rows is None or found is None:
        return f'<p class="dim">Not recorded: {escape(source)}.</p>'
    wall, period = found.clock == "wall", 1e9 / found.hz
    columns = {s: rows[s] for s in STAGES} | {"all stages": total_ns(rows)}
    lines = list(found.stages)
    if wall and found.lateness is not None:
        columns["lateness"] = late_ns(rows, round(period))
        lines.append(found.lateness)
    us = {name: np.asarray(v, np.float64) / 1e3 for name, v in columns.items()}
    positive = np.concatenate([v[v > 0] for v in us.values()] + [np.array([1.0, 10.0])])
    low, high = np.floor(np.log10(positive.min())), np.ceil(np.log10(positive.max()))
    body = "".join(
        f"<tr><td>{escape(x.name)}</td>{_cells(x)}"
        f"<td>{_histogram(us[x.name], low, high, x)}</td></tr>"
        for x in lines
    )
    notes = [f"{found.ticks} ticks, from {source}."]
    if wall:
        notes.append("Wall clock: the loop kept real deadlines; lateness is how late a tick began.")
    else:
        notes.append(
            f"{found.clock.capitalize()} clock: the loop ran in lock-step with a simulation, so "
            "these are the durations of this computer's work on each tick; there were no real "
            "deadlines and there is no lateness."
        )
    share = number(100 * found.over / found.ticks)
    notes.append(
        f"A period at {number(found.hz)} Hz is {number(1e6 / found.hz)} us; {found.over} ticks "
        f"({share} %) took longer."
    )
    out = ""
    if found.over and wall:
        out = banner("warn", "Overruns:", f"{found.over} ticks took longer than their period.")
    notes.append("Bars go with the square root of the counts; black is p50, red p99.")
    out += f'<p class="dim">{escape(" ".join(notes))}</p>' + _table(
        "stage", body, f"<th>{_scale(low, high)}</th>"
    )
    more = [*found.ages, *found.chains, *([found.jitter] if found.jitter else [])]
    if more:
        rest = "".join(f"<tr><td>{escape(x.name)}</td>{_cells(x)}</tr>" for x in more)
        out += _table("age, way and jitter", rest)
    if found.late:
        out += table(
            ("cause of late ticks", "ticks", "missed", "worst [us]"),
            [(c, str(n), str(m), number(w)) for c, n, m, w in by_cause(found.late)],
            "plain",
        )
    m = found.motion
    if m is not None:
        out += (
            f'<p class="dim">The measured motion is {m.delay_ms:.2f} ± {m.error_ms:.2f} ms behind '
            f"the commands (least squares over {m.windows} s of motion).</p>"
        )
    return out


def _cells(x: Line) -> str:
    values = (x.p50, x.p95, x.p99, x.p999, x.max)
    return "".join(f"<td class=num>{number(v)}</td>" for v in values)


def _table(title: str, body: str, last: str = "") -> str:
    head = "".join(f"<th class=num>{h}</th>" for h in HEADS)
    return (
        f'<div class="scroll"><table class="latency"><thead><tr><th>{escape(title)} [us]</th>{head}'
        f"{last}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _histogram(values: NDArray[np.float64], low: float, high: float, at: Line) -> str:
    """An SVG histogram on the axis 10^low..10^high [us]. The bar heights follow the square root of
    the counts, so that single late ticks can be seen."""
    floor = 10.0**low
    counts, _ = np.histogram(np.log10(np.maximum(values, floor)), BINS, (low, high))
    tall = np.sqrt(counts / max(1, counts.max())) * (HEIGHT - 2)
    bars = "".join(
        f'<rect x="{i * STEP}" y="{HEIGHT - h:.1f}" width="{STEP - 1}" height="{h:.1f}"/>'
        for i, h in enumerate(tall)
        if h > 0
    )
    marks = ""
    for name, x in zip(("p50", "p99"), (at.p50, at.p99), strict=True):
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
