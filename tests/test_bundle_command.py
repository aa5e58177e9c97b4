"""`headway bundle`: an ONNX model of somebody else and a mapping file become a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from null_robot import onnx_model, toml

from headway.__main__ import main
from headway.bundle import Tensor, load
from headway.edge.policy.kinds.bundle import open_policy
from headway.errors import BundleError, ConfigError
from headway.tools.bundle import PolicyMap, bundle_command, starter
from headway.types import Observation, Pose

Q = np.zeros(3)
BASE = Pose(np.zeros(3), np.array([1.0, 0.0, 0.0, 0.0]))
MAP: dict[str, Any] = {
    "name": "theirs",
    "rate_hz": 20.0,
    "output": "act",
    "ignored_outputs": ["value"],
    "actions": {
        "names": ["a", "b"], "space": "joint", "mode": "absolute", "chunk": 1, "dt_s": 0.05,
        "scale": [0.5, 0.5], "offset": [1.0, 2.0],
    },
    "state": [
        {"input": "obs", "names": ["q.a", "dq.b", "action.a"], "units": ["deg", "", ""],
         "offset": [0.0, 0.5, 0.0]},
    ],
    "tensors": {"obs": {"mean": [0.0, 0.0, 0.0], "std": [1.0, 2.0, 1.0]}},
    "origin": {"source": "elsewhere", "licence": "MIT"},
}  # fmt: skip

TOKENS = {"kind": "tokens", "input": "obs", "tokenizer": "t.json", "length": 3}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """obs (1, 3) -> act (1, 2): the first two numbers; value (1, 1): the last."""
    import onnx.helper as h

    nodes = [
        h.make_node("Slice", ["obs", "zero", "two", "axis"], ["act"]),
        h.make_node("Slice", ["obs", "two", "three", "axis"], ["value"]),
    ]
    constants = {n: np.array([v], np.int64) for n, v in zip(
        ("zero", "two", "three", "axis"), (0, 2, 3, 1), strict=True
    )}  # fmt: skip
    outputs = (Tensor(name="act", shape=(1, 2)), Tensor(name="value", shape=(1, 1)))
    file = tmp_path / "theirs.onnx"
    file.write_bytes(onnx_model(nodes, (Tensor(name="obs", shape=(1, 3)),), outputs, constants))
    return file


def mapped(tmp_path: Path, **changes: Any) -> Path:
    file = tmp_path / "map.toml"
    table = {k: v for k, v in {**MAP, **changes}.items() if v is not None}
    file.write_text("".join(f"{k} = {toml(v)}\n" for k, v in table.items()))
    return file


def test_the_bundle_computes_what_the_mapping_says(tmp_path, model, capsys):
    out = tmp_path / "bundle"
    assert main(["bundle", str(model), "--map", str(mapped(tmp_path)), "--out", str(out)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "policy theirs, joint actions (absolute), 1 x 2 every 0.05 s" in said
    assert "state: q.a, dq.b" in said
    assert load(out).manifest.provenance.data == "elsewhere MIT"
    policy = open_policy(str(out))
    assert policy.state_names == ("q.a", "dq.b")
    assert policy.needs.rate_hz == 20.0
    obs = Observation(0, {}, np.float32([np.pi, 3.0]), "", Q, BASE)
    # 180 deg; (3 + 0.5) / 2
    np.testing.assert_allclose(policy.infer(obs).actions, [[0.5 * 180 + 1, 0.5 * 1.75 + 2]])


def test_the_previous_action_is_the_answer_before_scale_and_offset(tmp_path, model):
    state = [{"input": "obs", "names": ["action.a", "action.b", "elapsed"]}]
    bundle_command(model, mapped(tmp_path, state=state, tensors=None), tmp_path / "b")
    policy = open_policy(str(tmp_path / "b"))
    obs = Observation(0, {}, np.float32([7.0]), "", Q, BASE)
    np.testing.assert_allclose(policy.infer(obs).actions, [[1.0, 2.0]])  # of a previous 0, 0
    policy._previous.answered(0, np.array([[0.25, -0.5]]))
    np.testing.assert_allclose(policy.infer(obs).actions, [[1.125, 1.75]])
    policy.reset()
    np.testing.assert_allclose(policy.infer(obs).actions, [[1.0, 2.0]])


def test_without_a_mapping_it_lists_the_model_and_prints_one_to_edit(tmp_path, model, capsys):
    assert main(["bundle", str(model)]) == 0
    out = capsys.readouterr().out
    assert "obs" in out
    assert "(1, 3)" in out
    text = out[out.index('name = "theirs"') :]
    (tmp_path / "start.toml").write_text(text)
    # it is a mapping already, of guesses
    bundle_command(model, tmp_path / "start.toml", tmp_path / "b")
    assert load(tmp_path / "b").manifest.policy is not None


def test_the_mapping_to_begin_with_knows_images_and_tokens():
    from headway import config
    from headway.config import tomllib
    from headway.edge.engines.engine import TensorSpec

    inputs = {
        "observation.images.front": TensorSpec((1, 3, 480, 640), "float32"),
        "observation.state": TensorSpec((1, 6), "float32"),
        "tokens": TensorSpec((1, 48), "int64"),
    }
    text = starter(Path("vla.onnx"), inputs, {"action": TensorSpec((1, 50, 6), "float32")})
    found = config.decode(tomllib.loads(text), PolicyMap, "starter")
    assert found.actions.chunk == 50
    (image,) = found.images
    assert (image.camera, image.height, image.width, image.layout) == ("front", 480, 640, "chw")
    assert found.instruction is not None
    assert found.instruction.inputs == ("tokens",)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"nmae": "x"}, "unknown key `nmae`: did you mean `name`"),
        ({"output": "action"}, "no output is named `action`: the model's are act, value"),
        ({"ignored_outputs": []}, "nobody reads the output `value`: list it in"),
        ({"state": []}, "nobody fills the input `obs`"),
        ({"state": [{"input": "ob", "names": ["q.a"]}]}, "no input is named `ob`"),
        ({"state": [{"input": "obs", "names": ["q.a"]}]}, "wanted 1 floats, one per name"),
        ({"tensors": {"obz": {"unit": "m"}}}, "`tensors.obz` is no input or output"),
        ({"tensors": {"obs": {"mean": [0.0], "std": [0.0]}}}, "std wants numbers > 0"),
        ({"tensors": {"obs": {"low": [1.0], "high": [1.0]}}}, "a width of 0"),
        ({"actions": {**MAP["actions"], "names": ["a"]}}, "for each of the 1 names, found 2"),
        ({"actions": {**MAP["actions"], "chunk": 2}}, r"`act`: wanted floats \(1, 2 or more, 2\)"),
        ({"instruction": TOKENS, "state": []}, "names the file .*t.json, found none there"),
        ({"files": ["theirs.onnx.data"]}, "names the file .*theirs.onnx.data, found none there"),
    ],
)  # fmt: skip
def test_a_mapping_that_does_not_fit_is_refused(tmp_path, model, change, says):
    with pytest.raises((ConfigError, BundleError), match=says):
        bundle_command(model, mapped(tmp_path, **change), tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_what_is_no_model_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="wanted an ONNX model at"):
        bundle_command(tmp_path / "no.onnx", None, None)
    (tmp_path / "no.onnx").write_bytes(b"weights")
    with pytest.raises(BundleError, match="is no model"):
        bundle_command(tmp_path / "no.onnx", None, None)


def test_a_bundle_wants_a_folder(tmp_path, model):
    with pytest.raises(ConfigError, match="give it with --out DIR"):
        bundle_command(model, mapped(tmp_path), None)
