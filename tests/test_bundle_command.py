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
from headway.tools.bundle import bundle_command
from headway.tools.mapping import starter
from headway.tools.policy_map import PolicyMap
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
    assert "policy theirs, joint actions (absolute), 2 columns, 1 row, asked 20 times a" in said
    assert "state: q.a, dq.b, action.a" in said
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
    start = tmp_path / "start.toml"
    start.write_text(out)
    # Three numbers and two columns: their names cannot be told, and nobody may forget them.
    with pytest.raises(ConfigError, match=r"`state\[0\].names\[0\]` wants a value of yours, found"):
        bundle_command(model, start, tmp_path / "b")
    start.write_text(out.replace('"...", "...", "..."', '"q.joint1", "q.joint2", "elapsed"'))
    bundle_command(model, start, tmp_path / "b")
    assert load(tmp_path / "b").manifest.policy is not None


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--out", "b"], "--out b is for the bundle: wanted --map MAP.toml too, found none"),
        (["--overwrite"], "--overwrite is for the bundle: wanted --map MAP.toml too"),
        (["--map", "map.toml", "--robot", "so101"], "--robot so101 is for a mapping to begin with"),
    ],
)
def test_an_option_that_nothing_would_be_done_about_is_refused(
    tmp_path, model, args, says, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    mapped(tmp_path)
    assert main(["bundle", str(model), *args]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


def test_a_bundle_is_replaced_only_on_request(tmp_path, model):
    out, file = tmp_path / "bundle", mapped(tmp_path)
    bundle_command(model, file, out)
    with pytest.raises(ConfigError, match=r"found a bundle at .*bundle: .*--overwrite"):
        bundle_command(model, file, out)
    bundle_command(model, mapped(tmp_path, name="second"), out, overwrite=True)
    assert load(out).manifest.name == "second"


def test_a_model_with_open_dimensions_is_given_them_by_the_mapping(tmp_path, capsys):
    import onnx
    import onnx.helper as h

    floats = onnx.TensorProto.FLOAT
    graph = h.make_graph(
        [h.make_node("ReduceMean", ["obs"], ["action"], axes=[1], keepdims=1)], "g",
        [h.make_tensor_value_info("obs", floats, ["batch", "time", 2])],
        [h.make_tensor_value_info("action", floats, ["batch", 1, 2])],
    )  # fmt: skip
    file = tmp_path / "open.onnx"
    opset = [h.make_opsetid("", 13)]
    file.write_bytes(h.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString())
    bundle_command(file, None, None, robot="so101")
    text = capsys.readouterr().out
    assert "(1, time, 2)" in text
    assert 'shape = [1, "...", 2]' in text
    text = text.replace('"...", "..."', '"q.a", "q.b"', 1)  # columns: so101 has not two joints
    text = text.replace('names = ["...", "..."]', 'names = ["q.a", "q.b"]')
    start = tmp_path / "start.toml"
    start.write_text(text.replace('steps = "..."', "steps = 4").replace('1, "...", 2', "1, 4, 2"))
    bundle_command(file, start, tmp_path / "b")
    assert load(tmp_path / "b").manifest.inputs[0].shape == (1, 4, 2)
    start.write_text(start.read_text().replace("shape = [1, 4, 2]", ""))
    with pytest.raises(ConfigError, match=r'add \[tensors."obs"\] with shape = \[1, time, 2\]'):
        bundle_command(file, start, tmp_path / "c")


@pytest.mark.parametrize(
    ("shape", "dtype", "says"),
    [
        ((1, 64, 64, 1), "float32", 'encoding = "depth_mm"'),
        ((1, 3, 64, 64), "uint8", 'layout = "chw"'),
        ((1, 48, 64), "uint16", "height = 48\nwidth = 64"),
        ((1, 48, 64, 2), "uint8", 'encoding = "depth_mm"'),
        ((1, 4, 64, 64), "float32", "names = ["),
        ((1, 1), "int64", 'kind = "vocabulary"'),
        ((), "int32", 'kind = "vocabulary"'),
        ((1, 9), "int64", 'kind = "tokens"'),
        ((1, 6), "float32", '"q.shoulder_pan", "q.shoulder_lift"'),
        ((1, 10), "float32", '"dq.wrist_roll"'),
        ((1, 7), "float32", 'names = ["...", '),
    ],
)
def test_a_guess_follows_from_shape_and_type(shape, dtype, says):
    from headway.config import tomllib
    from headway.drivers.model import load as robot
    from headway.edge.engines.engine import Declared

    out = {"action": Declared((1, 8, 6), "float32")}
    text = starter(Path("m.onnx"), {"x": Declared(shape, dtype)}, out, robot("so101").joints)
    assert says in text
    assert tomllib.loads(text)["actions"]["names"][-1] == "grip"


def test_the_mapping_to_begin_with_knows_images_and_tokens():
    from headway import config
    from headway.config import tomllib
    from headway.edge.engines.engine import Declared

    inputs = {
        "observation.images.front": Declared((1, 3, 480, 640), "float32"),
        "observation.state": Declared((1, 6), "float32"),
        "tokens": Declared((1, 48), "int64"),
        "tokens_mask": Declared((1, 48), "bool"),
    }
    text = starter(Path("vla.onnx"), inputs, {"action": Declared((1, 50, 6), "float32")})
    found = config.decode(tomllib.loads(text), PolicyMap, "starter")
    assert found.actions.chunk == 50
    (image,) = found.images
    assert (image.camera, image.height, image.width, image.layout) == ("front", 480, 640, "chw")
    assert found.instruction is not None
    assert found.instruction.inputs == ("tokens", "tokens_mask")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"name": ""}, "length >= 1 - at key `name`"),
        ({"state": [{"input": "obs", "names": ["qq.a", "dq.b", "elapsed"]}]}, "the state `qq.a`"),
        ({"nmae": "x"}, "unknown key `nmae`: did you mean `name`"),
        ({"output": "action"}, "no output is named `action`: the model's are act, value"),
        ({"ignored_outputs": []}, "nobody reads the output `value`: list it in"),
        ({"state": []}, "nobody fills the input `obs`"),
        ({"state": [{"input": "ob", "names": ["q.a"]}]}, "no input is named `ob`"),
        ({"state": [{"input": "obs", "names": ["q.a"]}]}, "wanted 1 floats, one per name"),
        ({"tensors": {"obz": {"unit": "m"}}}, "`tensors.obz` is no input or output"),
        ({"tensors": {"obs": {"mean": [0.0], "std": [0.0]}}}, "std wants numbers > 0"),
        ({"tensors": {"obs": {"low": [1.0], "high": [1.0]}}}, "a width of 0"),
        ({"tensors": {"obs": {"between": [0.0, 1.0]}}}, "`low` and `high` become, found neither"),
        ({"tensors": {"obs": {"shape": [1, 4]}}}, r"for `tensors.obs`, \[1, 3\], found \[1, 4\]"),
        ({"tensors": {"act": {"shape": [2]}}}, r"for `tensors.act`, \[1, 2\], found \[2\]"),
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
