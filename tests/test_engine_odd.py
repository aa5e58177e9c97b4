"""Models that are valid ONNX and nothing that a control loop can run: each is refused in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper

from headway.bundle import Tensor
from headway.edge.engines.engine import open_engine
from headway.errors import BundleError

FLOAT8 = [getattr(T, n) for n in ("FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ")]


def value(name: str, kind: int, shape: Any) -> Any:
    return h.make_tensor_value_info(name, kind, shape)


def save(path: Path, nodes: list[Any], inputs: list[Any], outputs: list[Any], **kw: Any) -> Path:
    graph = h.make_graph(nodes, "g", inputs, outputs, kw.get("constants", []))
    opset = kw.get("opset", 19)
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", opset)], ir_version=9)
    onnx.save(model, str(path), **kw.get("save", {}))
    return path


X = value("x", T.FLOAT, [1, 6])
Y = value("y", T.FLOAT, [1, 6])
SAME = h.make_node("Identity", ["x"], ["y"])


def test_a_string_output(tmp_path: Path) -> None:
    nodes = [h.make_node("Cast", ["x"], ["y"], to=T.STRING)]
    path = save(tmp_path / "m.onnx", nodes, [X], [value("y", T.STRING, [1, 6])])
    with pytest.raises(BundleError, match=r"m\.onnx: wanted every output .* `y` of tensor\(string"):
        open_engine("ort", path)


def test_a_string_input(tmp_path: Path) -> None:
    path = save(
        tmp_path / "m.onnx", [SAME], [value("x", T.STRING, [1])], [value("y", T.STRING, [1])]
    )
    with pytest.raises(BundleError, match=r"every input .* `x` of tensor\(string"):
        open_engine("ort", path)


@pytest.mark.parametrize("kind", [*FLOAT8, T.BFLOAT16, T.COMPLEX64, T.INT4])
@pytest.mark.parametrize("where", ["input", "output"])
def test_numbers_that_numpy_has_not(tmp_path: Path, kind: int, where: str) -> None:
    """Those that this ONNX Runtime does not even load are refused by it, and by name."""
    if where == "output":
        nodes = [h.make_node("Cast", ["x"], ["y"], to=kind)]
        path = save(tmp_path / "m.onnx", nodes, [X], [value("y", kind, [1, 6])], opset=21)
    else:
        nodes = [h.make_node("Cast", ["x"], ["y"], to=T.FLOAT)]
        path = save(tmp_path / "m.onnx", nodes, [value("x", kind, [1, 6])], [Y], opset=21)
    with pytest.raises(BundleError, match=r"m\.onnx") as e:
        open_engine("ort", path)
    assert "export" in str(e.value)


def test_a_dimension_of_zero(tmp_path: Path) -> None:
    empty = value("x", T.FLOAT, [1, 0])
    path = save(tmp_path / "in.onnx", [SAME], [empty], [value("y", T.FLOAT, [1, 0])])
    with pytest.raises(BundleError, match=r"found input `x` of shape \(1, 0\)"):
        open_engine("ort", path)
    nothing = numpy_helper.from_array(np.zeros((0, 3), np.float32), "c")
    nodes = [SAME, h.make_node("Identity", ["c"], ["z"])]
    outputs = [Y, value("z", T.FLOAT, [0, 3])]
    path = save(tmp_path / "out.onnx", nodes, [X], outputs, constants=[nothing])
    with pytest.raises(BundleError, match=r"found output `z` of shape \(0, 3\)"):
        open_engine("ort", path)


@pytest.mark.parametrize(
    ("op", "kind", "shape"),
    [("NonZero", T.INT64, [2, "n"]), ("Unique", T.FLOAT, ["n"]), ("Compress", T.FLOAT, ["n"])],
)
def test_a_shape_that_depends_on_the_data(tmp_path: Path, op: str, kind: int, shape: Any) -> None:
    nodes = [h.make_node(op, ["x"], ["y"])]
    if op == "Compress":
        nodes = [
            h.make_node("Cast", ["x"], ["b"], to=T.BOOL),
            h.make_node("Reshape", ["b", "flat"], ["f"]),
            h.make_node("Compress", ["x", "f"], ["y"]),
        ]
    flat = numpy_helper.from_array(np.array([-1], np.int64), "flat")
    path = save(tmp_path / "m.onnx", nodes, [X], [value("y", kind, shape)], constants=[flat])
    for outputs in ((), (Tensor(name="y", shape=(2, 6), dtype="int64"),)):
        with pytest.raises(BundleError, match=r"outputs of fixed shapes, found `y` as .* on zeros"):
            open_engine("ort", path, outputs=outputs)


def test_a_shape_that_changes_only_later_is_an_error_of_that_run(tmp_path: Path) -> None:
    """Values above 100, which no trial run has."""
    nodes = [
        h.make_node("Greater", ["x", "much"], ["big"]),
        h.make_node("Not", ["big"], ["small"]),
        h.make_node("Reshape", ["small", "flat"], ["f"]),
        h.make_node("Compress", ["x", "f"], ["y"]),
    ]
    constants = [
        numpy_helper.from_array(np.array([-1], np.int64), "flat"),
        numpy_helper.from_array(np.float32(100.0), "much"),
    ]
    path = save(tmp_path / "m.onnx", nodes, [X], [value("y", T.FLOAT, ["n"])], constants=constants)
    engine = open_engine("ort", path)
    x, y = engine.bind("x"), engine.bind("y")
    x[:] = np.arange(6)
    engine.run()
    np.testing.assert_array_equal(y, np.arange(6))
    x[0, :2] = 200.0
    with pytest.raises(BundleError, match=r"m\.onnx failed while running"):
        engine.run()


def test_an_open_shape_that_data_do_not_change_is_fine(tmp_path: Path) -> None:
    nodes = [
        h.make_node("Shape", ["x"], ["s"]),
        h.make_node("Reshape", ["x", "s"], ["y"]),
    ]
    path = save(tmp_path / "m.onnx", nodes, [X], [value("y", T.FLOAT, ["a", "b"])])
    assert open_engine("ort", path).outputs["y"].shape == (1, 6)


def test_a_trial_run_that_fails_on_odd_inputs_is_no_fault(tmp_path: Path) -> None:
    """An instruction of 2 is beyond a table of one row."""
    table = numpy_helper.from_array(np.ones((1, 4), np.float32), "table")
    nodes = [h.make_node("Gather", ["table", "x"], ["y"])]
    path = save(
        tmp_path / "m.onnx", nodes, [value("x", T.INT64, [2])], [value("y", T.FLOAT, ["a", 4])],
        constants=[table],
    )  # fmt: skip
    assert open_engine("ort", path).outputs["y"].shape == (2, 4)


def test_sequences_and_optionals(tmp_path: Path) -> None:
    tensor = h.make_tensor_type_proto(T.FLOAT, [1, 6])
    sequence = h.make_value_info("y", h.make_sequence_type_proto(tensor))
    path = save(
        tmp_path / "s.onnx", [h.make_node("SequenceConstruct", ["x"], ["y"])], [X], [sequence]
    )
    with pytest.raises(BundleError, match=r"every output .* `y` of seq\(tensor\(float\)\)"):
        open_engine("ort", path)
    sequence_in = h.make_value_info("x", h.make_sequence_type_proto(tensor))
    zero = numpy_helper.from_array(np.int64(0), "zero")
    nodes = [h.make_node("SequenceAt", ["x", "zero"], ["y"])]
    path = save(tmp_path / "i.onnx", nodes, [sequence_in], [Y], constants=[zero])
    with pytest.raises(BundleError, match=r"every input .* `x` of seq\(tensor\(float\)\)"):
        open_engine("ort", path)
    optional = h.make_value_info("y", h.make_optional_type_proto(tensor))
    path = save(tmp_path / "o.onnx", [h.make_node("Optional", ["x"], ["y"])], [X], [optional])
    with pytest.raises(BundleError, match=r"every output .* `y` of optional\("):
        open_engine("ort", path)


def test_weights_in_another_file_that_is_missing_or_cut(tmp_path: Path) -> None:
    weight = numpy_helper.from_array(np.ones((6, 500), np.float32), "w")
    path = save(
        tmp_path / "m.onnx", [h.make_node("MatMul", ["x", "w"], ["y"])], [X],
        [value("y", T.FLOAT, [1, 500])], constants=[weight],
        save={"save_as_external_data": True, "location": "m.data", "size_threshold": 0},
    )  # fmt: skip
    assert open_engine("ort", path).outputs["y"].shape == (1, 500)
    data = (tmp_path / "m.data").read_bytes()
    for left in (data[:100], None):
        (tmp_path / "m.data").unlink()
        if left is not None:
            (tmp_path / "m.data").write_bytes(left)
        with pytest.raises(BundleError, match=r"m\.onnx .*keep all its files together"):
            open_engine("ort", path)


def test_a_model_as_large_as_no_memory(tmp_path: Path) -> None:
    path = save(
        tmp_path / "m.onnx", [SAME], [value("x", T.FLOAT, [1, 1 << 44])],
        [value("y", T.FLOAT, [1, 1 << 44])],
    )  # fmt: skip
    with pytest.raises(BundleError, match=r"m\.onnx .*value 'x' has the absurd shape"):
        open_engine("ort", path)


@pytest.mark.parametrize("kind", [T.INT8, T.INT16, T.UINT32, T.UINT64, T.FLOAT16, T.BOOL])
def test_all_numbers_that_numpy_has(tmp_path: Path, kind: int) -> None:
    path = save(tmp_path / "m.onnx", [SAME], [value("x", kind, [1, 6])], [value("y", kind, [1, 6])])
    engine = open_engine("ort", path)
    engine.bind("x")[:] = 1
    engine.run()
    np.testing.assert_array_equal(engine.bind("y"), 1)


@pytest.mark.parametrize("kind", [T.FLOAT8E4M3FN, T.FLOAT8E5M2, T.INT8])
@pytest.mark.parametrize(
    ("before", "most"),
    [
        (h.make_node("Relu", ["x"], ["r"]), 1.0),
        (h.make_node("Clip", ["x", "low", "high"], ["r"]), 0.5),
    ],
    ids=["Relu", "Clip"],
)
def test_what_is_before_a_quantised_tensor_is_not_lost(
    tmp_path: Path, kind: int, before: Any, most: float
) -> None:
    """ONNX Runtime takes a Relu before 8-bit floats away, where it is left to itself."""
    nodes = [
        before,
        h.make_node("QuantizeLinear", ["r", "scale", "zero"], ["q"]),
        h.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
    ]
    constants = [
        h.make_tensor("low", T.FLOAT, [], [0.0]), h.make_tensor("high", T.FLOAT, [], [0.5]),
        h.make_tensor("scale", T.FLOAT, [], [1 / 64]), h.make_tensor("zero", kind, [], [0]),
    ]  # fmt: skip
    path = save(tmp_path / "m.onnx", nodes, [X], [Y], constants=constants)
    engine = open_engine("ort", path)
    x, y = engine.bind("x"), engine.bind("y")
    x[:] = [-1.0, -0.5, 0.0, 0.25, 0.5, 1.0]  # each of the types has these
    engine.run()
    np.testing.assert_array_equal(y, [[0.0, 0.0, 0.0, 0.25, 0.5, most]])
