"""Read a recording of an episode for the report: its result, events, and the lanes and plots over
time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headway.edge.control.result import Result
from headway.edge.guard.reasons import Reason
from headway.edge.pro.operator import SIGNALS
from headway.errors import RecordingError
from headway.mcaplog import Recording
from headway.tools.latency.rows import total_ns
from headway.tools.recorded import (
    check_rows,
    events_of,
    joints_of,
    phase_name,
    phases_of,
    result_of,
)
from headway.tools.report.channels import channel_panels, known, signal_panels, wrench_panels
from headway.tools.report.series import Array, Event, Panel, Span, Timeline, merge, spans_of

Rows = NDArray[np.void]
GROUPS = {
    "wrench": "force/torque", "width": "gripper width", "grip_force": "grip force",
    "tau_ext": "joint torques", "phase": "task phase",
}  # fmt: skip


@dataclass(frozen=True)
class RecordedEpisode:
    """The rows of an episode. `t` (n,) [s] and the times of `events` count from the first tick,
    which was at `t0_ns` [ns]. `rows`, `command` and `pro` are of /telemetry, /command and /pro."""

    recording: Recording
    t0_ns: int
    rows: Rows
    t: Array
    command: Rows | None
    pro: Rows | None
    events: list[Event]
    result: Result | None  # None if the recording ends before it

    @property
    def step(self) -> float:
        """Typical time from one tick to the next [s]."""
        return float(np.median(np.diff(self.t))) if len(self.t) > 1 else 0.002

    def column(self, name: str) -> Array:
        """The column `name` of the telemetry, (n,) or (n, k); NaN if there is no such column."""
        if name not in (self.rows.dtype.names or ()):
            return np.full(len(self.t), np.nan)
        return np.asarray(self.rows[name], np.float64)

    def missing(self) -> list[str]:
        """What a reader may look for, but this recording does not contain."""
        lacking = [text for name, text in GROUPS.items() if not known(self.column(name))]
        if self.pro is None or not len(self.pro):
            lacking.insert(0, "PRO")
        return lacking


def read_episode(recording: Recording) -> RecordedEpisode:
    """The episode in `recording`. Raises RecordingError if it is not the recording of one."""
    check_rows(recording)
    rows = _in_order(recording, "/telemetry")
    assert rows is not None
    found = events_of(recording)
    t0_ns = int(rows["t_ns"][0]) if len(rows) else min((e.t_ns for e in found if e.t_ns), default=0)
    return RecordedEpisode(
        recording,
        t0_ns,
        rows,
        (rows["t_ns"] - t0_ns) / 1e9,
        _in_order(recording, "/command"),
        _in_order(recording, "/pro"),
        [Event((e.t_ns - t0_ns) / 1e9 if e.t_ns else None, e.level, e.text) for e in found],
        result_of(recording),
    )


def _in_order(recording: Recording, topic: str) -> Rows | None:
    if topic not in recording.topics:
        return None
    rows = recording.rows(topic)
    if "t_ns" not in (rows.dtype.names or ()):
        raise RecordingError(
            f"{recording.path}: {topic}: wanted a column t_ns, found {rows.dtype.names}: record it "
            "with `headway run`"
        )
    if len(rows) > 1 and (np.diff(rows["t_ns"]) < 0).any():
        rows = rows[np.argsort(rows["t_ns"], kind="stable")]
    return rows


def timeline(episode: RecordedEpisode, timing: Rows | None) -> Timeline:
    """All that the report draws over the time of `episode`. `timing`: the rows of /timing, None
    where they are not known."""
    return Timeline(list(_panels(episode, timing)), _lanes(episode), episode.events)


def _lanes(e: RecordedEpisode) -> dict[str, list[Span]]:
    lanes: dict[str, list[Span]] = {}
    lost = [
        Span((d.start_ns - e.t0_ns) / 1e9, (d.end_ns - e.t0_ns) / 1e9, "damaged chunk", "bandbad")
        for d in e.recording.damage
        if d.start_ns is not None and d.end_ns is not None
    ]
    if lost:
        lanes["not readable"] = merge(lost)
    phase = e.column("phase")
    if known(phase):
        names = phases_of(e.recording)
        codes = np.where(np.isfinite(phase), phase, -1).astype(np.int64)
        lanes["phase"] = merge(
            [
                Span(a, b, phase_name(names, c), f"p{c % 8}")
                for a, b, c in spans_of(e.t, codes, e.step)
                if c >= 0
            ]
        )
    if e.command is not None and len(e.command):
        t = (e.command["t_ns"] - e.t0_ns) / 1e9
        runs = spans_of(t, e.command["reason"], e.step)
        lanes["guard"] = merge(
            [
                Span(a, b, _reason(c), "bandwarn" if c == Reason.NO_COMMAND else "bandbad")
                for a, b, c in runs
                if c != Reason.OK
            ]
        )
    return lanes


def _reason(code: int) -> str:
    try:
        return Reason(code).name.lower().replace("_", " ")
    except ValueError:  # from a later version
        return f"reason {code}"


def _panels(e: RecordedEpisode, timing: Rows | None) -> Iterator[Panel]:
    t = e.t
    if e.pro is not None and len(e.pro):
        names = [n for n in SIGNALS if n in (e.pro.dtype.names or ())]
        yield from signal_panels((e.pro["t_ns"] - e.t0_ns) / 1e9, {n: e.pro[n] for n in names})
    if not len(t):
        return
    wrench = e.column("wrench")
    if wrench.ndim == 2 and wrench.shape[1] == 6:
        yield from wrench_panels(t, wrench)
    jaws = {"width": e.column("width") * 1e3, "command": e.column("width_ref") * 1e3}
    if known(jaws["width"]):
        yield Panel("Gripper opening", "mm", t, jaws, dashed=frozenset({"command"}))
    grip = e.column("grip_force")
    if known(grip):
        yield Panel("Grip force", "N", t, {"grip force": grip})
    vacuum = e.column("vacuum")
    if known(vacuum):
        yield Panel("Vacuum", "0..1", t, {"vacuum": vacuum}, bounds=(0.0, 1.0))
    joints = joints_of(e.recording)
    yield from _joints("Joint speed", "rad/s", t, e.column("dq"), joints)
    yield from _joints("Tracking error", "rad", t, e.column("q_ref") - e.column("q"), joints)
    yield from channel_panels(t, "tcp", e.column("tcp"))
    if timing is not None:
        ms = {"all stages": total_ns(timing) / 1e6}
        if timing["late"].any():
            ms["lateness"] = timing["late"] / 1e6
        at = (timing["t_ns"] - e.t0_ns) / 1e9
        if (np.diff(at) >= 0).all():
            yield Panel("Work per tick", "ms", at, ms)


def _joints(
    title: str, unit: str, t: Array, values: Array, joints: tuple[str, ...]
) -> Iterator[Panel]:
    y = values.reshape(len(t), -1)
    names = joints if len(joints) == y.shape[1] else [f"j{i + 1}" for i in range(y.shape[1])]
    if known(y):
        yield Panel(title, unit, t, {name: y[:, i] for i, name in enumerate(names)})
