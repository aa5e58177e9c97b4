"""What TensorRT is given answers bit for bit what the model answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper

from headway.edge.engines.onnx_runtime import onnxruntime
from headway.edge.engines.trt import graph
from headway.errors import BundleError, SpecMismatch
from headway.shipped import ROOT

MODELS = ROOT / "models"
SHIPPED = sorted(str(p.relative_to(MODELS)) for p in MODELS.glob("*/*.onnx"))
DTYPES = {
    "tensor(float)": np.float32, "tensor(uint8)": np.uint8, "tensor(uint16)": np.uint16,
    "tensor(int64)": np.int64,
}  # fmt: skip


def save(
    path: Path,
    nodes: list[Any],
    inputs: dict[str, tuple[int, list[int]]],
    output: tuple[int, list[Any]],
    constants: dict[str, Any] | None = None,
) -> Path:
    made = h.make_graph(
        nodes, "g", [h.make_tensor_value_info(n, t, s) for n, (t, s) in inputs.items()],
        [h.make_tensor_value_info("y", *output)],
        [numpy_helper.from_array(np.asarray(v), n) for n, v in (constants or {}).items()],
    )  # fmt: skip
    model = h.make_model(made, opset_imports=[h.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, str(path))
    return path


def both(path: Path, tmp_path: Path, seed: int = 0) -> tuple[list[Any], list[Any]]:
    """What the model at `path` answers, and what its prepared graph does, to the same bytes."""
    prepared = graph.prepare(path)
    onnx.checker.check_model(onnx.load_from_string(prepared.content), full_check=True)
    theirs = onnxruntime().InferenceSession(str(path))
    (path.parent / "prepared.onnx").write_bytes(prepared.content)
    ours = onnxruntime().InferenceSession(str(path.parent / "prepared.onnx"))
    rng, given = np.random.default_rng(seed), {}
    for i in theirs.get_inputs():
        shape = [d if isinstance(d, int) else 1 for d in i.shape]
        dtype = DTYPES[i.type]
        if dtype is np.float32:
            given[i.name] = rng.normal(size=shape).astype(dtype)
        else:
            most = 1 if dtype is np.int64 else np.iinfo(dtype).max
            given[i.name] = rng.integers(0, most, shape, dtype, endpoint=True)
    pairs = {
        n: v.view(np.uint8).reshape(*v.shape, 2) if n in prepared.pairs else v
        for n, v in given.items()
    }
    return theirs.run(None, given), ours.run(None, pairs)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_model_answers_the_same(name: str, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes((MODELS / name).read_bytes())
    for seed in range(2):
        want, have = both(path, tmp_path, seed)
        for a, b in zip(want, have, strict=True):
            np.testing.assert_array_equal(a, b)


def test_uint16_becomes_pairs_of_bytes_and_uint8_is_moved_as_int32(tmp_path: Path) -> None:
    nodes = [
        h.make_node("Slice", ["depth", "a", "b"], ["near"], name="near"),
        h.make_node("Cast", ["near"], ["d"], to=T.FLOAT),
        h.make_node("Transpose", ["rgb"], ["t"], perm=[1, 0]),
        h.make_node("Cast", ["t"], ["c"], to=T.FLOAT),
        h.make_node("Concat", ["d", "c"], ["y"], axis=0),
    ]
    path = save(
        tmp_path / "m.onnx", nodes, {"depth": (T.UINT16, [4, 3]), "rgb": (T.UINT8, [3, 4])},
        (T.FLOAT, ["n", 3]), {"a": np.array([1]), "b": np.array([3])},
    )  # fmt: skip
    prepared = graph.prepare(path)
    assert prepared.pairs == {"depth"}
    inputs = {
        i.name: i.type.tensor_type for i in onnx.load_from_string(prepared.content).graph.input
    }
    assert [d.dim_value for d in inputs["depth"].shape.dim] == [4, 3, 2]
    assert {t.elem_type for t in inputs.values()} == {T.UINT8}
    want, have = both(path, tmp_path)
    np.testing.assert_array_equal(want[0], have[0])
    assert want[0].max() > 255  # both bytes of a depth were looked at


def test_a_byte_that_is_only_cast_stays_as_it_is(tmp_path: Path) -> None:
    nodes = [h.make_node("Cast", ["x"], ["y"], to=T.FLOAT)]
    path = save(tmp_path / "m.onnx", nodes, {"x": (T.UINT8, [2])}, (T.FLOAT, [2]))
    assert graph.prepare(path).content == onnx.load(str(path)).SerializeToString()


def test_int8_embeddings_are_looked_up_as_int32_also_from_another_file(tmp_path: Path) -> None:
    table = np.arange(-60, 60, dtype=np.int8).reshape(30, 4)
    nodes = [
        h.make_node("Gather", ["table", "x"], ["g"]), h.make_node("Cast", ["g"], ["y"], to=T.FLOAT),
    ]  # fmt: skip
    path = save(
        tmp_path / "m.onnx", nodes, {"x": (T.INT64, [3])}, (T.FLOAT, [3, 4]), {"table": table}
    )
    onnx.save(
        onnx.load(str(path)), str(path), save_as_external_data=True, location="w.bin",
        size_threshold=0, convert_attribute=False,
    )  # fmt: skip
    assert graph.files(path) == ("w.bin",)
    held = {t.name: t for t in onnx.load_from_string(graph.prepare(path).content).graph.initializer}
    assert held["table"].data_type == T.INT32
    np.testing.assert_array_equal(numpy_helper.to_array(held["table"]), table)


@pytest.mark.parametrize(
    ("nodes", "inputs", "message"),
    [
        ([h.make_node("Add", ["x", "x"], ["s"], name="twice"),
          h.make_node("Cast", ["s"], ["y"], to=T.FLOAT)], {"x": (T.UINT8, [2])},
         r"node `twice` \(Add\) computes with the integers of `x`.*Cast to float32 before it"),
        ([h.make_node("Identity", ["x"], ["y"])], {"x": (T.UINT8, [2])}, "goes to the output `y`"),
        ([h.make_node("Cast", ["x"], ["y"], to=T.FLOAT)], {"x": (T.DOUBLE, [2])},
         "no float64, which the input `x` is: export the model with an input of float32"),
        ([h.make_node("Cast", ["x"], ["y"], to=T.FLOAT)], {"x": (T.UINT32, [2])}, "no uint32"),
    ],
)  # fmt: skip
def test_what_cannot_be_given_is_refused_with_the_node(
    tmp_path: Path, nodes: list[Any], inputs: Any, message: str
) -> None:
    out = T.UINT8 if nodes[-1].op_type == "Identity" else T.FLOAT
    path = save(tmp_path / "m.onnx", nodes, inputs, (out, [2]))
    with pytest.raises(SpecMismatch, match=message):
        graph.prepare(path)


@pytest.mark.parametrize("location", ["../w.bin", "/etc/passwd"])
def test_weights_outside_of_the_folder_are_refused(tmp_path: Path, location: str) -> None:
    nodes = [h.make_node("Add", ["x", "w"], ["y"])]
    path = save(
        tmp_path / "m.onnx", nodes, {"x": (T.FLOAT, [2])}, (T.FLOAT, [2]),
        {"w": np.zeros(2, np.float32)},
    )  # fmt: skip
    model = onnx.load(str(path))
    entry = model.graph.initializer[0].external_data.add()
    entry.key, entry.value = "location", location
    path.write_bytes(model.SerializeToString())
    with pytest.raises(BundleError, match=r"outside its folder"):
        graph.files(path)


@pytest.mark.parametrize("content", [b"", b"\x00" * 40, b"\xff" * 1000])
def test_what_is_no_model_is_a_bundle_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(BundleError, match=r"m\.onnx is no ONNX model"):
        graph.prepare(tmp_path / "m.onnx")


@pytest.mark.parametrize(("kind", "found"), [(np.float32, "fp32"), (np.float16, "fp16")])
def test_precision_is_that_of_the_graph(tmp_path: Path, kind: Any, found: str) -> None:
    of = h.np_dtype_to_tensor_dtype(np.dtype(kind))
    nodes = [h.make_node("Add", ["x", "w"], ["y"])]
    path = save(tmp_path / "m.onnx", nodes, {"x": (of, [2])}, (of, [2]), {"w": np.zeros(2, kind)})
    prepared = graph.prepare(path)
    assert prepared.precision == found
    graph.check_precision(found, "graph", path)
    with pytest.raises(SpecMismatch, match="wanted an engine of int8, found a graph of"):
        graph.check_precision(found, "int8", path)


def test_a_quantised_graph_says_so(tmp_path: Path) -> None:
    nodes = [
        h.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        h.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    path = save(
        tmp_path / "m.onnx", nodes, {"x": (T.FLOAT, [2])}, (T.FLOAT, [2]),
        {"s": np.float32(0.1), "z": np.int8(0)},
    )  # fmt: skip
    assert graph.prepare(path).precision == "int8"
