"""Logs as other programs write them, for the tests of `headway score` and `headway map`. Each is
made by the library that reads it, which has to be there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

JOINTS = ["pan", "lift", "elbow"]
START = 1_700_000_000_000_000_000
MOTORS = ["shoulder_pan.pos", "elbow_flex.pos", "gripper.pos"]


def aloha(path: Path, n: int = 200, **more: Any) -> Path:
    """A file as ALOHA's recorder writes it: no stamps, images beside the joints."""
    import h5py

    with h5py.File(path, "w") as f:
        f.attrs["sim"] = False
        obs = f.create_group("observations")
        x = np.linspace(0, 1, n)[:, None] * np.ones(14)
        obs.create_dataset("qpos", data=more.get("qpos", x.astype(np.float32)), chunks=True)
        obs.create_dataset("qvel", data=np.ones((n, 14)) * 0.02 * 50 / n)
        obs.create_dataset("images/top", data=np.zeros((n, 2, 3, 3), np.uint8))
        f.create_dataset("action", data=x + 0.1)
        for key, value in more.items():
            if key != "qpos":
                f[key] = value
    return path


def robomimic(path: Path, lengths: tuple[int, ...] = (150, 100), **arrays: Any) -> Path:
    import h5py

    with h5py.File(path, "w") as f:
        data = f.create_group("data")
        data.attrs["env"] = "lab"
        for k in reversed(range(len(lengths))):
            demo, n = data.create_group(f"demo_{k * 5}"), lengths[k]
            demo.attrs["success"] = k == 0
            demo["obs/force"] = np.full((n, 1), k + 1.0, arrays.get("dtype", np.float16))
            demo["obs/robot0_eef_pos"] = np.linspace([0.5, 0.0, 0.3], [0.6, 0.1, 0.2], n)
            demo["obs/robot0_eef_quat"] = np.tile([0.0, 1.0, 0.0, 0.0], (n, 1))
            demo["obs/robot0_joint_pos"] = np.linspace(np.zeros(7), np.arange(7) / 5, n)
            demo["obs/robot0_gripper_qpos"] = np.tile([0.02, -0.02], (n, 1))
            demo["obs/t"] = np.arange(n) / 50
            demo["rewards"] = np.zeros(n, bool)
        f["mask/train"] = np.array([b"demo_0"])
    return path


