"""One episode of a data set as a recording, with the topics that `headway run` records, as far as
the data set knows them; features that have no such topic are on `/dataset/FEATURE`, as they are."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from headway.clock import NS
from headway.edge.control.events import Event, EventKind
from headway.edge.control.log import json_channel
from headway.edge.control.result import Result
from headway.edge.recording.recorder import LEVELS, Recorder
from headway.edge.recording.schema import Channel
from headway.errors import RecordingError
from headway.kernels.telemetry import FIELDS
from headway.tools.dataset import kept, layout
from headway.tools.dataset.kept import Kept
from headway.tools.dataset.layout import Feature
from headway.tools.dataset.reader import Dataset, StoredEpisode, StoredFrames
from headway.tools.dataset.robot import Meaning
from headway.wire import Rows

# In the metadata of a restored recording: which data set and episode it is from, the size of the
# data set's unit of joints [rad] ("" where that is not known), whether images came along, and the
# rate that it was recorded at first.
INFO_SHA256, EPISODE, RECORDED_HZ = "dataset_sha256", "dataset_episode", "recorded_hz"
JOINT_UNIT, WITH_IMAGES = "dataset_joint_unit", "dataset_images"
_EVEN = 1e-3  # how far [s] stamps may be from whole frames to count as such


def identity(
    data: Dataset, episode: StoredEpisode, meaning: Meaning, *, images: bool
) -> dict[str, str]:
    """What tells whether a recording is of this episode, read with this `meaning` and with or
    without `images`: another unit of the joints makes another recording."""
    info = (data.folder / layout.INFO).read_bytes()
    return {
        INFO_SHA256: hashlib.sha256(info).hexdigest(),
        EPISODE: str(episode.index),
        JOINT_UNIT: repr(meaning.factor) if meaning.joints else "",
        WITH_IMAGES: "yes" if images else "no",
    }


def restore(
    data: Dataset, episode: StoredEpisode, meaning: Meaning, path: Path, *, images: bool
) -> None:
    """Write `episode` as a recording to `path`, which is replaced. `images`: also what the cameras
    saw. Raises RecordingError for what cannot be read or written."""
    frames = data.frames(episode)
    text = episode.row.get(layout.RECORDING)
    where = f"{data.folder}: episode {episode.index}"
    known = kept.from_json(text, where) if text is not None else None
    times = _times(frames, data.fps, known.start_ns if known is not None else 0)
    tables = _tables(data.features, frames, meaning, times)
    events = _events(known, frames, times)
    cameras = data.cameras if images else {}
    channels = [*(Channel(topic, dtype=rows.dtype, units=u) for topic, (rows, u) in tables.items())]
    channels += [Channel("/event", **json_channel(Event)), Channel("/log", kind="log")]
    if known is not None and known.result is not None:
        channels.append(Channel("/result", **json_channel(Result)))
    if "/telemetry" in tables and "tcp" in (tables["/telemetry"][0].dtype.names or ()):
        channels.append(
            Channel(
                "/tf", kind="transform", source="/telemetry", column="tcp", frame_id="base",
                child_frame_id="tcp", every=1,
            )
        )  # fmt: skip
    for name in cameras:
        channels.append(Channel(f"/camera/{name}/rgb", kind="image", frame_id=name))
        if known is not None and name in known.calibration:
            channels.append(
                Channel(f"/camera/{name}/calibration", kind="calibration", frame_id=name)
            )
    facts = _facts(data, frames, meaning, known, times)
    facts |= identity(data, episode, meaning, images=images)
    run = known.run if known is not None else {}
    with Recorder(path, channels, metadata=facts, run=run, lossless=True, overwrite=True) as log:
        pictures = {name: data.images(episode, name) for name in cameras}
        if known is not None:
            for name, c in known.calibration.items():
                if name in cameras:
                    topic = f"/camera/{name}/calibration"
                    matrix = np.array(c.intrinsics)
                    log.calibration(topic, int(times[0]), matrix, c.height, c.width)
        for k, t in enumerate(times.tolist()):
            while events and int(events[0]["t_ns"]) <= t:
                _write_event(log, events.pop(0))
            for name, shown in pictures.items():
                log.image(f"/camera/{name}/rgb", t, next(shown))
            for topic, (rows, _) in tables.items():
                log.write(topic, t, rows[k : k + 1].reshape(()))
        for event in events:
            _write_event(log, event)
        if known is not None and known.result is not None:
            end = max([int(times[-1]), *(int(e["t_ns"]) for e in events)])
            log.json("/result", end, msgspec.json.encode(known.result))


def _times(frames: StoredFrames, fps: float, start_ns: int) -> NDArray[np.int64]:
    """When the frames are [ns]: whole ones, where the stamps, in float32, are near those."""
    k = np.arange(len(frames))
    if fps.is_integer() and np.abs(frames.times - k / fps).max() < _EVEN:
        return start_ns + k * NS // int(fps)
    return start_ns + np.rint(frames.times * NS).astype(np.int64)


def _tables(
    features: Mapping[str, Feature],
    frames: StoredFrames,
    meaning: Meaning,
    times: NDArray[np.int64],
) -> dict[str, tuple[Rows, dict[str, str]]]:
    """The rows of each topic, with the units of their columns."""
    found: dict[str, tuple[Rows, dict[str, str]]] = {}
    if meaning.joints:
        units = {name: unit for name, (_, unit) in FIELDS.items()}
        found["/telemetry"] = meaning.rows(frames.columns, times), units
    if meaning.signals:
        found["/pro"] = meaning.signal_rows(frames.columns, times), {"time_to_go": "s"}
    for name, values in frames.columns.items():
        if name not in meaning.used and values.dtype.kind in "fiub":
            found[topic_of(name)] = _as_rows(features[name].names, values, times), {}
    return found


def topic_of(feature: str) -> str:
    """Where a feature is that has no topic of its own."""
    return "/dataset/" + feature.replace(".", "/")


def _as_rows(names: tuple[str, ...] | None, values: NDArray[Any], times: NDArray[np.int64]) -> Rows:
    """A feature with a column for each of `names`, or one column `value`."""
    columns = tuple(re.sub(r"\W", "_", n, flags=re.ASCII) for n in names or ())
    columns = tuple(f"_{c}" if not c or c[0].isdigit() else c for c in columns)
    if values.ndim == 2 and len(set(columns)) == values.shape[1] and "t_ns" not in columns:
        parts = dict(zip(columns, values.T, strict=True))
    else:
        parts = {"value": values}
    dtype = [("t_ns", np.dtype(np.int64), ())]
    dtype += [(name, x.dtype, x.shape[1:]) for name, x in parts.items()]
    rows = np.zeros(len(values), dtype)
    rows["t_ns"] = times
    for name, x in parts.items():
        rows[name] = x
    return rows


def _events(
    known: Kept | None, frames: StoredFrames, times: NDArray[np.int64]
) -> list[dict[str, Any]]:
    """The recorded events in the order of time; of a data set that keeps none, the changes of what
    was to be done."""
    if known is not None:
        for event in known.events:
            if not isinstance(event.get("t_ns"), int) or event.get("level") not in LEVELS:
                raise RecordingError(
                    f"wanted events of {known.name}, found {event}: export it again"
                )
        return sorted(known.events, key=lambda e: int(e["t_ns"]))
    return [
        msgspec.to_builtins(
            Event(t_ns=int(t), kind=EventKind.INSTRUCTION, level="info", text=after)
        )
        for t, (before, after) in zip(times[1:].tolist(), pairwise(frames.tasks), strict=True)
        if after != before
    ]


def _write_event(log: Recorder, event: dict[str, Any]) -> None:
    log.json("/event", int(event["t_ns"]), msgspec.json.encode(event))
    log.log(int(event["t_ns"]), str(event["level"]), str(event.get("text", "")))


def _facts(
    data: Dataset,
    frames: StoredFrames,
    meaning: Meaning,
    known: Kept | None,
    times: NDArray[np.int64],
) -> dict[str, str]:
    found = dict(known.metadata) if known is not None else {}
    if "hz" in found:
        found[RECORDED_HZ] = found["hz"]
    found |= {"hz": repr(data.fps), "start_ns": str(int(times[0]))}
    if known is None:
        found |= {"instruction": frames.tasks[0], "robot": data.robot}
    if meaning.joints:
        found["joints"] = json.dumps(meaning.joints)
    return found
