"""The page about many scored files: a table with a line each, and links to their own pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from urllib.parse import quote

from headway.tools.report import page

WIDTH, HEIGHT = 160, 28  # of a sparkline [px]


@dataclass(frozen=True)
class Entry:
    """One file or episode. `trace` is its risk over time, 0..1 at even shares of the duration
    `seconds` [s]; `failures` and `retries` are marked in it at their times [s]. `alarm_s` is when
    the alarm began [s], None without one, and `verdict` says it in words. `cells` are further ones
    of its line."""

    name: str
    page: str  # the file of its own page, beside this one
    outcome: str
    seconds: float
    verdict: str
    cells: Sequence[str]
    trace: Sequence[float] = ()
    threshold: float | None = None
    alarm_s: float | None = None
    failures: Sequence[tuple[float, str]] = ()
    retries: Sequence[tuple[float, str]] = ()


def write_score_index(
    out: Path,
    *,
    title: str,
    facts: Sequence[tuple[str, str]],
    columns: Sequence[str],
    entries: Sequence[Entry],
    failed: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Path:
    """Write the page to `out`, and return `out`. `facts` are names and values for its head,
    `columns` the titles of the entries' further cells, `failed` says which files were not scored
    and why, `notes` what holds for all. Raises RecordingError when it cannot be written."""
    head = f"<h1>{escape(title)}</h1>" + page.facts(facts)
    for text in failed:
        head += page.banner("bad", "Not scored:", text)
    shown = {
        "risk over time": any(len(e.trace) for e in entries),
        "verdict": any(e.verdict for e in entries),
        "failures": any(e.failures for e in entries),
        "retries": any(e.retries for e in entries),
    }
    words = ["file", "outcome", *(t for t, there in shown.items() if there)]
    top = "".join(f"<th>{escape(t)}</th>" for t in words)
    top += "".join(f"<th class=num>{escape(t)}</th>" for t in ("duration [s]", *columns))
    body = "".join(_row(e, shown) for e in entries)
    table = (
        f'<div class="scroll"><table class="index"><thead><tr>{top}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )
    if shown["risk over time"]:
        table += (
            "<p class=dim>Risk from 0 to 1 over each file's own duration; dashed: the threshold; "
            "ticks below: failures (red) and retries; dot: where the alarm began.</p>"
        )
    said = "".join(f"<li>{escape(n)}</li>" for n in notes)
    html = f"<header>{head}</header>" + page.section("Files", table)
    html += page.section("Notes on all of them", f"<ul>{said}</ul>" if said else "")
    return page.save(out, page.still(title, html))


def _row(e: Entry, shown: Mapping[str, bool]) -> str:
    """The line of an entry, with those of the optional columns that are `shown`."""
    good = {"success": "good", "failure": "bad"}.get(e.outcome, "")
    alarm = "bad" if e.alarm_s is not None else ""
    optional = {
        "risk over time": f"<td>{sparkline(e)}</td>",
        "verdict": f'<td class="{alarm}">{escape(e.verdict)}</td>',
        "failures": f"<td>{escape(_when(e.failures))}</td>",
        "retries": f"<td>{escape(_when(e.retries))}</td>",
    }
    cells = [
        f'<td><a href="{escape(quote(e.page))}">{escape(e.name)}</a></td>',
        f'<td class="{good}">{escape(e.outcome)}</td>',
        *(cell for title, cell in optional.items() if shown[title]),
        *(f"<td class=num>{escape(c)}</td>" for c in (f"{e.seconds:.1f}", *e.cells)),
    ]
    return f"<tr>{''.join(cells)}</tr>"


def _when(moments: Sequence[tuple[float, str]], most: int = 3) -> str:
    """The first moments, as text and time."""
    text = ", ".join(f"{word} at {t:.1f} s" for t, word in moments[:most])
    return text + (f" and {len(moments) - most} more" if len(moments) > most else "")


def sparkline(e: Entry) -> str:
    """The risk of an entry as a small SVG; empty where it has none."""
    if not len(e.trace) or e.seconds <= 0:
        return ""
    floor = HEIGHT - 5  # below it are the marks

    def x(t: float) -> float:
        return min(max(t / e.seconds, 0.0), 1.0) * WIDTH

    def y(value: float) -> float:
        return 2 + (1 - min(max(value, 0.0), 1.0)) * (floor - 2)

    last = max(len(e.trace) - 1, 1)
    points = " ".join(f"{WIDTH * i / last:.1f},{y(v):.1f}" for i, v in enumerate(e.trace))
    # Colours stand in the style sheet, which knows dark pages; viewers of SVG alone take these.
    parts = [f'<polyline class="line" fill="none" stroke="#1d63d8" points="{points}"/>']
    if e.threshold is not None:
        level = f'y1="{y(e.threshold):.1f}" y2="{y(e.threshold):.1f}"'
        parts.insert(0, f'<line class="level" stroke="#5b6572" x1="0" x2="{WIDTH}" {level}/>')
    for kind, colour, moments in (
        ("again", "#9a5b00", e.retries),
        ("wrong", "#c4242b", e.failures),
    ):
        for t, word in moments:
            at = f'x1="{x(t):.1f}" x2="{x(t):.1f}" y1="{floor}" y2="{HEIGHT}"'
            parts.append(
                f'<line class="{kind}" stroke="{colour}" {at}><title>{escape(word)}</title></line>'
            )
    if e.alarm_s is not None:
        level_y = y(e.threshold or 0.0)
        at = f'cx="{x(e.alarm_s):.1f}" cy="{level_y:.1f}" r="2.5"'
        parts.append(f'<circle class="dot" fill="#c4242b" {at}/>')
    return (
        f'<svg class="spark" role="img" aria-label="{escape(e.verdict)}" width="{WIDTH}" '
        f'height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}">{"".join(parts)}</svg>'
    )
