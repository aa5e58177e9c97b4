"""What branches, functions and sparse constants hold counts for an engine like all else: for its
precision, for its key, and for what a refit may replace."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper

from headway.edge.engines.key import model_digest
from headway.edge.engines.trt import graph
from headway.edge.engines.trt.refit import network
from headway.errors import SpecMismatch

OPSETS = [h.make_opsetid("", 18), h.make_opsetid("own", 1)]


def value(name: str, kind: int = T.FLOAT, shape: tuple[int, ...] = (4,)) -> Any:
    return h.make_tensor_value_info(name, kind, shape)


def save(
    path: Path, nodes: list[Any], constants: Any = (), functions: Any = (), **inputs: Any
) -> Path:
    given = inputs or {"x": value("x")}
    made = h.make_graph(nodes, "g", list(given.values()), [value("y")], list(constants))
    model = h.make_model(made, opset_imports=OPSETS, ir_version=9, functions=list(functions))
    path.write_bytes(model.SerializeToString())
    return path


def branched(*nodes: Any) -> Any:
    """y is what the nodes make, which are a branch."""
    inner = h.make_graph(list(nodes), "b", [], [value("r")])
    return h.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)


def function(*nodes: Any, attributes: tuple[str, ...] = (), **defaults: Any) -> Any:
    made = h.make_function("own", "F", ["x"], ["r"], list(nodes), OPSETS, list(attributes))
    made.attribute_proto.extend(h.make_attribute(n, v) for n, v in defaults.items())
    return made


def calling(**said: Any) -> Any:
    return h.make_node("F", ["x"], ["y"], domain="own", **said)


def referring(op: str, reads: list[str], makes: str, name: str, to: str, kind: int) -> Any:
    node = h.make_node(op, reads, [makes])
    node.attribute.add(name=name, ref_attr_name=to, type=kind)
    return node


TRUE = numpy_helper.from_array(np.array(True), "c")
HALF = [
    h.make_node("Cast", ["x"], ["a"], to=T.FLOAT16), h.make_node("Mul", ["a", "a"], ["b"]),
    h.make_node("Cast", ["b"], ["r"], to=T.FLOAT),
]  # fmt: skip
CAST = [
    referring("Cast", ["x"], "a", "to", "kind", onnx.AttributeProto.INT),
    h.make_node("Cast", ["a"], ["r"], to=T.FLOAT),
]
QUANTISED = [
    h.make_node("Constant", [], ["s"], value_float=0.1),
    h.make_node("QuantizeLinear", ["x", "s"], ["q"]),
    h.make_node("DequantizeLinear", ["q", "s"], ["r"]),
]
ONE_HALF = numpy_helper.from_array(np.ones(4, np.float16))
CONSTANT = [
    referring("Constant", [], "k", "value", "v", onnx.AttributeProto.TENSOR),
    h.make_node("Cast", ["k"], ["l"], to=T.FLOAT), h.make_node("Add", ["x", "l"], ["r"]),
]  # fmt: skip
KINDS: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "a branch": ("fp16", lambda p: save(p, [branched(*HALF)], [TRUE])),
    "a function": ("fp16", lambda p: save(p, [calling()], (), [function(*HALF)])),
    "a quantised function": ("int8", lambda p: save(p, [calling()], (), [function(*QUANTISED)])),
    "what a function casts to by default": (
        "bf16", lambda p: save(p, [calling()], (), [function(*CAST, kind=T.BFLOAT16)])
    ),
    "what a call casts to": (
        "fp16",
        lambda p: save(
            p, [calling(kind=T.FLOAT16)], (), [function(*CAST, attributes=("kind",))]
        ),
    ),
    "a function's constant": (
        "fp16", lambda p: save(p, [calling()], (), [function(*CONSTANT, v=ONE_HALF)])
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", KINDS)
def test_precision_is_that_of_everything(tmp_path: Path, what: str) -> None:
    wanted, make = KINDS[what]
    path = make(tmp_path / "m.onnx")
    onnx.checker.check_model(str(path))
    found = graph.prepare(path).precision
    assert found == wanted
    with pytest.raises(SpecMismatch, match=f"wanted an engine of fp32, found a graph of {wanted}"):
        graph.check_precision(found, "fp32", path)


def outside(name: str = "") -> Any:
    """A constant of four floats in the file `w.bin`."""
    tensor = onnx.TensorProto(name=name, dims=[4], data_type=T.FLOAT, data_location=T.EXTERNAL)
    for key, text in {"location": "w.bin", "length": "16"}.items():
        tensor.external_data.add(key=key, value=text)
    return tensor


def with_sparse(path: Path) -> Path:
    save(path, [h.make_node("Add", ["x", "w"], ["y"])])
    model = onnx.load(str(path), load_external_data=False)
    places = numpy_helper.from_array(np.arange(4, dtype=np.int64))
    model.graph.sparse_initializer.add(values=outside("w"), indices=places, dims=[4])
    path.write_bytes(model.SerializeToString())
    return path


def added(constant: Any) -> list[Any]:
    return [constant, h.make_node("Add", ["x", "k"], ["r"])]


OUTSIDE: dict[str, Callable[[Path], Path]] = {
    "a function's default": lambda p: save(
        p, [calling()], (), [function(CONSTANT[0], h.make_node("Add", ["x", "k"], ["r"]),
                                      v=outside())],
    ),
    "a constant of a function": lambda p: save(
        p, [calling()], (), [function(*added(h.make_node("Constant", [], ["k"], value=outside())))]
    ),
    "a constant of a branch": lambda p: save(
        p, [branched(*added(h.make_node("Constant", [], ["k"], value=outside())))], [TRUE]
    ),
    "a sparse constant": with_sparse,
}  # fmt: skip


@pytest.mark.parametrize("what", OUTSIDE)
def test_weights_in_other_files_are_in_the_key_and_in_the_network(
    tmp_path: Path, what: str
) -> None:
    path, weights = OUTSIDE[what](tmp_path / "m.onnx"), tmp_path / "w.bin"
    weights.write_bytes(np.ones(4, np.float32).tobytes())
    assert graph.files(path) == ("w.bin",)
    before = model_digest(path, graph.files(path)), network(graph.prepare(path))
    weights.write_bytes(np.full(4, 7.0, np.float32).tobytes())
    after = model_digest(path, graph.files(path)), network(graph.prepare(path))
    assert before[0] != after[0]
    assert before[1] != after[1]  # no refit replaces them


def test_an_input_that_is_changed_is_read_by_no_branch(tmp_path: Path) -> None:
    read = branched(h.make_node("Cast", ["d"], ["r"], to=T.FLOAT))
    kinds = {"d": value("d", T.UINT16), "x": value("x")}
    path = save(tmp_path / "m.onnx", [read], [TRUE], **kinds)
    with pytest.raises(SpecMismatch, match=r"inside another .* reads the integers of `d`"):
        graph.prepare(path)
    moved = h.make_node("Identity", ["d"], ["e"])
    read = branched(h.make_node("Cast", ["e"], ["r"], to=T.FLOAT))
    path = save(tmp_path / "m.onnx", [moved, read], [TRUE], d=value("d", T.UINT8))
    with pytest.raises(SpecMismatch, match=r"inside another .* reads the integers of `d`"):
        graph.prepare(path)


def test_an_operator_of_somebody_else_moves_nothing(tmp_path: Path) -> None:
    call = h.make_node("Gather", ["d"], ["e"], domain="own")
    body = h.make_function(
        "own", "Gather", ["a"], ["b"], [h.make_node("Add", ["a", "a"], ["b"])], OPSETS
    )
    cast = h.make_node("Cast", ["e"], ["y"], to=T.FLOAT)
    path = save(tmp_path / "m.onnx", [call, cast], (), [body], d=value("d", T.UINT8))
    with pytest.raises(SpecMismatch, match=r"\(Gather\) computes with the integers of `d`"):
        graph.prepare(path)
