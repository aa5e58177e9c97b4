"""Rollouts as learning takes them: features in steps of PRO's head, decisions of the policy, and
what the controller and the station said about them. Of a simulated cell nothing else is known here;
its station's audit of a whole order, `success`, never errs, as a careful person's would not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headway import kernels
from headway.clock import NS
from headway.edge.control.events import RETRIES, Event, EventKind
from headway.edge.control.result import INTERRUPTED
from headway.edge.guard.reasons import Reason
from headway.errors import RecordingError
from headway.kernels.telemetry import Scale
from headway.learn.pro.examples import ticks_per_step
from headway.learn.rollout import DEMONSTRATION, ORACLE, POLICY, Rollout

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
MISMATCH = "scale mismatch"  # subject of the event that says that a line's article is a wrong one
# Ends at which something went wrong; a time limit only says that it took too long.
WRONG_ENDS = ("fault", "protective stop")


@dataclass(frozen=True)
class Happened:
    """What was seen to happen in an episode of an order of `lines` lines, as times in [s] after its
    first tick, each in the order of time."""

    lines: int
    closed: Floats  # (k,) a line was closed by the station
    failures: Floats  # (f,) a failure event of the telemetry
    retries: Floats  # (r,) something had to be tried again


@dataclass(frozen=True)
class Lesson:
    """One rollout: n steps of the head and D decisions of the policy, of `end_s` [s] in all.

    `success` is the station's outcome, None where there is none; `limit_s` [s] the time limit of
    the order. `step` (D,) is the newest step at each decision, so a decision is judged by nothing
    that came after it. `sha256` is that of the recording, by which a copy of it is known; "" for an
    episode that was run to be learned from.
    """

    name: str
    seed: int
    hz: float  # of the steps
    tick_hz: float  # of the loop
    robot: str
    t: Floats  # (n,) [s] after the first tick
    features: Singles  # (n, N_FEATURES)
    mask: Singles  # (n, N_MASKS)
    recovering: NDArray[np.bool_]  # (n,)
    force: Singles  # (n,) |F| [N], NaN where it is not known
    peak_force: float  # [N]
    at: Floats  # (D,) [s] of the decisions
    step: NDArray[np.int64]  # (D,)
    code: Singles  # (D, c)
    latent: Singles  # (D, a)
    source: NDArray[np.int8]  # (D,) see `headway.learn.rollout`
    happened: Happened
    success: bool | None
    end: str
    end_s: float
    limit_s: float
    sha256: str = ""

    @property
    def demonstration(self) -> bool:
        """Whether it is a whole demonstration, and no policy drove."""
        return (
            len(self.source) > 0
            and not (self.source == POLICY).any()
            and bool((self.source == DEMONSTRATION).any())
        )

    @property
    def helped_s(self) -> float:
        """How long [s] somebody else than the policy drove, who is no demonstrator."""
        return float((self.source == ORACLE).sum()) * self.decision_s

    @property
    def interventions(self) -> int:
        """How often somebody took over."""
        helped = np.concatenate([[False], self.source == ORACLE])
        return int((helped[1:] & ~helped[:-1]).sum())

    @property
    def takeovers(self) -> Floats:
        """When [s] somebody took over from the policy."""
        helped = self.source == ORACLE
        return self.at[helped & ~np.concatenate([[False], helped[:-1]])]

    def helped_at(self, t: Floats) -> NDArray[np.bool_]:
        """Whether at each of the times `t` (m,) [s] somebody drove who had taken over."""
        if not len(self.at):
            return np.zeros(len(t), bool)
        newest = np.searchsorted(self.at, t + 1e-9, side="right") - 1
        found: NDArray[np.bool_] = (newest >= 0) & (self.source[np.maximum(0, newest)] == ORACLE)
        return found

    @property
    def known_end(self) -> bool:
        """Whether the episode was left to end by itself."""
        return self.end != INTERRUPTED

    def closed_by(self, t: Floats) -> NDArray[np.int64]:
        """How many lines were closed by each of the times `t` (m,) [s]."""
        return np.searchsorted(self.happened.closed, t, side="right")

    @property
    def decision_s(self) -> float:
        """The usual time [s] between two decisions."""
        return float(np.median(np.diff(self.at))) if len(self.at) > 1 else 0.2


def lesson(rollout: Rollout) -> Lesson:
    """The lesson in `rollout`, with features by the product's kernels. Raises RecordingError for
    one without rates, scale or decisions, and for one whose policy tells no code."""
    made = rollout.decisions
    if not len(made.t_ns) or not made.code.shape[1]:
        raise RecordingError(
            f"{_named(rollout)}: wanted decisions of a policy that tells what its eyes see, found "
            f"{len(made.t_ns)} with codes of {made.code.shape[-1]} numbers: choose a policy that "
            "makes its chunks from noise"
        )
    return watched(rollout)


def watched(rollout: Rollout) -> Lesson:
    """As `lesson`, for a rollout that is only watched, and may be without decisions. Also raises
    RecordingError for one whose ticks do not come at a multiple of the head's rate, or that is
    shorter than one step of the head."""
    rows, facts = rollout.rows, rollout.facts
    where = _named(rollout)
    try:
        hz, pro_hz = float(facts["hz"]), float(facts["pro_hz"])
        if not (0.0 < hz < np.inf and 0.0 < pro_hz < np.inf):
            raise ValueError(f"{hz:g} and {pro_hz:g} Hz")
    except (KeyError, ValueError) as e:
        raise RecordingError(
            f"{where}: wanted `hz` and `pro_hz` among its facts, found none that are read ({e}): "
            "record with `headway run`"
        ) from None
    scale = Scale.from_json(facts.get("scale"), where)
    made = rollout.decisions
    every = ticks_per_step(hz, pro_hz)
    if every is None:
        raise RecordingError(
            f"{where}: wanted ticks at a multiple of the head's {pro_hz:g} Hz, found {hz:g} Hz: "
            "leave the recording out, or record with a loop whose rate is such a multiple"
        )
    if len(rows) < every:
        raise RecordingError(
            f"{where}: wanted at least one step of the head, {every} ticks, found {len(rows)}: "
            "leave the recording out"
        )
    features, mask, now = kernels.at_steps(rows, scale, hz, every)
    first = int(rows["t_ns"][0])
    t = (rows["t_ns"][now] - first) / NS
    norm = np.linalg.norm(rows["wrench"][now, :3], axis=1)
    at = (made.t_ns - first) / NS
    end_s = float(rows["t_ns"][-1] - first) / NS
    step = np.maximum(0, np.searchsorted(t, at + 1e-9, side="right") - 1)
    return Lesson(
        name=f"{rollout.workflow}:{rollout.seed}",
        seed=rollout.seed,
        hz=pro_hz,
        tick_hz=hz,
        robot=facts.get("robot", ""),
        t=t,
        features=features,
        mask=mask,
        recovering=rows["recovery"][now] > 0.5,
        force=np.where(np.isfinite(norm), norm, rows["force_norm"][now]).astype(np.float32),
        peak_force=rollout.result.peak_force,
        at=at,
        step=step.astype(np.int64),
        code=made.code,
        latent=made.latent,
        source=made.source,
        happened=happened(rollout.events, first, end_s, rollout.result.success),
        success=rollout.result.success,
        end=rollout.result.end,
        end_s=end_s,
        limit_s=float(rows["limit"][0]),
    )


def _named(rollout: Rollout) -> str:
    return f"{rollout.workflow}, seed {rollout.seed}"


def happened(
    events: Sequence[Event], first_ns: int, end_s: float, success: bool | None
) -> Happened:
    """What `events` of an episode say, whose first tick was at `first_ns` [ns]. Where no station
    tells of lines, the whole task is one line, which is closed at `end_s` [s] by a success."""

    def times(chosen: Sequence[Event]) -> Floats:
        return np.sort(np.array([(e.t_ns - first_ns) / NS for e in chosen], np.float64))

    lines = [int(e.numbers.get("lines") or 1) for e in events if e.kind is EventKind.LINE_BEGUN]
    closed = times([e for e in events if e.kind is EventKind.LINE_CLOSED])
    if not lines and not len(closed):
        closed = np.array([end_s] if success else [], np.float64)
    return Happened(
        lines=max([1, len(closed), *lines]),
        closed=closed,
        failures=times([e for e in events if is_failure(e)]),
        retries=times([e for e in events if e.kind in RETRIES]),
    )


def is_failure(e: Event) -> bool:
    """Whether PRO's risk is to tell of this event."""
    if e.kind in RETRIES:
        return True
    if e.kind is EventKind.GUARD:
        return e.subject == Reason.FORCE.name
    if e.kind is EventKind.FAULT:
        return e.subject in WRONG_ENDS
    if e.kind is EventKind.FLAGGED:  # by a person who looked at the recording
        return True
    return e.kind is EventKind.CONFIRM and e.subject == MISMATCH


def of_all(lessons: Sequence[Lesson], name: str) -> NDArray[np.generic]:
    """The field `name` of the decisions of all `lessons`, one after another."""
    return np.concatenate([getattr(x, name) for x in lessons])


def episode_of(lessons: Sequence[Lesson]) -> NDArray[np.int64]:
    """The place in `lessons` of each of their decisions, in the order of `of_all`."""
    return np.repeat(np.arange(len(lessons)), [len(x.at) for x in lessons])
