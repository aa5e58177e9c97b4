"""What of a model's inputs TensorRT does not take, and how to make the model take it.

TensorRT reads no uint16, and its layers compute nothing on uint8: an input of uint8 has to go into
a Cast first. Images of depth are uint16 in mm, and cutting or turning pixels before the Cast is
usual, so both are common. `unfit` names the nodes; `mended` gives the same model with

- a uint16 input as uint8 with a last axis of 2, the low and the high byte: on a little-endian
  computer the same memory, so that no pixel is converted on the host. The graph puts them together
  again;
- a Cast right behind each uint8 input whose pixels are moved about before they are cast.

The answers stay the same to the bit, as whole numbers to 65535 are exact in float32.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from headway.errors import BundleError
from headway.export.graph import opset

# Nodes that move the elements of their first input about without computing.
_MOVES = (
    "Slice", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Expand",
    "Gather", "Split",
)  # fmt: skip
_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)
_TAKEN = (
    TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.INT32,
    TensorProto.INT64, TensorProto.BOOL,
)  # fmt: skip
_AXES_AS_INPUT = 13  # the first opset whose ReduceSum takes its axes as an input
_PAIR = "_bytes"  # suffix of the tensors that put two bytes together


class Unfit(NamedTuple):
    """An `input` that TensorRT does not take, the `node` that it finds wrong ("" where it is the
    input itself), and `what` is wrong with it."""

    input: str
    node: str
    what: str

    def __str__(self) -> str:
        at = f"node {self.node}: " if self.node else ""
        return f"input `{self.input}`: {at}{self.what}"


def unfit(model: onnx.ModelProto) -> tuple[Unfit, ...]:
    """What TensorRT would refuse about the inputs of `model`."""
    found = []
    for given in model.graph.input:
        kind = given.type.tensor_type.elem_type
        if kind == TensorProto.UINT16:
            found.append(Unfit(given.name, "", "TensorRT reads no uint16: give it as two uint8"))
        elif kind == TensorProto.UINT8:
            found += [
                Unfit(given.name, _called(node), f"{node.op_type} on uint8: cast to float first")
                for node in _users(model.graph, given.name)
                if node.op_type != "Cast"
            ]
        elif kind not in _TAKEN:
            name = TensorProto.DataType.Name(kind).lower()
            found.append(Unfit(given.name, "", f"TensorRT reads no {name}: cast it outside"))
    return tuple(found)


def mended(model: onnx.ModelProto) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """A copy of `model` whose inputs TensorRT takes, and the names of those that became pairs of
    bytes. Raises BundleError for an input that cannot be mended, and names the node."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    pairs = []
    for given in list(made.graph.input):
        kind = given.type.tensor_type.elem_type
        if kind == TensorProto.UINT16:
            _as_pair(made.graph, given, opset(made))
            pairs.append(given.name)
        elif kind == TensorProto.UINT8 and any(
            n.op_type != "Cast" for n in _users(made.graph, given.name)
        ):
            _cast_first(made.graph, given.name)
    left = unfit(made)
    if left:
        raise BundleError(
            "wanted inputs that TensorRT takes, found " + "; ".join(map(str, left)) + ": export "
            "the module with a cast to float as the first thing that happens to that input"
        )
    return made, tuple(pairs)


def packed(value: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """The pairs of bytes (..., 2) of `value` (...)."""
    return np.ascontiguousarray(value, "<u2").view(np.uint8).reshape(*value.shape, 2)


def unpacked(value: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """What `packed` was given."""
    return np.ascontiguousarray(value).view("<u2")[..., 0].astype(np.uint16)


def _users(graph: onnx.GraphProto, name: str) -> list[onnx.NodeProto]:
    return [n for n in graph.node if name in n.input]


def _called(node: onnx.NodeProto) -> str:
    return node.name or f"{node.op_type} that makes {node.output[0]}"


def _cast_to(node: onnx.NodeProto) -> int:
    return next(int(a.i) for a in node.attribute if a.name == "to")


def _as_pair(graph: onnx.GraphProto, given: onnx.ValueInfoProto, version: int) -> None:
    """Make the uint16 input `given` one of uint8 (..., 2), with operators of the opset
    `version`."""
    name = given.name
    kind = given.type.tensor_type
    kind.elem_type = TensorProto.UINT8
    axis = len(kind.shape.dim)
    kind.shape.dim.add().dim_value = 2
    whole = f"{name}{_PAIR}"
    weights = np.array([1.0, 256.0], np.float32)
    graph.initializer.append(numpy_helper.from_array(weights, f"{whole}.weights"))
    summed: dict[str, Any] = {"keepdims": 0}
    parts = [f"{whole}.parts"]
    if version < _AXES_AS_INPUT:
        summed["axes"] = [axis]
    else:
        last = np.array([axis], np.int64)
        graph.initializer.append(numpy_helper.from_array(last, f"{whole}.axis"))
        parts.append(f"{whole}.axis")
    made = [
        helper.make_node("Cast", [name], [f"{whole}.float"], f"{whole}.cast", to=TensorProto.FLOAT),
        helper.make_node(
            "Mul", [f"{whole}.float", f"{whole}.weights"], [f"{whole}.parts"], f"{whole}.weigh"
        ),
        helper.make_node("ReduceSum", parts, [whole], f"{whole}.sum", **summed),
    ]
    _rewire(graph, name, whole)
    _insert(graph, made)


def _cast_first(graph: onnx.GraphProto, name: str) -> None:
    """Put a Cast to float right behind the input `name`."""
    cast = f"{name}_float"
    _rewire(graph, name, cast)
    _insert(graph, [helper.make_node("Cast", [name], [cast], f"{name}.cast", to=TensorProto.FLOAT)])


def _rewire(graph: onnx.GraphProto, name: str, now: str) -> None:
    """Let all that reads `name` read the float32 tensor `now`. Raises BundleError for a node that
    computes on the whole numbers before they are cast to floats."""
    moved, todo = {name}, [name]
    while todo:
        here = todo.pop()
        for node in _users(graph, here):
            if node.op_type == "Cast":
                if _cast_to(node) not in _FLOATS:
                    raise BundleError(
                        f"input `{name}`: node {_called(node)} casts its whole numbers to "
                        f"{TensorProto.DataType.Name(_cast_to(node)).lower()}, wanted a cast to a "
                        "float: TensorRT computes nothing on uint8 and reads no uint16"
                    )
            elif node.op_type in _MOVES and node.input[0] == here:
                for out in node.output:
                    if out not in moved:
                        moved.add(out)
                        todo.append(out)
            else:
                raise BundleError(
                    f"input `{name}`: node {_called(node)} ({node.op_type}) computes on whole "
                    "numbers that TensorRT does not take: cast the input to float first"
                )
    for out in graph.output:
        if out.name in moved:
            raise BundleError(f"output `{out.name}` is the input `{name}` itself: cast it to float")
    for node in graph.node:
        for k, given in enumerate(node.input):
            if given == name:
                node.input[k] = now
    # shapes stay, but these tensors are floats now
    for info in graph.value_info:
        if info.name in moved:
            info.type.tensor_type.elem_type = TensorProto.FLOAT


def _insert(graph: onnx.GraphProto, nodes: list[onnx.NodeProto]) -> None:
    """Put `nodes` before all others, so that the order stays one in which all can be computed."""
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *rest])
