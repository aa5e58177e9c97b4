"""Bundles of schema 1 still load, and mean what they meant."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from headway import bundle
from headway.actions import ActionSpace
from headway.bundle import StateInput
from headway.errors import BundleError
from headway.instructions import VocabularySpec

WEIGHTS = b"weights"
TENSOR = {"dtype": "float32", "unit": "", "mean": None, "std": None}
IMAGE = {"camera": "wrist", "height": 8, "width": 8}


def old(**policy: Any) -> dict[str, Any]:
    """A manifest as version 0.1 wrote it."""
    return {
        "kind": "policy",
        "name": "old",
        "onnx": "policy.onnx",
        "schema": 1,
        "inputs": [
            {**TENSOR, "name": "rgb", "shape": [1, 8, 8, 3], "dtype": "uint8"},
            {**TENSOR, "name": "depth", "shape": [1, 8, 8], "dtype": "uint16"},
            {**TENSOR, "name": "state", "shape": [1, 3]},
            {**TENSOR, "name": "instruction", "shape": [1], "dtype": "int64"},
        ],
        "outputs": [{**TENSOR, "name": "actions", "shape": [1, 6, 7]}],
        "provenance": {"command": "x", "seed": 0, "data": "", "date": "", "metrics": {}},
        "files": {
            "policy.onnx": {"sha256": hashlib.sha256(WEIGHTS).hexdigest(), "size": len(WEIGHTS)}
        },
        "pro": None,
        "policy": {
            "action_names": ["dx", "dy", "dz", "rx", "ry", "rz", "grip"],
            "action_units": ["mm", "m", "m", "rad", "deg", "rad", "open 0..1"],
            "frame": "tcp commanded at the observation",
            "chunk": 6,
            "dt_s": 0.1,
            "rate_hz": 10.0,
            "images": [
                {**IMAGE, "input": "rgb", "channels": 3, "encoding": "rgb8"},
                {**IMAGE, "input": "depth", "channels": 1, "encoding": "depth_mm"},
            ],
            "state_names": ["tcp_x", "vx", "retried"],
            "instructions": ["go", "come"],
            **policy,
        },
    }


def written(path: Path, manifest: dict[str, Any]) -> Path:
    path.mkdir()
    (path / "policy.onnx").write_bytes(WEIGHTS)
    (path / bundle.MANIFEST).write_text(json.dumps(manifest))
    return path


def test_an_old_policy_means_what_it_meant(tmp_path):
    manifest = bundle.load(written(tmp_path / "p", old())).manifest
    policy = manifest.policy
    assert policy is not None
    assert policy.actions == ActionSpace(
        names=("x", "y", "z", "rx", "ry", "rz", "grip"), space="tcp", mode="chunk",
        rotation="rotvec", axes="tcp", chunk=6, dt_s=0.1, grip="binary", grip_open=1.0,
        grip_closed=0.0, scale=(0.001, 1.0, 1.0, 1.0, 0.017453292519943295, 1.0, 1.0),
    )  # fmt: skip
    assert policy.state == (StateInput(input="state", names=("tcp.x", "twist.vx", "retried")),)
    assert policy.instruction == VocabularySpec(input="instruction", texts=("go", "come"))
    assert [(i.input, i.encoding) for i in policy.images] == [
        ("rgb", "rgb8"), ("depth", "depth_mm"),
    ]  # fmt: skip
    assert manifest.schema == bundle.SCHEMA


def test_it_is_saved_as_a_bundle_of_today(tmp_path):
    made = bundle.load(written(tmp_path / "p", old()))
    again = bundle.save(tmp_path / "q", made.manifest, {"policy.onnx": made.onnx})
    assert again.manifest == made.manifest
    assert json.loads((again.path / bundle.MANIFEST).read_text())["schema"] == 2


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"frame": "bsae"}, "frame wants 'tcp', .*found 'bsae': did you mean `base`"),
        ({"action_units": ["inch"] + ["m"] * 2 + ["rad"] * 3 + ["open 0..1"]}, "`dx`: wanted a un"),
        ({"action_units": ["m"] * 3 + ["rad"] * 3 + ["m"]}, "`grip`: wanted how it says open"),
        ({"action_units": ["m"]}, "7 action names, 1 units"),
        ({"action_names": ["dx"] * 7}, "wanted the action names dx, dy, dz, rx, ry, rz, grip"),
        ({"images": [{**IMAGE, "input": "rgb", "channels": 1}]}, "wanted channels = 3, found 1"),
        ({"chunk": 0}, "`policy.actions.chunk` wants a whole number >= 1"),
        ({"rate": 10.0}, "unknown key `policy.rate`"),
        ({"state_names": ["tcp_x", "vx"]}, "wanted 2 floats, one per name"),
        ({"action_names": None}, "bundle.json"),
    ],
)
def test_an_old_manifest_that_does_not_fit_is_refused(tmp_path, change, says):
    with pytest.raises(BundleError, match=says):
        bundle.load(written(tmp_path / "p", old(**change)))


def test_an_old_manifest_that_lacks_a_key_says_which(tmp_path):
    manifest = old()
    del manifest["policy"]["chunk"]
    with pytest.raises(BundleError, match="wanted the key 'chunk', found none"):
        bundle.load(written(tmp_path / "p", manifest))
