"""Training samples from recordings: the observations of a policy, and labels from what the robot
was commanded to do afterwards.

A label consists of the joint commands that were really sent, read later by the filter delay of the
chunk player, as TCP poses relative to the pose commanded at the observation. So every recorded
demonstration can be used, scripted or by hand. No label reaches into a chunk that is marked with
`demonstration` = 0. If a teacher labelled a chunk (DAgger), the label is the teacher's actions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headway.clock import NS
from headway.drivers.kinematics import Chain, mat_to_rotvec, quat_to_mat
from headway.edge.motion.chunks import TAPS_S, filter_delay_s
from headway.edge.policy.observation import StateVector
from headway.mcaplog import Recording, open_recording
from headway.tools.recorded import result_of
from headway.types import Pose, Vec
from headway.wire import Rows


@dataclass(frozen=True)
class Samples:
    """n observations with labels. `actions` are those of `ACTIONS` of the expert. `grasp` is
    x, y [m] and yaw [rad] of the commanded TCP when the jaws next close, in the frame of the base
    pose; NaN if they do not close."""

    rgb: NDArray[np.uint8]  # (n, h, w, 3)
    depth: NDArray[np.uint16]  # (n, h, w) [mm]
    state: NDArray[np.float32]  # (n, s)
    instruction: NDArray[np.int64]  # (n,)
    actions: NDArray[np.float32]  # (n, horizon, 7)
    grasp: NDArray[np.float32]  # (n, 3)
    episode: NDArray[np.int64]  # (n,)
    t_ns: NDArray[np.int64]  # (n,) on the recording's clock [ns]

    def __len__(self) -> int:
        return len(self.state)


def episode_samples(
    recording: Recording,
    chain: Chain,
    *,
    camera: str,
    state_names: Sequence[str],
    instruction: int,
    horizon: int,
    stroke: float,
    index: int,
) -> Samples:
    """The samples of one episode: one for each chunk in `recording` whose observation has an image
    of `camera`, and which either has a teacher's label, or neither is a disturbance nor is followed
    by one within its horizon.

    `chain`: the arm's kinematics; `state_names`: the numbers of the state vector, see
    `edge.policy.observation`; `instruction`: its index; `horizon`: waypoints per chunk; `stroke`
    [m]: jaws that are commanded to less than half of it count as closed; `index`: the number of the
    episode.

    Without a label, a waypoint is the TCP pose that was really commanded at its time, plus the
    delay of the chunk player's moving averages. Raises RecordingError for topics that are missing,
    SpecMismatch for unknown `state_names`."""
    rows, command, chunks = (recording.rows(t) for t in ("/telemetry", "/command", "/chunk"))
    rgb = dict(recording.images(f"/camera/{camera}/rgb"))
    depth = dict(recording.images(f"/camera/{camera}/depth"))
    dt = 1.0 / float(recording.metadata["hz"])
    start = int(rows["t_ns"][0])
    tick_ns = round(dt * NS)
    delay_ns = round(delay_s(recording.metadata, dt) * NS)
    vector = StateVector(state_names)

    def at(t_ns: int) -> int:
        return min(max((t_ns - start) // tick_ns, 0), len(rows) - 1)

    closed = rows["width_ref"] < stroke / 2
    closings = np.flatnonzero(closed[1:] & ~closed[:-1]) + 1
    good = chunks["demonstration"] > 0
    labelled = taught(chunks)
    keep = []
    for i, chunk in enumerate(chunks):
        ahead = chunks["t0_ns"] <= chunk["t0_ns"] + horizon * chunk["dt_ns"]
        if (labelled[i] or good[i:][ahead[i:]].all()) and int(chunk["t0_ns"]) in rgb:
            keep.append(i)
    n = len(keep)
    shape = next(iter(rgb.values())).shape if rgb else (0, 0, 3)
    out = Samples(
        np.zeros((n, *shape), np.uint8),
        np.zeros((n, *shape[:2]), np.uint16),
        np.zeros((n, len(vector.names)), np.float32),
        np.full(n, instruction, np.int64),
        np.zeros((n, horizon, 7), np.float32),
        np.full((n, 3), np.nan, np.float32),
        np.full(n, index, np.int64),
        np.zeros(n, np.int64),
    )
    for j, i in enumerate(keep):
        chunk = chunks[i]
        t0, step = int(chunk["t0_ns"]), int(chunk["dt_ns"])
        base = Pose(chunk["base"][:3], chunk["base"][3:])
        R0 = quat_to_mat(base.quat)
        out.rgb[j], out.depth[j], out.t_ns[j] = rgb[t0], depth[t0], t0
        vector.fill(rows[at(t0)], out.state[j], base=base)
        for k in range(horizon):
            later = at(t0 + (k + 1) * step + delay_ns)
            out.actions[j, k, :6] = _relative(chain, command["sent"][later], R0, base.pos)
            out.actions[j, k, 6] = closed[at(t0 + (k + 1) * step)]
        if labelled[i]:
            out.actions[j] = chunk["label"]
            continue
        following = closings[closings > at(t0)]
        if len(following) and not closed[at(t0)]:
            delta = _relative(chain, command["sent"][following[0]], R0, base.pos)
            out.grasp[j] = delta[0], delta[1], delta[5]
    return out


def delay_s(metadata: Mapping[str, str], dt: float) -> float:
    """How far [s] the commands lag behind the waypoints in a recording with this `metadata` and
    ticks of `dt` [s]. Recordings that do not say it were made with moving averages of TAPS_S."""
    said = metadata.get("filter_delay_s")
    if said is not None:
        return float(said)
    return filter_delay_s(TAPS_S, dt, float(metadata.get("smoothing", "1")))


def join(parts: Sequence[Samples]) -> Samples:
    """The samples of `parts` in one; later parts get higher episode numbers."""
    offsets = np.cumsum([0, *(int(p.episode.max()) + 1 for p in parts[:-1])])
    moved = [replace(p, episode=p.episode + o) for p, o in zip(parts, offsets, strict=True)]
    fields = Samples.__dataclass_fields__
    return Samples(*(np.concatenate([getattr(p, f) for p in moved]) for f in fields))


def taught(chunks: Rows) -> NDArray[np.bool_]:
    """Which chunks (n,) have a teacher's label."""
    if "label" not in (chunks.dtype.names or ()):
        return np.zeros(len(chunks), bool)
    return np.asarray(np.isfinite(chunks["label"]).all(axis=(1, 2)))


