"""Build and save the HTML document of a report: everything is inline and all text is escaped.

The content security policy in its head allows no requests, and no scripts except the two in the
page, which it names by hash. So a string from a recording cannot run as a script, even if a text
were not escaped.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from headway.errors import RecordingError
from headway.files import whole
from headway.tools.report.series import Timeline


def static(name: str) -> str:
    """The text of the file `name` in the folder `static`, a script or style sheet of the page."""
    return (files("headway.tools.report") / "static" / name).read_text(encoding="utf-8")


def number(x: Any, unit: str = "", digits: int = 3) -> str:
    """`x` as text with `digits` significant digits and its `unit`; "-" for None and for numbers
    that are not finite. Other things are shown as they are."""
    if isinstance(x, bool) or not isinstance(x, (int, float)):
        return "-" if x is None else str(x)
    if not math.isfinite(x):
        return "-"
    big = float(x).is_integer() or abs(x) >= 10**digits
    return (f"{x:.0f}" if big else f"{x:.{digits}g}") + (f" {unit}" if unit else "")


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """A grid of names and values."""
    cells = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in pairs)
    return f'<dl class="facts">{cells}</dl>'


def banner(kind: str, title: str, text: str) -> str:
    """A highlighted note; `kind` is bad, warn or info."""
    return f'<div class="banner {kind}" role="note"><b>{escape(title)}</b> {escape(text)}</div>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    """A table with the column titles `head`; the cells are plain text. `kind` is its CSS class."""
    top = "".join(f"<th>{escape(h)}</th>" for h in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(c)}</td>" for c in row) + "</tr>" for row in rows)
    return (
        f'<div class="scroll"><table class="{kind}"><thead><tr>{top}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def section(title: str, body: str) -> str:
    """A part of the page with a title. `body` is HTML; where it is empty, there is no section
    either."""
    return f"<section><h2>{escape(title)}</h2>{body}</section>" if body else ""


def events_table(timeline: Timeline) -> str:
    """A table of the events; clicking one that has a time moves the plots' cursor there."""
    if not timeline.events:
        return "<p class=dim>No events.</p>"
    rows = []
    for e in timeline.events:
        at = "" if e.t is None else f' data-t="{e.t:.6f}" tabindex="0"'
        when = "-" if e.t is None else f"{e.t:.3f}"
        rows.append(
            f'<tr class="{escape(e.level)}"{at}><td class=num>{when}</td>'
            f"<td>{escape(e.level)}</td><td>{escape(e.text)}</td></tr>"
        )
    return (
        '<div class="scroll tall"><table class="events"><thead><tr><th class=num>t [s]</th>'
        f"<th>level</th><th>what</th></tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def details(title: str, pairs: Mapping[str, str]) -> str:
    """A table of names and values that is folded until its title is clicked."""
    if not pairs:
        return ""
    body = table(("name", "value"), pairs.items(), "plain")
    return f"<details><summary>{escape(title)}</summary>{body}</details>"


def document(
    title: str,
    head: str,
    timeline: Timeline,
    *,
    strips: str = "",
    strip_times: Sequence[Sequence[float]] = (),
    after: str = "",
) -> str:
    """The page as text. `title` is plain text; `head`, `strips` and `after` are HTML made with the
    functions above. `strip_times` has the times [s] of the frames of every strip."""
    data = json.dumps(timeline.to_json(strip_times), allow_nan=False, separators=(",", ":"))
    for sign in "<>&":  # in a script element only "</script" and "<!--" could end the data
        data = data.replace(sign, f"\\u{ord(sign):04x}")
    scripts = [static("uPlot.iife.min.js"), static("report.js")]
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'"
        for s in scripts
    )
    csp = (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    plots = (
        '<section id="timeline"><h2>Over time</h2><p class="dim tools">Drag to zoom, double-click '
        'to go back. <button id="in" type="button">zoom in</button> <button id="out" type="button">'
        'out</button> <button id="reset" type="button">all</button> Click a series in a legend to '
        'hide it.</p><div id="plots"></div>'
        "<noscript>The plots need JavaScript.</noscript></section>"
        if timeline.panels or timeline.lanes
        else ""
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{csp}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title)}</title>
<style>{static("uPlot.min.css")}{static("report.css")}</style></head>
<body><header>{head}</header>
<div class="columns"><aside id="now" aria-live="off"></aside><main>{section("Cameras", strips)}
{plots}{after}</main></div>
<script type="application/json" id="data">{data}</script>
<script>{scripts[0]}</script>
<script>{scripts[1]}</script>
</body></html>
"""


def still(title: str, body: str) -> str:
    """A page without plots or scripts. `title` is plain text, `body` HTML made with the functions
    above."""
    csp = (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{csp}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title)}</title>
<style>{static("report.css")}</style></head>
<body>{body}</body></html>
"""


def save(out: Path, text: str) -> Path:
    """Write the page `text` to `out` and return `out`. The file appears only when it is complete.
    Raises RecordingError."""
    try:
        # File names in the page may contain bytes that are not valid text.
        with whole(out) as part:
            part.write_text(text, encoding="utf-8", errors="replace")
    except OSError as e:
        raise RecordingError(
            f"wanted to write the report to {out}: {e.strerror}; give another path with --out"
        ) from None
    return out
