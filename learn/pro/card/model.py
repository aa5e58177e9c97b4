"""What a card says, as a tree that becomes JSON and back.

A number that cannot be had is None, and the `why` beside it says what was missing.
"""

from __future__ import annotations

from typing import Literal

import msgspec

SCHEMA = 2
# Whether a number was set by the very episodes that it is counted on, which flatters it.
Sample = Literal["in-sample", "partly in-sample", "out of sample", "not known"]


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every part of a card."""


class Estimate(Part, frozen=True, kw_only=True):
    """A number with its interval. `positives` and `negatives` count episodes."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    positives: int = 0
    negatives: int = 0
    why: str = ""


class At(Part, frozen=True, kw_only=True):
    """An estimate at a lead time [s], a share of the episode, or seconds before the end."""

    at: float
    auroc: Estimate


class OfKind(Part, frozen=True, kw_only=True):
    """The failures of one kind, as the recordings name it."""

    kind: str
    auroc: Estimate


class Share(Part, frozen=True, kw_only=True):
    """`count` of `of` episodes, with the Wilson interval of the share at 95 %."""

    count: int
    of: int
    low: float
    high: float


class Quartiles(Part, frozen=True, kw_only=True):
    """Quartiles of a time [s] over the failures that were caught, None where none was."""

    median: float | None = None
    q25: float | None = None
    q75: float | None = None


class Caught(Part, frozen=True, kw_only=True):
    """The failures of one kind that an alarm caught; the fields are those of `Alarms`."""

    kind: str
    caught_before: Share
    lead: Quartiles
    caught: Share
    delay: Quartiles


class Alarms(Part, frozen=True, kw_only=True):
    """Alarms where the score is above `threshold`. `asked` is the share of false alarms that the
    threshold was set for, None for a threshold that was given; `sample` says whether it was set by
    these episodes.

    A failure is caught by an alarm at it, where the episode has no false one. The event of a
    failure is seen in the inputs of the same step, so what counts is `caught_before`: an alarm
    strictly before that. `caught` also counts the alarms until 0.5 s after it."""

    asked: float | None
    threshold: float
    sample: Sample
    false: Share  # episodes with an alarm in their fault-free part
    caught_before: Share
    lead: Quartiles  # [s] from the first alarm to the failure, of those caught before it
    caught: Share
    delay: Quartiles  # [s] from the failure to the first alarm, below 0 where it comes before
    at_failure_before: Share  # as `caught_before`, but whatever alarm there was earlier
    at_failure: Share  # as `caught`, but whatever alarm there was earlier
    kinds: tuple[Caught, ...]


class Around(Part, frozen=True, kw_only=True):
    """A score around failures: quartiles over episodes at `t` [s] after the failure."""

    t: tuple[float, ...]
    q25: tuple[float, ...]
    median: tuple[float, ...]
    q75: tuple[float, ...]


class Score(Part, frozen=True, kw_only=True):
    """How well one score, higher where an episode fails, tells failures; the head's risk or a
    baseline."""

    name: str
    what: str
    auroc: Estimate  # of steps
    ahead: Estimate | None = None  # the AUROC of the head less this one; None for the head
    # the share of failures that the head catches at 10 % false alarms, less that of this one: those
    # caught before the failure, and those caught by 0.5 s after it
    ahead_caught_before: Estimate | None = None
    ahead_caught: Estimate | None = None
    same_time: Estimate | None = None  # the same of steps at the same elapsed time
    within_session: Estimate | None = None  # pairs of steps of one session; None without sessions
    by_lead: tuple[At, ...] = ()  # a lead before the failure, against the same elapsed time
    by_kind: tuple[OfKind, ...] = ()
    by_share: tuple[At, ...] = ()  # success against failure
    by_end: tuple[At, ...] = ()
    alarms: tuple[Alarms, ...] = ()
    around: Around | None = None
    why: str = ""  # why the score cannot be judged, or ""


class Bin(Part, frozen=True, kw_only=True):
    """Steps whose signal lies between `low` and `high`: how many, what it said, what was so."""

    low: float
    high: float
    steps: int
    said: float | None
    was: float | None


class Reliability(Part, frozen=True, kw_only=True):
    """Whether a probability means what it says. `sample` says whether its calibration was fitted to
    these episodes, `how` what was done that it is not."""

    signal: str
    sample: Sample = "not known"
    how: str = ""
    bins: tuple[Bin, ...] = ()
    ece: float | None = None  # expected calibration error
    brier: float | None = None
    brier_constant: float | None = None  # of the share of positives, said all the time
    steps: int = 0
    why: str = ""


class Order(Part, frozen=True, kw_only=True):
    """Whether the value -time_to_go rises with time. A clock has 1 in all three."""

    tau_successes: Estimate
    voc_successes: Estimate
    voc_failures: Estimate
    error_s: float | None = None  # mean |time_to_go - true| over successes [s]
    clock_error_s: float | None = None  # of the typical duration less the elapsed time [s]
    why: str = ""


class Control(Part, frozen=True, kw_only=True):
    """A check that a sound head passes. `passed` is None where it cannot be judged."""

    name: str
    question: str
    estimate: Estimate
    said: str
    passed: bool | None = None
    decides: bool = True  # a control that fails rules the head out
    limit: float | None = None
    groups: tuple[str, ...] = ()


Alarm = Literal["caught before", "caught after", "missed", "false", "none", "not judged"]


class Judged(Part, frozen=True, kw_only=True):
    """One episode, with what the head's alarms at 10 % false ones did in it."""

    name: str
    session: str
    source: str  # how the head came to it
    success: bool | None
    kind: str  # of its first failure, "" without one
    failure_t: float | None  # [s]
    peak: float | None  # the largest risk in its fault-free part, None without one
    alarm: Alarm
    delay: float | None  # of the alarm that caught the failure [s after it]


State = Literal["usable", "not usable", "cannot judge"]


class Use(Part, frozen=True, kw_only=True):
    """Whether the head can be used in one way. `decided` names the number that decided."""

    state: State
    decided: str
    reasons: tuple[str, ...]


class Verdict(Part, frozen=True, kw_only=True):
    state: State
    words: str
    alarms: Use
    reward: Use


class Data(Part, frozen=True, kw_only=True):
    """What was judged."""

    episodes: int = 0
    steps: int = 0
    minutes: float = 0.0
    hz: tuple[float, ...] = ()
    successes: int = 0
    failed: int = 0  # by their outcome
    unknown: int = 0  # without an outcome
    with_failures: int = 0  # with at least one failure at a known time
    calm_before: int = 0  # with a fault-free part before their failure
    kinds: dict[str, int] = {}  # failures by name
    sessions: dict[str, int] = {}  # episodes by session
    seen: int = 0  # in training, among all that were given
    left_out: int = 0  # of those, not judged
    copies: int = 0  # of episodes that are there already, not judged
    source: dict[str, int] = {}  # episodes by how the head came to them


class Card(Part, frozen=True, kw_only=True):
    """The judgement of one head on recordings."""

    schema: int = SCHEMA
    name: str
    seed: int
    folds: int
    false_alarms: tuple[float, ...]
    verdict: Verdict
    data: Data
    scores: tuple[Score, ...]
    stability: Estimate
    reliability: tuple[Reliability, ...]
    order: Order
    controls: tuple[Control, ...]
    episodes: tuple[Judged, ...] = ()
    notes: tuple[str, ...] = ()

    def to_json(self) -> bytes:
        """The card as indented JSON."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2)


def from_json(data: bytes) -> Card:
    """The card in `data`. Raises msgspec.ValidationError for another tree."""
    return msgspec.json.decode(data, type=Card)
