"""`analyse` computes all timing that `headway latency` and the report show for a recording."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headway.clock import NS
from headway.edge.control.audit import AGES, SAMPLES, STAGES
from headway.edge.control.log import STAMP_COLUMNS
from headway.errors import HeadwayError, RecordingError
from headway.mcaplog import Recording, open_recording
from headway.tools.latency.causes import LateTick, late_ticks
from headway.tools.latency.limits import Commands, commands
from headway.tools.latency.motion import Motion, delay
from headway.tools.latency.rows import (
    Line,
    Ns,
    Rows,
    has,
    hz_of,
    late_ns,
    line,
    timings,
    total_ns,
    until_ns,
)

LATE = 0.1  # share of the period; ticks that begin later than this are listed
_STEPS = (
    "exposure -> arrival", "arrival -> hand-over", "hand-over -> inference", "inference",
    "inference -> adoption",
)  # fmt: skip


@dataclass(frozen=True)
class Latency:
    """The timing of one recording. With `clock` "wall" the run kept real deadlines; on another
    clock (lock-step) there is no lateness, and durations are the computing time of each tick.
    `source` says where the timing came from; `notes` say what is missing and why."""

    path: Path
    clock: str
    hz: float
    source: str
    ticks: int
    missed: int
    threshold_us: float
    stages: tuple[Line, ...]
    budget: dict[str, float]  # p99 of each stage, as a share of the period
    over: int  # ticks that took longer than a period
    lateness: Line | None
    jitter: Line | None  # |interval between the beginnings of two ticks - its nominal value|
    ages: tuple[Line, ...]
    chains: tuple[Line, ...]
    commands: Commands | None
    motion: Motion | None
    late: tuple[LateTick, ...]
    environment: dict[str, str]
    notes: tuple[str, ...]
    damaged: int  # chunks of the recording that could not be read
    truncated: bool  # its end is missing, or the summary there is damaged


def analyse(path: Path, late_us: float | None = None) -> Latency:
    """The timing of the recording at `path`, see `analyse_recording`. Raises RecordingError."""
    return analyse_recording(open_recording(path), late_us)


def analyse_recording(recording: Recording, late_us: float | None = None) -> Latency:
    """The timing of `recording`. `late_us`: list ticks that began later than this [us]; by default
    LATE of the period. Raises RecordingError for a recording without timing or without a rate."""
    rows, source = timings(recording)
    if rows is None:
        raise RecordingError(
            f"{recording.path}: wanted the timing of a run, found none ({source}): give a "
            "recording of `headway run`, with its .timing.npy beside it"
        )
    notes = []
    hz = hz_of(recording.metadata)
    if hz is None:
        steps = np.diff(rows["t_ns"])
        if not len(steps) or np.median(steps) <= 0:
            raise RecordingError(
                f"{recording.path}: wanted the rate of the loop, found no `hz` and "
                f"{len(rows)} ticks: give a longer recording"
            )
        hz = NS / float(np.median(steps))
        notes.append(f"the recording does not say its rate: {hz:.1f} Hz by its ticks")
    period = round(NS / hz)
    wall = recording.metadata.get("clock") == "wall"
    threshold = LATE * period if late_us is None else 1e3 * late_us
    total = total_ns(rows)
    stages = [s for s in STAGES if s != "pro" or "/pro" in recording.topics]
    lines = [line(s, rows[s]) for s in stages] + [line("all stages", total)]
    chunks, why = _chunks(recording, wall)
    notes += why
    missed = int(rows["missed"].sum()) if has(rows, "missed") else 0
    late: list[LateTick] = []
    jitter = lateness = None
    if wall:
        adopted = chunks["t_ns"] if chunks is not None else np.zeros(0, np.int64)
        late = late_ticks(rows, period, threshold, adopted)
        lateness = line("lateness", late_ns(rows, period))
        jitter = _jitter(rows)
    motion, why = _motion(recording, rows, wall)
    try:
        inside = commands(recording, hz)
    except RecordingError as e:
        inside, why = None, [*why, str(e)]
    return Latency(
        path=recording.path, clock=recording.metadata.get("clock", "unknown"), hz=hz, source=source,
        ticks=len(rows), missed=missed, threshold_us=threshold / 1e3, stages=tuple(lines),
        budget={x.name: x.p99 * 1e3 / period for x in lines}, over=int((total > period).sum()),
        lateness=lateness, jitter=jitter, ages=_ages(rows),
        chains=(*_way(rows, chunks), *_reaction(rows)) if wall else (),
        commands=inside, motion=motion,
        late=tuple(late), environment=_environment(recording.metadata),
        notes=(*recording.notes, *notes, *why), damaged=len(recording.damage),
        truncated=recording.truncated,
    )  # fmt: skip


def _environment(metadata: dict[str, str]) -> dict[str, str]:
    prefix = "env."
    return {k[len(prefix) :]: v for k, v in metadata.items() if k.startswith(prefix)}


def _jitter(rows: Rows) -> Line | None:
    if len(rows) < 2:
        return None
    begun = rows["begun"] if has(rows, "begun") else rows["t_ns"] + rows["late"]
    wanted = np.diff(rows["t_ns"])  # nominal intervals: whole periods
    return line("jitter of the beginnings", np.abs(np.diff(begun) - wanted))


def _ages(rows: Rows) -> tuple[Line, ...]:
    out = []
    for column, name in zip(AGES, SAMPLES, strict=True):
        if has(rows, column) and (known := rows[column] != -1).any():
            out.append(line(f"{name} sample", rows[column][known]))
    return tuple(out)


def _chunks(recording: Recording, wall: bool) -> tuple[Rows | None, list[str]]:
    """Rows of /chunk (None if there are none), and notes on why their timing is not known."""
    if "/chunk" not in recording.topics:
        return None, ["no policy was recorded"]
    try:
        rows = recording.rows("/chunk")
    except HeadwayError as e:
        return None, [str(e)]
    if wall and not has(rows, *STAMP_COLUMNS):
        return rows, ["chunks without stamps: recorded by an older version"]
    return rows, []


def _way(rows: Rows, chunks: Rows | None) -> list[Line]:
    """Durations of the steps of a chunk, from the exposure of the oldest image of its observation
    to the first command that follows the chunk."""
    if (
        chunks is None
        or not len(chunks)
        or not has(chunks, *STAMP_COLUMNS)
        or not has(rows, "begun")
    ):
        return []
    stamps = np.stack([chunks[name] for name in STAMP_COLUMNS], axis=1)
    command = _commanded(rows, chunks["t_ns"])
    out = []
    for name, a, b in zip(_STEPS, stamps.T[:-1], stamps.T[1:], strict=True):
        known = (a >= 0) & (b >= 0)
        if known.any():
            out.append(line(name, (b - a)[known]))
    for name, a in (("adoption -> command", stamps[:, -1]), ("exposure -> command", stamps[:, 0])):
        known = (a >= 0) & (command >= 0)
        if known.any():
            out.append(line(name, (command - a)[known]))
    return out


def _commanded(rows: Rows, ticks: Ns) -> Ns:
    """When the command of each tick in `ticks` (their `t_ns`) had been sent [ns]; -1 for ticks that
    were not recorded."""
    at = np.clip(np.searchsorted(rows["t_ns"], ticks), 0, len(rows) - 1)
    out = rows["begun"] + until_ns(rows, "command")
    return np.where(rows["t_ns"][at] == ticks, out[at], -1)


def _reaction(rows: Rows) -> list[Line]:
    """Time from the measurement of the arm's state that a tick used to the command that it sent."""
    if not has(rows, "arm_age"):
        return []
    known = rows["arm_age"] != -1
    work = until_ns(rows, "command") - until_ns(rows, "read")
    return [line("state -> command", (rows["arm_age"] + work)[known])] if known.any() else []