def _relative(chain: Chain, q: Vec, R0: Vec, p0: Vec) -> Vec:
    """TCP pose of the joints `q` (n,) [rad] in the frame with rotation `R0` and origin `p0` [m], as
    position [m] and rotation vector [rad] (6,)."""
    R, p = chain.fk(q)
    return np.concatenate([R0.T @ (p - p0), mat_to_rotvec(R0.T @ R)])


def load(
    folder: Path,
    chain: Chain,
    *,
    camera: str,
    state_names: Sequence[str],
    vocabulary: Sequence[str],
    horizon: int,
    stroke: float,
    limit: int | None = None,
) -> Samples:
    """The samples of the successful demonstrations and of all episodes with a teacher's labels in
    `folder`, in the order of file names. `vocabulary` numbers the instructions; `limit` takes only
    the first files; the other arguments are as in `episode_samples`: the arm's `chain`, the name of
    the `camera`, the names of the state vector, waypoints per chunk, and the gripper's stroke [m].
    Raises FileNotFoundError when there is no such episode, and RecordingError for damage."""
    parts = []
    for index, path in enumerate(sorted(folder.glob("*.mcap"))[:limit]):
        recording = open_recording(path, strict=True)
        result = result_of(recording)
        if not ((result and result.success) or taught(recording.rows("/chunk")).any()):
            continue
        parts.append(
            episode_samples(
                recording, chain, camera=camera, state_names=state_names,
                instruction=vocabulary.index(recording.metadata["instruction"]),
                horizon=horizon, stroke=stroke, index=index,
            )
        )  # fmt: skip
    if not parts:
        raise FileNotFoundError(f"wanted successful episodes in {folder}, found none: collect some")
    return Samples(
        *(np.concatenate([getattr(p, f) for p in parts]) for f in Samples.__dataclass_fields__)
    )
