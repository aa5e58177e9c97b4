"""Run the units of a study: several at a time, each from where it was, whatever happened to it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from headway.errors import OutputError
from headway.learn import files
from headway.learn.executors.executor import Done, Executor, Failed, Lost, Tell, Told
from headway.learn.study import results
from headway.learn.study.units import Progress, Unit, UnitResult, check, load_runner

LOSSES = 5  # times that a unit may be lost, one after the other without going on in between
LOG = "log.txt"
SHARED = "shared"  # no unit has this name: theirs have an arm, a workflow and a seed


@dataclass(frozen=True)
class Job:
    """A unit as a call of an executor: what runs in a process or on a computer of its own."""

    unit: Unit
    folder: str
    shared: str  # for all units
    runner: str

    def __call__(self, tell: Tell) -> UnitResult:
        folder = Path(self.folder)
        with files.alone(folder, "the unit's folder"):
            result = load_runner(self.runner).run(self.unit, folder, tell, Path(self.shared))
        check(self.unit, result)
        return result


@dataclass
class State:
    """Where a study is."""

    total: int  # units of the plan
    done: dict[tuple[str, str, int], UnitResult]
    found: int  # of those, how many had been finished before
    running: dict[str, Progress] = field(default_factory=dict)  # by the unit's name
    failed: dict[str, str] = field(default_factory=dict)  # why, by the unit's name
    lost: dict[str, int] = field(default_factory=dict)  # times in a row, by the unit's name
    shares: dict[str, float] = field(default_factory=dict)  # at which each was taken up
    best: dict[str, float] = field(default_factory=dict)  # the most that each had done
    seconds: float = 0.0  # since this start [s]
    slots: int = 1

    @property
    def left_s(self) -> float | None:
        """Estimate of the time to the end [s], from how far units have come since this start; None
        before there is anything to go by."""
        gone = len(self.done) - self.found
        came = gone - sum(self.shares.get(n, 0.0) for n in self.shares if n not in self.running)
        came += sum(p.share - self.shares.get(n, 0.0) for n, p in self.running.items())
        if came <= 0.01:
            return None
        open_units = self.total - len(self.done) - len(self.failed)
        left = open_units - sum(p.share for p in self.running.values())
        return max(0.0, left) * self.seconds / came


class Show:
    """What a study tells while it runs. This one says nothing."""

    def state(self, state: State) -> None:
        """Called after all news, and about once a second."""

    def line(self, text: str) -> None:
        """Something worth a line of its own."""


def run(
    units: Sequence[Unit],
    *,
    runner: str,
    study: str,
    registration: str,
    out: Path,
    work: Path,
    executor: Executor,
    show: Show,
    clock: Callable[[], float] = time.monotonic,
) -> State:
    """Run those of `units` that have no results in the folder `out`, in their order, and write a
    file for each as it ends. `runner` names what runs a unit, `study` and `registration` (its
    SHA-256) go into the files; `work` has a folder for each unit, from which it goes on, and one
    for what several units make alike. Returns how it ended: a unit that raised an error, or was
    lost too often, is in `failed` and the others went on without it.

    Raises OutputError when a disk is full, at once: all can be resumed. Raises RecordingError for
    results in `out` that are damaged or of another plan.
    """
    done = results.finished(out, registration, units)
    waiting = deque(unit for unit in units if unit.key not in done)
    state = State(len(units), done, len(done), slots=executor.slots)
    by_name = {unit.name: unit for unit in units}
    begun = clock()
    while waiting or state.running:
        while waiting and len(state.running) < executor.slots:
            unit = waiting.popleft()
            folder = work / unit.name
            _make(folder)
            job = Job(unit, str(folder), str(work / SHARED), runner)
            executor.start(unit.name, job, str(folder / LOG))
            state.running[unit.name] = Progress(round=0, doing="starting", share=0.0)
        news = executor.wait(1.0)
        state.seconds = clock() - begun
        for one in news:
            unit = by_name[one.key]
            if isinstance(one, Told):
                _told(state, one.key, one.note)
                continue
            del state.running[one.key]
            if isinstance(one, Done):
                path = results.write(out, study, registration, unit, one.value)
                state.done[unit.key] = one.value
                show.line(f"{unit.name}: finished, {path}")
            elif isinstance(one, Failed):
                _failed(state, one, work / unit.name / LOG, show)
            else:
                _lost(state, one, waiting, unit, show)
        show.state(state)
    return state


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise OutputError(f"cannot make the folder {folder}: {files.advice(e)}") from e


def _told(state: State, name: str, note: object) -> None:
    assert isinstance(note, Progress), note
    first = state.shares.setdefault(name, note.share)
    if note.share > state.best.get(name, first):
        state.lost.pop(name, None)  # it went on: what comes now is another loss
    state.best[name] = max(note.share, state.best.get(name, first))
    state.running[name] = note


def _failed(state: State, news: Failed, log: Path, show: Show) -> None:
    if news.full:
        raise OutputError(
            f"the disk is full, found while {news.key} ran ({news.error}): make room, then start "
            f"the same command again; {len(state.done)} of {state.total} units are finished, the "
            "others go on from where they were"
        )
    state.failed[news.key] = news.error
    show.line(f"{news.key}: failed: {news.error} (more in {log}); the other units go on")


def _lost(state: State, news: Lost, waiting: deque[Unit], unit: Unit, show: Show) -> None:
    state.lost[news.key] = times = state.lost.get(news.key, 0) + 1
    if times > LOSSES:
        state.failed[news.key] = f"lost {times} times without going on in between: {news.why}"
        show.line(f"{news.key}: given up, {state.failed[news.key]}")
        return
    show.line(f"{news.key}: lost, {news.why}; it goes on from where it was")
    waiting.appendleft(unit)
