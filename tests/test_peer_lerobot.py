"""A policy of LeRobot's ACT, from its checkpoint to the robot: Headway sends what LeRobot would.

`make peers-lerobot` makes the checkpoint with LeRobot itself, in an environment of its own, records
what LeRobot answers, and makes a bundle of it with `headway export`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from msgspec import structs
from null_robot import run, toml

from headway import units
from headway.bundle import load, save
from headway.clock import NS
from headway.edge.control.events import EventKind
from headway.edge.engines.engine import open_bundle
from headway.edge.guard.reasons import Reason
from headway.edge.policy.kinds.bundle import BundlePolicy
from headway.mcaplog import open_recording
from headway.tools.recorded import events_of
from headway.types import Frame, Observation, Pose

MADE = Path(__file__).parents[1] / "runs" / "lerobot_act"
JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll")
CAMERAS = ("front", "wrist")
TOLERANCE = 1e-4  # [deg] of a joint, [%] of the jaw
STROKE = 0.07  # of the jaws [m]
DEG = units.factor("deg", "rad")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.parametrize("size", ["small", "full"], indirect=True),
]


@pytest.fixture(scope="module")
def size(request):
    """The folder of one size, with what `make peers-lerobot` made."""
    folder = MADE / request.param
    for name in ("bundle/bundle.json", "reference.npz"):
        if not (folder / name).is_file():
            pytest.skip(f"no {folder / name}: `make peers-lerobot` installs LeRobot and makes it")
    return folder


@pytest.fixture(scope="module")
def reference(size):
    with np.load(size / "reference.npz") as found:
        return {name: found[name] for name in found.files}


@pytest.fixture(scope="module")
def bundle(size):
    """The bundle that `headway export` made of LeRobot's files."""
    return load(size / "bundle")


@pytest.fixture
def policy(bundle):
    engine = open_bundle(bundle, "ort")
    yield BundlePolicy(bundle, engine)
    engine.close()


def observation(names, t_ns, state, pictures):
    """What Headway's loop shows where LeRobot's robot has the `state` (6,) [deg, %]."""
    seen = {f"q.{joint}": x * DEG for joint, x in zip(JOINTS, state[:5].tolist(), strict=True)}
    seen["gripper.closed"] = 1.0 - float(state[5]) / 100.0
    images = {c: Frame(rgb, None, np.eye(3), c) for c, rgb in pictures.items()}
    numbers = np.array([seen[name] for name in names], np.float32)
    still = Pose(np.zeros(3), np.array([1.0, 0.0, 0.0, 0.0]))
    return Observation(t_ns, images, numbers, "", np.zeros(5), still)


