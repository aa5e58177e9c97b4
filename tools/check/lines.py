"""The lines of a check: whether something is kept, what was wanted, and what was found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from headway.errors import HeadwayError

Verdict = Literal["kept", "not kept", "not applicable"]


@dataclass(frozen=True)
class Line:
    """What was `wanted` of one thing, and what was `found`. `then` says what to do where it is not
    kept, "" where there is nothing to do, or where `found` says it. `run_refuses`: whether
    `headway run` would refuse to begin because of it."""

    group: str
    name: str
    verdict: Verdict
    wanted: str
    found: str
    then: str = ""
    run_refuses: bool = False

    @property
    def remedy(self) -> str:
        """What was found and what to do, as one sentence."""
        return f"{self.found}: {self.then}" if self.then else self.found


@dataclass(frozen=True)
class Report:
    """The `lines` of a check of the run configuration `robot` with the bundle `bundle` ("" for
    those that the configuration names), and `notes` that the user should read in any case."""

    robot: str
    bundle: str
    lines: tuple[Line, ...]
    notes: tuple[str, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether nothing is amiss."""
        return all(line.verdict != "not kept" for line in self.lines)


def kept(group: str, name: str, wanted: str, found: str) -> Line:
    """A line about something that is as it should be."""
    return Line(group, name, "kept", wanted, found)


def amiss(group: str, name: str, wanted: str, found: str, then: str) -> Line:
    """A line about something that a run would begin with, and that would go wrong in it."""
    return Line(group, name, "not kept", wanted, found, then)


def unasked(group: str, name: str, why: str) -> Line:
    """A line about something that does not apply, or cannot be told, because of `why`."""
    return Line(group, name, "not applicable", "", why)


def refused(group: str, name: str, wanted: str, error: HeadwayError | OSError) -> Line:
    """A line about something that a run refuses with `error`. Errors of Headway end with what to
    do, after their last colon."""
    found, colon, then = str(error).rpartition(": ")
    if not colon:
        found, then = then, ""
    return Line(group, name, "not kept", wanted, found, then, run_refuses=True)


def judged(
    group: str, name: str, wanted: str, found: str, misfits: Iterable[HeadwayError]
) -> list[Line]:
    """A line for each of `misfits`, or one that says that what was `wanted` was `found`. What is
    said of both the colours and the depth of a camera is said once."""
    lines = [refused(group, name, wanted, error) for error in misfits]
    return list(dict.fromkeys(lines)) or [kept(group, name, wanted, found)]
