"""One HTML page about the results, with a small plot of what was measured. It loads nothing."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from headway.hil.suite.outputs import devices, facts, matrix
from headway.hil.suite.results import Result

_WIDE, _HIGH, _POINTS = 260, 44, 260
_STYLE = """
body{font:14px/1.4 system-ui,sans-serif;margin:2em auto;max-width:80em;padding:0 1em;color:#222}
table{border-collapse:collapse;margin:.5em 0 2em}td,th{text-align:left;vertical-align:top;
padding:.25em .8em .25em 0;border-bottom:1px solid #ddd}.kept{color:#17723a}.broken{color:#b00020;
font-weight:600}.not{color:#888}svg{background:#f6f6f6}small{color:#666}.num{font-variant-numeric:
tabular-nums}.num span{white-space:nowrap}td:first-child,td:nth-child(2){white-space:
nowrap}.matrix td+td,.matrix th+th{text-align:center;padding:.25em .3em}.matrix th{vertical-align:
bottom}.matrix th span{writing-mode:vertical-rl;transform:rotate(180deg)}a{color:
inherit}@media(prefers-color-scheme:dark){body{background:#181818;color:#ddd}td,th{
border-color:#444}svg{background:#242424}.kept{color:#5fd38a}.broken{color:#ff7a8a}}
"""


def write_page(results: Sequence[Result], path: Path, title: str) -> None:
    """Write the page to `path`; `title` says what was tested."""
    counts = {v: sum(r.verdict == v for r in results) for v in ("kept", "broken", "not applicable")}
    parts = [
        f"<h1>{escape(title)}</h1>",
        "<p>" + ", ".join(f"<b>{n}</b> {v}" for v, n in counts.items()) + "</p>",
        "<p>" + ", ".join(f"{escape(k)}: <b>{n}</b>" for k, n in facts(results).items()) + "</p>",
        _broken(results),
        _matrix(results),
    ]
    for device in devices(results):
        rows = "".join(_row(r) for r in results if r.device == device)
        parts.append(
            f'<h2 id="{_anchor(device)}">{escape(device)}</h2>'
            f"<table><tr><th>promise<th>verdict<th>found<th>measured"
            f"<th></tr>{rows}</table>"
        )
    body = "\n".join(parts)
    path.write_text(
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv='
        "\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{escape(title)}</title><style>{_STYLE}</style><body>{body}</body></html>\n",
        encoding="utf-8",
    )


def _row(r: Result) -> str:
    kind = r.verdict.split()[0]
    measured = ", ".join(f"<span>{escape(k)} {v:.4g}</span>" for k, v in r.numbers.items())
    plots = "".join(plot(name, values) for name, values in r.series.items())
    return (
        f'<tr><td>{escape(r.promise)}<td class="{kind}">{escape(r.verdict)}<td>{escape(r.said)}'
        f'<td class="num"{"" if plots else " colspan=2"}><small>{measured}</small>'
        f"{'<td>' + plots if plots else ''}</tr>"
    )


def _anchor(device: str) -> str:
    return escape(device.replace(" ", "-"))


def _broken(results: Sequence[Result]) -> str:
    """What is broken, first of all, each with a link to its device."""
    rows = "".join(
        f'<li><a href="#{_anchor(r.device)}">{escape(r.device)}, {escape(r.promise)}</a>: '
        f"{escape(r.said)}"
        for r in results
        if r.verdict == "broken"
    )
    return f'<ul class="broken">{rows}</ul>' if rows else ""


def _matrix(results: Sequence[Result]) -> str:
    rows = matrix(results)
    if len(rows) < 2:
        return ""
    head = "".join(f"<th><span>{escape(c)}</span>" for c in rows[0])
    body = "".join(
        "<tr>"
        + "".join(f'<td class="{"broken" if c == "BROKEN" else ""}">{escape(c)}' for c in row)
        for row in rows[1:]
    )
    return f'<h2>Faults</h2><table class="matrix"><tr>{head}</tr>{body}</table>'


def plot(name: str, values: Sequence[float]) -> str:
    """A curve of `values` in their order, from 0 or the least one to the greatest one; of many, the
    greatest one of each group."""
    if len(values) < 2:
        return ""
    group = -(-len(values) // _POINTS)
    shown = [max(values[i : i + group]) for i in range(0, len(values), group)]
    low, high = min(0.0, *shown), max(shown)
    span = (high - low) or 1.0
    step = _WIDE / max(1, len(shown) - 1)
    points = " ".join(
        f"{i * step:.1f},{_HIGH - 2 - (v - low) / span * (_HIGH - 4):.1f}"
        for i, v in enumerate(shown)
    )
    return (
        f'<svg width="{_WIDE}" height="{_HIGH}" role="img" aria-label="{escape(name)}"><polyline '
        f'fill="none" stroke="#3b76c4" points="{points}"/></svg><br><small>{escape(name)}, '
        f"{low:.3g} to {high:.3g}</small><br>"
    )