def observations(reference, policy):
    """Those that LeRobot's network was run for."""
    for i, k in enumerate(reference["asked"].tolist()):
        pictures = {c: reference[f"images.{c}"][i] for c in CAMERAS}
        yield observation(policy.state_names, k * NS // 30, reference["state"][k], pictures)


def test_inputs_of_the_graph_are_what_lerobots_robot_gives(policy, reference):
    """The graph normalises by itself: it wants degrees, per cent, and the cameras' own pixels."""
    for i, (seen, k) in enumerate(
        zip(observations(reference, policy), reference["asked"].tolist(), strict=True)
    ):
        policy.infer(seen)
        state = policy.engine.bind("observation.state")
        np.testing.assert_allclose(state[0], reference["state"][k], rtol=0, atol=2e-5)
        for camera in CAMERAS:
            pixels = policy.engine.bind(f"observation.images.{camera}")
            np.testing.assert_array_equal(pixels[0], reference[f"images.{camera}"][i])


def test_actions_are_those_that_lerobot_sends(policy, reference):
    asked, sent = reference["asked"].tolist(), reference["action"]
    played = [
        policy.infer(seen).actions[: end - k].astype(np.float64)
        for seen, k, end in zip(
            observations(reference, policy), asked, [*asked[1:], len(sent)], strict=True
        )
    ]
    columns = [policy.actions.names.index(name) for name in (*JOINTS, "grip")]
    ours = np.concatenate(played)[:, columns] / np.array([DEG] * 5 + [0.01])
    assert len(asked) >= 3
    assert np.ptp(sent, axis=0).min() > 100 * TOLERANCE  # it takes more than a constant to agree
    np.testing.assert_allclose(ours, sent, rtol=0, atol=TOLERANCE)


def test_the_loop_moves_an_so101_as_the_policy_says(bundle, policy, reference, tmp_path):
    """The whole way, on devices that are not there. The camera `front` has another size than the
    network, and its frames are stretched to it; those of `wrist` have the network's size."""
    manifest = bundle.manifest
    front, *rest = manifest.policy.images
    images = (structs.replace(front, fit="stretch"), *rest)
    stretched = structs.replace(
        manifest, policy=structs.replace(manifest.policy, images=images), files={}
    )
    made = tmp_path / "bundle"
    save(made, stretched, {name: bundle.path / name for name in manifest.files})

    # The arm starts where the policy wants it, so that there is no way to go first.
    height, width = reference["images.wrist"].shape[1:3]
    grey = np.full((height, width, 3), 128, np.uint8)
    start = reference["action"][0].astype(np.float64)
    start[5] = 100.0  # the jaws of the null gripper are open at first
    pictures = dict.fromkeys(CAMERAS, grey)
    for _ in range(2):
        chunk = policy.infer(observation(policy.state_names, 0, start, pictures)).actions
        start[:5] = chunk[0, :5] / DEG
    chunk = policy.infer(observation(policy.state_names, 0, start, pictures)).actions
    seconds = 1.5 * len(chunk) / 30.0
    table = {
        "arm": {"kind": "null", "model": "so101", "q": (start[:5] * DEG).tolist()},
        "gripper": {"kind": "null", "stroke": STROKE},
        "camera": [
            {"kind": "null", "name": "front", "width": width + 32, "height": height + 32},
            {"kind": "null", "name": "wrist", "width": width, "height": height},
        ],
        "task": {"kind": "open_ended", "limit_s": seconds},
        "policy": {"bundle": str(made), "engine": "ort"},
        "loop": {"chunk_max_age_s": 4.0},
        "guard": {
            "workspace_min": [-0.6, -0.6, -0.6],
            "workspace_max": [0.6, 0.6, 0.6],
            "force_max": 50.0,
            "torque_max": 5.0,
            "require_wrench": False,
        },
    }
    path = tmp_path / "so101.toml"
    path.write_text("\n".join(f"{key} = {toml(value)}" for key, value in table.items()))
    assert run(path, tmp_path / "out", "--episodes", 1) == 0

    recording = open_recording(tmp_path / "out" / "episode_0.mcap")
    chunks, commands = recording.rows("/chunk"), recording.rows("/command")
    assert len(chunks) >= 2
    np.testing.assert_allclose(chunks[0]["actions"], chunk, rtol=0, atol=1e-5)
    # Chunks of random weights do not continue each other: where a chunk takes over, the guard may
    # refuse some commands, each of which holds the arm for a tick.
    assert np.mean(commands["reason"] == Reason.OK) > 0.98
    marked = {e.kind for e in events_of(recording) if e.level != "info"}
    assert marked <= {EventKind.CHUNK, EventKind.GUARD}
    # At the end arm and jaws are where the last chunk has them, within the delay of the smoothing.
    last = chunks[-1]
    row = int((commands[-1]["t_ns"] - last["t0_ns"]) // last["dt_ns"])
    rows = last["actions"][max(row - 8, 0) : row + 1]
    width = recording.rows("/telemetry")[-1]["width_ref"]
    reached = np.array([*commands[-1]["sent"], width / STROKE])
    assert (reached > rows.min(axis=0) - 2e-3).all()
    assert (reached < rows.max(axis=0) + 2e-3).all()
    assert np.ptp(commands["sent"], axis=0).max() > 0.01  # [rad]
