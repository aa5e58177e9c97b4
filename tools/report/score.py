"""The report of telemetry of another robot: the PRO signals, the masked channels, forces and
motion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.tools.report import page
from headway.tools.report.channels import channel_panels, known, signal_panels
from headway.tools.report.series import Event, Timeline


def write_score_report(
    out: Path,
    *,
    title: str,
    t_s: NDArray[Any],
    signals: Mapping[str, NDArray[Any]],
    channels: Mapping[str, NDArray[Any]],
    masked: Sequence[str],
    notes: Sequence[str],
    events: Sequence[tuple[float, str]],
    hz: float | None = None,
) -> Path:
    """Write one self-contained page to `out`, and return `out`.

    `t_s` (n,) [s] are times that do not decrease, with any origin. `hz` is the rate of the
    telemetry [Hz], by default computed from `t_s`. `signals` maps names to arrays (n,), `channels`
    to arrays (n,) or (n, k), with the names and units of `kernels.telemetry.FIELDS` where they
    apply; NaN stands for no value. `masked` names the channel groups that this telemetry lacks.
    `events` are (time on the clock of `t_s` [s], text). Raises ValueError for arrays that do not
    fit together, and RecordingError when `out` cannot be written.
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
            *signal_panels(t, signals),
            *(p for name, v in channels.items() for p in channel_panels(t, name, v)),
        ],
        events=[Event(at - zero, "info", text) for at, text in events],
    )
    empty = [n for n, v in {**signals, **channels}.items() if not known(np.asarray(v, np.float64))]
    duration = float(t[-1]) if len(t) else 0.0
    head = f"<h1>{escape(title)}</h1><p class=dim>Scored telemetry, not a Headway run.</p>"
    head += page.facts(
        [
            ("duration", page.number(duration, "s")),
            ("rate", page.number(hz, "Hz") if hz is not None else "-"),
            ("t = 0 is", page.number(zero, "s", 6)),
        ]
    )
    if masked:
        head += page.banner(
            "warn",
            "Masked:",
            f"{', '.join(masked)}. This telemetry lacks them; PRO was told so and saw no values "
            "in their place.",
        )
    else:
        head += page.banner("info", "Nothing masked:", "every channel group has values.")
    if empty:
        head += page.banner("info", "Without a value:", f"{', '.join(empty)}; not drawn.")
    notes_html = "".join(f"<li>{escape(n)}</li>" for n in notes)
    after = page.section("Notes", f"<ul>{notes_html}</ul>" if notes else "")
    after += page.section("Events", page.events_table(timeline) if events else "")
    return page.save(Path(out), page.document(title, head, timeline, after=after))
