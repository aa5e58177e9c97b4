"""`headway report`: the page about a recording of `headway run`."""

from __future__ import annotations

import contextlib
import re
import sys
from datetime import datetime
from html import escape
from pathlib import Path

import msgspec
import numpy as np

from headway.edge.control.result import INTERRUPTED
from headway.edge.guard.reasons import Reason
from headway.errors import RecordingError
from headway.mcaplog import Recording, open_recording
from headway.tools.latency.analysis import analyse_recording
from headway.tools.latency.rows import timings
from headway.tools.report import page
from headway.tools.report.episode import RecordedEpisode, read_episode, timeline
from headway.tools.report.frames import strips, strips_html
from headway.tools.report.latency import latency_html

RUN_FACTS = (("started", "recorded"), ("host", "host"), ("revision", "revision"))
SHOWN = 5  # damaged chunks that the page describes one by one


def write_report(recording: Path, out: Path | None = None) -> Path:
    """Write one self-contained page about `recording` to `out` (default: beside it, with the suffix
    .html), and return its path.

    For a recording that ends early or is damaged, the page shows what can be read and says so.
    Raises RecordingError when nothing can be read or `out` cannot be written.
    """
    return _write(open_recording(recording), out)


def report_command(recording: Path, out: Path | None) -> int:
    """Write the page and print its path. Returns 0, or 1 when the recording is damaged or its end
    is missing. Raises RecordingError like `write_report`."""
    log = open_recording(recording)
    print(_write(log, out))
    for note in log.notes:
        print(note, file=sys.stderr)
    return int(bool(log.damage) or log.truncated)


def _write(log: Recording, out: Path | None) -> Path:
    recording = log.path
    out = Path(out) if out is not None else recording.with_suffix(".html")
    if out.exists() and out.samefile(recording):
        raise RecordingError(
            f"wanted a path for the page, found the recording itself, {out}: give another --out"
        )
    log.verify()
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


def _head(e: RecordedEpisode) -> str:
    log, result = e.recording, e.result
    kind, verdict = _verdict(e)
    instruction = log.metadata.get("instruction") or log.path.name
    out = (
        f'<h1><span class="badge {kind}">{escape(verdict)}</span>{escape(instruction)}</h1>'
        f'<p class="dim">{escape(log.path.name)}</p>'
    )
    if log.truncated:
        last = f"{e.t[-1]:.3f} s of the episode" if len(e.t) else "before the first tick"
        note = log.note.replace(str(log.path), log.path.name)  # without the folder
        out += page.banner("bad", "This recording is cut.", f"Read up to {last}. {note}.")
    for damage in log.damage[:SHOWN]:
        text = damage.text.replace(str(log.path), log.path.name)
        out += page.banner("bad", "A part of this recording is damaged.", f"{text}.")
    if len(log.damage) > SHOWN:
        out += page.banner("bad", "Damaged as well:", f"{len(log.damage) - SHOWN} further chunks.")
    if not result and log.damage:
        out += page.banner("warn", "No result:", "it may be among what is missing.")
    elif not result and not log.truncated:
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
        "Recording",
        {
            **log.metadata,
            **{f"run: {k}": v for k, v in log.run.items()},
            **{f"end: {k}": v for k, v in log.end.items()},
        },
    )


def _verdict(e: RecordedEpisode) -> tuple[str, str]:
    """CSS class and text of the badge."""
    if e.result is None:
        return "", "NO RESULT"
    if e.result.end == INTERRUPTED:
        return "", "INTERRUPTED"
    if e.result.success:
        return "good", "SUCCESS"
    return ("bad", "FAILED") if e.result.success is False else ("", "NO VERDICT")


def _facts(e: RecordedEpisode) -> list[tuple[str, str]]:
    """Names and values for the head of the page: from the result if there is one, else counted from
    the rows that were read."""
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
    facts = seen if r is None else seen | msgspec.structs.asdict(r)
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
    if r is not None:
        shown += [(k, n(v)) for k, v in r.numbers.items()]
    shown += [("seed", meta.get("seed", "-")), ("clock", meta.get("clock", "-"))]
    shown += [(word, _short(k, run[k])) for k, word in RUN_FACTS if (run := e.recording.run).get(k)]
    shown += [(k, meta[k]) for k in ("task", "policy", "pro", "bundle", "headway") if meta.get(k)]
    return shown


def _short(key: str, value: str) -> str:
    """A fact of the run so that it fits in the head of the page; the table below has it in full: a
    time without fractions of a second, a revision of Git by its first digits."""
    if key == "revision":
        return re.sub(r"^([0-9a-f]{10})[0-9a-f]{30}", r"\1", value)
    if key == "started":
        with contextlib.suppress(ValueError):
            at = datetime.fromisoformat(value)
            return f"{at:%Y-%m-%d %H:%M:%S} {at.tzname() or ''}".strip()
    return value


def _greatest(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float | None:
    values = values[np.isfinite(values)]
    return float(values.max()) if values.size else None
