"""Isaac Lab's UR10 reach, a policy that nobody here trained, through loop, guard and recorder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from null_robot import run

from headway.__main__ import main
from headway.drivers.model import load
from headway.mcaplog import open_recording
from headway.tools.recorded import result_of

ROOT = Path(__file__).resolve().parent.parent
MODEL = ROOT.parent / "shared" / "data" / "isaac_ur10_reach" / "policy.onnx"
EXAMPLE = ROOT / "examples" / "isaac_ur10_reach.toml"

pytestmark = pytest.mark.skipif(
    not MODEL.is_file(), reason=f"wants the policy at {MODEL}, which is not part of the repository"
)


@pytest.fixture(scope="module")
def example(tmp_path_factory) -> Path:
    """The example's configuration, with the bundle that its mapping makes."""
    folder = tmp_path_factory.mktemp("isaac")
    mapping = ROOT / "examples" / "isaac_ur10_reach.policy.toml"
    assert main(["bundle", str(MODEL), "--map", str(mapping), "--out", str(folder / "b")]) == 0
    text, bundle = EXAMPLE.read_text(), '"../runs/isaac_ur10_reach_policy"'
    assert bundle in text
    path = folder / "reach.toml"
    path.write_text(text.replace(bundle, '"b"'))
    return path


def distances(example: Path, out: Path, episodes: int) -> list[float]:
    """How far the TCP ended from each goal [m]; every command was within the joints' limits."""
    assert run(example, out, "--episodes", episodes) == 0
    limits, found = load("ur10").limits, []
    for seed in range(episodes):
        recording = open_recording(out / f"episode_{seed}.mcap")
        dt = 1.0 / float(recording.metadata["hz"])
        sent = recording.rows("/command")["sent"]
        q = np.concatenate([sent[:1]] * 3 + [sent])
        assert (q >= limits.q_min).all()
        assert (q <= limits.q_max).all()
        for order, most in enumerate((limits.dq_max, limits.ddq_max, limits.dddq_max), start=1):
            steps = np.abs(np.diff(q, order, axis=0))
            assert (steps <= most * dt**order * (1 + 1e-6) + 1e-9).all()
        found.append(float(result_of(recording).numbers["distance_m"]))
    return found


def test_it_reaches_its_goals(example, tmp_path):
    assert np.median(distances(example, tmp_path / "out", 5)) < 0.05
    recording = open_recording(tmp_path / "out" / "episode_0.mcap")
    assert json.loads(recording.metadata["joints"])[0] == "shoulder_pan_joint"
    assert np.isnan(recording.rows("/telemetry")["width"]).all()  # no gripper
    first = str(tmp_path / "out" / "episode_0.mcap")
    assert main(["report", first, "--out", str(tmp_path / "page.html")]) == 0
    assert "shoulder_pan_joint" in (tmp_path / "page.html").read_text()
    again = tmp_path / "again"
    assert run(example, again, "--episodes", 1) == 0
    assert main(["replay", first, "--against", str(again / "episode_0.mcap")]) == 0


@pytest.mark.slow
def test_over_50_goals_the_tcp_ends_within_5_cm_in_the_median(example, tmp_path):
    assert np.median(distances(example, tmp_path / "out", 50)) < 0.05
