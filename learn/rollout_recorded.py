"""Rollouts from recordings, those of real robots included: a policy that learns sees the recorded
images again with its own eyes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.edge.control.events import Event, EventKind
from headway.edge.policy.observation import StateVector
from headway.edge.policy.policy import Policy
from headway.errors import RecordingError, SpecMismatch
from headway.kernels.telemetry import Scale
from headway.kernels.telemetry import of_recording as rows_of
from headway.learn.rollout import (
    DEMONSTRATION,
    POLICY,
    PUSHED,
    Decisions,
    Rollout,
    Thought,
    lines_at,
    seen_of,
    stacked,
)
from headway.mcaplog import Recording, open_recording
from headway.tools.recorded import events_of, joints_of, result_of
from headway.types import Chunk, Frame, Observation, Pose

# Kinds of policies whose chunks are demonstrations: scripted, or by hand.
_DEMONSTRATORS = ("expert", "teleop")


def of_recording(
    path: Path,
    policy: Policy,
    *,
    to_latent: Callable[[NDArray[np.float32]], NDArray[np.float32]] | None = None,
    images: bool = False,
) -> Rollout:
    """The episode in the recording `path` as a rollout for `policy`, which looks at the recorded
    observations: its `thought.code` after each `infer` is the code of that decision (see
    `rollout.Runner`), and what it would do itself is not used. The latent is that of the chunk that
    was played, by `to_latent`: actions (horizon, width) to the head's units (a,); NaN without. A
    chunk counts if its observation has an image of each camera that `policy` wants. `images`: keep
    what was seen.

    Raises RecordingError for a recording that is damaged or has no result, and SpecMismatch for one
    that does not hold what `policy` wants to see, or was made in another action space.
    """
    recording = open_recording(path, strict=True)
    result = result_of(recording)
    if result is None:
        raise RecordingError(
            f"{path}: wanted the result of an episode, found a recording that ends before it: "
            "leave it out"
        )
    events = events_of(recording)
    facts = dict(recording.metadata)
    rows = rows_of(recording.rows("/telemetry"))
    pairs, codes, latents = [], [], []
    policy.reset()
    for obs, chunk in _decided(recording, policy, rows, events):
        policy.infer(obs)
        thought: Thought | None = getattr(policy, "thought", None)
        codes.append(None if thought is None else np.array(thought.code, np.float32).reshape(-1))
        latents.append(None if to_latent is None else to_latent(chunk.actions).reshape(-1))
        pairs.append((obs, chunk))
    t_ns = np.array([obs.t_ns for obs, _ in pairs], np.int64)
    return Rollout(
        workflow=facts.get("task", ""),
        seed=int(facts.get("seed", "0")),
        result=result,
        events=tuple(events),
        rows=rows,
        decisions=Decisions(
            t_ns, stacked(codes), stacked(latents), _sources(recording, t_ns),
            lines_at(t_ns, events), seen_of(pairs) if images else None,
        ),
        facts=facts,
    )  # fmt: skip


def _decided(
    recording: Recording, policy: Policy, rows: NDArray[np.void], events: Sequence[Event]
) -> list[tuple[Observation, Chunk]]:
    """The observations and chunks of `recording`, as `policy` was, or would have been, given."""
    if policy.needs.steps > 1:
        raise SpecMismatch(
            f"policy {policy.name} wants {policy.needs.steps} moments per observation, found a "
            "recording, of which one is read: choose a policy that sees the present only"
        )
    if "/chunk" not in recording.topics:
        return []
    chunks = recording.rows("/chunk")
    shape, wanted = chunks.dtype["actions"].shape, (policy.actions.chunk, len(policy.actions.names))
    if shape != wanted:
        raise SpecMismatch(
            f"{recording.path}: wanted chunks of actions {wanted} as policy {policy.name} makes "
            f"them, found {shape}: they are of another policy"
        )
    seen = {name: _frames(recording, name) for name in policy.cameras}
    scale = recording.metadata.get("scale")
    stroke = None if scale is None else Scale.from_json(scale, str(recording.path)).stroke
    vector = StateVector(policy.state_names, joints_of(recording), stroke)
    ticks = {int(t): i for i, t in enumerate(rows["t_ns"])}
    found = []
    for row in chunks:
        t0 = int(row["t0_ns"])
        images = {name: frames[t0] for name, frames in seen.items() if t0 in frames}
        if len(images) < len(policy.cameras) or t0 not in ticks:
            continue
        tick, base = rows[ticks[t0]], Pose(row["base"][:3].copy(), row["base"][3:].copy())
        state = np.empty(len(vector.names), np.float32)
        vector.fill(tick, state, base=base)
        if unknown := [n for n, x in zip(vector.names, state.tolist(), strict=True) if x != x]:
            raise SpecMismatch(
                f"{recording.path}: policy {policy.name} wants {', '.join(unknown)}, which the "
                "recording does not hold: record on a robot that has what it takes"
            )
        text = _instruction(recording, events, t0)
        obs = Observation(t0, images, state, text, tick["q_ref"].copy(), base)
        found.append((obs, Chunk(t0, int(row["dt_ns"]), row["actions"].copy(), base)))
    return found


def _frames(recording: Recording, name: str) -> dict[int, Frame]:
    """The frames of the camera `name` by the time of the tick that they were seen at [ns]."""
    topic = f"/camera/{name}"
    if f"{topic}/rgb" not in recording.topics:
        raise SpecMismatch(
            f"{recording.path}: wanted images of camera `{name}`, found none: record them"
        )
    depth: dict[int, Any] = {}
    if f"{topic}/depth" in recording.topics:
        depth = dict(recording.images(f"{topic}/depth"))
    found = list(recording.images(f"{topic}/rgb"))
    if not found:
        return {}
    k = recording.calibration(f"{topic}/calibration").intrinsics
    return {t: Frame(rgb, depth.get(t), k, name) for t, rgb in found}


def _sources(recording: Recording, t_ns: NDArray[np.int64]) -> NDArray[np.int8]:
    """Who made the chunks of the observations at `t_ns` (d,) [ns]. Where nothing else is said, they
    are of the policy that the recording names."""
    by = DEMONSTRATION if recording.metadata.get("policy_kind") in _DEMONSTRATORS else POLICY
    out = np.full(len(t_ns), by, np.int8)
    chunks = recording.rows("/chunk") if len(t_ns) else np.zeros(0, [("t0_ns", np.int64)])
    names = chunks.dtype.names or ()
    if by == DEMONSTRATION and "demonstration" in names:
        pushed = chunks["t0_ns"][chunks["demonstration"] == 0]
        out[np.isin(t_ns, pushed)] = PUSHED
    if "source" in names:
        said = dict(zip(chunks["t0_ns"].tolist(), chunks["source"].tolist(), strict=True))
        for i, t in enumerate(t_ns.tolist()):
            if said[t] == said[t]:
                out[i] = int(said[t])
    return out


def _instruction(recording: Recording, events: Sequence[Event], t_ns: int) -> str:
    """What the policy was asked to do at `t_ns` [ns]."""
    said = [e.text for e in events if e.kind is EventKind.INSTRUCTION and e.t_ns <= t_ns]
    return said[-1] if said else recording.metadata.get("instruction", "")
