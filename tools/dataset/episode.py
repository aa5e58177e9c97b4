"""One recording as frames at one rate, as a LeRobotDataset has them.

Frame k is at `start` + k / fps. It has the newest telemetry row, image and PRO row at or before its
time, and as its action the last command that was sent before the next frame: that is what the robot
did about what the frame shows. Nothing in an observation is later than its frame.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from headway.clock import NS
from headway.edge.control.events import Event, EventKind
from headway.edge.control.result import Result
from headway.edge.pro.operator import OUTPUTS
from headway.errors import RecordingError
from headway.kernels.telemetry import FIELDS, of_recording
from headway.mcaplog import Recording, open_recording
from headway.tools.dataset import layout, video
from headway.tools.dataset.kept import Calibration, Kept
from headway.tools.recorded import events_of, joints_of, result_of
from headway.wire import Rows

# Telemetry that is not known for so long is a hole, not a late tick: nothing is held across it.
GAP_S, GAP_FRAMES = 0.1, 1.5
# Where images come at the rate of the frames, but not evenly, frames wait for late ones up to this
# share of a frame, rather than show the image before.
LATE = 0.25
_CAMERA, _RGB, _DEPTH = "/camera/", "/rgb", "/depth"

Times = NDArray[np.int64]
Image = NDArray[np.uint8]


@dataclass(frozen=True)
class RecordedEpisode:
    """The frames of one recording: n times (n,) [ns, the recording's clock], and what is known in
    each of them. `fields` are finite: telemetry by its name, of it the joints' `q` (n, J) always;
    commands to the joints as `sent` (n, J) and to the jaws as `gripper.width_ref` (n,), as the
    action has them; PRO's signals as `pro.NAME` (n,), and its `reward` (n,) between frames."""

    recording: Recording
    fps: int
    times: Times
    joints: tuple[str, ...]
    fields: dict[str, NDArray[np.float64]]
    cameras: dict[str, tuple[int, int]]  # height and width [px]
    tasks: list[str]  # (n,) what the robot was asked to do
    events: list[Event]
    result: Result | None
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.times)

    @property
    def path(self) -> Path:
        return self.recording.path

    @property
    def robot(self) -> str:
        return self.recording.metadata.get("robot", "")

    @property
    def success(self) -> bool | None:
        """How it ended, None where nothing says."""
        return self.result.success if self.result is not None else None

    def images(self, camera: str) -> Iterator[Image]:
        """The image of `camera` in each frame. Raises RecordingError for one that cannot be read,
        and for one of another size than the first."""
        found = self.recording.images(_topic(camera))
        now, later = next(found), next(found, None)
        for t in self.times.tolist():
            while later is not None and later[0] <= t:
                now, later = later, next(found, None)
            yield self._rgb(camera, *now)

    def _rgb(self, camera: str, t_ns: int, image: NDArray[Any]) -> Image:
        if image.dtype != np.uint8 or image.shape[:2] != self.cameras[camera]:
            raise RecordingError(
                f"{self.path}: wanted images of {self.cameras[camera]} pixels from the camera "
                f"{camera}, found {image.shape} {image.dtype} at {t_ns} ns: record them in one size"
            )
        return image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)

    def kept(self) -> Kept:
        """What the recording knows beside its frames."""
        log = self.recording
        known = {c: _calibration(log, c) for c in self.cameras}
        return Kept(
            name=self.path.stem,
            start_ns=int(self.times[0]),
            metadata=log.metadata,
            run=log.run,
            success=self.success,
            result=msgspec.to_builtins(self.result),
            events=msgspec.to_builtins(self.events),
            calibration={name: c for name, c in known.items() if c is not None},
        )


def image_rate(recording: Recording) -> float | None:
    """Images a second of the slowest camera, None without images."""
    rates = []
    for camera in _cameras(recording):
        t = _image_times(recording, camera)
        if len(t) > 1:
            rates.append(NS / float(np.median(np.diff(t))))
    return min(rates, default=None)


