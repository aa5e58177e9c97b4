"""Training sequences for a PRO head from recordings. Features are computed as on the robot. Labels
come only from telemetry, the controller's events and the station's outcome."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headway import kernels
from headway.clock import NS
from headway.edge.control.events import RETRIES, Event, EventKind
from headway.edge.guard.reasons import Reason
from headway.errors import RecordingError
from headway.kernels.telemetry import Scale, of_recording
from headway.learn.pro.examples import ticks_per_step
from headway.mcaplog import Recording, open_recording
from headway.tools.recorded import events_of, result_of

RISK_HORIZON_S = 2.0
# A contact this hard counts as a failure event, too. It comes without warning: in nine of ten cases
# the force rises from 8 N in less than 0.1 s. A head that notices it only then is too late, so it
# learns to expect it.
HARD_CONTACT_N, HARD_CONTACT_HORIZON_S = 30.0, 1.0
STABILITY_HORIZON_S = 2.0


@dataclass(frozen=True)
class Labelled:
    """One episode as n steps at the rate of the head, with labels."""

    name: str
    seed: int
    features: NDArray[np.float32]  # (n, N_FEATURES)
    mask: NDArray[np.float32]  # (n, N_MASKS)
    time_to_go: NDArray[np.float32]  # (n,) [s], until the episode ends; used for successes only
    risk: NDArray[np.float32]  # (n,) 1: a failure event, or a hard contact, within its horizon
    unstable: NDArray[np.float32]  # (n,) 1: a retry or recovery within STABILITY_HORIZON_S
    elapsed: NDArray[np.float32]  # (n,) [s]
    force: NDArray[np.float32]  # (n,) |F| [N]
    retry_count: NDArray[np.float32]  # (n,) retries so far
    success: bool
    retries: int
    disturbed: bool = False  # by `headway.learn.disturb`


def telemetry_of(recording: Recording, tasks: Sequence[str]) -> NDArray[np.void]:
    """/telemetry of `recording`, of whatever version of Headway (`telemetry.of_recording`), with
    the index of its task in `tasks` as `task`, NaN for another one. A recording that does not name
    its task (`task` in the metadata) is of the first of `tasks`."""
    rows = of_recording(recording.rows("/telemetry")).copy()
    name = recording.metadata.get("task", tasks[0] if tasks else "")
    rows["task"] = list(tasks).index(name) if name in tasks else np.nan
    return rows


def features_of(
    recording: Recording, every: int, tasks: Sequence[str] = ()
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """Features (n, N_FEATURES), mask (n, N_MASKS) and row index (n,) at every `every`-th row of
    /telemetry, from row 0 on, for a head that knows `tasks`."""
    rows = telemetry_of(recording, tasks)
    hz = float(recording.metadata["hz"])
    scale = Scale.from_json(recording.metadata.get("scale"), str(recording.path))
    return kernels.at_steps(rows, scale, hz, every)


def sequence(
    recording: Recording, path: Path, head_hz: float, tasks: Sequence[str]
) -> Labelled | None:
    """The labelled episode in `recording`, whose file is `path`, at `head_hz` [Hz] for a head that
    knows `tasks`. None without an outcome, as after an interruption. Raises RecordingError for
    ticks that do not come at a multiple of `head_hz`."""
    result = result_of(recording)
    if result is None or result.success is None:
        return None
    rows = of_recording(recording.rows("/telemetry"))
    hz = float(recording.metadata["hz"])
    every = ticks_per_step(hz, head_hz)
    if every is None:
        raise RecordingError(
            f"{path}: wanted ticks at a multiple of the head's {head_hz:g} Hz, found {hz:g} Hz: "
            "train a head with a `head_hz` that divides it"
        )
    features, mask, at = features_of(recording, every, tasks)
    t = rows["t_ns"][at].astype(np.float64) / NS
    end = float(rows["t_ns"][-1]) / NS
    failures, retries = failures_of(events_of(recording))
    if not result.success:
        failures.append(end)
    return Labelled(
        name=path.name,
        seed=int(recording.metadata["seed"]),
        features=features,
        mask=mask,
        time_to_go=(end - t).astype(np.float32),
        risk=np.maximum(
            _within(t, failures, RISK_HORIZON_S),
            _within(t, hard_contacts(rows), HARD_CONTACT_HORIZON_S),
        ),
        unstable=_within(t, retries, STABILITY_HORIZON_S),
        elapsed=rows["elapsed"][at].astype(np.float32),
        force=_force(rows[at]).astype(np.float32),
        retry_count=rows["retries"][at].astype(np.float32),
        success=result.success,
        retries=result.retries,
        disturbed=recording.metadata.get("disturbed") == "True",
    )


def failures_of(events: Sequence[Event]) -> tuple[list[float], list[float]]:
    """Times [s] of the failure events, which are retries, stops of the guard for force, and what a
    person has flagged as a failure; and the times [s] of the retries alone."""
    retries = [e.t_ns / NS for e in events if e.kind in RETRIES]
    forces = [
        e.t_ns / NS for e in events if e.kind is EventKind.GUARD and e.subject == Reason.FORCE.name
    ]
    flagged = [e.t_ns / NS for e in events if e.kind is EventKind.FLAGGED]
    return sorted(retries + forces + flagged), retries


def hard_contacts(rows: NDArray[np.void]) -> list[float]:
    """Times [s] at which the force |F| in the telemetry `rows` (n,) rises above HARD_CONTACT_N."""
    force = _force(rows)
    rising = (force[1:] > HARD_CONTACT_N) & (force[:-1] <= HARD_CONTACT_N)
    return [float(t) / NS for t in rows["t_ns"][1:][rising]]


def _force(rows: NDArray[np.void]) -> NDArray[np.float64]:
    """|F| (n,) [N], 0 where it is unknown."""
    norm = np.linalg.norm(rows["wrench"][:, :3], axis=1)
    return np.nan_to_num(np.where(np.isfinite(norm), norm, rows["force_norm"]))


def _within(t: NDArray[np.float64], events: Sequence[float], horizon: float) -> NDArray[np.float32]:
    out = np.zeros(len(t), np.float32)
    for event in events:
        out[(t <= event) & (t >= event - horizon)] = 1.0
    return out


def load(folder: Path, head_hz: float, tasks: Sequence[str]) -> list[Labelled]:
    """Every episode with an outcome in `folder`, in the order of file names, at `head_hz` [Hz], for
    a head that knows `tasks`. Raises FileNotFoundError when there is none, and RecordingError for
    damage."""
    found = []
    for path in sorted(folder.glob("*.mcap")):
        item = sequence(open_recording(path, strict=True), path, head_hz, tasks)
        if item is not None:
            found.append(item)
    if not found:
        raise FileNotFoundError(f"wanted recordings with an outcome in {folder}, found none")
    return found
