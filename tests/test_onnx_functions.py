"""What functions and branches of a model hold is checked like what its graph holds: external data,
sizes of tensors, and shapes that are constants."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from onnx_rig import F, h, model, onnx, refused, written
from pro_head import make_head

from headway import bundle
from headway.bundle import onnx_file
from headway.bundle.onnx_file import check
from headway.edge.engines.engine import open_engine
from headway.errors import BundleError

HUGE = [1 << 20, 1 << 20]
OPSETS = [h.make_opsetid("", 17), h.make_opsetid("own", 1)]
ABSURD = f"node ConstantOfShape of ['h'] makes what has the absurd shape {HUGE}"


def outside(location: str, length: int = 16) -> Any:
    """A tensor of four floats in another file."""
    tensor = onnx.TensorProto(dims=[4], data_type=F, data_location=onnx.TensorProto.EXTERNAL)
    for key, value in {"location": location, "length": str(length)}.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def refers(node: Any, name: str, to: str, kind: int) -> Any:
    """`node`, whose attribute `name` is whatever the attribute `to` of its function is."""
    attribute = node.attribute.add()
    attribute.name, attribute.ref_attr_name, attribute.type = name, to, kind
    return node


def function(*nodes: Any, **defaults: Any) -> Any:
    """y = F(x), with attributes that are `defaults` where a call does not say them."""
    made = h.make_function("own", "F", ["x"], ["y"], list(nodes), OPSETS)
    made.attribute_proto.extend(h.make_attribute(n, v) for n, v in defaults.items())
    return made


def calling(made: Any) -> Any:
    """A model that only calls the function `made`."""
    return model([h.make_node("F", ["x"], ["y"], domain="own")], functions=[made])


def added(value: Any) -> Any:
    """A function that adds a constant, by default `value`."""
    constant = refers(h.make_node("Constant", [], ["c"]), "value", "v", onnx.AttributeProto.TENSOR)
    return function(constant, h.make_node("Add", ["x", "c"], ["y"]), v=value)


def sized(shape: str = "s") -> list[Any]:
    """Nodes that add the greatest number of a tensor of that shape."""
    return [
        h.make_node("ConstantOfShape", [shape], ["h"]),
        h.make_node("ReduceMax", ["h"], ["m"], keepdims=0),
        h.make_node("Add", ["x", "m"], ["y"]),
    ]


def branch(*nodes: Any) -> Any:
    return h.make_graph(list(nodes), "b", [], [h.make_tensor_value_info("y", F, None)])


def branched(deep: int = 1) -> Any:
    """A model whose graph has the shape, and a branch so deep inside it the tensor."""
    inside, other = sized(), branch(h.make_node("Identity", ["x"], ["y"]))
    for _ in range(deep):
        both = {"then_branch": branch(*inside), "else_branch": other}
        inside = [h.make_node("If", ["c"], ["y"], **both)]
    shape = onnx.numpy_helper.from_array(np.array(HUGE, np.int64), "s")
    return model(inside, (shape, onnx.numpy_helper.from_array(np.array(False), "c")))


def given_ints() -> Any:
    return h.make_node("Constant", [], ["s"], value_ints=HUGE)


TOO_LARGE: dict[str, Callable[[], Any]] = {
    "a constant of the function": lambda: calling(function(given_ints(), *sized())),
    "a default of the function": lambda: calling(
        function(
            refers(
                h.make_node("Constant", [], ["s"]), "value_ints", "v", onnx.AttributeProto.INTS
            ),
            *sized(),
            v=HUGE,
        )
    ),
    "a branch of a default": lambda: calling(
        function(
            given_ints(),
            refers(
                refers(
                    h.make_node("If", ["x"], ["y"]), "then_branch", "g", onnx.AttributeProto.GRAPH
                ),
                "else_branch", "g", onnx.AttributeProto.GRAPH,
            ),
            g=branch(*sized()),
        )
    ),
    "a branch, by a constant outside": branched,
    "a branch of a branch": lambda: branched(3),
    "another name of a constant": lambda: model(
        [
            h.make_node("Identity", ["s2"], ["s3"]), h.make_node("Identity", ["s"], ["s2"]),
            given_ints(), *sized("s3"),
        ]
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", TOO_LARGE)
def test_a_tensor_that_constants_make_huge_is_refused(tmp_path: Path, what: str) -> None:
    refused(tmp_path, TOO_LARGE[what](), ABSURD)


@pytest.mark.parametrize(
    ("location", "length", "message"),
    [
        ("../w.bin", 16, "tensor '' has its data in '../w.bin': wanted a file in the model's"),
        ("none.bin", 16, "there is no such file"),
        ("w.bin", 400, "wants 16 bytes by its shape, and has 400 outside"),
    ],
)
def test_weights_of_a_functions_default_stay_in_the_folder(
    tmp_path: Path, location: str, length: int, message: str
) -> None:
    (tmp_path / "b").mkdir()
    for folder in (tmp_path, tmp_path / "b"):
        (folder / "w.bin").write_bytes(bytes(16))
    refused(tmp_path / "b", calling(added(outside(location, length))), message)


def test_weights_of_a_functions_default_are_named_by_the_manifest(tmp_path: Path) -> None:
    content = calling(added(outside("w.bin"))).SerializeToString()
    manifest = msgspec.structs.replace(make_head(tmp_path / "head").manifest, onnx="m.onnx")
    made = bundle.save(tmp_path / "b", manifest, {"m.onnx": content})
    (tmp_path / "b" / "w.bin").write_bytes(bytes(16))
    with pytest.raises(BundleError, match=r"lie in w\.bin, which is not among the bundle's files"):
        onnx_file.check_bundle(made)
    made = bundle.save(tmp_path / "b", manifest, {"m.onnx": content, "w.bin": bytes(16)})
    assert onnx_file.check_bundle(made).external == ("w.bin",)


def test_a_default_has_the_bytes_that_its_shape_wants(tmp_path: Path) -> None:
    short = onnx.TensorProto(dims=[1 << 28], data_type=F, raw_data=b"1234")
    refused(tmp_path, calling(added(short)), "wants 1073741824 bytes, found 4")


def test_a_default_without_a_name_hides_nothing(tmp_path: Path) -> None:
    made = function(given_ints(), *sized())
    made.attribute_proto.add(name="", type=onnx.AttributeProto.INTS, ints=[1])
    refused(tmp_path, calling(made), ABSURD)


def test_what_functions_and_branches_usually_do_is_accepted(tmp_path: Path) -> None:
    usual = onnx.numpy_helper.from_array(np.arange(4, dtype=np.float32))
    path = written(tmp_path, calling(added(usual)))
    assert check(path).external == ()
    engine = open_engine("ort", path)
    engine.run()
    assert engine.bind("y").tolist() == [[0.0, 1.0, 2.0, 3.0]]
    small = h.make_node("Constant", [], ["s"], value_ints=[2, 2])
    check(written(tmp_path, calling(function(small, *sized()))))
    # A branch's own constant counts, not one of the same name around it.
    own = branch(h.make_node("Constant", [], ["s"], value_ints=[2, 2]), *sized())
    hidden = h.make_node("If", ["c"], ["y"], then_branch=own, else_branch=own)
    truth = onnx.numpy_helper.from_array(np.array(True), "c")
    shape = onnx.numpy_helper.from_array(np.array(HUGE, np.int64), "s")
    check(written(tmp_path, model([hidden, h.make_node("Size", ["s"], ["n"])], (truth, shape))))


def test_many_names_of_one_constant_take_no_time(tmp_path: Path) -> None:
    chain = [h.make_node("Identity", [f"s{k}"], [f"s{k + 1}"]) for k in range(20_000)]
    first = h.make_node("Constant", [], ["s0"], value_ints=[2])
    ends = [h.make_node("ConstantOfShape", ["s20000"], [f"e{k}"]) for k in range(20_000)]
    made = model([first, *chain, *ends, h.make_node("Add", ["x", "w"], ["y"])])
    assert check(written(tmp_path, made)).nodes == 40_002