def read_episode(path: Path, fps: int, *, images: bool = True) -> RecordedEpisode:
    """The frames of the recording at `path`; `images`: also those of its cameras. Raises
    RecordingError for a file that is no recording of `headway run`, is damaged in the middle, or
    does not know what a frame needs."""
    log = open_recording(path)
    rows = _rows(log, "/telemetry")
    command = _rows(log, "/command")
    if rows is None or command is None or not len(rows) or not len(command):
        raise RecordingError(
            f"{path}: wanted /telemetry and /command with rows, as `headway run` records them, "
            f"found {', '.join(log.topics) or 'no topics'}: telemetry of other programs is read by "
            "`headway score`"
        )
    rows = of_recording(rows)
    hz = _rate(log)
    if fps > hz:
        raise RecordingError(
            f"{path}: wanted at least {fps} ticks a second, found {hz:g}: give a lower --fps"
        )
    shown = {c: _image_times(log, c) for c in _cameras(log)} if images else {}
    shown = {c: t for c, t in shown.items() if len(t)}
    times = _frame_times(log, rows["t_ns"], command["t_ns"], shown, fps)
    notes = [log.note] if log.note else []
    notes += _image_notes(shown, times, fps)
    depths = [t for t in log.topics if t.endswith(_DEPTH) and images]
    notes += [f"{t} left out: videos hold colours" for t in depths]
    joints = joints_of(log)
    if len(joints) != rows.dtype["q"].shape[0]:
        joints = tuple(f"j{i + 1}" for i in range(rows.dtype["q"].shape[0]))
        notes.append("the recording does not name its joints: they are called j1, j2, ...")
    fields = _fields(path, rows, command, times, fps)
    fields |= _pro(_rows(log, "/pro"), times)
    events = events_of(log)
    made = RecordedEpisode(
        log, fps, times, joints, fields, {c: _size(log, c) for c in shown},
        _tasks(log, events, times), events, result_of(log), notes,
    )  # fmt: skip
    if log.damage:
        raise RecordingError(log.damage[0].text)
    return made


def _topic(camera: str) -> str:
    return f"{_CAMERA}{camera}{_RGB}"


def _cameras(log: Recording) -> list[str]:
    return [
        topic[len(_CAMERA) : -len(_RGB)]
        for topic in log.topics
        if topic.startswith(_CAMERA) and topic.endswith(_RGB)
    ]


def _image_times(log: Recording, camera: str) -> Times:
    return np.array([m.t_ns for m in log.messages(_topic(camera))], np.int64)


def _size(log: Recording, camera: str) -> tuple[int, int]:
    _, first = next(log.images(_topic(camera)))
    height, width = first.shape[:2]
    video.check_size(height, width, f"{log.path}: {_topic(camera)}")
    return height, width


def _calibration(log: Recording, camera: str) -> Calibration | None:
    topic = f"{_CAMERA}{camera}/calibration"
    if topic not in log.topics or next(log.messages(topic), None) is None:
        return None
    found = log.calibration(topic)
    return Calibration(
        intrinsics=found.intrinsics.tolist(), height=found.height, width=found.width,
        frame_id=found.frame_id,
    )  # fmt: skip


def _rows(log: Recording, topic: str) -> Rows | None:
    """The rows of a topic in the order of time, None without the topic."""
    if topic not in log.topics:
        return None
    rows = log.rows(topic)
    if (np.diff(rows["t_ns"]) < 0).any():
        rows = rows[np.argsort(rows["t_ns"], kind="stable")]
    return rows


def _rate(log: Recording) -> float:
    try:
        return float(log.metadata["hz"])
    except (KeyError, ValueError):
        raise RecordingError(
            f"{log.path}: wanted the loop's rate as `hz` in the metadata, found "
            f"{log.metadata.get('hz', 'none')!r}: record it with `headway run`"
        ) from None


def _frame_times(log: Recording, t: Times, sent: Times, shown: dict[str, Times], fps: int) -> Times:
    """When the frames are: from when everything is known, to the last telemetry row."""
    start = max(int(x[0]) for x in (t, *shown.values()))
    start += max((_lateness(x, fps) for x in shown.values()), default=0)
    last = int(t[-1])
    n = (last - start) * fps // NS + 1
    times = start + np.arange(max(n, 0), dtype=np.int64) * NS // fps
    if len(times) < 2 or sent[0] >= start + NS // fps:
        raise RecordingError(
            f"{log.path}: wanted at least two frames of {fps} Hz with telemetry, a command and "
            f"images, found {max(n, 0)} in {max(last - start, 0) / NS:.3f} s: leave it out"
        )
    most = max(GAP_S, GAP_FRAMES / fps) * NS
    steps = np.diff(t)
    if steps.max() > most:
        at = int(steps.argmax())
        raise RecordingError(
            f"{log.path}: wanted telemetry without holes of more than {most / NS:g} s, found one "
            f"of {steps[at] / NS:.3f} s at {(t[at] - t[0]) / NS:.3f} s of the episode: leave it out"
        )
    return times


