"""Runs the checks of a device, each with a deadline."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

from headway.clock import NS
from headway.errors import HeadwayError, Missing
from headway.hil.suite.promises import Promise, of
from headway.hil.suite.results import Bounds, Found, NotApplicableError, Result, Verdict
from headway.hil.suite.subject import Subject


def check(subject: Subject, promise: Promise, bounds: Bounds) -> Result:
    """Whether `subject`, which was entered, keeps `promise`. Never raises what a driver raises. A
    check that does not come back in time is left behind, and the device is not touched again."""
    begin = subject.clock.now()
    if subject.hung:
        why = "an earlier check of this device hangs"
        return Result(subject.name, promise.name, "not applicable", why)
    box: list[Found | BaseException] = []
    thread = threading.Thread(
        target=_into, args=(box, promise.check, subject, bounds), name="hil-check", daemon=True
    )
    thread.start()
    thread.join(bounds.deadline_s + (bounds.cycles_s if promise.name == "leaks" else 0.0))
    seconds = (subject.clock.now() - begin) / NS
    if not box:
        subject.hung = True
        said = f"hangs: no end after {seconds:.0f} s"
        return Result(subject.name, promise.name, "broken", said, {"hangs": 1.0}, {}, seconds)
    return _result(subject.name, promise.name, box[0], seconds)


def _into(
    box: list[Found | BaseException],
    function: Callable[[Subject, Bounds], Found],
    subject: Subject,
    bounds: Bounds,
) -> None:
    try:
        box.append(function(subject, bounds))
    except BaseException as e:
        box.append(e)


def _result(device: str, promise: str, got: Found | BaseException, seconds: float) -> Result:
    if isinstance(got, Found):
        said = "; ".join(got.broken or got.said)
        verdict: Verdict = "broken" if got.broken else "kept"
        return Result(device, promise, verdict, said, got.numbers, got.series, seconds)
    if isinstance(got, (NotApplicableError, Missing)):
        return Result(device, promise, "not applicable", str(got), {}, {}, seconds)
    said = str(got) if isinstance(got, HeadwayError) else f"raises {type(got).__name__}: {got}"
    return Result(device, promise, "broken", said, {}, {}, seconds)


def run(
    subject: Subject,
    bounds: Bounds,
    only: Sequence[str] = (),
) -> Iterator[Result]:
    """The results of `subject`, which was entered, as they come; `only`: of promises whose names
    begin with one of these."""
    faults: list[Promise] = []
    for promise in of(subject.folder):
        if only and not promise.name.startswith(tuple(only)):
            continue
        if promise.faults and (subject.wire is None or not subject.may_fault):
            faults.append(promise)
            continue
        yield check(subject, promise, bounds)
    if faults:  # one line about all of them
        why = (
            "there is no line to bring faults about on"
            if subject.wire is None
            else "faults on a line to real hardware want --allow-hardware, and nobody near it"
        )
        yield Result(subject.name, "faults", "not applicable", why)
