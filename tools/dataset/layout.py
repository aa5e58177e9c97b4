"""Names of files and features in a LeRobotDataset of version 3.0, and where Headway's own go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

VERSION = "v3.0"
INFO, STATS, TASKS = "meta/info.json", "meta/stats.json", "meta/tasks.parquet"
FILE = "chunk-{chunk_index:03d}/file-{file_index:03d}"
DATA, VIDEO = f"data/{FILE}.parquet", f"videos/{{video_key}}/{FILE}.mp4"
EPISODES = f"meta/episodes/{FILE}.parquet"
FILES_PER_CHUNK = 1000
DATA_MB, VIDEO_MB = 100, 200  # a file that is as large as this is followed by another one

STATE, ACTION, IMAGES = "observation.state", "action", "observation.images."
REWARD, DONE, SUCCESS = "next.reward", "next.done", "next.success"
TELEMETRY, PRO = "telemetry.", "pro."  # prefixes of Headway's own features
WIDTH, WIDTH_REF = "gripper.width", "gripper.width_ref"  # names in the state and in the action
JOINT, JOINT_REF = "q.", "q_ref."  # prefixes of joints' names in the state and in the action
# Columns of the episodes' table: how it ended (null: not known), and a JSON object of what the
# recording knows beside its frames.
OUTCOME, RECORDING = "success", "headway.recording"

# Every data set has these, after its own features.
DEFAULTS = {
    "timestamp": "float32",
    "frame_index": "int64",
    "episode_index": "int64",
    "index": "int64",
    "task_index": "int64",
}


@dataclass(frozen=True)
class Feature:
    """One value per frame: `shape` of it, (1,) for a number; `names` of its components, None where
    they have none. `dtype` is that of NumPy, or "video"."""

    dtype: str
    shape: tuple[int, ...] = (1,)
    names: tuple[str, ...] | None = None

    def to_json(self) -> dict[str, Any]:
        """As it stands in `features` of meta/info.json."""
        names = None if self.names is None else list(self.names)
        return {"dtype": self.dtype, "shape": list(self.shape), "names": names}


def default_features() -> dict[str, Feature]:
    """Those of `DEFAULTS`."""
    return {name: Feature(dtype) for name, dtype in DEFAULTS.items()}


def next_file(chunk: int, file: int) -> tuple[int, int]:
    """The numbers of the file after the file `file` in the chunk `chunk`."""
    return (chunk + 1, 0) if file + 1 == FILES_PER_CHUNK else (chunk, file + 1)


def info(
    features: Mapping[str, Feature],
    details: Mapping[str, Mapping[str, Any]],
    *,
    fps: int,
    robot: str,
    episodes: int,
    frames: int,
    tasks: int,
) -> dict[str, Any]:
    """The content of meta/info.json. `details` are the entries `info` of features of video."""
    described = {name: f.to_json() for name, f in features.items()}
    for name, said in details.items():
        described[name]["info"] = dict(said)
    return {
        "codebase_version": VERSION,
        "robot_type": robot,
        "total_episodes": episodes,
        "total_frames": frames,
        "total_tasks": tasks,
        "chunks_size": FILES_PER_CHUNK,
        "data_files_size_in_mb": DATA_MB,
        "video_files_size_in_mb": VIDEO_MB,
        "fps": fps,
        "splits": {"train": f"0:{episodes}"},
        "data_path": DATA,
        "video_path": VIDEO if details else None,
        "features": described,
    }
