"""`headway export`: a module, an ONNX file or a bundle becomes a bundle, compared with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="exporting needs onnx: pip install 'headway[export]'")
pytest.importorskip("onnxslim", reason="exporting needs onnxslim: pip install 'headway[export]'")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from headway import shipped  # noqa: E402
from headway.__main__ import main  # noqa: E402
from headway.bundle import load, onnx_file  # noqa: E402
from headway.edge.engines.engine import open_bundle  # noqa: E402
from headway.errors import BundleError, ConfigError  # noqa: E402
from headway.export import graph, parity, samples, tensorrt_inputs  # noqa: E402
from headway.export.command import Options, export_command  # noqa: E402

MAP = """
name = "theirs"
rate_hz = 10.0
[actions]
names = ["a", "b"]
space = "joint"
mode = "absolute"
chunk = 1
dt_s = 0.1
[[state]]
input = "state"
names = ["q.a", "q.b"]
[[images]]
input = "depth"
camera = "wrist"
encoding = "depth_mm"
height = 4
width = 6
[[images]]
input = "rgb"
camera = "wrist"
height = 4
width = 6
"""


def model(cast: int = TensorProto.FLOAT, before: str = "Slice") -> onnx.ModelProto:
    """actions = state + mean of every second column of rgb (cut as uint8) + mean of depth [mm]."""
    nodes = [
        helper.make_node("Slice", ["rgb", "zero", "end", "two", "step"], ["half"], "cut"),
        helper.make_node("Cast", ["half"], ["colour"], "cast_rgb", to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["colour"], ["bright"], "bright", keepdims=0),
        helper.make_node("Cast", ["depth"], ["far"], "cast_depth", to=cast),
        helper.make_node("Cast", ["far"], ["mm"], "cast_again", to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["mm"], ["mean"], "mean", keepdims=0),
        helper.make_node("Add", ["state", "bright"], ["part"], "add"),
        helper.make_node("Add", ["part", "mean"], ["actions"], "sum"),
    ]
    if before != "Slice":
        nodes[0] = helper.make_node(before, ["rgb", "rgb"], ["half"], "cut")
    constants = {
        n: numpy_helper.from_array(np.array([v], np.int64), n)
        for n, v in (("zero", 0), ("end", 6), ("two", 2), ("step", 2))
    }
    made = helper.make_graph(
        nodes, "g",
        [
            helper.make_tensor_value_info("state", TensorProto.FLOAT, [1, 2]),
            helper.make_tensor_value_info("depth", TensorProto.UINT16, [1, 4, 6]),
            helper.make_tensor_value_info("rgb", TensorProto.UINT8, [1, 4, 6, 3]),
        ],
        [helper.make_tensor_value_info("actions", TensorProto.FLOAT, [1, 2])],
        list(constants.values()),
    )  # fmt: skip
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "theirs.onnx"
    path.write_bytes(model().SerializeToString())
    return path


@pytest.fixture
def mapping(tmp_path: Path) -> Path:
    path = tmp_path / "map.toml"
    path.write_text(MAP)
    return path


def test_inputs_that_tensorrt_refuses_are_found_with_their_nodes() -> None:
    found = tensorrt_inputs.unfit(model())
    assert [(u.input, u.node) for u in found] == [("depth", ""), ("rgb", "cut")]
    assert "uint16" in str(found[0])
    assert "Slice on uint8" in str(found[1])


def test_mended_inputs_give_the_same_to_the_bit(file: Path, tmp_path: Path) -> None:
    made, pairs = tensorrt_inputs.mended(graph.read(file))
    assert pairs == ("depth",)
    assert tensorrt_inputs.unfit(made) == ()
    now = graph.write(made, tmp_path / "now.onnx")[0]
    rng = np.random.default_rng(1)
    for top in (65536, 3):
        depth = rng.integers(0, top, (1, 4, 6)).astype(np.uint16)
        given = {
            "state": rng.normal(size=(1, 2)).astype(np.float32),
            "rgb": rng.integers(0, 256, (1, 4, 6, 3)).astype(np.uint8),
        }
        (before,) = parity.answers(file, [given | {"depth": depth}])
        pair = tensorrt_inputs.packed(depth)
        assert np.array_equal(tensorrt_inputs.unpacked(pair), depth)
        (after,) = parity.answers(now, [given | {"depth": pair}])
        assert np.array_equal(before["actions"], after["actions"])


@pytest.mark.parametrize("version", [11, 13])  # before and since ReduceSum's axes are an input
def test_depth_becomes_bytes_in_models_of_old_opsets(version: int, tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["depth"], ["mm"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["mm"], ["actions"]),
    ]
    made = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("depth", TensorProto.UINT16, [1, 4, 6])],
        [helper.make_tensor_value_info("actions", TensorProto.FLOAT, [1, 24])],
    )  # fmt: skip
    old = helper.make_model(
        made, opset_imports=[helper.make_opsetid("", version)], ir_version=7
    )  # fmt: skip
    file = graph.write(tensorrt_inputs.mended(old)[0], tmp_path / "m.onnx")[0]
    depth = np.arange(24, dtype=np.uint16).reshape(1, 4, 6) * 700
    (found,) = parity.answers(file, [{"depth": tensorrt_inputs.packed(depth)}])
    assert np.array_equal(found["actions"], depth.reshape(1, 24))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [(model(cast=TensorProto.INT32), "cast_depth"), (model(before="Add"), "cut")],
)
def test_inputs_that_cannot_be_mended_name_the_node(wrong: onnx.ModelProto, says: str) -> None:
    with pytest.raises(BundleError, match=says):
        tensorrt_inputs.mended(wrong)


def test_an_onnx_file_becomes_a_bundle_with_what_was_measured(
    file: Path, mapping: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["export", str(file), "--map", str(mapping), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "for TensorRT: input `depth`" in said
    assert "worst cosine" in said
    made = load(out)
    shapes = {t.name: (t.shape, t.dtype) for t in made.manifest.inputs}
    assert shapes["depth"] == ((1, 4, 6, 2), "uint8")
    metrics = made.manifest.provenance.metrics
    assert metrics["parity.samples"] == 4.0
    assert metrics["parity.actions.max_abs"] == 0.0
    assert metrics["parity.actions.worst_cosine"] > 0.999999
    with pytest.raises(ConfigError, match="--overwrite"):
        export_command(str(file), Options(out, mapping))


def test_without_a_mapping_it_prints_one_to_begin_with(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(file)]) == 0
    said = capsys.readouterr().out
    assert "headway export theirs.onnx --map theirs.toml --out DIR" in said
    assert "[actions]" in said


def test_samples_come_from_a_file(
    file: Path, mapping: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = tmp_path / "given.npz"
    rng = np.random.default_rng(0)
    arrays = {
        "state": rng.normal(size=(7, 2)).astype(np.float32),
        "depth": rng.integers(0, 900, (7, 4, 6)).astype(np.uint16),
        "rgb": rng.integers(0, 256, (7, 4, 6, 3)).astype(np.uint8),
    }
    np.savez(given, **arrays)
    args = ["export", str(file), "--map", str(mapping), "--out", str(tmp_path / "out")]
    assert main([*args, "--samples", str(given)]) == 0
    assert "on inputs of given.npz, 7 samples" in capsys.readouterr().out
    np.savez(given, **(arrays | {"depth": arrays["depth"].astype(np.float32)}))
    assert main([*args, "--samples", str(given), "--overwrite"]) == 2
    assert "`depth` wants uint16" in capsys.readouterr().err
    with given.open("wb") as f:
        np.save(f, arrays["state"])  # .npy by the name of .npz
    npy = given.read_bytes()
    for damaged in (b"", b"PK\x03\x04 and no more", npy):
        given.write_bytes(damaged)
        assert main([*args, "--samples", str(given), "--overwrite"]) == 2
        assert "wanted samples as .npz" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["export", "quantize"])
@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--observed", "a.mcap", "--samples", "b.npz"], "leave one of them out"),
        (["--observed", "a.mcap", "--count", "0"], "wanted --count of 1 or more, found 0"),
        (["--samples", "b.npz", "--count", "-3"], "wanted --count of 1 or more, found -3"),
    ],
)
def test_options_that_say_nothing_are_refused(
    command: str, more: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = shipped.ROOT / "models" / "workflows"
    assert main([command, str(source), "--out", str(tmp_path / "out"), *more]) == 2
    assert says in capsys.readouterr().err


@pytest.mark.slow
def test_a_module_is_exported_and_compared_with_itself(
    mapping: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch", reason="exporting a module needs PyTorch: make torch")
    pytest.importorskip("onnxscript", reason="exporting a module needs onnxscript: make torch")
    (tmp_path / "net_to_export.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    def forward(self, state, depth, rgb):\n"
        "        light = rgb[:, :, ::2].float().mean() / 255.0\n"
        "        return state * 2.0 + depth.float().mean() / 1000.0 + light\n"
        "def policy():\n"
        "    return Net(), {'state': torch.ones(1, 2),\n"
        "        'depth': torch.ones(1, 4, 6, dtype=torch.uint16),\n"
        "        'rgb': torch.ones(1, 4, 6, 3, dtype=torch.uint8)}\n"
        "def nothing():\n"
        "    return 3\n"
    )
    here = ["--folder", str(tmp_path), "--map", str(mapping), "--out", str(tmp_path / "out")]
    args = ["export", "net_to_export:policy", *here]
    assert main(args) == 0
    said = capsys.readouterr().out
    assert "by dynamo" in said
    assert "on the inputs that came with it, 1 samples" in said
    engine = open_bundle(load(tmp_path / "out"))
    engine.bind("state")[...] = [[1.0, 2.0]]
    engine.bind("depth")[...] = tensorrt_inputs.packed(np.full((1, 4, 6), 500, np.uint16))
    engine.run()
    np.testing.assert_allclose(engine.bind("actions"), [[2.5, 4.5]], atol=1e-6)
    assert main(["export", "net_to_export:nothing", *here]) == 2
    assert "(module, inputs)" in capsys.readouterr().err
    assert main(["export", "net_to_export:absent", *here]) == 2


def test_a_bundle_whose_answers_differ_is_not_written(file: Path, tmp_path: Path) -> None:
    truth = [{"actions": np.array([[1.0, 2.0]])}]
    gaps = parity.compare(truth, [{"actions": np.array([[1.0, 2.1]])}])
    with pytest.raises(BundleError, match=r"within 1e-05 .* found 0\.1"):
        parity.require(gaps, "it", max_abs=1e-5)
    parity.require(gaps, "it", max_abs=0.11, cosine=0.99)
    scaled = parity.compare(
        truth, [{"actions": np.array([[1.0, 2.1]])}], {"actions": np.array([1.0, 1e5])}
    )
    parity.require(scaled, "it", max_abs=1e-5)
    constant = {"actions": np.array([1.0, 0.0])}  # the second column was one in the data set
    (same,) = parity.compare(truth, truth, constant)
    (other,) = parity.compare(truth, [{"actions": np.array([[1.0, 2.1]])}], constant)
    assert (same.scaled, other.scaled) == (0.0, np.inf)
    bad = parity.compare(truth, [{"actions": np.array([[1.0, np.nan]])}])
    for bar in ({"max_abs": 1e9}, {"cosine": -0.9}):
        with pytest.raises(BundleError):
            parity.require(bad, "it", **bar)


def test_weights_that_are_too_large_for_one_file_lie_beside_it(tmp_path: Path) -> None:
    big = model()
    weight = numpy_helper.from_array(np.ones((1, 2048), np.float32), "weight")
    big.graph.initializer.append(weight)
    big.graph.node.insert(0, helper.make_node("ReduceMean", ["weight"], ["one"], keepdims=0))
    big.graph.node[-1].input[1] = "one"
    big.graph.node[-1].doc_string = "net.py of somebody, line 3"
    (tmp_path / "first").mkdir()
    graph.write(big, tmp_path / "first" / "m.onnx", external_above=4096)
    assert b"somebody" not in (tmp_path / "first" / "m.onnx").read_bytes()
    files = graph.write(big, tmp_path / "m.onnx", external_above=4096)  # it still has its weights
    assert [f.name for f in files] == ["m.onnx", "m.onnx.data"]
    assert files[1].stat().st_size >= 8192
    again = graph.write(graph.read(files[0]), tmp_path / "n.onnx")
    assert len(again) == 1
    inputs = samples.made_up(parity.ort.declared(onnx_file.check(files[0]))[0])
    gaps = parity.compare(*(parity.answers(f[0], inputs) for f in (files, again)))
    assert gaps[0].max_abs == 0.0


def test_the_shipped_policy_is_made_again_for_tensorrt(tmp_path: Path) -> None:
    out, source = tmp_path / "again", shipped.ROOT / "models" / "workflows"
    assert main(["export", str(source), "--out", str(out), "--no-slim"]) == 0
    old, new = load(source).manifest, load(out).manifest
    assert new.policy == old.policy
    assert {n for n in new.files if n != "policy.onnx"} == {n for n in old.files if n != old.onnx}
    assert new.files["policy.onnx"] != old.files[old.onnx]
    assert new.provenance.metrics["parity.actions.max_abs"] == 0.0
    assert old.provenance.metrics.items() <= new.provenance.metrics.items()


def test_what_is_no_source_says_what_is_wanted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(tmp_path)]) == 2
    assert "config.json" in capsys.readouterr().err
