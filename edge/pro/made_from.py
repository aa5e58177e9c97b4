"""Whether a head, or a calibration, was made from recordings like the telemetry that it is given.

A head that learned from the logs of one robot says nothing about another: other joints, sensors and
rates of ticks make other features. What a bundle or a calibration says of its recordings (`robot`,
`tick_hz`, `groups`) is therefore held to the run, and refused where it does not fit; what it leaves
out is no statement. Which groups of telemetry a robot gives shows in part from its configuration
(no gripper, no F/T sensor), and for the rest once it runs: see `Watch`, and `Gaps` for a group that
comes and is lost again.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from headway.config import suggest
from headway.errors import SpecMismatch
from headway.kernels import spec, telemetry
from headway.kernels.telemetry import SOURCES

RATE_TOLERANCE = 0.01  # rates of ticks that differ by less are the same rate
PROVED_S = 1.0  # after so long a group that a robot has was known at least once
LOST_S = 1.0  # a group that was lost for so long within an episode is told


class MadeFrom(Protocol):
    """What a head or a calibration says of the recordings that it was made from."""

    @property
    def robot(self) -> str:
        """Its name, "" where that is not said."""

    @property
    def tick_hz(self) -> tuple[float, float] | None:
        """The lowest and the highest rate of ticks [Hz], None where that is not said."""

    @property
    def groups(self) -> tuple[str, ...]:
        """The mask bits that were known in them, and that a run has to give."""


@dataclass(frozen=True, slots=True)
class Given:
    """The telemetry that PRO is given: of the `robot` ("" where nothing says), at ticks of `hz`
    [Hz], with the groups `gives` (mask bits) at most, None where nothing says. `task`: its name, ""
    where nothing says. `what` names it in errors."""

    robot: str
    hz: float
    gives: tuple[str, ...] | None = None
    task: str = ""
    what: str = "this run"


def groups_of(fields: Collection[str], hz: float) -> tuple[str, ...]:
    """The mask bits that telemetry with these `fields` can have at ticks of `hz` [Hz], in the order
    of spec.MASKS. Fields that are derived from others count as there."""
    have = {f for f in telemetry.FIELDS if not {f, *SOURCES.get(f, ())}.isdisjoint(fields)}
    groups = [mask for mask, wanted in spec.MASK_FIELDS.items() if have.issuperset(wanted)]
    rates = [mask for mask, least in spec.MASK_RATES.items() if hz >= least]
    return (*groups, *rates)


def check(what: str, made: MadeFrom, given: Given, then: str, task: str = "") -> None:
    """Raises SpecMismatch where something was made from other telemetry than it is `given`. `what`
    names it, such as "bundle models/x was trained on"; `then` says what to do about it; `task` is
    the one that it was made for, "" where that is not said."""
    unknown = [mask for mask in made.groups if mask not in spec.MASKS]
    if unknown:
        raise SpecMismatch(
            f"{what} recordings with the group `{unknown[0]}`, which telemetry does not have: "
            f"{suggest(unknown[0], spec.MASKS)}"
        )
    lacking = lacking_of(made, given)
    if (
        lacking
        or _differ(made.robot, given.robot)
        or _differ(task, given.task)
        or not _within(given.hz, made.tick_hz)
    ):
        raise SpecMismatch(_message(what, made, given, then, task, lacking))


def lacking_of(made: MadeFrom, given: Given) -> list[str]:
    """The mask bits that were known in what something was made from, and that are not `given`."""
    return [mask for mask in made.groups if given.gives is not None and mask not in given.gives]


def _differ(a: str, b: str) -> bool:
    """Whether two names, both given, are not the same, whatever their case."""
    return bool(a and b) and a.strip().casefold() != b.strip().casefold()


def _within(hz: float, rates: tuple[float, float] | None) -> bool:
    if rates is None:
        return True
    return rates[0] * (1 - RATE_TOLERANCE) <= hz <= rates[1] * (1 + RATE_TOLERANCE)


def _message(
    what: str, made: MadeFrom, given: Given, then: str, task: str, lacking: Collection[str]
) -> str:
    """What it was made from, what it is given, and what to do."""
    of = f"robot {made.robot}" if made.robot else "a robot that it does not name"
    groups = f" with {', '.join(made.groups)}" if made.groups else ""
    doing = f", doing {task}" if task else ""
    rates = ""
    if made.tick_hz is not None:
        low, high = made.tick_hz
        rates = f" at {low:g} Hz" if low == high else f" at {low:g} to {high:g} Hz"
    has = f"robot {given.robot}" if given.robot else "a robot without a name"
    doing_here = f", doing {given.task}" if task and given.task else ""
    without = f", without {', '.join(lacking)}" if lacking else ""
    return (
        f"{what} the recordings of {of}{groups}{rates}{doing}; {given.what} has {has} at "
        f"{given.hz:g} Hz{doing_here}{without}: {then}"
    )


class Watch:
    """Watches, from the first tick of each episode on, whether the groups come that something was
    made from. `begin` before an episode, `step` at each step of the head; `done` once all have come
    in this episode."""

    def __init__(self, what: str, made: MadeFrom, given: Given, then: str) -> None:
        self._say = what, made, given, then
        self._wanted: NDArray[np.bool_] = np.isin(spec.MASKS, made.groups)
        self._missing = self._wanted.copy()
        self.begin()

    def begin(self) -> None:
        """An episode begins: all groups have to come anew."""
        self._missing[:] = self._wanted
        self.done = not self._missing.any()

    def step(self, mask: NDArray[Any], tick: int) -> None:
        """Take in the `mask` (N_MASKS,) of the tick with the index `tick`. Raises SpecMismatch
        where, after PROVED_S, a group has not come once."""
        self._missing &= mask < 0.5
        self.done = not self._missing.any()
        what, made, given, then = self._say
        if not self.done and tick >= PROVED_S * given.hz:
            lacking = [m for m, lacks in zip(spec.MASKS, self._missing, strict=True) if lacks]
            text = _message(what, made, given, then, "", lacking)
            raise SpecMismatch(f"{text} (none of it came within {PROVED_S:g} s)")


class Gaps:
    """Finds the groups that are wanted and have been lost for LOST_S within an episode, each once a
    loss. Call `begin` before an episode and `step` at each step of the head. `hz`: of the ticks
    [Hz]."""

    def __init__(self, hz: float) -> None:
        self._long = LOST_S * hz  # ticks
        self._wanted = np.zeros(spec.N_MASKS, np.float32)
        self._least = -0.5  # of the sum over the wanted bits of a mask that lacks none of them
        self._since: dict[int, int] = {}  # place of a group that is missing -> its first such tick
        self._found: set[int] = set()

    def want(self, groups: Collection[str]) -> None:
        """Watch these `groups` (mask bits) too."""
        self._wanted[np.isin(spec.MASKS, list(groups))] = 1.0
        self._least = float(self._wanted.sum()) - 0.5

    def begin(self) -> None:
        """An episode begins."""
        self._since.clear()
        self._found.clear()

    def step(self, mask: NDArray[Any], tick: int) -> tuple[str, ...]:
        """The groups that by the `mask` (N_MASKS,) of the tick with the index `tick` have now been
        missing for LOST_S."""
        if mask.dot(self._wanted) > self._least:  # the usual case, at a microsecond
            self.begin()
            return ()
        lacking = np.flatnonzero(self._wanted * (mask < 0.5)).tolist()
        self._since = {i: self._since.get(i, tick) for i in lacking}
        self._found.intersection_update(lacking)
        lost = [i for i in lacking if tick - self._since[i] >= self._long and i not in self._found]
        self._found.update(lost)
        return tuple(spec.MASKS[i] for i in lost)