def _lateness(t: Times, fps: int) -> int:
    """By how much [ns] images at `t` come late on the frames' grid that begins with the first of
    them, up to `LATE` of a frame; 0 where they do not come at the frames' rate."""
    period = NS / fps
    if len(t) < 2 or abs(float(np.median(np.diff(t))) / period - 1) > 0.1:
        return 0
    steps = (t - t[0]) / period
    late = (steps - np.round(steps)) * period
    late = late[late <= LATE * period]
    return max(0, int(np.ceil(late.max())))


def _image_notes(shown: dict[str, Times], times: Times, fps: int) -> list[str]:
    """What becomes of the images of each camera, where not each is shown in one frame."""
    notes = []
    for camera, t in shown.items():
        at = np.searchsorted(t, times, side="right") - 1
        used = len(np.unique(at))
        held, lost = len(times) - used, len(t) - used
        if held or lost:
            age = float((times - t[at]).max()) / NS
            notes.append(
                f"camera {camera}: of {len(t)} images {lost} are in no frame of {fps} Hz, and "
                f"{held} frames show an image again; the oldest is {age:.3f} s old"
            )
    return notes


def _fields(
    path: Path, rows: Rows, command: Rows, times: Times, fps: int
) -> dict[str, NDArray[np.float64]]:
    """What telemetry and commands say in every frame. Raises RecordingError where the joints, or
    the commands to them, are not known in one."""
    after = times[0] + np.arange(1, len(times) + 1, dtype=np.int64) * NS // fps  # the next frame
    now = np.searchsorted(rows["t_ns"], times, side="right") - 1
    then = np.searchsorted(rows["t_ns"], after, side="right") - 1
    before = np.searchsorted(command["t_ns"], after, side="left") - 1
    found = {name: np.asarray(rows[name][now], np.float64) for name in FIELDS}
    found["sent"] = np.asarray(command["sent"][before], np.float64)
    found[layout.WIDTH_REF] = np.asarray(rows["width_ref"][then], np.float64)
    for name, what in (("q", "joint positions"), ("sent", "joint commands")):
        known = np.isfinite(found[name]).all(axis=1)
        if not known.all():
            t = float(times[int(known.argmin())] - times[0]) / NS
            raise RecordingError(
                f"{path}: wanted {what} in every frame, found none at {t:.3f} s: leave it out"
            )
    return {name: x for name, x in found.items() if np.isfinite(x).all()}


def _pro(rows: Rows | None, times: Times) -> dict[str, NDArray[np.float64]]:
    """PRO's signals in every frame, and the sum of its rewards from each frame to the next; {}
    where it did not run before the first frame."""
    if rows is None or not len(rows) or rows["t_ns"][0] > times[0]:
        return {}
    ends = np.searchsorted(rows["t_ns"], times, side="right")
    found = {layout.PRO + n: np.asarray(rows[n][ends - 1], np.float64) for n in OUTPUTS}
    bounds = [*ends.tolist(), len(rows)]
    found["reward"] = np.array([float(rows["reward"][a:b].sum()) for a, b in pairwise(bounds)])
    return {name: x for name, x in found.items() if np.isfinite(x).all()}


def _tasks(log: Recording, events: list[Event], times: Times) -> list[str]:
    """What the robot was asked to do in each frame: the instruction, else the name of the task."""
    first = log.metadata.get("instruction") or log.metadata.get("task") or ""
    said = [(e.t_ns, e.text) for e in events if e.kind is EventKind.INSTRUCTION]
    texts = [first, *(text for _, text in said)]
    at = np.searchsorted([t for t, _ in said], times, side="right")
    return [texts[i] for i in at]
