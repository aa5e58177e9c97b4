"""Logs as other programs write them, for the tests of `headway score` and `headway map`. Each is
made by the library that reads it, which has to be there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

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
    """A LeRobotDataset whose state k rises to k + 1 over each episode, and whose action is ahead of
    it by 0.1. `more`: columns of all samples."""
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
        state = np.linspace(0, 1, n)[:, None] * (np.arange(len(MOTORS)) + 1.0)
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
