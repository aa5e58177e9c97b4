"""Samples for the policy from recordings of demonstrations, with the command of each decision.

The instruction may change in an episode: a sample has the one that the policy was given last. The
images are thinned out to what the eyes look at, so that hundreds of recordings fit into memory.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headway.drivers.kinematics import Chain
from headway.edge.control.events import EventKind
from headway.errors import RecordingError
from headway.learn import dataset
from headway.learn.policy.corpus import Corpus
from headway.learn.policy.eyes import PIXELS
from headway.learn.policy.touches import next_places, touches
from headway.mcaplog import Recording, open_recording
from headway.tools.recorded import events_of, result_of
from headway.wire import Rows

APPROVED_M = 0.015  # [m]


@dataclass(frozen=True)
class Samples:
    """n decisions with what the expert did: as `learn.dataset.Samples`, except that `command` is
    the number of the command in the corpus, and `grasp` and `press` (x, y, z [m]) are where the
    tool touches something next for the same instruction, see `touches`, in the frame of the
    measured TCP; NaN where it does not. `folder` numbers the folder of the recording."""

    rgb: NDArray[np.uint8]  # (n, PIXELS, PIXELS, 3)
    depth: NDArray[np.uint16]  # (n, PIXELS, PIXELS) [mm]
    state: NDArray[np.float32]  # (n, s)
    command: NDArray[np.int64]  # (n,)
    actions: NDArray[np.float32]  # (n, horizon, 7)
    grasp: NDArray[np.float32]  # (n, 3)
    press: NDArray[np.float32]  # (n, 3)
    episode: NDArray[np.int64]  # (n,)
    folder: NDArray[np.int64]  # (n,)
    t_ns: NDArray[np.int64]  # (n,)

    def __len__(self) -> int:
        return len(self.state)


@dataclass(frozen=True)
class Source:
    """How recordings are read: the arm's `chain`, the opening `stroke` [m] of its jaws, the name of
    the `camera`, the numbers of the state vector, waypoints per chunk, and the sentences."""

    chain: Chain
    stroke: float
    state_names: tuple[str, ...]
    horizon: int
    corpus: Corpus
    camera: str = "wrist"


def instructions_of(recording: Recording) -> list[tuple[int, str]]:
    """When [ns] the policy was given which instruction, the first one at 0."""
    told = [e for e in events_of(recording) if e.kind is EventKind.INSTRUCTION]
    first = recording.metadata.get("instruction", "")
    return [(0, first), *((event.t_ns, event.text) for event in told)]


def read(recording: Recording, source: Source, episode: int, folder: int) -> Samples:
    """The samples of one recording, without those whose instruction no scene of the corpus knows.
    Raises RecordingError for images that the eyes cannot thin out, and what
    `dataset.episode_samples` raises."""
    found = dataset.episode_samples(
        recording, source.chain, camera=source.camera,
        state_names=source.state_names, instruction=0, horizon=source.horizon,
        stroke=source.stroke, index=episode,
    )  # fmt: skip
    given = instructions_of(recording)
    times = [t for t, _ in given]
    at = np.array([bisect_right(times, t) - 1 for t in found.t_ns.tolist()], int)
    numbers = [source.corpus.index(text) for _, text in given]
    command = np.array([-1 if n is None else n for n in numbers], np.int64)[at]
    # A touch belongs to the instruction at which it happens.
    rows, sent = recording.rows("/telemetry"), recording.rows("/command")["sent"]
    ends = np.array([*times[1:], np.iinfo(np.int64).max])[at]
    ticks = np.clip(np.searchsorted(rows["t_ns"], found.t_ns, side="right") - 1, 0, len(rows) - 1)
    touched = touches(rows, source.stroke)
    chunks = recording.rows("/chunk")
    grasp, press = (
        next_places(
            rows, sent, ticks, ends, events[approved(chunks, rows["t_ns"][events])],
            touched.holds, source.chain,
        )
        for events in (touched.grasps, touched.presses)
    )  # fmt: skip
    n, height, width = found.depth.shape
    if n and (height % PIXELS or height != width):
        raise RecordingError(
            f"{recording.path}: wanted square images of a multiple of {PIXELS} px, found "
            f"{width} x {height}"
        )
    step = max(1, height // PIXELS)
    keep = command >= 0
    return Samples(
        np.ascontiguousarray(found.rgb[keep, ::step, ::step]),
        np.ascontiguousarray(found.depth[keep, ::step, ::step]),
        found.state[keep], command[keep], found.actions[keep], grasp[keep], press[keep],
        found.episode[keep], np.full(int(keep.sum()), folder, np.int64), found.t_ns[keep],
    )  # fmt: skip


def approved(chunks: Rows, t_ns: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether the teacher would have done at the times `t_ns` (n,) what was done: where a policy
    drove, the teacher's label of the chunk in play leads to the same place within `APPROVED_M`. So
    a policy that presses beside a mark teaches nobody to look there. True without labels."""
    at = np.clip(np.searchsorted(chunks["t0_ns"], t_ns, side="right") - 1, 0, None)
    taught = dataset.taught(chunks)
    if not taught.any():
        return np.ones(len(t_ns), bool)
    gap = np.abs(chunks["actions"] - chunks["label"])[:, :2, :3].max(axis=(1, 2))
    return np.asarray(~taught | (gap < APPROVED_M))[at]


def load(
    folders: Sequence[Path],
    source: Source,
    *,
    limit: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Samples:
    """The samples of the successful demonstrations and of all episodes with a teacher's labels in
    `folders`, in the order of file names; `limit` takes only the first files of each folder.
    `progress` is told how many files of how many are read. Raises FileNotFoundError for a folder
    without such an episode, and what `read` raises."""
    paths = [(i, p) for i, f in enumerate(folders) for p in sorted(f.glob("*.mcap"))[:limit]]
    parts: list[Samples] = []
    for number, (folder, path) in enumerate(paths):
        recording = open_recording(path, strict=True)
        result = result_of(recording)
        if (result and result.success) or dataset.taught(recording.rows("/chunk")).any():
            parts.append(read(recording, source, number, folder))
        progress(number + 1, len(paths))
    for i, name in enumerate(folders):
        if not any(len(p) and p.folder[0] == i for p in parts):
            raise FileNotFoundError(
                f"wanted successful episodes in {name} whose instructions the scenes know, found "
                "none: collect some (headway.learn.collect)"
            )
    return join(parts)


def join(parts: Sequence[Samples]) -> Samples:
    """The samples of `parts` in one."""
    return Samples(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Samples)))


def taken(samples: Samples, where: NDArray[np.bool_] | NDArray[np.int64]) -> Samples:
    """The samples at `where`, a mask or indices."""
    return replace(samples, **{f.name: getattr(samples, f.name)[where] for f in fields(Samples)})
