"""LeRobot reads what Headway exports, and Headway what LeRobot records, both by LeRobot's own code.

`make peers-lerobot` installs LeRobot in an environment of its own; LEROBOT_VENV says where."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from dataset_rig import image, record

from headway import shipped
from headway.__main__ import main
from headway.clock import NS
from headway.mcaplog import open_recording
from headway.tools.dataset.export import export_command
from headway.tools.dataset.importer import import_command
from headway.tools.recorded import joints_of

pq = pytest.importorskip("pyarrow.parquet", reason="wants the extra lerobot")
pytest.importorskip("av", reason="wants the extra lerobot")

ROOT = Path(__file__).parents[1]
PEER = ROOT / "tests" / "lerobot_peer.py"
VENV = Path(os.environ.get("LEROBOT_VENV") or ".venv-lerobot")
SKIP = 77  # as in PEER
FRONT = "observation.images.front"
CODEC = 4.0  # what a pixel may differ from the image that was recorded, on average, of 255

pytestmark = pytest.mark.slow


@pytest.fixture
def lerobot(tmp_path):
    """`lerobot(what, folder)`: run PEER, and return what it wrote."""
    python = ROOT / VENV / "bin" / "python"  # an absolute VENV stays as it is
    if not python.exists():
        pytest.skip(f"no LeRobot at {VENV}: `make peers-lerobot` installs it")

    def lerobot(what, folder):
        out = tmp_path / f"{what}.npz"
        env = {
            "PATH": os.environ["PATH"], "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf"),
            "PYTHONPATH": str(ROOT / "export" / "lerobot"),
        }  # fmt: skip
        done = subprocess.run(
            [python, "-W", "ignore", PEER, what, folder, out],
            env=env, capture_output=True, text=True, timeout=600,
        )  # fmt: skip
        if done.returncode == SKIP:
            pytest.skip(done.stdout.strip())
        assert done.returncode == 0, done.stderr[-3000:]
        with np.load(out) as found:
            return {name: found[name] for name in found.files}

    return lerobot


def stored(folder, name):
    table = pq.read_table(folder / "data/chunk-000/file-000.parquet")
    return np.array(table[name].to_pylist(), np.float32)


def test_lerobot_reads_the_frames_that_were_recorded(lerobot, tmp_path):
    """Three episodes in one file of each kind, with an instruction that changes in each."""
    for e in range(3):
        shown = {"front": [(k * NS // 10, image(k + 5 * e, 48, 64)) for k in range(11)]}
        record(
            tmp_path / "in" / f"{e}.mcap", shown=shown, instructions=[(NS // 2, "now lift it")],
            metadata={"instruction": f"item {e}"},
        )  # fmt: skip
    assert export_command([tmp_path / "in"], tmp_path / "out") == 0
    found = lerobot("load", tmp_path / "out")
    assert found["ends"].tolist() == [11, 22, 33]
    for name in ("observation.state", "action", "telemetry.wrench", "pro.progress", "next.reward"):
        np.testing.assert_array_equal(found[name], stored(tmp_path / "out", name))
    np.testing.assert_allclose(found["mean"], found["observation.state"].mean(0), atol=1e-6)
    assert found["policy"].tolist() == ["action", FRONT, "observation.state"]
    assert found["next.done"].nonzero()[0].tolist() == [10, 21, 32]
    assert found["tasks"].tolist() == [
        text for e in range(3) for text in [f"item {e}"] * 5 + ["now lift it"] * 6
    ]

    def differs(frame, e, k):
        return np.abs(255 * frame.transpose(1, 2, 0) - image(k + 5 * e, 48, 64)).mean()

    for i in range(33):
        e, k = divmod(i, 11)
        assert differs(found[FRONT][i], e, k) < CODEC
        for j, step in enumerate((-1, 0, 2)):  # before an episode and after it, its nearest frame
            at = min(max(k + step, 0), 10)
            assert differs(found[f"around.{FRONT}"][i, j], e, at) < CODEC
            np.testing.assert_array_equal(
                found["around.action"][i, j], found["action"][11 * e + at]
            )
            assert found["around.is_pad"][i, j] == (k + step != at)


def test_lerobot_reads_a_run_of_the_simulated_cell(lerobot, tmp_path):
    """The whole way: recorded by the shipped configuration, exported, and loaded."""
    pytest.importorskip("mujoco", reason="the simulated cell wants the extra sim")
    args = ["run", "--config", str(shipped.CONFIG), "--seed", "5", "--episodes", "2"]
    assert main([*args, "--out", str(tmp_path / "in")]) == 0
    assert main(["dataset", "export", str(tmp_path / "in"), "--out", str(tmp_path / "out")]) == 0
    found = lerobot("load", tmp_path / "out")
    assert len(found["ends"]) == 2
    for name in ("observation.state", "action", "pro.risk"):
        np.testing.assert_array_equal(found[name], stored(tmp_path / "out", name))
    logs = [open_recording(tmp_path / "in" / f"episode_{seed}.mcap") for seed in (5, 6)]
    shown = [pixels for log in logs for _, pixels in log.images("/camera/wrist/rgb")]
    frames = found["observation.images.wrist"].transpose(0, 2, 3, 1)
    assert len(shown) == len(frames)
    for frame, pixels in zip(frames, shown, strict=True):
        assert np.abs(255 * frame - pixels).mean() < 2 * CODEC  # the camera is noisy


def test_headway_reads_what_lerobot_records(lerobot, tmp_path):
    given = lerobot("record", tmp_path / "data")
    assert import_command(tmp_path / "data", tmp_path / "back", joint_unit="deg") == 0
    at = 0
    for e in range(3):
        log = open_recording(tmp_path / "back" / f"episode_{e:06d}.mcap")
        n = 20 + e
        rows, state = log.rows("/telemetry"), given["observation.state"][at : at + n]
        np.testing.assert_array_equal(rows["q"], np.float64(state[:, :2]) * (np.pi / 180))
        action = log.rows("/dataset/action")
        for i, name in enumerate(("shoulder_pan_pos", "elbow_flex_pos", "gripper_pos")):
            np.testing.assert_array_equal(action[name], given["action"][at : at + n, i])
        np.testing.assert_array_equal(rows["t_ns"], np.arange(n) * NS // 30)
        assert joints_of(log) == ("shoulder_pan", "elbow_flex")
        assert log.metadata["instruction"] == f"task {e % 2}"
        shown = list(log.images("/camera/top/rgb"))
        pictures = given["observation.images.top"][at : at + n]
        for (_, pixels), picture in zip(shown, pictures, strict=True):
            assert np.abs(pixels.astype(float) - picture).mean() < CODEC
        at += n