def lerobot(
    folder: Path,
    major: int = 3,
    lengths: Sequence[int] = (90, 60, 75),
    names: Any = MOTORS,
    fps: float = 50.0,
    **more: Any,
) -> Path:
    """A LeRobotDataset whose state rises from 0 to 1, 2 and 60 over each episode, and whose action
    is ahead of it by 0.1. `more`: columns of all samples."""
    import pyarrow as pa
    from pyarrow import parquet

    (folder / "meta").mkdir(parents=True)
    features = {
        key: {"dtype": "float32", "shape": [len(MOTORS)], "names": names}
        for key in ("observation.state", "action")
    }
    info = {
        "codebase_version": "v2.1" if major == 2 else "v3.0",
        "fps": fps,
        "chunks_size": 2,
        "features": features,
    }
    (folder / "meta" / "info.json").write_text(json.dumps(info))
    tables, episodes, done = [], [], 0
    for k, n in enumerate(lengths):
        state = np.linspace(0, 1, n)[:, None] * np.array([1.0, 2.0, 60.0])
        plain = {
            "observation.state": pa.array(list(state.astype(np.float32))),
            "action": pa.array(list((state + 0.1).astype(np.float32))),
            "timestamp": pa.array((np.arange(n) / fps).astype(np.float32)),
            "frame_index": pa.array(range(n)),
            "episode_index": pa.array([k] * n),
            "index": pa.array(range(done, done + n)),
            "task_index": pa.array([k % 2] * n),
            "next.done": pa.array([i == n - 1 for i in range(n)]),
        }
        plain |= {key: pa.array(values[done : done + n]) for key, values in more.items()}
        tables.append(pa.table(plain))
        episodes.append({"episode_index": k, "length": n, "tasks": [f"task {k % 2}"]})
        episodes[-1] |= {"success": k != 1, "operator": "ab"[k % 2]}
        done += n
    tasks = [{"task_index": i, "task": f"task {i}"} for i in range(2)]
    if major == 2:
        for name, rows in (("episodes", episodes), ("tasks", tasks)):
            lines = [json.dumps(row) for row in rows]
            (folder / "meta" / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
        for k, table in enumerate(tables):
            file = folder / f"data/chunk-{k // 2:03d}/episode_{k:06d}.parquet"
            file.parent.mkdir(parents=True, exist_ok=True)
            parquet.write_table(table, file)
        return folder
    for k, row in enumerate(episodes):
        row |= {"data/chunk_index": 0, "data/file_index": k // 2, "stats/action/max": [1.0]}
    (folder / "meta/episodes/chunk-000").mkdir(parents=True)
    parquet.write_table(
        pa.Table.from_pylist(episodes), folder / "meta/episodes/chunk-000/file-000.parquet"
    )
    names_of = [t["task"] for t in tasks]
    indices = pa.table({"task_index": [0, 1], "__index_level_0__": names_of})
    parquet.write_table(indices, folder / "meta/tasks.parquet")
    (folder / "data/chunk-000").mkdir(parents=True)
    for i in range(0, len(tables), 2):
        file = folder / f"data/chunk-000/file-{i // 2:03d}.parquet"
        parquet.write_table(
            pa.concat_tables(tables[i : i + 2], promote_options="permissive"),
            file,
            row_group_size=50,
        )
    return folder


def ros(
    path: Path,
    kind: str = "bag",
    n: int = 200,
    first: int = 0,
    frame: str = "tool0",
    joints: Sequence[str] = JOINTS,
) -> Path:
    """A bag whose joint k rises from k by 0.1 rad a second, at 100 Hz, with a force on the tool,
    the tool's pose and words. `kind`: bag (ROS 1), db3 or mcap (a folder of rosbag2). The messages
    begin with number `first`."""
    from rosbags.rosbag1 import Writer as Writer1
    from rosbags.rosbag2 import StoragePlugin
    from rosbags.rosbag2 import Writer as Writer2
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS1_NOETIC if kind == "bag" else Stores.ROS2_HUMBLE)
    types = {name.split("/")[-1]: t for name, t in store.types.items() if "_msgs/" in name}
    time = store.types["builtin_interfaces/msg/Time"]
    seq = [0] if kind == "bag" else []
    plugin = StoragePlugin.MCAP if kind == "mcap" else StoragePlugin.SQLITE3
    serialize = store.serialize_ros1 if kind == "bag" else store.serialize_cdr
    with (
        Writer1(path) if kind == "bag" else Writer2(path, version=8, storage_plugin=plugin)
    ) as writer:  # type: ignore[attr-defined]
        topics = {
            topic: writer.add_connection(topic, msgtype, typestore=store)
            for topic, msgtype in (
                ("/joint_states", "sensor_msgs/msg/JointState"),
                ("/wrench", "geometry_msgs/msg/WrenchStamped"),
                ("/pose", "geometry_msgs/msg/PoseStamped"),
                ("/status", "std_msgs/msg/String"),
            )
        }

        def write(topic: str, t_ns: int, message: Any) -> None:
            data = serialize(message, topics[topic].msgtype)
            writer.write(topics[topic], t_ns + 1_000_000, data)  # it is written a little later

        vector, turn = types["Vector3"], types["Quaternion"]
        for i in range(first, first + n):
            t = START + i * 10_000_000
            header = types["Header"](*seq, time(t // 10**9, t % 10**9), frame)
            order = list(joints) if i % 2 else list(joints)[::-1]
            q = np.array([joints.index(j) + i * 0.001 for j in order])
            none = np.zeros(0)
            write("/joint_states", t, types["JointState"](header, order, q, none, none))
            wrench = types["Wrench"](vector(0.0, 0.0, float(i >= 50)), vector(0.0, 0.0, 0.0))
            write("/wrench", t, types["WrenchStamped"](header, wrench))
            pose = types["Pose"](types["Point"](i * 1e-4, 0.0, 0.3), turn(0.0, 0.0, 0.0, 1.0))
            write("/pose", t, types["PoseStamped"](header, pose))
            if i == 120:
                write("/status", t, types["String"]("slip"))
    return path


def split(folder: Path, kind: str = "mcap") -> Path:
    """The messages of `ros` in two files, as rosbag2 splits a long recording."""
    folder.mkdir()
    names = []
    for k in range(2):
        part = ros(folder.with_name(f"{folder.name}-part{k}"), kind, 100, 100 * k)
        file = next(part.glob(f"*.{kind}"))
        names.append(f"{folder.name}_{k}.{kind}")
        file.rename(folder / names[-1])
        listed = "relative_file_paths:\n  - "
        text = (part / "metadata.yaml").read_text()
        text = text.replace(listed + file.name, listed + "\n  - ".join(names))
        (folder / "metadata.yaml").write_text(text.replace(file.name, names[-1]))
        shutil.rmtree(part)
    return folder