def _motion(recording: Recording, rows: Rows, wall: bool) -> tuple[Motion | None, list[str]]:
    if "/command" not in recording.topics or "/telemetry" not in recording.topics:
        return None, ["no commands and joints to estimate the delay of the motion from"]
    try:
        command, state = recording.rows("/command"), recording.rows("/telemetry")
    except HeadwayError as e:
        return None, [str(e)]
    both, ic, it = np.intersect1d(command["t_ns"], state["t_ns"], return_indices=True)
    both, ir, i2 = np.intersect1d(rows["t_ns"], both, return_indices=True)
    if len(both) < 3 or not has(rows, "arm_age"):
        return None, ["too little to estimate the delay of the motion from"]
    r, c, s = rows[ir], command[ic[i2]], state[it[i2]]
    sent_at, read_at = r["t_ns"], r["t_ns"]
    if wall:
        sent_at, read_at = r["begun"] + until_ns(r, "command"), r["begun"] + until_ns(r, "read")
    t0 = int(sent_at[0])
    measured = np.asarray(s["q"], np.float64)
    measured[r["arm_age"] == -1] = np.nan
    found = delay(
        (sent_at - t0) / 1e9, np.asarray(c["sent"], np.float64),
        (read_at - r["arm_age"] - t0) / 1e9, measured,
    )  # fmt: skip
    return found, [] if found else ["nothing moved long enough to estimate the delay of the motion"]
