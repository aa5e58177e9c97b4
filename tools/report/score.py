"""The report of telemetry of another robot: the PRO signals, the masked channels, forces and
motion."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.tools.report import page
from headway.tools.report.channels import channel_panels, known, signal_panels
from headway.tools.report.series import Event, Panel, Timeline

THRESHOLD = "alarm above"  # the series of the threshold


def write_score_report(
    out: Path,
    *,
    title: str,
    t_s: NDArray[Any],
    signals: Mapping[str, NDArray[Any]],
    channels: Mapping[str, NDArray[Any]],
    masked: Mapping[str, Sequence[str]],
    notes: Sequence[str],
    events: Sequence[tuple[float, str]],
    hz: float | None = None,
    failures: Sequence[tuple[float, str]] = (),
    retries: Sequence[tuple[float, str]] = (),
    facts: Mapping[str, str] = MappingProxyType({}),
    verdict: tuple[str, str, str] | None = None,
    threshold: float | None = None,
) -> Path:
    """Write one self-contained page to `out`, and return `out`.

    `t_s` (n,) [s] are times that do not decrease, with any origin. `hz` is the rate of the
    telemetry [Hz], by default computed from `t_s`. `signals` maps names to arrays (n,), `channels`
    to arrays (n,) or (n, k), with the names and units of `kernels.telemetry.FIELDS` where they
    apply; NaN stands for no value. `masked`: what would have to be given -> the channel groups that
    this telemetry lacks without it. `events`, `failures` and `retries` are (time on the clock of
    `t_s` [s], text); an event that is a failure or a retry is marked as that. `facts` are names and
    values for the head of the page. `verdict` is a banner: its kind (bad, warn, info), its title
    and a text. `threshold` is drawn beside the risk. Raises ValueError for arrays that do not fit
    together, and RecordingError when `out` cannot be written.
    """
    t = np.asarray(t_s, np.float64)
    if t.ndim != 1 or not np.isfinite(t).all() or (np.diff(t) < 0).any():
        raise ValueError(f"{title}: wanted finite times (n,) that do not decrease, found {t.shape}")
    for name, values in {**signals, **channels}.items():
        if np.shape(values)[:1] != t.shape:
            raise ValueError(
                f"{title}: wanted {len(t)} values of {name!r}, one a time, found shape "
                f"{np.shape(values)}"
            )
    zero = float(t[0]) if len(t) else 0.0
    if hz is None and len(t) > 1 and t[-1] > zero:
        hz = (len(t) - 1) / (float(t[-1]) - zero)
    t = t - zero
    timeline = Timeline(
        panels=[
            *_with_threshold(signal_panels(t, signals), threshold),
            *(p for name, v in channels.items() for p in channel_panels(t, name, v)),
        ],
        events=list(_events(zero, events, failures, retries)),
    )
    empty = [n for n, v in {**signals, **channels}.items() if not known(np.asarray(v, np.float64))]
    duration = float(t[-1]) if len(t) else 0.0
    head = f"<h1>{escape(title)}</h1><p class=dim>Scored telemetry, not a Headway run.</p>"
    if verdict is not None:
        head += page.banner(*verdict)
    head += page.facts(
        [
            *facts.items(),
            ("duration", page.number(duration, "s")),
            ("rate", page.number(hz, "Hz") if hz is not None else "-"),
            ("t = 0 is", page.number(zero, "s", 6)),
        ]
    )
    if masked:
        head += page.banner(
            "warn",
            "Masked:",
            f"{', '.join(bit for bits in masked.values() for bit in bits)}. This telemetry lacks "
            "them; PRO was told so and saw no values in their place.",
        )
    else:
        head += page.banner("info", "Nothing masked:", "every channel group has values.")
    if empty:
        head += page.banner("info", "Without a value:", f"{', '.join(empty)}; not drawn.")
    notes_html = "".join(f"<li>{escape(n)}</li>" for n in notes)
    after = page.section("Events", page.events_table(timeline) if timeline.events else "")
    rows = [(", ".join(bits), key) for key, bits in masked.items()]
    lacking = page.table(("masked", "what would unmask it"), rows, "plain") if rows else ""
    after += page.section("Masked groups", lacking)
    after += page.section("Notes", f"<ul>{notes_html}</ul>" if notes else "")
    return page.save(Path(out), page.document(title, head, timeline, after=after))


def _events(
    zero: float,
    events: Sequence[tuple[float, str]],
    failures: Sequence[tuple[float, str]],
    retries: Sequence[tuple[float, str]],
) -> Iterator[Event]:
    """The events in the order of time, `zero` [s] being that of the page: failures and retries as
    lines of the log that are errors and warnings, others as plain ones."""
    marked = {*failures, *retries}
    plain = [(at, text, "info") for at, text in events if (at, text) not in marked]
    wrong = [(at, f"failure: {text}", "error") for at, text in failures]
    again = [(at, f"retry: {text}", "warning") for at, text in retries]
    for at, text, level in sorted((*plain, *wrong, *again)):
        yield Event(at - zero, level, text)


def _with_threshold(panels: Iterable[Panel], threshold: float | None) -> Iterator[Panel]:
    """The `panels`, of which the one with the risk shows the `threshold` too."""
    for p in panels:
        if threshold is None or "risk" not in p.series:
            yield p
            continue
        level = np.full(len(p.t), threshold)
        yield replace(
            p, series={**p.series, THRESHOLD: level}, dashed=p.dashed | frozenset({THRESHOLD})
        )
