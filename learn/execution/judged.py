"""Executions as episodes that a PRO head is judged by: those that an arm has learned from, and the
recordings of `headway run`.

What is wanted of the head is what `targets` says: `completion` and `time_to_go` are about the line
of the order that is due, `risk` about a failure event within the time that the head looks ahead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from headway.clock import NS
from headway.edge.control.events import RETRIES, Event, EventKind
from headway.errors import HeadwayError, RecordingError, of_file
from headway.kernels.telemetry import of_recording
from headway.learn.execution.lessons import Lesson, is_failure, watched
from headway.learn.execution.targets import RISK_S, targets
from headway.learn.pro.examples import Example, Moment
from headway.learn.rollout import Rollout, undecided
from headway.mcaplog import open_recording
from headway.tools.recorded import events_of, result_of
from headway.tools.score.identity import sha256_of

Progress = Callable[[float], object]  # is called with the share of the work that is done, 0..1


def example(x: Lesson, risk_s: float = RISK_S) -> Example:
    """The lesson as an episode that heads are judged by whose risk looks `risk_s` [s] ahead."""
    y = targets(x, risk_s)
    return Example(
        name=x.name,
        session="",
        hz=x.hz,
        t=x.t,
        features=x.features,
        mask=x.mask,
        success=x.success,
        failures=tuple(Moment(float(t), "failure") for t in x.happened.failures),
        retries=tuple(Moment(float(t), "retry") for t in x.happened.retries),
        time_to_go=y.to_close,
        completion=y.closes,
        risk=y.risk,
        unstable=y.unstable,
        force=x.force,
        sha256=x.sha256,
        task=x.name.partition(":")[0],
        line=x.closed_by(x.t),
    )


@dataclass(frozen=True)
class Recorded:
    """The episodes in recordings, and why files were left out."""

    examples: list[Example]
    left_out: list[str]


def recorded(
    paths: Sequence[Path], progress: Progress | None = None, risk_s: float = RISK_S
) -> Recorded:
    """The episodes in the recordings `paths` of `headway run`. One that is damaged, was interrupted
    or in which somebody took over from the policy is left out. `progress` is called with the share
    that is done; `risk_s` as in `example`."""
    found = Recorded([], [])
    for i, path in enumerate(paths):
        try:
            found.examples.append(_example(path, risk_s))
        except HeadwayError as e:
            found.left_out.append(of_file(path, e))
        if progress is not None:
            progress((i + 1) / len(paths))
    return found


def _example(path: Path, risk_s: float) -> Example:
    recording = open_recording(path, strict=True)
    result, events = result_of(recording), events_of(recording)
    if result is None:
        raise RecordingError(f"{path}: wanted the result of an episode, found none: leave it out")
    if any(e.kind is EventKind.TAKEOVER for e in events):
        raise RecordingError(
            f"{path}: wanted an episode of the policy alone, found one in which somebody took "
            "over: nobody knows how it would have gone on"
        )
    facts = dict(recording.metadata)
    rows = of_recording(recording.rows("/telemetry"))
    made = Rollout(
        facts.get("task", ""), int(facts.get("seed", "0")), result, tuple(events), rows,
        undecided(), facts,
    )  # fmt: skip
    first = int(rows["t_ns"][0])
    failures = sorted(((e.t_ns - first) / NS, _label(e)) for e in events if is_failure(e))
    return replace(
        example(watched(made), risk_s),
        name=path.stem,
        session=path.resolve().parent.name,  # those of one run lie in one folder
        failures=tuple(Moment(t, label) for t, label in failures),
        sha256=sha256_of(path),
    )


def _label(e: Event) -> str:
    """What a failure is called in a card."""
    if e.kind in RETRIES:
        return e.kind.value
    return e.subject or e.kind.value
