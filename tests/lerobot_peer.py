"""LeRobot's own loader and writer, in its environment, for tests/test_dataset_lerobot.py.

    python lerobot_peer.py load DATASET OUT.npz
    python lerobot_peer.py record DATASET OUT.npz

`load` writes what LeRobot gives for each frame; `record` makes a data set as LeRobot records one,
and writes what it was given. Exits with SKIP where LeRobot cannot decode videos here.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import torchvision_operators  # noqa: F401 - before LeRobot, which imports torchvision
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from lerobot.datasets.utils import dataset_to_policy_features

SKIP = 77
STEPS = (-1, 0, 2)  # frames that are asked for beside each, by delta_timestamps


def backend() -> str:
    """What decodes videos: torchvision up to 0.25, or torchcodec."""
    import torchvision

    if hasattr(torchvision.io, "VideoReader"):
        return "pyav"
    if importlib.util.find_spec("torchcodec") is None:
        print("LeRobot decodes videos by torchcodec or torchvision < 0.26, found neither")
        raise SystemExit(SKIP)
    return "torchcodec"


def load(folder: Path, out: Path) -> None:
    data = LeRobotDataset("headway/test", root=folder, video_backend=backend())
    found = {name: [] for name in data.features}
    tasks = []
    for item in (data[i] for i in range(len(data))):
        tasks.append(item["task"])
        for name, values in found.items():
            values.append(item[name].numpy())
    policy = dataset_to_policy_features(data.features)
    keys = [k for k in policy if "images" in k] + ["action"]
    around = LeRobotDataset(
        "headway/test", root=folder, video_backend=backend(),
        delta_timestamps={k: [s / data.fps for s in STEPS] for k in keys},
    )  # fmt: skip
    for key in keys:
        found[f"around.{key}"] = [around[i][key].numpy() for i in range(len(around))]
    found["around.is_pad"] = [around[i]["action_is_pad"].numpy() for i in range(len(around))]
    ends = [data.meta.episodes[e]["dataset_to_index"] for e in range(data.num_episodes)]
    np.savez(
        out, tasks=np.array(tasks), ends=np.array(ends), policy=np.array(sorted(policy)),
        mean=data.meta.stats["observation.state"]["mean"],
        **{k: np.stack(v) for k, v in found.items()},
    )  # fmt: skip


def record(folder: Path, out: Path) -> None:
    joints = ["shoulder_pan.pos", "elbow_flex.pos", "gripper.pos"]
    numbers = {"dtype": "float32", "shape": (3,), "names": joints}
    names = ["height", "width", "channels"]
    camera = {"dtype": "video", "shape": (48, 64, 3), "names": names}
    data = LeRobotDataset.create(
        "headway/test", fps=30, root=folder, robot_type="so101_follower", vcodec="h264",
        features={
            "observation.state": numbers, "action": numbers, "observation.images.top": camera,
        },
    )  # fmt: skip
    rng = np.random.default_rng(0)
    given = {"observation.state": [], "action": [], "observation.images.top": []}
    for episode in range(3):
        for k in range(20 + episode):
            picture = np.zeros((48, 64, 3), np.uint8)
            picture[..., 0], picture[..., 1] = 11 * k, 60 * episode
            frame = {
                "observation.state": rng.normal(0, 40, 3).astype(np.float32),
                "action": rng.normal(0, 40, 3).astype(np.float32),
                "observation.images.top": picture,
            }
            for name, value in frame.items():
                given[name].append(value.copy())
            data.add_frame({**frame, "task": f"task {episode % 2}"})
        data.save_episode()
    data.finalize()
    np.savez(out, **{k: np.stack(v) for k, v in given.items()})


if __name__ == "__main__":
    {"load": load, "record": record}[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
