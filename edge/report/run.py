"""The report of a recording of ours."""

from __future__ import annotations

from html import escape
from pathlib import Path

import numpy as np

from headway.edge.guard import Reason
from headway.edge.latency.analysis import analyse_recording
from headway.edge.latency.rows import timings
from headway.edge.report import page
from headway.edge.report.episode import Episode, read_episode, timeline
from headway.edge.report.frames import strips, strips_html
from headway.edge.report.latency import latency_html
from headway.errors import RecordingError
from headway.mcaplog import open_recording


def write_report(recording: Path, out: Path | None = None) -> Path:
    """Write one self-contained page about `recording` to `out` (default: beside it, .html), and
    return where it is.

    A recording that was cut gives a page of what can be read, which says so. Raises RecordingError
    where nothing can be read or `out` cannot be written.
    """
    recording = Path(recording)
    log = open_recording(recording)
    out = Path(out) if out is not None else recording.with_suffix(".html")
    if out.exists() and out.samefile(recording):
        raise RecordingError(
            f"wanted a path for the page, found the recording itself, {out}: give another --out"
        )
    episode = read_episode(log)
    timing, source = timings(log)
    over_time = timeline(episode, timing)
    cameras = strips(log, episode.t0_ns)
    latency = None
    if timing is not None:
        try:
            latency = analyse_recording(log)
        except RecordingError as e:
            source = str(e)
    after = page.section("Latency", latency_html(latency, timing, source))
    after += page.section("Events", page.events_table(over_time))
    text = page.document(
        f"{recording.name} - Headway",
        _head(episode),
        over_time,
        strips=strips_html(cameras),
        strip_times=[s.times for s in cameras if s.times],
        after=after,
    )
    return page.save(out, text)


def _head(e: Episode) -> str:
    log, result = e.recording, e.result
    kind, verdict = _verdict(e)
    instruction = log.metadata.get("instruction") or log.path.name
    out = (
        f'<h1><span class="badge {kind}">{escape(verdict)}</span>{escape(instruction)}</h1>'
        f'<p class="dim">{escape(log.path.name)}</p>'
    )
    if log.truncated:
        last = f"{e.t[-1]:.3f} s of the episode" if len(e.t) else "before the first tick"
        note = log.note.replace(str(log.path), log.path.name)  # pages are passed on, folders not
        out += page.banner("bad", "This recording is cut.", f"Read up to {last}. {note}.")
    elif not result:
        out += page.banner("warn", "No result:", "the run ended before it could say how it went.")
    dropped = log.end.get("dropped", "0")
    if dropped != "0":
        out += page.banner(
            "warn", "Messages dropped:", f"{dropped}: the writer did not keep up; plots have gaps."
        )
    if not len(e.t):
        out += page.banner("warn", "No telemetry:", "the recording holds not one tick.")
    elif missing := e.missing():
        out += page.banner("info", "Not in this recording:", f"{', '.join(missing)}.")
    out += page.facts(_facts(e))
    return out + page.details(
        "Recording", {**log.metadata, **{f"end: {k}": v for k, v in log.end.items()}}
    )


def _verdict(e: Episode) -> tuple[str, str]:
    """Class of the badge, and its text."""
    if not e.result:
        return "", "NO RESULT"
    success = e.result.get("success")
    if success is True:
        return "good", "SUCCESS"
    return ("bad", "FAILED") if success is False else ("", "NO VERDICT")


def _facts(e: Episode) -> list[tuple[str, str]]:
    """From the result where there is one, else counted from what was read."""
    r, meta = e.result, e.recording.metadata
    force = e.column("wrench")
    seen: dict[str, object] = {
        "seconds": float(e.t[-1]) if len(e.t) else None,
        "ticks": len(e.t),
        "retries": _greatest(e.column("retries")),
        "peak_force": _greatest(np.sqrt((force[:, :3] ** 2).sum(1))) if force.ndim == 2 else None,
    }
    if e.command is not None:
        stopped = (e.command["changed"] != 0) & (e.command["reason"] != Reason.NO_COMMAND)
        seen |= {"rejected": int(stopped.sum()), "missed": int(e.command["missed"].sum())}
    facts = {**seen, **r}
    n = page.number
    shown = [
        ("ended", n(facts.get("end"))),
        ("duration", n(facts["seconds"], "s", 4)),
        ("ticks", n(facts["ticks"])),
        ("retries", n(facts["retries"])),
        ("commands rejected", n(facts.get("rejected"))),
        ("deadlines missed", n(facts.get("missed"))),
        ("peak force", n(facts["peak_force"], "N")),
    ]
    if e.pro is not None:
        shown.append(("reward (sum)", n(facts.get("reward"))))
    shown += [("seed", meta.get("seed", "-")), ("clock", meta.get("clock", "-"))]
    shown += [(k, meta[k]) for k in ("policy", "pro", "bundle", "headway") if meta.get(k)]
    return shown


def _greatest(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float | None:
    values = values[np.isfinite(values)]
    return float(values.max()) if values.size else None
